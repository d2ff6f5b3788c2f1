"""Screen: the machine behind the explorer. Messages come in, traits go out, nothing blocks."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import threading
import time
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

import anywidget
import pydantic
import traitlets

from vene_widgets.engine.cache import Memory
from vene_widgets.engine.planning import Plan, plan
from vene_widgets.errors import RequestError, choose
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.explorer.exact_runs import Result, results
from vene_widgets.explorer.export import archive as taking
from vene_widgets.explorer.export import share_token as sharing
from vene_widgets.explorer.export.static_files import built
from vene_widgets.explorer.painter import painter as render
from vene_widgets.explorer.session import comparisons as contrasts
from vene_widgets.explorer.session import stories
from vene_widgets.explorer.session.history import History
from vene_widgets.explorer.session.map_builder import Filling, token_of
from vene_widgets.explorer.session.worker import Worker
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire import views
from vene_widgets.explorer.wire.error_text import explain
from vene_widgets.models import LanguageModel
from vene_widgets.sweeps.cells import prepare, sweep_layers
from vene_widgets.sweeps.planning import SweepPlan, plan_sweep
from vene_widgets.sweeps.sweep import row_frame
from vene_widgets.tables import frames
from vene_widgets.tables.metrics import METRICS

if TYPE_CHECKING:
    import pandas as pd
    from typing_extensions import Self

FIRST_WAIT = 10.0
"""Seconds for which `explore` waits for its map, so that it appears filled and is saved filled."""

TYPED = 8
"""Tokens typed by a person that the map goes on carrying, the newest of them."""

FIGURES: tuple[wire.FigureKind, ...] = wire.FigureKind.__args__

_requests: pydantic.TypeAdapter[wire.Request] = pydantic.TypeAdapter(wire.Request)


class _Turn(threading.local):
    """On whose behalf this thread changes the experiment: a browser's request, a walk."""

    request: str | None = None
    is_walking: bool = False


class Screen(anywidget.AnyWidget):
    """What keeps the screen going; `Explorer` adds what a person does with it from Python.

    Each synchronised trait has one writer, this class, and holds one model of
    `explorer.messages`; the browser only sends requests. One worker thread runs the model.
    """

    # Declared here and filled per instance, so that nothing is read when the module is imported.
    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)
    scene = traitlets.Dict().tag(sync=True)  # written by _begin
    map = traitlets.Dict().tag(sync=True)  # written by the sweep job
    answer = traitlets.Dict().tag(sync=True)  # written by the answer job
    contrast = traitlets.Dict().tag(sync=True)  # written by _show_contrast
    past = traitlets.Dict().tag(sync=True)  # written by _note and _name
    picture = traitlets.Dict().tag(sync=True)  # written when the painter is done
    status = traitlets.Dict().tag(sync=True)  # written by _say
    steps = traitlets.Dict().tag(sync=True)  # written by the story job: a messages.Story
    step = traitlets.Int(
        None, allow_none=True, help="where in the story, from 0; another number walks there"
    ).tag(sync=True)
    experiment = traitlets.Instance(Experiment, help="what is on the screen; a new one changes it")

    def __init__(
        self,
        model: LanguageModel,
        experiment: Experiment,
        component: str = "block_output",
        shared: sharing.Shared | None = None,
        **traits: Any,
    ) -> None:
        self._ready = False
        self._model = model
        self._lock = threading.RLock()
        self._turn = _Turn()
        self._revision = 0
        self._plan: Plan | None = None
        self._result: Result | None = None
        self._answered = 0
        self._error: Exception | None = None
        self._memory = Memory()
        self._history = History()
        self._asked: wire.Compare | None = None
        self._swept: dict[str, Any] = {"component": component, "head": None, "source": None}
        self._map_frames: list[pd.DataFrame] = []
        self._filling: Filling | None = None
        self._typed: dict[int, str] = {}
        self._kind: wire.FigureKind = FIGURES[0]
        self._told = stories.Told()
        self._arrival: threading.Thread | None = None
        if shared is not None:
            self._swept |= {"head": shared.head, "source": shared.source}
            self._kind = shared.figure
            self._history = sharing.remember(shared, model)
        super().__init__(
            _esm=built("explorer.js"),
            _css=built("explorer.css"),
            experiment=experiment,
            **traits,
        )
        self._worker = Worker(("answer", "contrast", "sweep", "follow", "story"), self._failed)
        self._painter = render.hire(self)
        self._ready = True
        self._be_heard_while_a_cell_runs()
        self.on_msg(self._receive)
        self._begin()

    @property
    def result(self) -> Result:
        """All exact runs of the current experiment; waits until they are there."""
        self._worker.wait("answer")
        if self._result is None or self._answered != self._revision:
            raise self._error or RequestError("the explorer is closed; make a new one")
        return self._result

    def _map_table(self) -> pd.DataFrame:
        """The map that is filled; empty where there is none."""
        import pandas as pd

        tables = self._map_frames
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def _drawn(self) -> dict[str, Any] | None:
        """The figure of the result on the screen; None where it could not be drawn."""
        revision, kind = self._answered, self._kind
        try:
            order = self._order(kind, self.result)
            return _figure(revision, kind, self._painter.make((id(self), "page"), order))
        except RequestError:
            return None

    def _token(self) -> str:
        with self._lock:
            return sharing.encode(
                sharing.Shared(
                    model=sharing.shared_name(self._model),
                    experiment=self.experiment,
                    component=self._swept["component"],
                    head=self._swept["head"],
                    source=self._swept["source"],
                    figure=self._kind,
                    history=sharing.recall(self._history),
                )
            )

    def _shown(
        self, kind: str | None, theme: Any = "screen", metric: str = "probability"
    ) -> taking.Shown:
        """The state on the screen and a figure of it, once its answer and its map are there."""
        name = choose(kind or self._kind, FIGURES, "figure")
        choose(metric, METRICS, "metric")
        while True:
            self._worker.wait("sweep")
            result = self.result
            with self._lock:
                if self._answered != self._revision or self._worker.busy("sweep"):
                    continue  # another experiment has begun
                checked, tables = self._plan, self._map_table()
                swept, revision = dict(self._swept), self._revision
                break
        assert checked is not None  # noqa: S101  # it has an answer
        if name == "sweep_map" and tables.empty:
            raise RequestError("there is no map to draw: add a source prompt to have one")
        order = dataclasses.replace(self._order(name, result, metric), theme=theme)
        drawn = {**self._order("result", result).frames, "sweep_map": tables}
        return taking.Shown(self._model, checked, result, drawn, swept, order, revision)

    def _take(self, asked: wire.TakeFigure) -> None:
        """Make a file and send it: on a thread of its own, as it waits for answer and painter."""
        data: list[bytes] | None = None
        try:
            shown = self._shown(asked.figure)
            order = taking.to_draw(shown, asked.format, asked.dpi)
            files = self._painter.make((id(self), asked.id), order).files
            data = [taking.assembled(shown, asked.format, files)]
            reply = wire.Reply(id=asked.id, ok=True, file=f"{shown.name}.{asked.format}")
        except Exception as error:
            reply = wire.Reply(id=asked.id, ok=False, error=explain(error))
        if self._ready:
            self.send(reply.model_dump(), data)

    def wait(self, timeout: float | None = None) -> Self:
        """Block until story, answer and map are there; then returns the explorer itself."""
        self._await_story(timeout)
        for kind in ("answer", "contrast", "sweep"):
            self._worker.wait(kind, timeout)
        return self

    def close(self) -> None:
        """End the worker, give the figure process back, drop all runs, remove the widget."""
        if self._ready:
            self._ready = False
            self._worker.close()
            render.dismiss(self)
            self._memory.clear()
            self._history.clear()
            self._map_frames.clear()
            self._filling = None
            self._result = None
            self._told = stories.Told()
        super().close()

    def _sentence(self) -> str:
        if not self._ready:
            return "closed"
        self._worker.wait("answer", FIRST_WAIT)
        return self.answer.get("sentence", "the first answer is being computed")

    # from the browser ----------------------------------------------------------------------------

    def _receive(self, _widget: object, content: dict[str, Any], _buffers: object) -> None:
        """Validate, queue, return: the only handler, on whichever thread the front end uses."""
        name = str(content.get("id", ""))
        try:
            request = _requests.validate_python(content)
            if isinstance(request, wire.TakeFigure):  # replied to when it is made
                threading.Thread(target=self._take, args=(request,), daemon=True).start()
                return
            said = self._say_at_once(request)
            if not said:
                self._obey(request)
        except (RequestError, pydantic.ValidationError) as error:
            reply = wire.Reply(id=name, ok=False, error=explain(error))
        else:
            reply = wire.Reply(id=name, ok=True, **said)
        self.send(reply.model_dump())

    def _be_heard_while_a_cell_runs(self) -> None:
        """Let the front end's own choice of subshell stand.

        JupyterLab sends widget messages on a subshell, which answers while a cell runs. ipykernel
        7.4 sends them back to the shell that last published on the comm, which is the main one, and
        there they wait for the cell. Our handler only queues, so any shell may run it.
        """
        if hasattr(self.comm, "_reply_subshell_for"):
            self.comm._reply_subshell_for = lambda _data, default: default  # type: ignore[union-attr]

    def _say_at_once(self, request: wire.Request) -> dict[str, Any]:
        """What the reply itself carries; nothing for requests that ask for a change.

        It needs no turn of the worker's, so that it is answered during a run.
        """
        if isinstance(request, wire.SplitPrompt):
            return {"tokens": views.token_infos(self._model.tokens(request.text))}
        if isinstance(request, wire.Share):
            return {"text": self._token()}
        return {}

    def _obey(self, request: wire.Request) -> None:
        if isinstance(request, wire.SetExperiment):
            self._put(request.experiment, request.id)
        elif isinstance(request, wire.SetSweep):
            swept = request.model_dump(exclude={"id", "kind"})
            self._begin_sweep(swept)
        elif isinstance(request, wire.FollowToken):
            self._follow(request.token, request.id)
        elif isinstance(request, wire.SetFigure):
            self._kind = request.figure
            if self._result is not None:
                self._paint(self._result, self._answered)
        elif isinstance(request, wire.SetStep):
            self._walk(request.step, request.id)
        elif isinstance(request, wire.Compare):
            self._begin_contrast(request)
        elif isinstance(request, wire.NameEntry):
            self._name(request.number, request.name)
        else:
            self._worker.cancel("story")
            self._worker.cancel("sweep")
            self._worker.cancel("follow")
            self._worker.cancel("answer")
            self._cancel_contrast()
            self._say(busy=None, progress=None)

    def _put(self, experiment: Experiment, request: str | None) -> None:
        """Make this the experiment, on behalf of a request of the browser's."""
        # Without the lock: who observes the experiment may wait for its run, which needs it.
        self._turn.request = request
        try:
            if experiment == self.experiment:
                self._begin()
            else:
                self.experiment = experiment
        finally:
            self._turn.request = None

    # story ---------------------------------------------------------------------------------------

    def _tell(self, checked: stories.Checked) -> Generator[None, None, None]:
        """Job: compute every step, then show the first."""

        def say(done: float) -> None:
            self._say(busy="story", progress=done)

        swept = self._swept
        told = yield from stories.compute(
            self._model, checked, self._memory, swept["component"], swept["head"], say
        )
        self._told = told
        self._say(busy=None, progress=None)
        self.steps = told.sent.model_dump()
        # On a thread of its own: who observes the experiment may wait for its run, and the worker
        # cannot wait for itself.
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
        """Go to a step: `step` first, so that who observes the experiment knows where it is."""
        experiment = self._told.experiment(step)
        self._turn.is_walking = True
        try:
            self.step = step
        finally:
            self._turn.is_walking = False
        self._put(experiment, request)

    @traitlets.validate("step")
    def _check_step(self, proposal: dict[str, Any]) -> int | None:
        """Refuse a step that the story does not have."""
        if proposal["value"] is not None:
            self._told.experiment(proposal["value"])
        return proposal["value"]

    @traitlets.observe("step")
    def _step_changed(self, change: dict[str, Any]) -> None:
        if change["new"] is not None and not self._turn.is_walking:
            self._put(self._told.experiment(change["new"]), None)

    # experiment -> answer ------------------------------------------------------------------------

    @traitlets.validate("experiment")
    def _check_experiment(self, proposal: dict[str, Any]) -> Experiment:
        """Refuse what does not fit the model before anything on the screen changes."""
        plan(self._model, proposal["value"])
        return proposal["value"]

    @traitlets.observe("experiment")
    def _experiment_changed(self, _change: object) -> None:
        if self._ready:
            self._begin()

    def _begin(self) -> None:
        """Put the current experiment on the screen and queue its answer."""
        with self._lock:
            before, self._plan = self._plan, plan(self._model, self.experiment)
            self._revision += 1
            revision, checked = self._revision, self._plan
            request = self._turn.request
            self.scene = views.scene(self._model, checked, revision, request).model_dump()
            self._say(busy="run", progress=None, error=None)
            self._worker.submit("answer", lambda: self._answer(checked, revision))
            if before is None or _prompts(before) != _prompts(checked):
                self._swept["source_positions"] = None  # they were of other tokens
                if self._swept["source"] not in checked.sources:
                    self._swept["source"] = next(iter(checked.sources), None)
                self._begin_sweep(self._swept)

    def _answer(self, checked: Plan, revision: int) -> Generator[None, None, None]:
        """Job: the exact result of one experiment."""
        known = self._told.known(checked.experiment)
        for result in known or results(self._model, checked.experiment, self._memory):
            if result is None:
                yield
                continue
            answer = views.answer(self._model, result, checked, revision)
            if revision != self._revision:
                return
            self._result, self._answered, self._error = result, revision, None
            self.answer = answer.model_dump()
            self._note(checked, answer)
            self._say(busy=None, progress=None)
            self._paint(result, revision)

    # history and comparisons ---------------------------------------------------------------------

    def _note(self, checked: Plan, answer: wire.Answer) -> None:
        """Keep an answered experiment in the history."""
        final = answer.runs[-1 if checked.experiment.live else 0]
        with self._lock:
            self._history.add(checked, answer.sentence, final.top[0], answer.revision)
            self.past = self._history.to_wire()

    def _name(self, number: int, name: str | None) -> None:
        with self._lock:
            self._history.name(number, name)
            self.past = self._history.to_wire()

    def _begin_contrast(self, asked: wire.Compare) -> None:
        """Queue a comparison; refuses a side that does not fit before dropping the last one."""
        for which in (asked.left, asked.right):
            plan(self._model, which.experiment)
        with self._lock:
            self._asked = asked
            self._worker.submit("contrast", lambda: self._contrast(asked))

    def _contrast(self, asked: wire.Compare) -> Generator[None, None, None]:
        """Job: both sides in full, compared; a failure is an answer too, nobody waits for it."""
        try:
            shown = yield from contrasts.contrast(self._model, asked)
        except Exception as error:
            shown = contrasts.failed(asked, f"The comparison failed: {explain(error)}")
        self._show_contrast(asked, shown)

    def _show_contrast(self, asked: wire.Compare, shown: wire.Contrast) -> None:
        """Write an answer, unless another has been asked for since."""
        with self._lock:
            if asked is self._asked:
                self.contrast = shown.model_dump()

    def _cancel_contrast(self) -> None:
        with self._lock:
            asked, waits = self._asked, self._worker.busy("contrast")
            self._worker.cancel("contrast")
            if asked and waits:
                self._show_contrast(asked, contrasts.failed(asked, "The comparison was cancelled."))
                self._asked = None

    # map -----------------------------------------------------------------------------------------

    def _begin_sweep(self, swept: Mapping[str, Any]) -> None:
        """Queue a sweep of the prompts; refuses what does not fit before dropping the old."""
        with self._lock:
            experiment = self.experiment
            if not experiment.sources:
                self._worker.cancel("sweep")
                self._worker.cancel("follow")
                self._map_frames, self._filling, self.map = [], None, {}
                return
            name = swept["source"] or next(iter(experiment.sources))
            choose(name, experiment.sources, "source")
            checked = plan_sweep(
                self._model,
                experiment.base,
                experiment.sources[name],
                swept["component"],
                head=swept["head"],
                source_positions=swept.get("source_positions"),
            )
            self._swept = {**swept, "source": name}
            revision = self._revision
            self._worker.submit("sweep", lambda: self._sweep(checked, name, revision))

    def _sweep(self, checked: SweepPlan, name: str, revision: int) -> Generator[None, None, None]:
        """Job: fill the map layer by layer; the screen hears of it ten times a second at most."""
        prepared = prepare(checked, self._memory)
        filling = Filling(prepared, name, revision, self._typed)
        tables: list[pd.DataFrame] = []
        due = time.monotonic() + 0.1
        for row in sweep_layers(prepared):
            filling.add(row)
            tables.append(row_frame(checked, row, prepared.base_logits, filling.answers))
            now = time.monotonic()
            if filling.done < filling.total and now < due:
                yield
                continue
            self._filling, self.map = filling, filling.map().model_dump()
            done = filling.done / filling.total
            self._say(progress=None if done == 1 else done)
            # A large map is long in the telling: four fifths of the time go to the sweep.
            due = time.monotonic() + max(0.1, 4 * (time.monotonic() - now))
            yield
        self._map_frames = tables
        if self._kind == "sweep_map" and self._result is not None:
            self._paint(self._result, self._answered)

    def _follow(self, wanted: str | int, request: str) -> None:
        """Queue a token that was typed, once it is known to be one; at most `TYPED` stay."""
        token = token_of(self._model, wanted)
        with self._lock:
            if not self.experiment.sources:
                raise RequestError("a token is followed on a map: add a source prompt to have one")
            kept = [(t, r) for t, r in self._typed.items() if t != token][1 - TYPED :]
            self._typed = {**dict(kept), token: request}
            self._worker.submit("follow", self._carry)

    def _carry(self) -> Generator[None, None, None]:
        """Job: have the map carry the tokens that were typed."""
        filling = self._filling
        if filling is None:
            return  # the sweep to come will ask for them itself
        for done in filling.follow(self._typed, self._memory):
            self._say(progress=done)
            yield
            if filling is not self._filling:
                return
        self.map = filling.map().model_dump()
        self._say(progress=None)

    # figure --------------------------------------------------------------------------------------

    def _order(self, kind: str, result: Result, metric: str = "probability") -> render.Order:
        """What to draw for a kind of figure, with a key that changes with its content."""
        columns = {c.name: c.run.logits[-1] for c in result.columns}
        text = self._model.token_text
        drawn: dict[str, pd.DataFrame] = {}
        options: dict[str, Any] = {}
        if kind in ("result", "token_heatmap", "distribution_dots"):
            name = "token_heatmap" if kind == "result" else kind
            drawn[name] = frames.token_frame(columns, text)
        if kind in ("result", "difference_panel"):
            last = result.columns[-1]
            after = last.run if result.experiment.live else (result.source or last.run)
            name = next(column.name for column in result.columns if column.run is after)
            options = {"before": "base", "after": name}
            drawn["difference_panel"] = frames.difference_frame(
                result.columns[0].run.logits[-1], after.logits[-1], text, k=views.TOP
            )
        if kind == "sweep_map":
            drawn["sweep_map"] = self._map_table()
            options = {"metric": metric}
        content = pickle.dumps((kind, options, [frame.to_csv() for frame in drawn.values()]))
        return render.Order(hashlib.sha256(content).hexdigest(), kind, drawn, options)

    def _paint(self, result: Result, revision: int) -> None:
        """Have the current kind of figure drawn; the answer does not wait for it."""
        kind = self._kind
        if kind == "sweep_map" and not self._map_frames:
            return

        def done(picture: render.Picture | None, error: str | None) -> None:
            if not self._ready or revision != self._revision or kind != self._kind:
                return
            if picture is None:
                self._say(error=f"The figure could not be drawn: {error}. Numbers are unaffected.")
                return
            self.picture = _figure(revision, kind, picture)

        self._painter.draw(id(self), self._order(kind, result), done)

    # status --------------------------------------------------------------------------------------

    def _say(self, **changes: Any) -> None:
        """Change some fields of the status line."""
        with self._lock:
            self.status = {"busy": None, "progress": None, "error": None, **self.status, **changes}

    def _failed(self, kind: str, error: Exception) -> None:
        """A job raised: say so on the screen, keep the last good state."""
        self._error = error
        what = {
            "answer": "The run failed",
            "sweep": "The map could not be filled",
            "follow": "The map could not follow the token",
            "story": "The story could not be computed",
        }[kind]
        self._say(busy=None, progress=None, error=f"{what}: {explain(error)}")


def _figure(revision: int, kind: wire.FigureKind, picture: render.Picture) -> dict[str, Any]:
    """`messages.Figure` as a dict; its bytes go beside the JSON."""
    figure = wire.Figure(
        revision=revision,
        kind=kind,
        alt=picture.alt,
        width=picture.width,
        height=picture.height,
        png=None,
    )
    return {**figure.model_dump(), "png": picture.png}


def _prompts(checked: Plan) -> tuple[str, dict[str, str]]:
    return checked.experiment.base, dict(checked.experiment.sources)
