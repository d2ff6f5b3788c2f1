# pyright: basic
# Basic: this is the traits' edge, and traitlets, ipywidgets and anywidget are untyped.
"""FeatureWidget: a widget that consists of features: their traits, jobs, requests and hooks."""

from __future__ import annotations

import sys
import threading
from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any

import anywidget
import pydantic

from vene_widgets.explorer.session import lifetime
from vene_widgets.explorer.session.feature import (
    Changes,
    F,
    Feature,
    Questions,
    Start,
    message_trait,
)
from vene_widgets.explorer.session.features import FEATURES
from vene_widgets.explorer.session.worker import Job, Worker
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire.error_text import error_text
from vene_widgets.explorer.wire.incoming import check_size, printable

if TYPE_CHECKING:
    from typing_extensions import Self

REQUESTS: pydantic.TypeAdapter[wire.Request] = pydantic.TypeAdapter(wire.Request)
"""Validates what the browser sends."""

_WithTraits: Any = type(
    "WithTraits",
    (anywidget.AnyWidget,),
    {name: trait for feature in FEATURES for name, trait in feature.traits.items()},
)
"""A widget with the traits of all features."""


class FeatureWidget(_WithTraits):
    """A widget of all features in `features.FEATURES`, with one worker for their jobs.

    Attributes:
        lock: reentrant; guards what requests, Python and jobs change.
        worker: runs the features' jobs.
        last_error: of the newest job that failed; None once an experiment has been answered.
        is_open: whether the widget is complete, and `close` has not been called.
    """

    status = message_trait()  # written by set_status
    is_open = False

    def __init__(self, start: Start, **traits: Any) -> None:
        self.lock = threading.RLock()
        self.last_error: Exception | None = None
        self._features: dict[type[Feature], Feature] = {}
        for kind in FEATURES:
            self._features[kind] = kind(self, start)
        self._changes: Changes = {
            request: handle
            for feature in self.features
            for request, handle in feature.changes.items()
        }
        self._questions: Questions = {
            request: handle
            for feature in self.features
            for request, handle in feature.questions.items()
        }
        super().__init__(**traits)
        self._jobs = {job.name: job for feature in FEATURES for job in feature.jobs}
        self.worker = Worker(
            tuple(self._jobs),
            self._job_failed,
            finishes=[job.name for job in self._jobs.values() if job.finishes],
        )
        for feature in self.features:
            feature.opened()
        self.is_open = True
        self._allow_subshell_messages()
        self.on_msg(_receive)
        lifetime.hold_weakly(self, self.worker)

    @property
    def features(self) -> tuple[Feature, ...]:
        """All features, in the order of `features.FEATURES`."""
        return tuple(self._features.values())

    def feature(self, kind: type[F]) -> F:
        """The feature of this class."""
        found = self._features[kind]
        assert isinstance(found, kind)  # noqa: S101
        return found

    def submit(self, kind: str, job: Job) -> None:
        """Queue a job of a feature; the session lives until it has ended (`Worker.submit`)."""
        self.worker.submit(kind, partial(_held, self, job))

    def wait(self, timeout: float | None = None) -> Self:
        """Block until story, answer, comparison and map are ready.

        Args:
            timeout: seconds to wait for each of them; None waits for ever.

        Returns:
            The explorer itself.
        """
        for feature in self.features:
            feature.await_experiment(timeout)
        for job in self._jobs.values():
            if job.is_awaited:
                self.worker.wait(job.name, timeout)
        return self

    def close(self) -> None:
        """End the worker, release the figure process, drop all runs, remove the widget."""
        if self.is_open:
            self.is_open = False
            self.worker.close()
            for feature in reversed(self.features):
                feature.close(self)
            lifetime.forget(self)
        lifetime.close_layout(self)
        super().close()

    def __del__(self) -> None:
        # At interpreter exit modules may be gone, and everything ends anyway.
        if sys is not None and not sys.is_finalizing():
            super().__del__()

    # requests from the browser -------------------------------------------------------------------

    def receive(self, content: object) -> None:
        """Handle one request from the browser: validate, queue, reply.

        This is the only message handler. It runs on the thread that the front end uses and never
        waits. Every message gets a reply, whatever it is.

        Args:
            content: one of `messages.Request`, as JSON.
        """
        given: Any = content.get("id", "") if isinstance(content, dict) else ""
        request_id = printable(given)[:200] if isinstance(given, str) else ""
        fields: dict[str, Any] = {}
        error: str | None = None
        try:
            check_size(content)
            request = REQUESTS.validate_python(content)
            if type(request) in self._questions:
                answer = self._questions[type(request)](request)
                if answer is None:  # the feature replies later
                    return
                fields = dict(answer)
            else:
                self._change(request)
        except Exception as raised:  # a handler that raises would leave the browser waiting
            error = error_text(raised)
        reply = wire.Reply(id=request_id, ok=error is None, error=error, **fields)
        self.send(reply.model_dump())

    def _allow_subshell_messages(self) -> None:
        """Keep the subshell that the front end chose for its messages.

        JupyterLab sends widget messages on a subshell, which handles them while a cell runs.
        ipykernel 7.4 redirects them to the shell that last published on the comm. That is the main
        shell, where they wait for the cell. Our handler only queues, so any shell may run it.
        """
        if hasattr(self.comm, "_reply_subshell_for"):
            self.comm._reply_subshell_for = lambda _data, default: default

    def _change(self, request: wire.Request) -> None:
        """Start the change that a request stands for."""
        if isinstance(request, wire.Cancel):
            self._cancel()
        else:
            self._changes[type(request)](request)

    def _cancel(self) -> None:
        """Stop all queued and running work; the last good state stays."""
        for feature in reversed(self.features):
            feature.cancel()
        self.set_status(busy=None, progress=None)

    # status --------------------------------------------------------------------------------------

    def set_status(self, **changes: Any) -> None:
        """Change some fields of `status`."""
        with self.lock:
            empty = {"busy": None, "progress": None, "error": None, "note": None}
            self.status = {**empty, **self.status, **changes}

    def _job_failed(self, kind: str, error: Exception) -> None:
        """Show the error of a job that raised; the last good state stays."""
        self.last_error = error
        title = self._jobs[kind].error_title
        self.set_status(busy=None, progress=None, error=f"{title}: {error_text(error)}")


def _receive(widget: FeatureWidget, content: object, _buffers: object) -> None:
    """Pass a message on; a function, so that the widget's callbacks do not hold the widget."""
    widget.receive(content)


def _held(_widget: FeatureWidget, job: Job) -> Generator[None, None, None]:
    """The steps of a job, during which the widget lives: features refer to it weakly."""
    yield from job()
