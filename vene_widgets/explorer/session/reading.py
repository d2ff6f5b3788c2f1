"""ReadingFeature: what is read of the experiment on the screen when a view shows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from vene_widgets.engine.own_model import model_changed
from vene_widgets.explorer.session.feature import ATTEMPTS, Feature, Host, Start
from vene_widgets.explorer.wire.error_text import error_text

if TYPE_CHECKING:
    from vene_widgets.engine.planning import Plan
    from vene_widgets.explorer.wire.messages import (
        AttentionGrid,
        CircuitGrid,
        LensGrid,
        PathGrid,
    )

STOPPED = "The reading was stopped: choose it again."

PATIENCE = 0.2
"""Seconds between two updates of the progress."""

T = TypeVar("T")


class ReadingFeature(Feature):
    """Reads the experiment on the screen when it is asked to, and writes what it read.

    The screen asks anew when it shows a reading and the experiment has changed, so nothing is read
    that nobody sees. What was read of an earlier experiment or model stays: its `revision` and
    `experiment` say of which it is.
    """

    name: ClassVar[str]
    """Of the trait, and of the kind of job."""

    empty: ClassVar[LensGrid | AttentionGrid | PathGrid | CircuitGrid]
    """Before anything has been read."""

    def __init__(self, session: Host, start: Start) -> None:
        super().__init__(session, start)
        self._shown = self.empty
        self._reading: object = None  # the newest request, whose job may still write

    def begin_reading(
        self,
        request: object,
        steps: Callable[[Plan], Generator[float | None, None, T]],
        message: Callable[[T, Plan, int], Any],
    ) -> None:
        """Queue a reading of the experiment on the screen.

        Args:
            request: the browser's.
            steps: of the reading; yields how much has been read, 0 to 1, None if it is not known.
            message: what the screen shows of the result, of this plan and revision.
        """
        session = self.session
        with session.lock:
            plan, revision = session.plan, session.revision
            assert plan is not None  # noqa: S101  # the widget opens with an experiment
            self._reading = request
            if self._shown.note is not None:
                self._note(None)
            session.submit(
                self.name,
                lambda: self._read(request, plan, steps, lambda it: message(it, plan, revision)),
            )

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
            session.worker.cancel(self.name)
        return was_reading

    def _note(self, note: str | None) -> None:
        """Say why there is no newer reading; the last one stays."""
        self._write(self._shown.model_copy(update={"note": note}))

    def _write(self, message: Any) -> None:
        self._shown = message
        self.write(self.name, message.model_dump())

    def _show(self, request: object, message: Any) -> None:
        """Show a reading, unless it was stopped or another one was asked for."""
        session = self.session
        with session.lock:
            if request is self._reading:
                self._reading = None
                self._write(message)
                session.set_status(progress=None)

    def _read(
        self,
        request: object,
        plan: Plan,
        steps: Callable[[Plan], Generator[float | None, None, T]],
        message: Callable[[T], Any],
    ) -> Generator[None, None, None]:
        """Job: read one experiment; begin again if the model changes meanwhile."""
        model = self.session.model
        for attempt in range(ATTEMPTS):
            began = model.fingerprint
            try:
                found = yield from self._free_between(steps(plan))
            except Exception as error:
                changed = model_changed(model, began, error)
                if changed is None or attempt == ATTEMPTS - 1:
                    note = error_text(changed or error)
                    self._show(request, self._shown.model_copy(update={"note": note}))
                    return
                yield
            else:
                self._show(request, message(found))
                return

    def _free_between(self, steps: Generator[float | None, None, T]) -> Generator[None, None, T]:
        """Take some steps, between which the model is free; says now and then how far they are."""
        due = time.monotonic() + PATIENCE
        while True:
            try:
                share = next(steps)
            except StopIteration as end:
                return end.value
            if share is not None and time.monotonic() > due:
                self.session.set_status(progress=share)
                due = time.monotonic() + PATIENCE
            yield
