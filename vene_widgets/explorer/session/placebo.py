"""Placebo: the map's controls, run beside the clicks when someone asks for them."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, ClassVar

from vene_widgets.engine.own_model import model_changed, require_unchanged
from vene_widgets.explorer.session.feature import (
    Changes,
    Feature,
    Host,
    JobKind,
    Start,
    message_trait,
)
from vene_widgets.explorer.session.map import MapFeature
from vene_widgets.explorer.session.map_builder import MapBuilder
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire.error_text import error_text
from vene_widgets.explorer.wire.numbers import float_rows, floats, int_rows
from vene_widgets.methods.placebo import checked_placebos, control_plan_steps
from vene_widgets.sweeps.cells import sweep_steps
from vene_widgets.sweeps.preparing import prepare_sweeps
from vene_widgets.tables.statistics import (
    cell_statistics,
    checked_distribution,
    log_probabilities,
)

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.sweeps.planning import SweepPlan

DRAWS, OF_WEIGHTS = 5, 3
"""How often a control is drawn; a copy of the model takes longer."""

STOPPED = "The controls were stopped."


class PlaceboFeature(Feature):
    """Runs the controls of the map on the screen, and writes `placebo`.

    What it has written goes with the map: another sweep, or a model that has changed, drops it.
    """

    traits: ClassVar = {"placebo": message_trait(on_page=True)}
    jobs = (JobKind("placebo", "The controls could not be run", is_awaited=False),)

    def __init__(self, session: Host, start: Start) -> None:
        super().__init__(session, start)
        self._shown: wire.Placebo | None = None  # of a run that may still write, or has ended
        session.feature(MapFeature).on_begin.append(self._drop)

    @property
    def changes(self) -> Changes:
        """Run them."""
        return {wire.RunPlacebo: self.begin}

    def begin(self, request: wire.RunPlacebo) -> None:
        """Queue the controls of the map.

        Raises:
            RequestError: there is no full map.
        """
        session = self.session
        with session.lock:
            full = session.feature(MapFeature).full_map("a control")
            names = checked_placebos(None, full.plan)
            message = _message(request, full, names)
            self._write(message)
            session.submit("placebo", lambda: self._run(message, full))

    def model_changed(self) -> None:
        """Stop, and drop what is of the earlier model."""
        self._drop()

    def cancel(self) -> None:
        """Stop the run; draws that have ended stay."""
        session = self.session
        with session.lock:
            is_running = session.worker.is_busy("placebo")
            session.worker.cancel("placebo")
            if is_running and self._shown is not None:
                self._end(self._shown.model_copy(update={"share": None, "note": STOPPED}))

    def _drop(self) -> None:
        session = self.session
        with session.lock:
            session.worker.cancel("placebo")
            if self._shown is not None:
                self._shown = None
                self.write("placebo", {})
                session.set_status(progress=None)

    def _write(self, message: wire.Placebo) -> None:
        self._shown = message
        self.write("placebo", message.model_dump())
        self.session.set_status(progress=message.share)

    def _end(self, message: wire.Placebo) -> None:
        self._write(message.model_copy(update={"request": ""}))

    def _show(self, message: wire.Placebo) -> None:
        """Show a message, unless its run was stopped or dropped."""
        with self.session.lock:
            if self._shown is not None and self._shown.request == message.request:
                self._write(message)

    def _run(self, message: wire.Placebo, full: MapBuilder) -> Generator[None, None, None]:
        """Job: one draw after the other; the model is free between two steps of each."""
        model = self.session.model
        began, plans = model.fingerprint, full.plans
        drawn: list[wire.ControlDraw] = []
        total = sum(map(draws_of, message.controls))
        try:
            for name in message.controls:
                for seed in range(draws_of(name)):
                    own = yield from control_plan_steps(plans, name, seed)
                    drawn.append((yield from _draw(name, own, full)))
                    require_unchanged(model, began, model.fingerprint)
                    share = len(drawn) / total
                    update = {"draws": [*drawn], "share": share if share < 1 else None}
                    self._show(message.model_copy(update=update))
                    yield
        except Exception as error:
            if model_changed(model, began, error):
                self._drop()
                return
            note = f"The controls could not be run: {error_text(error)}"
            self._show(message.model_copy(update={"draws": drawn, "share": None, "note": note}))


def draws_of(name: str) -> int:
    """How often a control is drawn."""
    return OF_WEIGHTS if name == "shuffled_weights" else DRAWS


def _message(request: wire.RunPlacebo, full: MapBuilder, names: tuple[str, ...]) -> wire.Placebo:
    """The message of a run that begins."""
    return wire.Placebo(
        **full.key,
        request=request.id,
        targets=full.targets,
        controls=list(names),
        base=_readings(full.log_base[None], full.log_base, full)[0],
        draws=[],
        share=0.0,
        note=None,
    )


def _draw(
    name: str, plans: list[SweepPlan], full: MapBuilder
) -> Generator[None, None, wire.ControlDraw]:
    """One draw of a control over the cells of the map.

    Raises:
        RequestError: its base run has no distribution.
    """
    prepared = prepare_sweeps(plans)
    base = checked_distribution(prepared[0].base_logits, f"base logits of {name!r}").cpu()
    log_base = log_probabilities(base)
    cells: list[wire.Reading] = []
    for row in sweep_steps(*prepared):
        if row is not None:
            cells += _readings(row.logits.cpu(), log_base, full)
        yield
    (own,) = _readings(base[None], log_base, full)
    return wire.ControlDraw(control=name, base=own, cells=cells)


def _readings(logits: Tensor, log_base: Tensor, full: MapBuilder) -> list[wire.Reading]:
    """What the map's metrics read of some runs, `(runs, vocabulary)`.

    Args:
        logits: at the last position.
        log_base: ln P of their base run.
        full: the map, whose tokens and source are read.
    """
    found = cell_statistics(logits, log_base, full.targets, log_source=full.log_source)
    rows = zip(
        float_rows(found.log_p.exp()),
        int_rows(found.ranks),
        floats(found.kl),
        floats(found.kl_source),
        strict=True,
    )
    return [
        wire.Reading(
            probabilities=[_short(one) for one in probabilities],
            ranks=ranks,
            kl=_short(kl),
            kl_source=_short(kl_source),
        )
        for probabilities, ranks, kl, kl_source in rows
    ]


def _short(value: float) -> float:
    """A number with six digits: many maps are sent."""
    return float(f"{value:.6g}")
