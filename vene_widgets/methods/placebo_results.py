"""Placebo: a sweep beside its controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from vene_widgets.errors import choose
from vene_widgets.sweeps.results import HeadSweep, Sweep
from vene_widgets.tables.frames import target_first
from vene_widgets.tables.metrics import METRICS
from vene_widgets.tables.placebo import Levels, placebo_frame

if TYPE_CHECKING:
    import pandas as pd
    from plotnine import ggplot


@dataclass(frozen=True, eq=False)
class Placebo:
    """A sweep beside controls that should show nothing.

    Attributes:
        sweep: the real one.
        controls: by name, the sweeps of every draw. They follow the tokens of the real one, and
            their `recovery` and `kl_source` compare with its source run.
        seed: of the first draw; each later one has the next.
    """

    sweep: Sweep | HeadSweep
    controls: Mapping[str, tuple[Sweep | HeadSweep, ...]] = field(repr=False)
    seed: int

    @cached_property
    def frame(self) -> pd.DataFrame:
        """`summarize("delta")`: changes of probability."""
        return self.summarize()

    def summarize(self, metric: str = "delta") -> pd.DataFrame:
        """The changes of every cell beside those of the controls (`tables.placebo_frame`).

        Args:
            metric: of a map, a key of `METRICS`. Its change is taken: `probability` and `delta`
                give the same.

        Raises:
            RequestError: an unknown metric, or one that needs another target or a source.
        """
        from vene_widgets.figures.maps import require_targets

        require_targets(self.sweep.frame, METRICS[choose(metric, METRICS, "metric")])
        drawn = {
            name: [self._levels(one) for one in several] for name, several in self.controls.items()
        }
        return placebo_frame(self._levels(self.sweep), drawn, metric)

    def _levels(self, drawn: Sweep | HeadSweep) -> Levels:
        """The cells of a sweep, and its base run, both compared with the real plain runs."""
        import pandas as pd

        pairs = list(zip(_several(drawn), _several(self.sweep), strict=True))
        cells, base = (
            pd.concat(
                [one.frame_beside(real, of_base=of_base) for one, real in pairs],
                ignore_index=True,
            )
            for of_base in (False, True)
        )
        return cells, base

    def plot(
        self, metric: str = "delta", title: str | None = None, *, style: str = "light"
    ) -> ggplot:
        """The changes of the real map beside the largest of each control, on one scale.

        Tiles within a control's range are pale with a marked corner. Drawn by
        `figures.placebo_map`.

        Args:
            metric: as in `summarize`.
            title: above the figure.
            style: `light` or `dark`.
        """
        from vene_widgets import figures

        first = _several(self.sweep)[0]
        setup = figures.sweep_setup(first.plan, "all" if first is not self.sweep else None)
        frame = target_first(self.summarize(metric), first.target)
        return figures.placebo_map(frame, title, setup=setup, style=style)

    def __repr__(self) -> str:
        live = self.frame[self.frame["effect_possible"]]
        cells = live.groupby(["head", "layer", "position", "target_id"], dropna=False)["within"]
        beyond, count = int((~cells.any()).sum()), len(cells)
        names = ", ".join(f"{len(each)} x {name}" for name, each in self.controls.items())
        return f"<Placebo: {names}; {beyond} of {count} changes of probability are beyond them>"


def _several(sweep: Sweep | HeadSweep) -> tuple[Sweep, ...]:
    return sweep.sweeps if isinstance(sweep, HeadSweep) else (sweep,)
