"""Explorer: what a person does with the screen from Python, and takes away from it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vene_widgets.codegen.script import Face, script
from vene_widgets.engine.comparing import TOLERANCE, Comparison, compare
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.explorer.export import archive as taking
from vene_widgets.explorer.export import full_vocabulary as whole
from vene_widgets.explorer.export import page
from vene_widgets.explorer.export import preview_png as still
from vene_widgets.explorer.painter import painter as render
from vene_widgets.explorer.session import comparisons as contrasts
from vene_widgets.explorer.session import stories
from vene_widgets.explorer.session.history import Entry
from vene_widgets.explorer.session.session import FIRST_WAIT, Screen
from vene_widgets.explorer.wire import views
from vene_widgets.sweeps.cells import prepare, sweep_layers
from vene_widgets.tables import frames

if TYPE_CHECKING:
    import pandas as pd

    from vene_widgets.engine.running import Run
    from vene_widgets.models import LanguageModel
    from vene_widgets.sweeps.planning import SweepPlan


class Explorer(Screen):
    """A live screen for one experiment: prompts, slots, map, distributions, verdict, figure.

    Made by `explore`. What is shown can be taken: `.experiment`, `.run`, `.runs`, `.frame`,
    `.figure()`, `.compare(left, right)`, `.history`. Assigning `.experiment`, or `.restore(name)`,
    changes the screen; `observe(handler, "experiment")` tells of every change, also of those made
    by a click. `close()` frees everything.
    """

    @property
    def model(self) -> LanguageModel:
        """The model that is explored."""
        return self._model

    @property
    def run(self) -> Run:
        """The exact run on the screen: grouped or intervened; the base's when no slot is live.

        It is `run(explorer.model, explorer.experiment)`, number for number. The screen needs the
        last position only, and its output head runs there alone, so its own numbers may differ from
        these by rounding.
        """
        result = self.result
        shown = result.columns[-1 if result.experiment.live else 0]
        return result.runs[shown.name]

    @property
    def runs(self) -> Mapping[str, Run]:
        """Every run on the screen by its column's name, with the logits of all positions."""
        return self.result.runs

    @property
    def frame(self) -> pd.DataFrame:
        """Token distributions of all runs on the screen (`frames.token_frame`)."""
        return frames.token_frame(
            {name: run.logits[-1] for name, run in self.runs.items()}, self._model.token_text
        )

    @property
    def map_frame(self) -> pd.DataFrame:
        """The map on the screen (`frames.sweep_frame`); waits until it is filled.

        It follows the most likely next token of the base and of the source.
        """
        self._worker.wait("sweep")
        return self._map_table()

    def code(self, face: Face = "vene_widgets", *, since: Experiment | None = None) -> str:
        """The script that gives the result on the screen again (`vene_widgets.script`).

        Args:
            face: whose names it is written in: `vene_widgets`, `intervenable` or `pyvene`.
            since: an earlier experiment; lines that have changed since are marked.
        """
        return script(self._model, self.experiment, face, since=since)

    def to_html(
        self,
        path: str | os.PathLike[str],
        *,
        title: str | None = None,
        every_token: bool = False,
    ) -> Path:
        """Write one file that goes on without a kernel and without a network.

        The whole map can be pointed at and clicked, metrics and targets switch, a story can be
        walked; the experiment on the screen has its exact answer and its figure. What would have to
        run says so.

        Args:
            path: of the file, written anew.
            title: of the page; None for the result in words.
            every_token: let the map show any token of the vocabulary, not the likeliest alone. The
                map then runs once more.

        Returns:
            The path.

        Raises:
            RequestError: with every token the page would be too large.
        """
        self.wait()
        sentence = self._sentence()
        traits = {name: getattr(self, name) for name in page.TRAITS}
        traits["picture"] = self._drawn() or traits["picture"]
        if every_token and self._filling is not None:
            traits["map"] = self._whole_map(self._filling.plan)
        file = Path(path)
        text = page.page(traits, sentence, title or sentence)
        file.write_text(text, encoding="utf-8")
        return file

    def _whole_map(self, checked: SweepPlan) -> dict[str, Any]:
        """The map with every token of the vocabulary."""
        whole.check(len(self.map["cells"]), self._model.sites.vocabulary)
        prepared = prepare(checked, self._memory)
        return whole.with_every_token(
            self.map,
            (row.logits for row in sweep_layers(prepared)),
            prepared.base_logits.cpu(),
            prepared.source_logits.cpu(),
            partial(views.label, self._model),
        )

    def state(self) -> str:
        """A short text that gives this screen again, with its history: see `from_state`.

        It holds prompts, experiments and results in words; no path, no code, no weights.
        """
        self._worker.wait("answer")
        return self._token()

    def figure(
        self, kind: str | None = None, *, theme: Any = "screen", metric: str = "probability"
    ) -> Any:
        """The plotnine figure of what is shown, made in this process: change it, save it.

        Args:
            kind: one of `FIGURES`; None for the kind on the screen.
            theme: `screen`, `paper`, or a plotnine theme such as `vw.theme_paper(family="serif")`.
            metric: of a `sweep_map`, one of `metrics.METRICS`.
        """
        return render.compose(self._shown(kind, theme, metric).order)

    def save_figure(
        self,
        path: str | os.PathLike[str],
        kind: str | None = None,
        *,
        theme: Any = "screen",
        metric: str = "probability",
        dpi: float = 300,
    ) -> Path:
        """Write the figure of what is shown; the file's suffix says as what.

        `.png`, `.svg` (a browser shows the exact value of the tile that is pointed at), `.pdf`
        (fonts embedded), or `.zip`: all three, the data as CSV (and Parquet where pyarrow is
        installed), the code that gives the result again, and a caption, also in LaTeX.

        Args:
            path: of the file, written anew.
            kind, theme, metric: as in `figure`.
            dpi: of a PNG.

        Raises:
            RequestError: another suffix, kind, theme or metric; the message lists the valid ones.

        Example:
            >>> import tempfile
            >>> import vene_widgets as vw
            >>> explorer = vw.explore("The capital of Spain is", "The capital of Italy is")
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     explorer.save_figure(f"{folder}/capitals.pdf", theme="paper").name
            'capitals.pdf'
            >>> figure = explorer.figure(theme="paper")
            >>> explorer.close()
        """
        file = Path(path)
        suffix = taking.suffix_of(file)
        shown = self._shown(kind, theme, metric)
        drawn = render.files(taking.to_draw(shown, suffix, dpi))
        file.write_bytes(taking.assembled(shown, suffix, drawn.files))
        return file

    def tables(self) -> dict[str, pd.DataFrame]:
        """Every panel's numbers, unrounded: `tokens`, `difference`, `map`, `receipts`, `verdict`.

        The whole vocabulary is in `explorer.run.frame` and `explorer.compare(...).frame`.
        """
        return taking.tables(self._shown("result"))

    def save_tables(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write `tables` as CSV files into a folder; their paths."""
        return taking.save_tables(self._shown("result"), Path(folder))

    def story(self, steps: Iterable[stories.Step | Mapping[str, Any]]) -> Explorer:
        """Tell a story in steps: all answers are computed now, and the walk waits for nothing.

        The screen then shows the first step; Left and Right walk, and so does assigning
        `explorer.step`. Progress is on the screen, where Cancel stops it and keeps what was there.

        Args:
            steps: `vw.Step` values, or dicts of their fields.

        Raises:
            RequestError: a step that does not fit the model; nothing has changed then.
        """
        checked = stories.check(self._model, self.experiment, steps)
        self._worker.submit("story", lambda: self._tell(checked))
        return self._await_story(FIRST_WAIT)

    def compare(
        self,
        left: str | Experiment,
        right: str | Experiment | None = None,
        *,
        tolerance: float = TOLERANCE,
    ) -> Comparison:
        """Two sides of what is on the screen, run in full and compared.

        Args:
            left, right: `base`, a source's name, `slot 0` (alone, the others skipped), `ungrouped`,
                `grouped` or `intervened`, an entry of the history by its title, or an experiment of
                your own. None is the result: grouped, intervened, or base where no slot is live.
            tolerance: absolute and relative tolerance of `allclose`, in logits.

        Raises:
            RequestError: an unknown side; the message lists those that there are.
        """
        self._worker.wait("answer")
        with self._lock:
            past = [(record.title, record.entry.experiment) for record in self._history.records]
            valid = contrasts.sides(self.experiment, past)
        one, other = (contrasts.side(value, valid) for value in (left, right))
        return compare(
            contrasts.run_side(self._model, one),
            contrasts.run_side(self._model, other),
            tolerance=tolerance,
        )

    @property
    def history(self) -> list[Entry]:
        """Every experiment that was answered, once, oldest first: `(name, experiment, sentence)`.

        The newest 50 without a name are kept, and all that have one.
        """
        self._worker.wait("answer")
        with self._lock:
            return [record.entry for record in self._history.records]

    def restore(self, key: str | int) -> None:
        """Put an experiment of the history on the screen.

        Args:
            key: its name, its title on the screen (`#3`), or its place in `history`.

        Raises:
            RequestError: no such entry; the message lists those that there are.
        """
        self._worker.wait("answer")
        with self._lock:
            self.experiment = self._history.find(key).entry.experiment

    def checkpoint(self, name: str) -> None:
        """Give the experiment on the screen a name in the history, where it then stays.

        An empty name takes the one that it has away.

        Raises:
            RequestError: a name that is taken, or that a side of a comparison has.
        """
        if self.result and (record := self._history.current()):
            self._name(record.number, name)

    def __repr__(self) -> str:
        return f"<Explorer of {self._model.name!r}: {self._sentence()}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The widget, and beside it a picture and a sentence for viewers that run no script."""
        bundle = super()._repr_mimebundle_(**kwargs)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if data is not None:
            data["text/plain"] = self._sentence()
            if self.map.get("cells"):
                data["image/png"] = still.png(self.map, self.scene, self._sentence())
        return bundle
