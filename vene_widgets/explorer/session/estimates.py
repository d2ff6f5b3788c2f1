"""Estimates: what gradients predict of the map on the screen, beside what its cells gave."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from vene_widgets.engine.own_model import model_changed
from vene_widgets.errors import RequestError
from vene_widgets.explorer.session.feature import (
    Changes,
    Feature,
    Host,
    JobKind,
    Start,
    message_trait,
)
from vene_widgets.explorer.session.map import MapFeature
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire.error_text import error_text
from vene_widgets.methods.attribution_passes import run_passes
from vene_widgets.tables.attribution import KEPT, SHARE, correlations, false_negatives

if TYPE_CHECKING:
    from vene_widgets.explorer.session.map_builder import MapBuilder

MOST = 8
"""Estimates of one map that are kept, the newest ones."""


class EstimatesFeature(Feature):
    """Estimates the map by attribution patching, and writes `estimates`.

    They go with the map: another sweep, or a model that has changed, drops them.
    """

    traits: ClassVar = {"estimates": message_trait(on_page=True)}
    jobs = (JobKind("estimate", "The map could not be estimated", is_awaited=False),)

    def __init__(self, session: Host, start: Start) -> None:
        super().__init__(session, start)
        self._full: MapBuilder | None = None  # the map that `_found` is of
        self._found: list[wire.Estimate] = []
        session.feature(MapFeature).on_begin.append(self._drop)

    @property
    def changes(self) -> Changes:
        """Estimate it."""
        return {wire.EstimateMap: self.begin}

    def begin(self, request: wire.EstimateMap) -> None:
        """Queue the passes.

        Raises:
            RequestError: there is no full map, or a token that it does not carry.
        """
        session = self.session
        with session.lock:
            full = session.feature(MapFeature).full_map("an estimate")
            for token in (request.target, request.other):
                if token is not None and token not in full.targets:
                    raise RequestError(f"the map does not carry token {token}: add it first.")
            self._full = full
            session.submit("estimate", lambda: self._run(request, full))

    def model_changed(self) -> None:
        """Drop what is of the earlier model."""
        self._drop()

    def cancel(self) -> None:
        """Drop a queued run."""
        self.session.worker.cancel("estimate")

    def close(self, session: Host) -> None:
        """Drop the map."""
        self._full = None

    def _drop(self) -> None:
        with self.session.lock:
            self.session.worker.cancel("estimate")
            self._full = None
            if self._found:
                self._found = []
                self.write("estimates", {})

    def _run(self, request: wire.EstimateMap, full: MapBuilder) -> Generator[None, None, None]:
        """Job: two passes forward and one back; they are one step."""
        model = self.session.model
        began = model.fingerprint
        try:
            made = estimate(request, full)
        except Exception as error:
            if model_changed(model, began, error):
                return
            made = _estimate(request, note=f"No estimate: {error_text(error)}")
        with self.session.lock:
            if full is self._full:
                others = [one for one in self._found if _aim(one) != _aim(made)]
                self._found = [*others, made][-MOST:]
                message = wire.Estimates(**full.key, found=self._found)
                self.write("estimates", message.model_dump())
        yield


def estimate(request: wire.EstimateMap, full: MapBuilder) -> wire.Estimate:
    """Estimate every cell of a map, and set it beside what the cell gave.

    Raises:
        RequestError: a map for which there is no gradient.
    """
    if full.held:
        raise RequestError(
            f"the map holds {full.held} slot{'s' if full.held > 1 else ''}, and gradients are of "
            f"the base without held slots: release {'them' if full.held > 1 else 'it'}."
        )
    aim = [token for token in (request.target, request.other) if token is not None]
    several = len(full.plans) > 1
    found = run_passes(full.plans, aim, request.metric, 1, several=several).estimates
    # `(layers, heads, positions)` of several heads; a map has the cells of one head after another.
    values = (found.transpose(0, 1) if several else found).flatten().numpy()
    exact = np.array([_change(cell, request, full) for cell in full.cells])
    may = np.array([cell.idle is None for cell in full.cells])
    frame = pd.DataFrame({"exact": exact, "estimate": values, "effect_possible": may})
    missed = false_negatives(values, exact, may, SHARE, KEPT)
    return _estimate(
        request,
        values=[float(f"{value:.6g}") for value in values],
        missed=[int(n) for n in np.flatnonzero(missed)],
        correlation=correlations(frame)[0],
    )


def _change(cell: wire.Cell, request: wire.EstimateMap, full: MapBuilder) -> float:
    """The metric in a cell − in the base run; NaN where there is no distribution."""
    if not cell.probabilities:
        return float("nan")
    base = full.log_base.exp()

    def change(token: int) -> float:
        now, before = cell.probabilities[full.targets.index(token)], float(base[token])
        if request.metric == "probability":
            return now - before
        with np.errstate(divide="ignore"):
            return float(np.log(now) - np.log(before))

    if request.metric == "logit_difference" and request.other is not None:
        return change(request.target) - change(request.other)
    return change(request.target)


def _estimate(
    request: wire.EstimateMap,
    *,
    values: list[float | None] | None = None,
    missed: list[int] | None = None,
    correlation: float | None = None,
    note: str | None = None,
) -> wire.Estimate:
    return wire.Estimate(
        metric=request.metric,
        target=request.target,
        other=request.other,
        values=values or [],
        missed=missed or [],
        correlation=correlation,
        note=note,
    )


def _aim(one: wire.Estimate) -> tuple[str, int, int | None]:
    return one.metric, one.target, one.other
