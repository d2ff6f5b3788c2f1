"""The history: the strip of answered experiments, to return to and to name."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import suppress
from typing import ClassVar

from vene_widgets.engine.planning import Plan, plan_experiment
from vene_widgets.errors import RequestError
from vene_widgets.explorer.exact_runs import run_exactly
from vene_widgets.explorer.session import shared_history
from vene_widgets.explorer.session.feature import (
    Changes,
    Feature,
    Host,
    JobKind,
    Start,
    message_trait,
)
from vene_widgets.explorer.session.history_records import History
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire import views


class HistoryFeature(Feature):
    """Keeps the answered experiments, and writes `past`.

    Attributes:
        history: the entries; the session's lock guards them.
    """

    traits: ClassVar = {"past": message_trait(on_page=True)}
    jobs = (JobKind("history", "The history could not be run again"),)

    def __init__(self, session: Host, start: Start) -> None:
        super().__init__(session, start)
        self.history = History()
        if start.shared is not None:
            self.history = shared_history.from_shared(start.shared, session.model)

    @property
    def changes(self) -> Changes:
        """The name of an entry, and the entries of a lost kernel."""
        return {
            wire.NameEntry: lambda request: self.name(request.number, request.name),
            wire.RunHistory: lambda request: self.session.submit(
                "history", lambda: self._run_again(request.entries)
            ),
        }

    def record(self, plan: Plan, answer: wire.Answer, *, is_current: bool = True) -> int:
        """Add an answered experiment.

        Args:
            plan: of the experiment.
            answer: its exact answer.
            is_current: whether it is the newest answer on the screen.

        Returns:
            The number of its entry.
        """
        final = answer.runs[-1 if plan.experiment.live else 0]
        with self.session.lock:
            number = self.history.add(
                plan, answer.sentence, final.top[0], answer.revision, is_current=is_current
            )
            self.write("past", self.history.to_wire())
        return number

    def name(self, number: int, name: str | None) -> None:
        """Name an entry, or remove its name.

        Raises:
            RequestError: no such entry, a name that is taken or reserved, or one name too many.
        """
        with self.session.lock:
            self.history.name(number, name)
            self.write("past", self.history.to_wire())

    def cancel(self) -> None:
        """Drop what has not run again yet."""
        self.session.worker.cancel("history")

    def close(self, session: Host) -> None:
        """Drop the entries."""
        self.history.clear()

    def _run_again(self, entries: Sequence[wire.PastExperiment]) -> Generator[None, None, None]:
        """Job: the exact results of earlier experiments; the one on the screen stays."""
        session, model = self.session, self.session.model
        for past in entries:
            yield
            revision = session.revision  # a model that changes from here on makes the result old
            try:
                plan = plan_experiment(model, past.experiment)
            except RequestError:  # of another model, or with an operator that is not registered
                continue
            for result in run_exactly(model, plan, session.cache):
                yield
                if result is None:
                    continue
                answer = views.answer(model, result, plan, revision)
                number = self.record(plan, answer, is_current=False)
                with suppress(RequestError):  # the name has been given to another one meanwhile
                    if past.name:
                        self.name(number, past.name)
