"""DataFrames -> plotnine figures: one function per figure, and `alt_text` for the same in words.

Every figure function takes a DataFrame from `frames` and returns a `ggplot`, which can be changed
and saved like any other. Drawing happens only in `png`, `svg`, `pdf`, `save`, or when a notebook
displays the figure. Tokens are identified by id; texts are only labels.
"""

from __future__ import annotations

from vene_widgets.figures.alt import alt_text
from vene_widgets.figures.difference import difference_panel
from vene_widgets.figures.dots import distribution_dots
from vene_widgets.figures.files import FORMATS, as_bytes, pdf, png, save, svg
from vene_widgets.figures.heads import head_map
from vene_widgets.figures.heatmap import token_heatmap
from vene_widgets.figures.labels import LONGEST
from vene_widgets.figures.layout import below, beside, size_of
from vene_widgets.figures.maps import sweep_map
from vene_widgets.figures.needs import NEEDS, Kind
from vene_widgets.figures.palette import PALETTES
from vene_widgets.figures.result import result
from vene_widgets.tables.setup_lines import runs_setup, sweep_setup

__all__ = [
    "FORMATS",
    "LONGEST",
    "NEEDS",
    "PALETTES",
    "Kind",
    "alt_text",
    "as_bytes",
    "below",
    "beside",
    "difference_panel",
    "distribution_dots",
    "head_map",
    "pdf",
    "png",
    "result",
    "runs_setup",
    "save",
    "size_of",
    "svg",
    "sweep_map",
    "sweep_setup",
    "token_heatmap",
]
