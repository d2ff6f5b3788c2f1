"""The logit lens of the experiment on the screen: what every layer would answer."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TYPE_CHECKING, ClassVar

from vene_widgets.engine.own_model import model_changed
from vene_widgets.errors import RequestError
from vene_widgets.explorer.session.feature import (
    ATTEMPTS,
    Changes,
    Feature,
    Host,
    JobKind,
    Start,
    message_trait,
)
from vene_widgets.explorer.session.history_records import normal_form
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire import views
from vene_widgets.explorer.wire.error_text import error_text
from vene_widgets.explorer.wire.numbers import float_rows, int_rows
from vene_widgets.methods.lens import Lens, lens_steps

if TYPE_CHECKING:
    from vene_widgets.engine.planning import Plan

STOPPED = "The reading was stopped: choose the lens again."

MOST_TARGETS = 8
"""Tokens whose ranks are read, the newest ones: several views of a widget may ask for others."""

PATIENCE = 0.2
"""Seconds between two updates of the progress."""

EMPTY = wire.LensGrid(
    revision=0, note=None, experiment=None, layers=[], tokens=[], targets=[], runs=[]
)


class LensFeature(Feature):
    """Reads the experiment on the screen when it is asked to, and writes `lens`.

    The screen asks anew when it shows a lens and the experiment has changed, so nothing is read
    that nobody sees.
    """

    traits: ClassVar = {"lens": message_trait(on_page=True)}
    jobs = (JobKind("lens", "The layers could not be read", is_awaited=False),)

    def __init__(self, session: Host, start: Start) -> None:
        super().__init__(session, start)
        self._shown = EMPTY
        self._reading: object = None  # the newest request, whose job may still write
        self._targets: list[int] = []

    @property
    def changes(self) -> Changes:
        """Read the layers."""
        return {wire.ReadLens: self.begin}

    def begin(self, request: wire.ReadLens) -> None:
        """Queue a reading of the experiment on the screen.

        Raises:
            RequestError: a target is no token of the model, or too many targets.
        """
        session = self.session
        if len(request.targets) > MOST_TARGETS:
            raise RequestError(
                f"{len(request.targets)} targets were given, at most {MOST_TARGETS} are possible."
            )
        wanted = [session.model.resolve_token(token) for token in request.targets]
        with session.lock:
            plan, revision = session.plan, session.revision
            assert plan is not None  # noqa: S101  # the widget opens with an experiment
            self._targets = list(dict.fromkeys([*wanted, *self._targets]))[:MOST_TARGETS]
            targets, self._reading = self._targets, request
            if self._shown.note is not None:
                self._note(None)
            session.submit("lens", lambda: self._read_anew(request, plan, revision, targets))

    def experiment_began(self, plan: Plan, revision: int) -> None:
        """Stop a reading of the experiment before; what it read last stays."""
        self._stop()

    def model_changed(self) -> None:
        """Stop; what was read before is old, which its revision says."""
        self._stop()

    def cancel(self) -> None:
        """Stop a reading; the last one stays."""
        if self._stop():
            self._note(STOPPED)

    def _stop(self) -> bool:
        """Stop a reading; whether there was one."""
        session = self.session
        with session.lock:
            was_reading, self._reading = self._reading is not None, None
            session.worker.cancel("lens")
        return was_reading

    def _note(self, note: str | None) -> None:
        """Say why there is no newer reading; the last one stays."""
        self._write(self._shown.model_copy(update={"note": note}))

    def _write(self, message: wire.LensGrid) -> None:
        self._shown = message
        self.write("lens", message.model_dump())

    def _show(self, request: object, message: wire.LensGrid) -> None:
        """Show a reading, unless it was stopped or another one was asked for."""
        session = self.session
        with session.lock:
            if request is self._reading:
                self._reading = None
                self._write(message)
                session.set_status(progress=None)

    def _read_anew(
        self, request: wire.ReadLens, plan: Plan, revision: int, targets: list[int]
    ) -> Generator[None, None, None]:
        """Job: read one experiment; begin again if the model changes meanwhile."""
        model = self.session.model
        for attempt in range(ATTEMPTS):
            began = model.fingerprint
            try:
                found = yield from self._read(plan, targets)
            except Exception as error:
                changed = model_changed(model, began, error)
                if changed is None or attempt == ATTEMPTS - 1:
                    note = error_text(changed or error)
                    self._show(request, self._shown.model_copy(update={"note": note}))
                    return
                yield
            else:
                self._show(request, _message(found, plan, revision))
                return

    def _read(self, plan: Plan, targets: list[int]) -> Generator[None, None, Lens]:
        """Read every layer, a chunk at a time; in between the model is free."""
        session = self.session
        due = time.monotonic() + PATIENCE
        steps = lens_steps(session.model, plan.experiment, targets=targets)
        while True:
            try:
                share = next(steps)
            except StopIteration as end:
                return end.value
            if time.monotonic() > due:
                session.set_status(progress=share)
                due = time.monotonic() + PATIENCE
            yield


def _message(found: Lens, plan: Plan, revision: int) -> wire.LensGrid:
    """A lens as the screen shows it."""
    best = {name: [row[0] for row in int_rows(one.top)] for name, one in found.cells.items()}
    ids = list(dict.fromkeys(token for run in best.values() for token in run))
    index = {token: n for n, token in enumerate(ids)}

    def named(token: int) -> wire.LensToken:
        return wire.LensToken(token_id=token, label=views.label(found.model, token))

    def by_target(rows: list[list[float]]) -> list[list[float]]:
        return [[row[n] for row in rows] for n in range(len(found.targets))]

    return wire.LensGrid(
        revision=revision,
        note=None,
        experiment=normal_form(plan),
        layers=list(found.layers),
        tokens=[named(token) for token in ids],
        targets=[named(token) for token in found.targets],
        runs=[
            wire.LensRun(
                name=name,
                length=len(found.tokens[name]),
                best=[index[token] for token in best[name]],
                probabilities=[row[0] for row in float_rows(one.top_log_p.exp())],
                ranks=[list(map(int, column)) for column in by_target(float_rows(one.ranks))],
                shares=by_target(float_rows(one.log_p.exp())),
            )
            for name, one in found.cells.items()
        ],
    )
