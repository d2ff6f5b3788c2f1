"""Snapshot: one state of the screen and the figure to export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vene_widgets.explorer.export.file_name import file_name

if TYPE_CHECKING:
    import pandas as pd

    from vene_widgets.engine.planning import Plan
    from vene_widgets.experiments.sweep_request import SweepRequest
    from vene_widgets.explorer.exact_runs import ExactRuns
    from vene_widgets.explorer.painter.orders import FigureOrder
    from vene_widgets.models import LanguageModel


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One state of the screen and the figure to export.

    Attributes:
        model, plan, result: the model, the planned experiment and its exact runs.
        frames: every panel's frame, by the name of its figure.
        sweep: the map's sweep.
        order: the figure.
        revision: of the experiment; file names contain it.
    """

    model: LanguageModel
    plan: Plan
    result: ExactRuns
    frames: Mapping[str, pd.DataFrame]
    sweep: SweepRequest
    order: FigureOrder
    revision: int

    @property
    def name(self) -> str:
        """Name of an exported file, without its suffix."""
        return file_name(self.order.kind, self.plan, self.revision)
