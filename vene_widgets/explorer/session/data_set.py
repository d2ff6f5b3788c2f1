"""The data set: the mean map of many pairs, filled chunk by chunk, and its pairs as experiments."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TYPE_CHECKING, ClassVar

from vene_widgets.engine.own_model import model_changed, require_unchanged
from vene_widgets.errors import RequestError
from vene_widgets.experiments.sweep_request import SweepRequest
from vene_widgets.explorer.session.feature import (
    Changes,
    Feature,
    Host,
    JobKind,
    Start,
    message_trait,
)
from vene_widgets.explorer.session.map import MapFeature
from vene_widgets.explorer.wire import data_set_views as views
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.sweeps.pairs.chunks import PairAnswers, joined
from vene_widgets.sweeps.pairs.controls import CONTROLS
from vene_widgets.sweeps.pairs.pair_run import PairRun
from vene_widgets.sweeps.pairs.results import PairSweep

if TYPE_CHECKING:
    from vene_widgets.models.fingerprint import Fingerprint

FIRST_WRITE, REST = 0.3, 4.0
"""Seconds after which a map that is being filled is written; how many times as long as writing
takes there is then until it is written again."""

OLD = "From before the model changed: sweep the pairs again."


class DataSetFeature(Feature):
    """Shows a data set, or runs one, and writes `data_set` and `data_progress`.

    Attributes:
        found: the results, which may not be complete while the data set is being run; None without
            any.
        is_complete: whether every pair and every control has run.
    """

    traits: ClassVar = {
        "data_set": message_trait(on_page=True),
        "data_progress": message_trait(),
    }
    jobs = (JobKind("pairs", "The pairs could not be run"),)

    def __init__(self, session: Host, start: Start) -> None:
        super().__init__(session, start)
        given = start.pairs
        self._run = given if isinstance(given, PairRun) else None
        self.found = given if isinstance(given, PairSweep) else None
        self.is_complete = self.found is not None
        self._shown: wire.DataSet | None = None
        self._is_old = False
        self._is_running = False  # a step that is running when it is stopped writes nothing more

    @property
    def changes(self) -> Changes:
        """A pair to put on the screen."""
        return {wire.OpenPair: self.open}

    @property
    def facts(self) -> str | None:
        """How the map of means was made, in one line; None without a data set."""
        return self._shown.facts if self._shown else None

    def opened(self) -> None:
        """Show the data set or begin to run it; the ordinary map sweeps what it sweeps."""
        given = self.found or self._run
        if given is None:
            return
        request, (head, *_) = given.plan.request, given.plan.heads
        self.session.feature(MapFeature).request = SweepRequest(
            component=request.component, head=head, intervention=request.intervention
        )
        if self.found is not None:
            self._show(views.data_set(self.found))
            if self.found.state != self.session.model.fingerprint:
                self._mark_old()
        elif self._run is not None:
            run, self._is_running = self._run, True
            self._show(views.planned_data_set(run.plan, run.metric, run.controls))
            self.session.submit("pairs", lambda: self._fill(run))

    def open(self, request: wire.OpenPair) -> None:
        """Put a pair on the screen, with the slot of a tile.

        Raises:
            RequestError: no such pair or tile, or nothing of it has run.
        """
        if self.found is None:
            raise RequestError("there is no data set whose pairs could be opened.")
        places = self.found.plan.places
        if not 0 <= request.place < len(places):
            raise RequestError(f"place {request.place} is out of range: there are {len(places)}.")
        place = places[request.place]
        experiment = self.found.pair(request.number, request.layer, place, request.head)
        self.session.set_experiment(experiment, request.id)

    def model_changed(self) -> None:
        """Stop the run, and mark what has run as old."""
        self.session.worker.cancel("pairs")
        self._mark_old()

    def cancel(self) -> None:
        """Stop the run; what has run stays."""
        session = self.session
        with session.lock:
            session.worker.cancel("pairs")
            if self._is_running and self._shown is not None:
                self._end(views.stopped(self._shown))

    def close(self, session: Host) -> None:
        """Drop the results."""
        self.found = self._run = None

    def _show(self, message: wire.DataSet) -> None:
        self._shown = message
        self.write("data_set", message.model_dump())

    def _end(self, note: str | None) -> None:
        """Show a note and no more progress, of a run that has ended or ends at its next step."""
        self._is_running = False
        if self._shown and note is not None:
            self._show(self._shown.model_copy(update={"note": note, "is_old": self._is_old}))
        self.write("data_progress", {})
        self.session.set_status(busy=None, progress=None)

    def _mark_old(self) -> None:
        with self.session.lock:
            if self._shown is None or self._is_old:
                return
            self._is_old = True
            self._end(OLD)

    def _fill(self, run: PairRun) -> Generator[None, None, None]:
        """Job: run the chunks; between two of them the model is free."""
        model = run.model
        state = model.fingerprint
        try:
            yield from self._steps(run, state)
        except Exception as error:
            if model_changed(model, state, error) is None:
                self._end("It stopped at an error.")
                raise
            self._mark_old()

    def _steps(self, run: PairRun, state: Fingerprint) -> Generator[None, None, None]:
        """Run the chunks, and show the map as it fills, for which a fifth of the time is spent."""
        session, model = self.session, run.model
        parts: dict[str, list[PairAnswers]] = {}
        rows, due = dict.fromkeys(run.chunks, 0), time.monotonic() + FIRST_WRITE
        totals = {name: sum(len(c.rows) for c in several) for name, several in run.chunks.items()}
        self._say(rows, totals, "")
        yield
        steps = run.steps()
        try:
            for chunk, answers in steps:
                require_unchanged(model, state, model.fingerprint)
                parts.setdefault(chunk.control, []).append(answers)
                rows[chunk.control] += len(chunk.rows)
                if (now := time.monotonic()) >= due:
                    self._show_partial(run, parts)
                    due = time.monotonic() + max(FIRST_WRITE, REST * (time.monotonic() - now))
                self._say(rows, totals, chunk.control)
                yield
        finally:
            # Its workers are let go also if the job is cancelled.
            getattr(steps, "close", lambda: None)()
        found = run.result()
        message = views.data_set(found)
        require_unchanged(model, state, model.fingerprint)
        with session.lock:
            if self._is_running:
                self.found, self.is_complete = found, True
                self._show(message)
                self._end(None)

    def _show_partial(self, run: PairRun, parts: dict[str, list[PairAnswers]]) -> None:
        answers = {name: joined(several) for name, several in parts.items()}
        found = run.of(answers.pop(""), answers)
        if not len(found.answers.pairs):
            return
        message = views.data_set(found, is_complete=False)
        with self.session.lock:
            if self._is_running:
                self.found = found
                self._show(message)

    def _say(self, rows: dict[str, int], totals: dict[str, int], control: str) -> None:
        """Say how far the run is."""
        of = f"{rows[control]:,} of {totals[control]:,} pairs"
        words = f"control, {CONTROLS[control]}: {of}" if control else of
        share = sum(rows.values()) / sum(totals.values())
        progress = wire.DataProgress(words=words, share=share)
        with self.session.lock:
            if self._is_running:
                self.write("data_progress", progress.model_dump())
                self.session.set_status(busy="pairs", progress=share)
