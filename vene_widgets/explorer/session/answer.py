"""The answer: the exact runs of the experiment on the screen."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, ClassVar

from vene_widgets.engine.own_model import ModelChanged, model_changed
from vene_widgets.errors import RequestError
from vene_widgets.explorer.exact_runs import ExactRuns, run_exactly
from vene_widgets.explorer.session.feature import (
    ATTEMPTS,
    FIRST_WAIT,
    Feature,
    Host,
    JobKind,
    Start,
    message_trait,
)
from vene_widgets.explorer.session.history import HistoryFeature
from vene_widgets.explorer.session.story import StoryFeature
from vene_widgets.explorer.wire import views

if TYPE_CHECKING:
    from vene_widgets.engine.planning import Plan
    from vene_widgets.models.fingerprint import Fingerprint


class AnswerFeature(Feature):
    """Runs every experiment that begins, exactly, and writes `answer`.

    Attributes:
        latest: the newest result; None before the first one.
        latest_revision: the experiment that it is of.
    """

    traits: ClassVar = {"answer": message_trait(on_page=True)}
    jobs = (JobKind("answer", "The run failed", finishes=True),)

    def __init__(self, session: Host, start: Start) -> None:
        super().__init__(session, start)
        self.latest: ExactRuns | None = None
        self.latest_revision = 0
        self._sentence: str | None = None

    @property
    def result(self) -> ExactRuns:
        """All exact runs of the current experiment; waits for them.

        Raises:
            RequestError: the explorer is closed, or the run was cancelled.
            Exception: the one that the run raised.
        """
        session = self.session
        session.notice_changes()
        session.worker.wait("answer")
        if self.latest is None or self.latest_revision != session.revision:
            if not session.is_open:
                raise RequestError("the explorer is closed; make a new one")
            raise session.last_error or RequestError(
                "the run was cancelled: assign explorer.experiment, or click a tile, to run again"
            )
        return self.latest

    def sentence(self) -> str:
        """The result in words, for reprs and viewers without scripts."""
        session = self.session
        if not session.is_open:
            return "closed"
        session.worker.wait("answer", FIRST_WAIT)
        return self._sentence or "the first answer is being computed"

    def experiment_began(self, plan: Plan, revision: int) -> None:
        """Queue the answer."""
        self.session.submit("answer", lambda: self._answer(plan, revision))

    def cancel(self) -> None:
        """Drop the queued run, and end the running one before its next step."""
        self.session.worker.cancel("answer")

    def close(self, session: Host) -> None:
        """Drop the runs."""
        self.latest = None
        session.cache.clear()

    def _answer(self, plan: Plan, revision: int) -> Generator[None, None, None]:
        """Job: the exact result of one experiment; its failure is shown while it is the present."""
        try:
            yield from self._compute(plan, revision)
        except Exception:
            if revision == self.session.revision:
                raise

    def _compute(self, plan: Plan, revision: int) -> Generator[None, None, None]:
        """Run an experiment, and show and record its answer; yields between the runs."""
        session = self.session
        result, state = yield from self._run(plan)
        session.detect_model_change(state, since=revision)
        answer = views.answer(session.model, result, plan, revision)
        if revision < self.latest_revision:
            return
        session.feature(HistoryFeature).record(plan, answer)
        is_current = revision == session.revision
        if is_current:
            self.latest, self.latest_revision, session.last_error = result, revision, None
        self._sentence = answer.sentence
        self.write("answer", answer.model_dump())
        if is_current:
            session.set_status(busy=None, progress=None)
            for feature in session.features:
                feature.answered(result, revision)

    def _run(self, plan: Plan) -> Generator[None, None, tuple[ExactRuns, Fingerprint]]:
        """Run an experiment; begin again if the model changes meanwhile.

        Returns:
            The result and the model's state that it is of, as the generator's value.
        """
        session, model = self.session, self.session.model
        change: str | None = None
        for attempt in range(ATTEMPTS):
            if attempt:
                yield
            state, result = model.fingerprint, None
            known = session.feature(StoryFeature).known(plan.experiment, state)
            try:
                for result in known or run_exactly(model, plan, session.cache, state):
                    if result is None:
                        yield
            except Exception as error:
                if model_changed(model, state, error) is None:
                    raise
                change = state.difference(model.fingerprint) or "there and back"
                continue
            change = state.difference(model.fingerprint)
            if change is None and result is not None:
                return result, state
        raise ModelChanged(
            f"the model is changing while it runs ({change}), so there is no exact answer yet. "
            "Run again when it no longer changes"
        )
