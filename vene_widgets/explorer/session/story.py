"""The story: experiments that a lecturer walks through step by step, all computed beforehand.

All steps are checked against the model before anything changes. The browser then shows a step
without a request to the kernel.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import traitlets

from vene_widgets.engine.own_model import ModelChanged
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.explorer.exact_runs import ExactRuns
from vene_widgets.explorer.session.feature import (
    Changes,
    Feature,
    Host,
    JobKind,
    Start,
    message_trait,
)
from vene_widgets.explorer.session.map import MapFeature
from vene_widgets.explorer.session.step import Step
from vene_widgets.explorer.session.story_builder import (
    ComputedStory,
    PlannedStory,
    compute,
    plan_story,
)
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.models.fingerprint import Fingerprint

if TYPE_CHECKING:
    _Int = traitlets.Int[Any, Any]
else:
    _Int = traitlets.Int  # without parameters in traitlets 5.7, which Colab has


class StepIndex(_Int):
    """Index of a step of the widget's story; others are refused."""

    def validate(self, obj: Any, value: Any) -> Any:
        """Check a new index.

        Raises:
            RequestError: no such step.
        """
        index = super().validate(obj, value)
        obj.feature(StoryFeature).experiment(index)
        return index


class _WalkContext(threading.local):
    """Whether this thread changes `step` as part of a walk, which sets the experiment too."""

    is_walking: bool = False


class StoryFeature(Feature):
    """Computes a story, writes `steps`, and walks to the step whose index `step` gets."""

    traits: ClassVar = {
        "steps": message_trait(on_page=True),
        "step": StepIndex(
            None,
            allow_none=True,
            help="index of the story's step, from 0; assigning another walks there",
        ).tag(sync=True),
    }
    # `await_experiment` waits for it.
    jobs = (JobKind("story", "The story could not be computed", is_awaited=False),)

    def __init__(self, session: Host, start: Start) -> None:
        super().__init__(session, start)
        self._context = _WalkContext()
        self._story = ComputedStory()
        self._arrival: threading.Thread | None = None  # shows a new story's first step
        session.observe(self._step_changed, "step")

    @property
    def changes(self) -> Changes:
        """A walk to a step."""
        return {wire.SetStep: lambda request: self.walk(request.step, request.id)}

    def present(self, steps: Iterable[Step | Mapping[str, Any]]) -> None:
        """Queue a story, which replaces the present one when it is computed.

        Raises:
            RequestError: a step that is invalid for the model; nothing has changed then.
        """
        session = self.session
        planned = plan_story(session.model, session.experiment, steps)
        session.submit("story", lambda: self._compute(planned))

    def known(self, experiment: Experiment, state: Fingerprint) -> list[ExactRuns]:
        """The exact result of one of the story's experiments.

        Args:
            experiment: any experiment.
            state: the model's.

        Returns:
            One result; none for other experiments, and if the story is of another state.
        """
        return self._story.known(experiment) if state == self._story.state else []

    def experiment(self, step: int) -> Experiment:
        """The experiment of a step, by its index from 0.

        Raises:
            RequestError: no such step.
        """
        return self._story.experiment(step)

    def walk(self, step: int, request: str | None = None) -> None:
        """Go to a step. `step` changes first, so that observers of the experiment can read it.

        Args:
            step: its index, from 0.
            request: id of the browser's request; None for changes from Python.

        Raises:
            RequestError: no such step.
        """
        experiment = self.experiment(step)
        self._context.is_walking = True
        try:
            self.write("step", step)
        finally:
            self._context.is_walking = False
        self.session.set_experiment(experiment, request)

    def await_experiment(self, timeout: float | None) -> None:
        """Block until no story is being computed and its first step is on the screen."""
        if self.session.worker.wait("story", timeout) and self._arrival not in (
            None,
            threading.current_thread(),
        ):
            self._arrival.join(timeout)

    def cancel(self) -> None:
        """Stop computing; the previous story stays."""
        self.session.worker.cancel("story")

    def close(self, session: Host) -> None:
        """Drop the story."""
        self._story = ComputedStory()

    def _compute(self, planned: PlannedStory) -> Generator[None, None, None]:
        """Job: compute every step, then show the first one."""
        session, model = self.session, self.session.model

        def show_progress(done: float) -> None:
            session.set_status(busy="story", progress=done)

        began = model.fingerprint
        sweep = session.feature(MapFeature).request
        story = yield from compute(model, planned, session.cache, sweep, show_progress)
        if (change := began.difference(model.fingerprint)) is not None:
            raise ModelChanged(f"the model changed while it ran ({change}); ask for it again")
        session.detect_model_change(began)
        story = dataclasses.replace(
            story,
            state=began,
            message=story.message.model_copy(update={"model_since": session.model_since}),
        )
        self._story = story
        session.set_status(busy=None, progress=None)
        self.write("steps", story.message.model_dump())
        # On another thread: observers of the experiment may wait for its run, and the worker cannot
        # wait for itself.
        self._arrival = threading.Thread(target=_show_first_step, args=(session,), daemon=True)
        self._arrival.start()

    def _step_changed(self, change: Mapping[str, Any]) -> None:
        if change["new"] is not None and not self._context.is_walking:
            self.session.set_experiment(self.experiment(change["new"]), None)


def _show_first_step(session: Host) -> None:
    """Walk to the first step; a function, so that its thread holds the session."""
    session.feature(StoryFeature).walk(0)
