"""DataFrames -> plotnine figures: one function per figure, and `alt_text` for the same in words.

Every figure function takes a DataFrame from `frames` and returns a `ggplot`, which can be changed
and saved like any other. Drawing happens only in `png`, `svg`, `pdf`, `save`, or when a notebook
displays the figure. Tokens are identified by id; texts are only labels.

Names are loaded on first use: the colours alone (`palette`) do not cost the import of plotnine.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vene_widgets.figures.alt import alt_text
    from vene_widgets.figures.attention import attention_map
    from vene_widgets.figures.attribution import attribution_map, attribution_setup
    from vene_widgets.figures.attribution_check import attribution_check_map
    from vene_widgets.figures.circuit import circuit_bars
    from vene_widgets.figures.difference import difference_panel
    from vene_widgets.figures.dots import distribution_dots
    from vene_widgets.figures.files import FORMATS, as_bytes, pdf, png, save, svg
    from vene_widgets.figures.generation import generation_plot
    from vene_widgets.figures.heads import head_map
    from vene_widgets.figures.heatmap import token_heatmap
    from vene_widgets.figures.labels import LONGEST
    from vene_widgets.figures.layout import below, beside, size_of
    from vene_widgets.figures.lens_map import lens_map
    from vene_widgets.figures.maps import sweep_map
    from vene_widgets.figures.needs import NEEDS, Kind
    from vene_widgets.figures.pair_map import pair_map
    from vene_widgets.figures.pair_strip import pair_strip
    from vene_widgets.figures.palette import PALETTES
    from vene_widgets.figures.paths import path_bars, path_map
    from vene_widgets.figures.placebo import placebo_map
    from vene_widgets.figures.setup_lines import attention_setup, runs_setup, sweep_setup
    from vene_widgets.figures.specification import specification_plot
    from vene_widgets.figures.two_panels import result

_HOMES = {
    "alt_text": "figures.alt",
    "attention_map": "figures.attention",
    **dict.fromkeys(("attribution_map", "attribution_setup"), "figures.attribution"),
    "attribution_check_map": "figures.attribution_check",
    "circuit_bars": "figures.circuit",
    "difference_panel": "figures.difference",
    "distribution_dots": "figures.dots",
    **dict.fromkeys(("FORMATS", "as_bytes", "pdf", "png", "save", "svg"), "figures.files"),
    "generation_plot": "figures.generation",
    "head_map": "figures.heads",
    "token_heatmap": "figures.heatmap",
    "LONGEST": "figures.labels",
    **dict.fromkeys(("below", "beside", "size_of"), "figures.layout"),
    "lens_map": "figures.lens_map",
    "sweep_map": "figures.maps",
    **dict.fromkeys(("NEEDS", "Kind"), "figures.needs"),
    "pair_map": "figures.pair_map",
    "pair_strip": "figures.pair_strip",
    "PALETTES": "figures.palette",
    **dict.fromkeys(("path_bars", "path_map"), "figures.paths"),
    "result": "figures.two_panels",
    **dict.fromkeys(("attention_setup", "runs_setup", "sweep_setup"), "figures.setup_lines"),
    "placebo_map": "figures.placebo",
    "specification_plot": "figures.specification",
}
"""Public name -> the module of the package that defines it."""

__all__ = [
    "FORMATS",
    "LONGEST",
    "NEEDS",
    "PALETTES",
    "Kind",
    "alt_text",
    "as_bytes",
    "attention_map",
    "attention_setup",
    "attribution_check_map",
    "attribution_map",
    "attribution_setup",
    "below",
    "beside",
    "circuit_bars",
    "difference_panel",
    "distribution_dots",
    "generation_plot",
    "head_map",
    "lens_map",
    "pair_map",
    "pair_strip",
    "path_bars",
    "path_map",
    "pdf",
    "placebo_map",
    "png",
    "result",
    "runs_setup",
    "save",
    "size_of",
    "specification_plot",
    "svg",
    "sweep_map",
    "sweep_setup",
    "token_heatmap",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"vene_widgets.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
