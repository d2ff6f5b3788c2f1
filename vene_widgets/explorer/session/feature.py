"""Feature: one panel of the explorer, on the kernel's side.

A feature owns the traits that it writes, the requests that it handles and its kinds of job. The
session knows the features of `features.FEATURES` only by this interface.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import traitlets

from vene_widgets.explorer.wire.messages import Wire

if TYPE_CHECKING:
    from vene_widgets.engine.cache import ActivationCache
    from vene_widgets.engine.planning import Plan
    from vene_widgets.experiments.experiment import Experiment
    from vene_widgets.explorer.exact_runs import ExactRuns
    from vene_widgets.explorer.export.share_token import Shared
    from vene_widgets.explorer.session.worker import Job, Worker
    from vene_widgets.models import LanguageModel
    from vene_widgets.models.fingerprint import Fingerprint
    from vene_widgets.sweeps.pairs.pair_run import PairRun
    from vene_widgets.sweeps.pairs.results import PairSweep

FIRST_WAIT = 10.0
"""Seconds that Python waits for a first result: a map, a story, a sentence."""

ATTEMPTS = 3
"""How often a job begins anew when the model changes while it runs."""

F = TypeVar("F", bound="Feature")

Changes = Mapping[type[Wire], Callable[[Any], None]]
"""Class of a request -> its handler."""

Questions = Mapping[type[Wire], Callable[[Any], Mapping[str, Any] | None]]
"""Class of a request -> its handler, which returns the reply's own fields."""


@dataclass(frozen=True)
class JobKind:
    """One kind of job of the session's worker.

    Attributes:
        name: for `Session.submit` and `Worker`.
        error_title: begins the error that `status` shows when such a job raises.
        finishes: whether a running job continues to its end when a new one arrives.
        is_awaited: whether `Session.wait` waits for it.
    """

    name: str
    error_title: str
    finishes: bool = False
    is_awaited: bool = True


@dataclass(frozen=True)
class Start:
    """What an explorer opens with.

    Attributes:
        component: the first one that the map sweeps.
        shared: the state of a share token to restore; None for a new explorer.
        pairs: a data set that has run, or one to run; None for an explorer of one experiment.
    """

    component: str
    shared: Shared | None = None
    pairs: PairSweep | PairRun | None = None


class Host(Protocol):
    """The session, as features see it.

    Attributes:
        last_error: of the newest job that failed; None once an experiment has been answered.
    """

    last_error: Exception | None

    @property
    def model(self) -> LanguageModel: ...

    @property
    def experiment(self) -> Experiment:
        """The experiment on the screen."""
        ...

    @property
    def plan(self) -> Plan | None:
        """Of the experiment of the newest revision."""
        ...

    @property
    def revision(self) -> int:
        """Counts experiments that began, from 1."""
        ...

    @property
    def model_since(self) -> int:
        """The first revision of the model's current state."""
        ...

    @property
    def is_open(self) -> bool: ...

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Reentrant; guards what requests, Python and jobs change."""
        ...

    @property
    def worker(self) -> Worker: ...

    @property
    def cache(self) -> ActivationCache:
        """Plain runs by prompt."""
        ...

    @property
    def features(self) -> Iterable[Feature]: ...

    def feature(self, kind: type[F]) -> F: ...

    def submit(self, kind: str, job: Job) -> None:
        """Queue a job; the session lives until it has ended."""
        ...

    def set_experiment(self, experiment: Experiment, request: str | None) -> None:
        """Change the experiment; an equal one runs again."""
        ...

    def set_status(self, **changes: Any) -> None:
        """Change some fields of the trait `status`."""
        ...

    def set_trait(self, name: str, value: Any) -> None: ...

    def observe(self, handler: Callable[[Any], None], names: str) -> None: ...

    def notice_changes(self) -> None:
        """Look whether the model has changed, and compute the present experiment anew if so."""
        ...

    def detect_model_change(
        self, now: Fingerprint | None = None, *, begin: bool = False, since: int | None = None
    ) -> bool: ...

    def send(self, content: Any, buffers: Any = None) -> None:
        """Send a message to the browser."""
        ...


class Feature:
    """Base of all features. Every hook does nothing unless a feature overrides it.

    A feature refers to its session weakly, so that an explorer is freed when nothing else refers to
    it. Jobs hold the session (`Session.submit`); other threads must hold it themselves.

    Args:
        session: the session, of which only the features listed before this one exist yet.
        start: what the explorer opens with.
    """

    traits: ClassVar[Mapping[str, Any]] = {}
    """Name -> a traitlets trait of the widget. Only this feature writes it."""

    jobs: ClassVar[tuple[JobKind, ...]] = ()
    """Kinds of job, most urgent first."""

    def __init__(self, session: Host, start: Start) -> None:
        self._session = weakref.ref(session)

    @property
    def session(self) -> Host:
        """The session.

        Raises:
            ReferenceError: it is gone.
        """
        session = self._session()
        if session is None:
            raise ReferenceError("the explorer of this feature is gone")
        return session

    @property
    def changes(self) -> Changes:
        """Requests that change something; the model is compared with its last state before."""
        return {}

    @property
    def questions(self) -> Questions:
        """Requests that change nothing and start no job: they are answered while the model runs.

        A handler returns the reply's own fields. With None the feature sends the reply itself,
        later.
        """
        return {}

    def write(self, trait: str, value: Any) -> None:
        """Write one of the feature's traits."""
        assert trait in self.traits  # noqa: S101  # every trait has one writer
        self.session.set_trait(trait, value)

    # hooks ---------------------------------------------------------------------------------------

    def opened(self) -> None:
        """The widget and its worker exist; the first experiment begins next."""

    def experiment_began(self, plan: Plan, revision: int) -> None:
        """An experiment is on the screen, not answered yet. Called under the lock."""

    def inputs_changed(self, plan: Plan, *, has_new_prompts: bool) -> None:
        """The prompts or the model are new: compute what depends on nothing else.

        Called under the lock, after `experiment_began` if an experiment began.

        Args:
            plan: of the experiment on the screen.
            has_new_prompts: whether the prompts are new; else only the model is.
        """

    def model_changed(self) -> None:
        """Drop, or mark as old, what is of the model's earlier state. Called under the lock."""

    def answered(self, result: ExactRuns, revision: int) -> None:
        """The experiment on the screen has its exact answer. Called on the worker's thread."""

    def await_experiment(self, timeout: float | None) -> None:
        """Block until this feature is about to begin no experiment.

        Args:
            timeout: seconds to wait; None waits for ever.
        """

    def cancel(self) -> None:
        """Drop queued and running jobs; the last good state stays."""

    def close(self, session: Host) -> None:
        """Release resources and drop runs; called once, after the worker has ended.

        Args:
            session: the session, to which the weak references may be gone: a garbage collection
                clears them before it closes what it found.
        """


def message_trait(*, on_page: bool = False) -> Any:
    """A synchronised trait that holds one of `wire.messages` as a dict.

    Args:
        on_page: whether a saved page contains it.
    """
    return traitlets.Dict().tag(sync=True, page=on_page)
