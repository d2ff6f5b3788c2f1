# pyright: basic
# Basic: this is the traits' edge, and traitlets, ipywidgets and anywidget are untyped.
"""Explorer: the Python interface of the screen: read its results, change it, export it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vene_widgets.codegen.script import Face, script
from vene_widgets.engine.comparing import TOLERANCE, Comparison, compare
from vene_widgets.engine.own_model import require_unchanged
from vene_widgets.errors import RequestError
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.explorer import server_check, static_output
from vene_widgets.explorer.export import (
    archive,
    full_vocabulary,
    page,
    panel_tables,
    preview_png,
)
from vene_widgets.explorer.painter.drawing import compose, draw_files
from vene_widgets.explorer.session import lifetime
from vene_widgets.explorer.session.answer import AnswerFeature
from vene_widgets.explorer.session.compare import resolve_side, run_side, sides
from vene_widgets.explorer.session.data_set import DataSetFeature
from vene_widgets.explorer.session.feature import FIRST_WAIT
from vene_widgets.explorer.session.figure import FigureFeature
from vene_widgets.explorer.session.generation import GenerationFeature
from vene_widgets.explorer.session.history import HistoryFeature
from vene_widgets.explorer.session.history_records import Entry
from vene_widgets.explorer.session.map import MapFeature
from vene_widgets.explorer.session.session import Session
from vene_widgets.explorer.session.share import ShareFeature
from vene_widgets.explorer.session.step import Step
from vene_widgets.explorer.session.story import StoryFeature
from vene_widgets.explorer.wire import views
from vene_widgets.sweeps.cells import sweep_rows
from vene_widgets.sweeps.preparing import prepare_sweeps
from vene_widgets.tables import frames
from vene_widgets.tables.files import write_aside

if TYPE_CHECKING:
    import pandas as pd
    import plotnine as p9
    from plotnine.composition import Compose

    from vene_widgets.engine.running import Run
    from vene_widgets.explorer.exact_runs import ExactRuns
    from vene_widgets.explorer.export.share_token import Shared
    from vene_widgets.methods.generation import Generation
    from vene_widgets.models import LanguageModel
    from vene_widgets.sweeps.pairs.pair_run import PairRun
    from vene_widgets.sweeps.pairs.results import PairSweep
    from vene_widgets.sweeps.planning import SweepPlan


class Explorer(Session):
    """The explorer widget: prompts, slots, map, distributions, verdict and figure of an experiment.

    Made by `explore`. Everything on the screen is available in Python: `.experiment`, `.run`,
    `.runs`, `.frame`, `.figure()`, `.compare(left, right)`, `.history`. Assigning `.experiment`, or
    `.restore(name)`, changes the screen; `observe(handler, "experiment")` is called for every
    change, including clicks. `close()` frees its thread, its runs and its share of the figure
    process.

    Attributes:
        experiment: the experiment on the screen; assign another to change it.
        step: index of the story's step on the screen, from 0; assign another to go there. None
            without a story.
        saved_page: absolute path of the page that `to_html` wrote last; None before.
    """

    saved_page: Path | None = None

    @property
    def result(self) -> ExactRuns:
        """All exact runs of the current experiment; waits for them.

        Raises:
            RequestError: the explorer is closed, or the run was cancelled.
            Exception: the one that the run raised.
        """
        return self.feature(AnswerFeature).result

    @property
    def run(self) -> Run:
        """The exact run on the screen: grouped or intervened; the base's run if no slot is live.

        It is `run(explorer.model, explorer.experiment)`, number for number. For the screen the
        output head runs at the last position only, so the screen's own numbers may differ from
        these by rounding.
        """
        result = self.result
        column = result.columns[-1 if result.experiment.live else 0]
        return result.runs[column.name]

    @property
    def runs(self) -> Mapping[str, Run]:
        """Every run on the screen by its column's name, with the logits of all positions."""
        return self.result.runs

    @property
    def frame(self) -> pd.DataFrame:
        """Token distributions of all runs on the screen (`frames.token_frame`)."""
        return frames.token_frame(
            {name: run.logits[-1] for name, run in self.runs.items()}, self.model.token_text
        )

    @property
    def map_frame(self) -> pd.DataFrame:
        """The map on the screen (`frames.sweep_frame`); waits until it is full.

        Its targets are those of `sweep` (`tables.statistics.default_targets`). A map of all heads
        of a layer has the heads one below the other.
        """
        self.worker.wait("sweep")
        return self.feature(MapFeature).table()

    @property
    def pair_sweep(self) -> PairSweep:
        """The data set on the screen; waits until every pair has run.

        Raises:
            RequestError: there is none, or it was stopped.
            Exception: the one that the run raised.
        """
        self.worker.wait("pairs")
        feature = self.feature(DataSetFeature)
        if feature.found is None or not feature.is_complete:
            raise self.last_error or RequestError(
                "there is no complete data set: see vene_widgets.explore_pairs"
            )
        return feature.found

    @property
    def generated(self) -> Generation:
        """The texts of the tab *Generate*, as `vw.generate` returns them; waits for them.

        Logits are not kept.

        Raises:
            RequestError: none has been generated to its end since the model last changed.
        """
        self.notice_changes()
        self.worker.wait("generation")
        found = self.feature(GenerationFeature).latest
        if found is None:
            raise RequestError(
                "no text has been generated on the screen: press Generate in its tab, or call "
                "vw.generate(model, explorer.experiment)"
            )
        return found

    def code(self, face: Face = "vene_widgets", *, since: Experiment | None = None) -> str:
        """The script that reproduces the result on the screen (`vene_widgets.script`).

        Args:
            face: the library in whose names it is written: `vene_widgets`, `intervenable` or
                `pyvene`.
            since: an earlier experiment; lines that differ from its script are marked.

        Raises:
            RequestError: that library cannot express the experiment.
        """
        return script(self.model, self.experiment, face, since=since)

    def to_html(
        self,
        path: str | os.PathLike[str],
        *,
        title: str | None = None,
        every_token: bool = False,
    ) -> Path:
        """Write one HTML file that works without a kernel or a network.

        The whole map can be hovered and clicked, metrics and targets can be switched, a story can
        be walked; the experiment on the screen has its exact answer and its figure. Controls whose
        results are not on the page are left out or disabled.

        Args:
            path: of the file; an existing one is replaced, or left as it was if writing fails.
            title: of the page; None for the result in words.
            every_token: include every token of the vocabulary in the map, not only the likeliest.
                The sweep then runs once more.

        Returns:
            The path.

        Raises:
            RequestError: the page would be too large with every token, or the file cannot be
                written.
        """
        self.wait()
        sentence = self._sentence()
        traits = {name: getattr(self, name) for name in self.trait_names(page=True)}
        traits["picture"] = self.feature(FigureFeature).draw_for_page() or traits["picture"]
        shown = self.feature(MapFeature).shown
        if every_token and shown is not None:
            traits["map"] = self._full_vocabulary_map(shown.plans)
        if (folder := self.model.path) is not None:  # others have no use for where it lies
            traits = page.without_path(traits, folder, self.model.name)
        text = page.page(traits, sentence, title or sentence)
        # A prompt may hold lone surrogates, which UTF-8 cannot encode.
        written = write_aside(path, text.encode("utf-8", "backslashreplace"))
        self.saved_page = written.resolve()
        return written

    def _full_vocabulary_map(self, plans: Sequence[SweepPlan]) -> dict[str, Any]:
        """The map with every token of the vocabulary, from one more sweep."""
        full_vocabulary.check_page_size(len(self.map["cells"]), self.model.sites.vocabulary)
        prepared = prepare_sweeps(plans, self.cache)
        require_unchanged(self.model, self.fingerprint, prepared[0].state)
        return full_vocabulary.with_full_vocabulary(
            self.map,
            (row.logits for row in sweep_rows(*prepared)),
            prepared[0].base_logits.cpu(),
            prepared[0].source_logits.cpu(),
            partial(views.label, self.model),
        )

    def state(self) -> str:
        """The share token of this screen and its history, for `from_state`.

        It holds prompts, experiments and results in words; no paths, no code, no weights.
        """
        self.worker.wait("answer")
        return self.feature(ShareFeature).token()

    def figure(
        self,
        kind: str | None = None,
        *,
        theme: str | p9.theme = "screen",
        metric: str = "probability",
    ) -> p9.ggplot | Compose:
        """The screen's figure as plotnine's object, to change and save.

        Args:
            kind: `result`, `token_heatmap`, `difference_panel`, `sweep_map` or
                `distribution_dots`; None for the kind on the screen.
            theme: `screen`, `paper`, or a plotnine theme such as `vw.theme_paper(family="serif")`.
            metric: of a `sweep_map`, a key of `frames.METRICS`.

        Returns:
            One plot; for `result` a composition of two.

        Raises:
            RequestError: an unknown kind, theme or metric; the message lists the valid ones.
        """
        return compose(self.feature(FigureFeature).snapshot(kind, theme, metric).order)

    def save_figure(
        self,
        path: str | os.PathLike[str],
        kind: str | None = None,
        *,
        theme: str | p9.theme = "screen",
        metric: str = "probability",
        dpi: float = 300,
    ) -> Path:
        """Write the screen's figure in the format of the file's suffix.

        Formats are `.png`, `.svg` (a browser shows the exact value of the hovered tile), `.pdf`
        (fonts embedded) and `.zip`: all three, the data as CSV (and as Parquet if pyarrow is
        installed), the code that reproduces the result, and a caption as text and as LaTeX.

        Args:
            path: of the file; an existing one is replaced, or left as it was if writing fails.
            kind, theme, metric: as in `figure`.
            dpi: resolution of a PNG.

        Returns:
            The path.

        Raises:
            RequestError: an unknown suffix, kind, theme or metric (the message lists the valid
                ones), or a file that cannot be written.

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
        suffix = archive.suffix_of(file)
        snapshot = self.feature(FigureFeature).snapshot(kind, theme, metric)
        drawings = draw_files(archive.file_order(snapshot, suffix, dpi))
        return write_aside(file, archive.file_bytes(snapshot, suffix, drawings.files))

    def tables(self) -> dict[str, pd.DataFrame]:
        """The panels' numbers, unrounded: `tokens`, `difference`, `map`, `receipts`, `verdict`.

        For the whole vocabulary see `explorer.run.frame` and `explorer.compare(...).frame`.
        """
        return panel_tables.panel_tables(self.feature(FigureFeature).snapshot("result"))

    def save_tables(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write `tables` as CSV files into a folder, and return their paths.

        Texts that a spreadsheet would run as formulas begin with an apostrophe in these files; see
        `explorer.export.panel_tables.csv`. Existing files are replaced once all are written.

        Raises:
            RequestError: the folder or a file cannot be written.
        """
        snapshot = self.feature(FigureFeature).snapshot("result")
        return panel_tables.save_tables(snapshot, Path(folder))

    def story(self, steps: Iterable[Step | Mapping[str, Any]]) -> Explorer:
        """Present a story in steps. All results are computed now, so that walking needs no runs.

        The screen then shows the first step; the Left and Right keys walk, and so does assigning
        `explorer.step`. Progress is shown on the screen; Cancel stops the computation and keeps the
        previous story.

        Args:
            steps: `vw.Step` values, or dicts of their fields.

        Returns:
            The explorer itself, after at most 10 seconds.

        Raises:
            RequestError: a step that is invalid for the model; nothing has changed then.
        """
        story = self.feature(StoryFeature)
        story.present(steps)
        story.await_experiment(FIRST_WAIT)
        return self

    def compare(
        self,
        left: str | Experiment,
        right: str | Experiment | None = None,
        *,
        tolerance: float = TOLERANCE,
    ) -> Comparison:
        """Run two sides of the screen in full and compare them.

        Args:
            left, right: `base`, a source's name, `slot 0` (alone, the others skipped), `ungrouped`,
                `grouped` or `intervened`, the title of an entry of the history, or any experiment.
                None is the result: grouped, intervened, or base if no slot is live.
            tolerance: absolute and relative tolerance of `allclose`, in logits.

        Raises:
            RequestError: an unknown side; the message lists the valid ones.
        """
        self.worker.wait("answer")
        with self.lock:
            records = self.feature(HistoryFeature).history.records
            past = [(record.title, record.entry.experiment) for record in records]
            valid = sides(self.experiment, past)
        left_side, right_side = (resolve_side(side, valid) for side in (left, right))
        return compare(
            run_side(self.model, left_side),
            run_side(self.model, right_side),
            tolerance=tolerance,
        )

    @property
    def history(self) -> list[Entry]:
        """The answered experiments, each once, oldest first: `(name, experiment, sentence)`.

        It keeps all entries with a name and the newest 50 of the others.
        """
        self.worker.wait("answer")
        with self.lock:
            return [record.entry for record in self.feature(HistoryFeature).history.records]

    def restore(self, key: str | int) -> None:
        """Put an experiment of the history on the screen.

        Args:
            key: its name, its title on the screen (`#3`), or its index in `history`.

        Raises:
            RequestError: no such entry; the message lists the valid ones.
        """
        self.worker.wait("answer")
        with self.lock:
            self.experiment = self.feature(HistoryFeature).history.find(key).entry.experiment

    def checkpoint(self, name: str) -> None:
        """Name the experiment on the screen in the history, which never drops named entries.

        An empty name removes its name.

        Raises:
            RequestError: a name that is taken or reserved, or one name too many.
        """
        feature = self.feature(HistoryFeature)
        if self.result and (record := feature.history.current()):
            feature.name(record.number, name)

    def __repr__(self) -> str:
        return f"<Explorer of {self.model.name!r}: {self._sentence()}>"

    def _sentence(self) -> str:
        """What is on the screen, in a line: the data set that it is of, or the result."""
        return self.feature(DataSetFeature).facts or self.feature(AnswerFeature).sentence()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The widget, with a picture and a sentence for viewers that run no scripts.

        In a Jupyter kernel the picture is an output of its own (`static_output`); the empty HTML
        keeps viewers without widgets from showing this one too.
        """
        lifetime.show(self)
        bundle = super()._repr_mimebundle_(**kwargs)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if data is not None:
            sentence = self._sentence()
            data["text/plain"] = sentence
            if static_output.note_display(self):
                data["text/html"] = ""
                if problem := server_check.server_problem():
                    print(problem)
            elif self.map.get("cells"):
                data["image/png"] = preview_png.draw_screen(
                    self.map, self.scene, self.answer, sentence
                )
        return bundle


def open_explorer(
    model: LanguageModel,
    experiment: Experiment,
    component: str,
    shared: Shared | None = None,
    pairs: PairSweep | PairRun | None = None,
) -> Explorer:
    """Make an explorer and wait up to `FIRST_WAIT` for its map, so that it appears filled.

    Args:
        model: the model to run.
        experiment: the first one on the screen.
        component: the first one that the map sweeps.
        shared: the state of a share token to restore.
        pairs: a data set that has run, or one to run.
    """
    explorer = Explorer(model, experiment, component, shared, pairs)
    explorer.worker.wait("sweep", FIRST_WAIT)
    return explorer
