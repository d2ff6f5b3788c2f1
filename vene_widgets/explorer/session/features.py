"""The features of the explorer: a new panel is one more line here."""

from __future__ import annotations

from vene_widgets.explorer.session.answer import AnswerFeature
from vene_widgets.explorer.session.attention import AttentionFeature
from vene_widgets.explorer.session.circuit import CircuitFeature
from vene_widgets.explorer.session.compare import CompareFeature
from vene_widgets.explorer.session.data_set import DataSetFeature
from vene_widgets.explorer.session.estimates import EstimatesFeature
from vene_widgets.explorer.session.feature import Feature
from vene_widgets.explorer.session.figure import FigureFeature
from vene_widgets.explorer.session.files import FilesFeature
from vene_widgets.explorer.session.generation import GenerationFeature
from vene_widgets.explorer.session.history import HistoryFeature
from vene_widgets.explorer.session.lens import LensFeature
from vene_widgets.explorer.session.map import MapFeature
from vene_widgets.explorer.session.model_changes import ModelChangesFeature
from vene_widgets.explorer.session.paths import PathsFeature
from vene_widgets.explorer.session.placebo import PlaceboFeature
from vene_widgets.explorer.session.prompts import PromptsFeature
from vene_widgets.explorer.session.share import ShareFeature
from vene_widgets.explorer.session.specification import SpecificationFeature
from vene_widgets.explorer.session.story import StoryFeature

FEATURES: tuple[type[Feature], ...] = (
    AnswerFeature,
    CompareFeature,
    GenerationFeature,
    MapFeature,
    StoryFeature,
    FigureFeature,
    FilesFeature,
    HistoryFeature,
    PromptsFeature,
    ShareFeature,
    ModelChangesFeature,
    DataSetFeature,
    SpecificationFeature,
    EstimatesFeature,
    PlaceboFeature,
    LensFeature,
    AttentionFeature,
    CircuitFeature,
    PathsFeature,
)
"""In the order of the urgency of their jobs, in which their hooks are called too.

`cancel` and `close` are called in the reverse order: the worker then begins no job that is dropped
next, and nothing is released that a later feature still uses.
"""
