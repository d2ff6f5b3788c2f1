# pyright: basic
# Basic: this is the traits' edge, and traitlets, ipywidgets and anywidget are untyped.
"""Session: the kernel side of the explorer. It turns requests into jobs and results into traits."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import sys
import threading
import time
import weakref
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, get_args

import anywidget
import pydantic
import traitlets

from vene_widgets.engine.cache import ActivationCache
from vene_widgets.engine.own_model import ModelChanged, require_unchanged
from vene_widgets.engine.planning import Plan, plan_experiment
from vene_widgets.errors import RequestError, choose
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.sweep_request import SweepRequest
from vene_widgets.explorer.exact_runs import ExactRuns, run_exactly
from vene_widgets.explorer.export import archive, share_token
from vene_widgets.explorer.export.snapshot import Snapshot
from vene_widgets.explorer.export.static_files import built
from vene_widgets.explorer.painter import shared as shared_painter
from vene_widgets.explorer.painter.orders import Drawing, DrawnFiles, FigureOrder, Picture
from vene_widgets.explorer.session import comparisons, lifetime, shared_history, stories
from vene_widgets.explorer.session.file_queue import FileQueue
from vene_widgets.explorer.session.history import History
from vene_widgets.explorer.session.map_builder import MapBuilder
from vene_widgets.explorer.session.worker import Worker
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire import views
from vene_widgets.explorer.wire.error_text import error_text
from vene_widgets.explorer.wire.incoming import check_size, check_source_names, printable
from vene_widgets.models import LanguageModel
from vene_widgets.sweeps.cells import sweep_rows
from vene_widgets.sweeps.planning import SweepPlan, plan_sweep
from vene_widgets.sweeps.preparing import prepare_sweep
from vene_widgets.tables.metrics import METRICS

if TYPE_CHECKING:
    import pandas as pd
    import plotnine as p9
    from typing_extensions import Self

    from vene_widgets.models.fingerprint import Fingerprint

FIRST_WAIT = 10.0
"""Seconds that `explore` waits for its map, so that the widget is shown and saved with it."""

MAX_TYPED_TOKENS = 8
"""Tokens typed by the user that the map carries, the newest ones."""

FIGURES: tuple[wire.FigureKind, ...] = get_args(wire.FigureKind)
"""Kinds of figure; the screen shows the first one at first."""

HOOKS_NOTE = "The model carries hooks or replaced methods of its own: they act in every run."

ATTEMPTS = 3
"""How often an exact run begins anew when the model changes while it runs."""

_requests: pydantic.TypeAdapter[wire.Request] = pydantic.TypeAdapter(wire.Request)


class _ChangeContext(threading.local):
    """Why this thread changes the experiment.

    Attributes:
        request: id of the browser's request; None for changes from Python.
        is_walking: whether the change of `step` is part of a walk, which sets the experiment too.
    """

    request: str | None = None
    is_walking: bool = False


class Session(anywidget.AnyWidget):
    """Kernel-side controller of the explorer; `Explorer` adds the Python interface.

    Each synchronised trait has one writer, this class, and holds one model of
    `explorer.wire.messages`; the browser only sends requests. One worker thread runs the model.
    """

    # Filled per instance, so that importing the module reads no files.
    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)
    scene = traitlets.Dict().tag(sync=True)  # written by _begin
    map = traitlets.Dict().tag(sync=True)  # written by the sweep job
    answer = traitlets.Dict().tag(sync=True)  # written by the answer job
    contrast = traitlets.Dict().tag(sync=True)  # written by _show_contrast
    past = traitlets.Dict().tag(sync=True)  # written by _record_answer and _name_entry
    picture = traitlets.Dict().tag(sync=True)  # written when a figure is drawn
    status = traitlets.Dict().tag(sync=True)  # written by _set_status
    steps = traitlets.Dict().tag(sync=True)  # written by the story job: a messages.Story
    step = traitlets.Int(
        None,
        allow_none=True,
        help="index of the story's step, from 0; assigning another walks there",
    ).tag(sync=True)
    experiment = traitlets.Instance(
        Experiment, help="the one on the screen; assigning another changes it"
    )

    def __init__(
        self,
        model: LanguageModel,
        experiment: Experiment,
        component: str = "block_output",
        shared: share_token.Shared | None = None,
        **traits: Any,
    ) -> None:
        self._ready = False
        self._model = model
        self._lock = threading.RLock()
        self._context = _ChangeContext()
        self._revision = 0
        self._validated: Plan | None = None  # the plan of the experiment that is being assigned
        self._plan: Plan | None = None
        self._result: ExactRuns | None = None
        self._answered = 0  # revision of _result
        self._error: Exception | None = None
        self._cache = ActivationCache()
        model.accept_hooks()
        self._fingerprint = model.fingerprint  # the state of the model that results are of
        self._model_since = 0  # the first revision of that state
        self._checksum: tuple[Fingerprint, int] | None = None
        self._history = History()
        self._comparison: wire.Compare | None = None
        self._sweep_request = SweepRequest(component=component)
        self._map: MapBuilder | None = None  # the one on the screen, maybe not full yet
        self._full_map: MapBuilder | None = None  # the newest full one
        self._typed: dict[int, str] = {}  # tokens typed by the user -> ids of their requests
        self._kind: wire.FigureKind = FIGURES[0]
        self._story = stories.ComputedStory()
        self._arrival: threading.Thread | None = None  # shows a new story's first step
        if shared is not None:
            self._sweep_request = shared.sweep_request
            self._kind = shared.figure
            self._history = shared_history.from_shared(shared, model)
        super().__init__(
            _esm=built("explorer.js"),
            _css=built("explorer.css"),
            experiment=experiment,
            **traits,
        )
        self._worker = Worker(
            ("answer", "contrast", "sweep", "follow", "story", "verify"),
            self._job_failed,
            finishes=("answer",),
        )
        self._files = FileQueue()
        self._painter = shared_painter.acquire(self)
        self._ready = True
        self._allow_subshell_messages()
        self.on_msg(_receive)
        lifetime.hold_weakly(self, self._worker)
        if model.tree.has_additions:
            self._set_status(note=HOOKS_NOTE)
        self._begin()

    @property
    def result(self) -> ExactRuns:
        """All exact runs of the current experiment; waits for them.

        Raises:
            RequestError: the explorer is closed.
            Exception: the one that the run raised.
        """
        self.notice_changes()
        self._worker.wait("answer")
        if self._result is None or self._answered != self._revision:
            if not self._ready:
                raise RequestError("the explorer is closed; make a new one")
            raise self._error or RequestError(
                "the run was cancelled: assign explorer.experiment, or click, to run it"
            )
        return self._result

    def wait(self, timeout: float | None = None) -> Self:
        """Block until story, answer, comparison and map are ready.

        Args:
            timeout: seconds to wait for each of them; None waits for ever.

        Returns:
            The explorer itself.
        """
        self._await_story(timeout)
        for kind in ("answer", "contrast", "sweep"):
            self._worker.wait(kind, timeout)
        return self

    def close(self) -> None:
        """End the worker, release the figure process, drop all runs, remove the widget."""
        if self._ready:
            self._ready = False
            self._worker.close()
            self._files.close()
            shared_painter.release(self)
            lifetime.forget(self)
            self._cache.clear()
            self._history.clear()
            self._map = self._full_map = None
            self._result = None
            self._story = stories.ComputedStory()
        lifetime.close_layout(self)
        super().close()

    def __del__(self) -> None:
        # At interpreter exit modules may be gone, and everything ends anyway.
        if sys is not None and not sys.is_finalizing():
            super().__del__()

    def _map_table(self) -> pd.DataFrame:
        """The newest full map as a frame; empty if there is none."""
        import pandas as pd

        full = self._full_map
        return full.frame.copy() if full else pd.DataFrame()

    def _sentence(self) -> str:
        """The result in words, for reprs and viewers without scripts."""
        if not self._ready:
            return "closed"
        self._worker.wait("answer", FIRST_WAIT)
        return self.answer.get("sentence", "the first answer is being computed")

    def _share_token(self) -> str:
        """The token of the current state."""
        with self._lock:
            return share_token.encode(
                share_token.Shared.of(
                    self._model,
                    self.experiment,
                    self._sweep_request,
                    figure=self._kind,
                    history=shared_history.to_shared(self._history),
                )
            )

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
            request = _requests.validate_python(content)
            if isinstance(request, wire.TakeFigure):  # the reply follows when the file is made
                self._files.submit(lambda: self._send_file(request))
                return
            fields = self._immediate_reply(request)
            if not fields:
                self._notice_changes(begin=not isinstance(request, wire.SetExperiment))
                self._dispatch(request)
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
            self.comm._reply_subshell_for = lambda _data, default: default  # type: ignore[union-attr]

    def _immediate_reply(self, request: wire.Request) -> dict[str, Any]:
        """The reply's own fields; empty for requests that change something.

        These requests start no job, so they are answered while the model runs.
        """
        if isinstance(request, wire.SplitPrompt):
            return {"tokens": views.token_infos(self._model.tokens(request.text))}
        if isinstance(request, wire.Share):
            return {"text": self._share_token()}
        return {}

    def _dispatch(self, request: wire.Request) -> None:
        """Start the change that a request stands for."""
        if isinstance(request, wire.SetExperiment):
            self._set_experiment(request.experiment, request.id)
        elif isinstance(request, wire.SetSweep):
            self._begin_sweep(SweepRequest(**request.model_dump(exclude={"id", "kind"})))
        elif isinstance(request, wire.FollowToken):
            self._track_token(request.token, request.id)
        elif isinstance(request, wire.SetFigure):
            self._kind = request.figure
            if self._result is not None:
                self._draw(self._result, self._answered)
        elif isinstance(request, wire.SetStep):
            self._walk(request.step, request.id)
        elif isinstance(request, wire.Compare):
            self._begin_comparison(request)
        elif isinstance(request, wire.NameEntry):
            self._name_entry(request.number, request.name)
        else:  # Cancel
            for kind in ("story", "sweep", "follow", "answer"):
                self._worker.cancel(kind)
            self._cancel_comparison()
            self._set_status(busy=None, progress=None)

    # experiment -> answer ------------------------------------------------------------------------

    def _set_experiment(self, experiment: Experiment, request: str | None) -> None:
        """Change the experiment; an equal one runs again.

        Args:
            experiment: the new one.
            request: id of the browser's request; None for changes from Python.
        """
        # Without the lock: observers of the experiment may wait for its run, which needs it.
        self._context.request = request
        try:
            if experiment == self.experiment:
                self._begin()
            else:
                self.experiment = experiment
        finally:
            self._context.request = None

    @traitlets.validate("experiment")
    def _check_experiment(self, proposal: dict[str, Any]) -> Experiment:
        """Plan an experiment before anything on the screen changes; an invalid one is refused."""
        check_source_names(proposal["value"])
        self._validated = plan_experiment(self._model, proposal["value"])
        return proposal["value"]

    @traitlets.observe("experiment")
    def _experiment_changed(self, _change: object) -> None:
        if self._ready:
            self._begin()

    def _begin(self) -> None:
        """Put the current experiment on the screen and queue its answer."""
        with self._lock:
            self._notice_changes()
            before, plan = self._plan, self._current_plan()
            self._plan = plan
            self._revision += 1
            revision, request = self._revision, self._context.request
            is_new_model = self._model_since > revision - 1
            self.scene = views.scene(
                self._model, plan, revision, request, self._model_since
            ).model_dump()
            self._set_status(busy="run", progress=None, error=None)
            self._worker.submit("answer", lambda: self._answer(plan, revision))
            has_new_prompts = before is None or _prompts(before) != _prompts(plan)
            if has_new_prompts or is_new_model:
                sweep = self._sweep_request
                if has_new_prompts:  # hand-made pairs were positions of the old prompts
                    sweep = sweep.replace(source_positions=None)
                if sweep.source not in plan.sources:
                    sweep = sweep.replace(source=next(iter(plan.sources), None))
                self._sweep_request = sweep
                self._begin_sweep(sweep)

    def _current_plan(self) -> Plan:
        """The plan of the current experiment, made by `_check_experiment` if it is new."""
        for plan in (self._validated, self._plan):
            if plan is not None and plan.experiment is self.experiment:
                return plan
        return plan_experiment(self._model, self.experiment)

    def _answer(self, plan: Plan, revision: int) -> Generator[None, None, None]:
        """Job: the exact result of one experiment; its failure is shown while it is the present."""
        try:
            yield from self._compute_answer(plan, revision)
        except Exception:
            if revision == self._revision:
                raise

    def _compute_answer(self, plan: Plan, revision: int) -> Generator[None, None, None]:
        """Run an experiment, and show and record its answer; yields between the runs."""
        result: ExactRuns | None = None
        for attempt in range(ATTEMPTS):
            began = self._model.fingerprint
            known = self._story.known(plan.experiment) if began == self._story.state else None
            for result in known or run_exactly(self._model, plan, self._cache):
                if result is None:
                    yield
            change = began.difference(self._model.fingerprint)
            if change is None:
                break
            if attempt == ATTEMPTS - 1:
                raise ModelChanged(
                    f"the model is changing while it runs ({change}), so there is no exact answer "
                    "yet. Click again when it is at rest"
                )
            yield
        if result is None:
            return
        self._notice_changes(began, since=revision)
        answer = views.answer(self._model, result, plan, revision)
        if revision < self._answered:
            return
        self._record_answer(plan, answer)
        is_current = revision == self._revision
        if is_current:
            self._result, self._answered, self._error = result, revision, None
        self.answer = answer.model_dump()
        if is_current:
            self._set_status(busy=None, progress=None)
            self._draw(result, revision)
            self._worker.submit("verify", self._verify)

    # changes of the model ------------------------------------------------------------------------

    def _notice_changes(
        self, now: Fingerprint | None = None, *, begin: bool = False, since: int | None = None
    ) -> bool:
        """Compare the model with the one that the screen is of.

        After a change, everything that is older is marked, and nothing of it is used again.

        Args:
            now: the model's state; None to look.
            begin: compute the present experiment anew after a change.
            since: the first revision of the new state; None for the next one.

        Returns:
            Whether it has changed.
        """
        now = now or self._model.fingerprint
        with self._lock:
            change = self._fingerprint.difference(now)
            if change is None:
                return False
            self._fingerprint = now
            self._model_since = self._revision + 1 if since is None else since
            self._set_status(
                note=f"The model has changed ({change}). Results from before are marked as old."
            )
            if self._comparison is not None:
                old = views.failed_contrast(
                    self._comparison, "The model has changed since: compare again."
                )
                self._worker.cancel("contrast")
                self._show_contrast(self._comparison, old)
                self._comparison = None
            self._map = self._full_map = None
            if begin:
                self._begin()
            elif since is not None:
                self.scene = {**self.scene, "model_since": since}
                self._begin_sweep(self._sweep_request)
        return True

    def notice_changes(self) -> None:
        """Look whether the model has changed, and compute the present experiment anew if so.

        Called after every cell of a notebook, and before every request from the browser.
        """
        if self._ready:
            self._notice_changes(begin=True)

    def _verify(self) -> Generator[None, None, None]:
        """Job for idle times: read every number of the model, for changes that no sample shows."""
        state, total = self._model.fingerprint, None
        for total in self._model.tree.checksum():
            if total is None:
                yield
        if total is None or self._model.fingerprint != state:
            return
        before, self._checksum = self._checksum, (state, total)
        if before is not None and before[0] == state and before[1] != total:
            self._model.tree.weights_changed()
            self._checksum = (self._model.fingerprint, total)
            self.notice_changes()

    # history and comparisons ---------------------------------------------------------------------

    def _record_answer(self, plan: Plan, answer: wire.Answer) -> None:
        """Add an answered experiment to the history."""
        final = answer.runs[-1 if plan.experiment.live else 0]
        with self._lock:
            self._history.add(plan, answer.sentence, final.top[0], answer.revision)
            self.past = self._history.to_wire()

    def _name_entry(self, number: int, name: str | None) -> None:
        """Name an entry of the history, or remove its name."""
        with self._lock:
            self._history.name(number, name)
            self.past = self._history.to_wire()

    def _begin_comparison(self, request: wire.Compare) -> None:
        """Queue a comparison; an invalid side is refused before the last one is replaced."""
        left = plan_experiment(self._model, request.left.experiment)
        right = plan_experiment(self._model, request.right.experiment)
        with self._lock:
            self._comparison = request
            self._worker.submit("contrast", lambda: self._compute_comparison(request, left, right))

    def _compute_comparison(
        self, request: wire.Compare, left: Plan, right: Plan
    ) -> Generator[None, None, None]:
        """Job: run both sides in full and compare them."""
        began = self._model.fingerprint
        try:
            contrast = yield from comparisons.compare_sides(self._model, request, left, right)
            require_unchanged(self._model, began, self._model.fingerprint)
        except Exception as error:
            # Shown in the panel rather than raised: the answer on the screen is still valid.
            reason = f"The comparison failed: {error_text(error)}"
            contrast = views.failed_contrast(request, reason)
        self._show_contrast(request, contrast)

    def _show_contrast(self, request: wire.Compare, contrast: wire.Contrast) -> None:
        """Show a comparison, unless another has been requested since."""
        with self._lock:
            if request is self._comparison:
                self.contrast = contrast.model_dump()

    def _cancel_comparison(self) -> None:
        """Stop a comparison that is queued or running; the panel then says so."""
        with self._lock:
            request, is_pending = self._comparison, self._worker.is_busy("contrast")
            self._worker.cancel("contrast")
            if request and is_pending:
                cancelled = views.failed_contrast(request, "The comparison was cancelled.")
                self._show_contrast(request, cancelled)
                self._comparison = None

    # map -----------------------------------------------------------------------------------------

    def _begin_sweep(self, request: SweepRequest) -> None:
        """Queue a sweep of the prompts; an invalid one is refused before the map changes."""
        with self._lock:
            experiment = self.experiment
            if not experiment.sources:
                self._worker.cancel("sweep")
                self._worker.cancel("follow")
                self._map = self._full_map = None
                self.map = {}
                return
            name = request.source or next(iter(experiment.sources))
            choose(name, experiment.sources, "source")
            source = experiment.sources[name]
            plan = plan_sweep(self._model, experiment.base, source, request)
            self._sweep_request = request.replace(source=name)
            revision = self._revision
            self._worker.submit("sweep", lambda: self._fill_map_anew(plan, name, revision))

    def _fill_map_anew(
        self, plan: SweepPlan, source: str, revision: int
    ) -> Generator[None, None, None]:
        """Job: fill the map; begin again if the model changes meanwhile."""
        for attempt in range(ATTEMPTS):
            try:
                yield from self._fill_map(plan, source, revision)
            except ModelChanged:
                if attempt == ATTEMPTS - 1:
                    raise
                yield
            else:
                return

    def _fill_map(self, plan: SweepPlan, source: str, revision: int) -> Generator[None, None, None]:
        """Fill the map layer by layer; updates are throttled to 10 Hz."""
        prepared = prepare_sweep(plan, self._cache)
        builder = MapBuilder(prepared, source, revision, self._typed)
        due = time.monotonic() + 0.1
        for row in sweep_rows(prepared):
            builder.add_row(row)
            now = time.monotonic()
            if builder.done < builder.total and now < due:
                yield
                continue
            self._map, self.map = builder, builder.map().model_dump()
            share = builder.done / builder.total
            self._set_status(progress=None if share == 1 else share)
            # Serialising a large map is slow: spend at most a fifth of the time on it.
            due = time.monotonic() + max(0.1, 4 * (time.monotonic() - now))
            yield
        self._full_map = builder
        if self._kind == "sweep_map" and self._result is not None:
            self._draw(self._result, self._answered)

    def _track_token(self, text_or_id: str | int, request: str) -> None:
        """Let the map carry one more token; at most `MAX_TYPED_TOKENS` typed ones stay."""
        token = self._model.resolve_token(text_or_id)
        with self._lock:
            if not self.experiment.sources:
                raise RequestError("a token is followed on a map: add a source prompt to have one")
            others = [(t, r) for t, r in self._typed.items() if t != token]
            self._typed = {**dict(others[1 - MAX_TYPED_TOKENS :]), token: request}
            self._worker.submit("follow", self._extend_map)

    def _extend_map(self) -> Generator[None, None, None]:
        """Job: make the map carry the typed tokens."""
        builder = self._map
        if builder is None:
            return  # the next sweep carries them from the start
        for done in builder.track_tokens(self._typed, self._cache):
            self._set_status(progress=done)
            yield
            if builder is not self._map:  # another sweep has begun
                return
        self.map = builder.map().model_dump()
        self._set_status(progress=None)

    # story ---------------------------------------------------------------------------------------

    def _compute_story(self, planned: stories.PlannedStory) -> Generator[None, None, None]:
        """Job: compute every step, then show the first one."""

        def show_progress(done: float) -> None:
            self._set_status(busy="story", progress=done)

        began = self._model.fingerprint
        story = yield from stories.compute(
            self._model, planned, self._cache, self._sweep_request, show_progress
        )
        if (change := began.difference(self._model.fingerprint)) is not None:
            raise ModelChanged(f"the model changed while it ran ({change}); ask for it again")
        self._notice_changes(began)
        story = dataclasses.replace(
            story,
            state=began,
            message=story.message.model_copy(update={"model_since": self._model_since}),
        )
        self._story = story
        self._set_status(busy=None, progress=None)
        self.steps = story.message.model_dump()
        # On another thread: observers of the experiment may wait for its run, and the worker cannot
        # wait for itself.
        self._arrival = threading.Thread(target=self._walk, args=(0,), daemon=True)
        self._arrival.start()

    def _await_story(self, timeout: float | None) -> Self:
        """Block until no story is being computed and its first step is on the screen."""
        if self._worker.wait("story", timeout) and self._arrival not in (
            None,
            threading.current_thread(),
        ):
            self._arrival.join(timeout)
        return self

    def _walk(self, step: int, request: str | None = None) -> None:
        """Go to a step. `step` changes first, so that observers of the experiment can read it."""
        experiment = self._story.experiment(step)
        self._context.is_walking = True
        try:
            self.step = step
        finally:
            self._context.is_walking = False
        self._set_experiment(experiment, request)

    @traitlets.validate("step")
    def _check_step(self, proposal: dict[str, Any]) -> int | None:
        """Refuse a step that the story does not have."""
        if proposal["value"] is not None:
            self._story.experiment(proposal["value"])
        return proposal["value"]

    @traitlets.observe("step")
    def _step_changed(self, change: dict[str, Any]) -> None:
        if change["new"] is not None and not self._context.is_walking:
            self._set_experiment(self._story.experiment(change["new"]), None)

    # figures and files ---------------------------------------------------------------------------

    def _figure_order(
        self, kind: str, result: ExactRuns, metric: str = "probability"
    ) -> FigureOrder:
        """The order for a kind of figure; its key is a hash of its content.

        Its frames are copies: figures and tables made of them are the user's to change.
        """
        frames: dict[str, pd.DataFrame] = {}
        options: dict[str, Any] = {}
        if kind in ("result", "token_heatmap", "distribution_dots"):
            frames["token_heatmap" if kind == "result" else kind] = result.token_frame.copy()
        if kind in ("result", "difference_panel"):
            frames["difference_panel"] = result.difference_frame.copy()
            options = {"before": "base", "after": result.compared_with_base.name}
        if kind == "sweep_map":
            frames["sweep_map"] = self._map_table()
            options = {"metric": metric}
        content = pickle.dumps((kind, options, [frame.to_csv() for frame in frames.values()]))
        return FigureOrder(hashlib.sha256(content).hexdigest(), kind, frames, options)

    def _draw(self, result: ExactRuns, revision: int) -> None:
        """Order the current kind of figure; the answer does not wait for it."""
        kind = self._kind
        if kind == "sweep_map" and self._full_map is None:
            return

        reference = weakref.ref(self)  # a painter must not keep an explorer alive

        def on_drawn(drawing: Drawing | None, error: str | None) -> None:
            live = reference()
            if live is not None:
                live._show_drawing(kind, revision, drawing, error)

        self._painter.draw(id(self), self._figure_order(kind, result), on_drawn)

    def _show_drawing(
        self, kind: wire.FigureKind, revision: int, drawing: Drawing | None, error: str | None
    ) -> None:
        """Show a drawn figure, or why there is none, unless the screen has moved on."""
        if not self._ready or revision != self._revision or kind != self._kind:
            return
        if isinstance(drawing, Picture):
            self.picture = _figure(revision, kind, drawing)
            return
        self._set_status(error=f"The figure could not be drawn: {error}. Numbers are unaffected.")

    def _draw_for_page(self) -> dict[str, Any] | None:
        """The figure of the result on the screen; None if it could not be drawn."""
        revision, kind = self._answered, self._kind
        try:
            order = self._figure_order(kind, self.result)
            drawing = self._painter.draw_and_wait((id(self), "page"), order)
        except RequestError:
            return None
        return _figure(revision, kind, drawing) if isinstance(drawing, Picture) else None

    def _snapshot(
        self, kind: str | None, theme: str | p9.theme = "screen", metric: str = "probability"
    ) -> Snapshot:
        """The state on the screen and a figure of it; waits for its answer and its map.

        Raises:
            RequestError: an unknown kind or metric, or a map without a source.
        """
        name = choose(kind or self._kind, FIGURES, "figure")
        choose(metric, METRICS, "metric")
        while True:
            self._worker.wait("sweep")
            result = self.result
            with self._lock:
                if self._answered != self._revision or self._worker.is_busy("sweep"):
                    continue  # another experiment has begun
                plan, table = self._plan, self._map_table()
                sweep, revision = self._sweep_request, self._revision
                break
        assert plan is not None  # noqa: S101  # an answer implies a plan
        if name == "sweep_map" and table.empty:
            raise RequestError("there is no map to draw: add a source prompt to have one")
        order = dataclasses.replace(self._figure_order(name, result, metric), theme=theme)
        frames = {**self._figure_order("result", result).frames, "sweep_map": table}
        return Snapshot(self._model, plan, result, frames, sweep, order, revision)

    def _send_file(self, request: wire.TakeFigure) -> None:
        """Make a file and send it; on the files' thread, as it waits for answer and painter."""
        data: list[bytes] | None = None
        try:
            snapshot = self._snapshot(request.figure)
            order = archive.file_order(snapshot, request.format, request.dpi)
            drawing = self._painter.draw_and_wait((id(self), request.id), order)
            assert isinstance(drawing, DrawnFiles)  # noqa: S101  # the order lists formats
            data = [archive.file_bytes(snapshot, request.format, drawing.files)]
            reply = wire.Reply(id=request.id, ok=True, file=f"{snapshot.name}.{request.format}")
        except Exception as error:
            data = None
            reply = wire.Reply(id=request.id, ok=False, error=error_text(error))
        if self._ready:
            self.send(reply.model_dump(), data)

    # status --------------------------------------------------------------------------------------

    def _set_status(self, **changes: Any) -> None:
        """Change some fields of `status`."""
        with self._lock:
            empty = {"busy": None, "progress": None, "error": None, "note": None}
            self.status = {**empty, **self.status, **changes}

    def _job_failed(self, kind: str, error: Exception) -> None:
        """Show the error of a job that raised; the last good state stays."""
        self._error = error
        title = {
            "answer": "The run failed",
            "contrast": "The comparison failed",
            "sweep": "The map could not be filled",
            "follow": "The map could not follow the token",
            "story": "The story could not be computed",
            "verify": "The model could not be checked",
        }[kind]
        self._set_status(busy=None, progress=None, error=f"{title}: {error_text(error)}")


def _receive(session: Session, content: object, _buffers: object) -> None:
    """Pass a message on; a function, so that the widget's callbacks do not hold the widget."""
    session.receive(content)


def _figure(revision: int, kind: wire.FigureKind, picture: Picture) -> dict[str, Any]:
    """`messages.Figure` as a dict; its bytes travel beside the JSON."""
    figure = wire.Figure(
        revision=revision,
        kind=kind,
        alt=picture.alt,
        width=picture.width,
        height=picture.height,
        png=None,
    )
    return {**figure.model_dump(), "png": picture.png}


def _prompts(plan: Plan) -> tuple[str, dict[str, str]]:
    """Base and sources of a plan."""
    return plan.experiment.base, dict(plan.experiment.sources)
