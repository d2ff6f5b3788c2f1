"""Runner: the chunks of a data set, run here or by workers, kept in memory or in a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from vene_widgets.engine.own_model import require_unchanged
from vene_widgets.sweeps.pairs.chunks import PairAnswers, PairChunk, PairRow
from vene_widgets.sweeps.pairs.controls import shuffled_twin
from vene_widgets.sweeps.pairs.gathering import GatheredAnswers
from vene_widgets.sweeps.pairs.model_source import ModelSource, run_noted, work
from vene_widgets.sweeps.pairs.workers import Workers, run_there
from vene_widgets.sweeps.sweep import Cancelled

if TYPE_CHECKING:
    from vene_widgets.models import LanguageModel
    from vene_widgets.models.fingerprint import Fingerprint
    from vene_widgets.sweeps.pairs.planning import PairPlan
    from vene_widgets.sweeps.sweep import Event


class Store(Protocol):
    """Where the answers of chunks are kept."""

    def has(self, chunk: PairChunk) -> bool: ...
    def write(self, chunk: PairChunk, answers: PairAnswers, notes: Mapping[str, str]) -> None: ...
    def read(
        self, chunks: Sequence[PairChunk], again: Callable[[PairChunk], None]
    ) -> PairAnswers: ...


class Memory:
    """Answers that are kept in this process.

    Args:
        plan: the data set.
        rows: the pairs of the sweep (`""`) and of its controls, by name.
    """

    def __init__(self, plan: PairPlan, rows: Mapping[str, Sequence[PairRow]]) -> None:
        self._found = {name: GatheredAnswers(plan, several) for name, several in rows.items()}
        self._done: set[tuple[str, int]] = set()

    def has(self, chunk: PairChunk) -> bool:
        """Whether a chunk is done."""
        return (chunk.control, chunk.number) in self._done

    def write(self, chunk: PairChunk, answers: PairAnswers, notes: Mapping[str, str]) -> None:
        """Keep the answers of a chunk."""
        del notes
        self._found[chunk.control].put(answers)
        self._done.add((chunk.control, chunk.number))

    def read(self, chunks: Sequence[PairChunk], again: Callable[[PairChunk], None]) -> PairAnswers:
        """The answers of some chunks of one sweep, all of them done."""
        del again
        return self._found[chunks[0].control].read(chunks)


class Runner:
    """Runs chunks.

    Args:
        model: the model here.
        seed: of its twin with shuffled weights.
        store: where answers are kept.
        workers: where chunks run; None for this process.
        source: how workers get the model; None if they share this process.
    """

    def __init__(
        self,
        model: LanguageModel,
        seed: int,
        store: Store,
        workers: Workers | None,
        source: ModelSource | None,
    ) -> None:
        self._model = model
        self._seed = seed
        self._store = store
        self._workers = workers
        self._source = source
        self._twin: LanguageModel | None = None
        self._state: Fingerprint | None = None

    def run(
        self,
        chunks: Sequence[PairChunk],
        progress: Callable[[int, int], None] | None,
        cancel: Event | None,
    ) -> None:
        """Run the chunks that are not done yet.

        Args:
            chunks: all chunks, of controls too.
            progress: called with `(pairs done, pairs in all)`.
            cancel: when set, it stops before the next chunk.

        Raises:
            Cancelled: see `cancel`; what is done is kept.
        """
        total = sum(len(chunk.rows) for chunk in chunks)
        left = [chunk for chunk in chunks if not self._store.has(chunk)]
        done = total - sum(len(chunk.rows) for chunk in left)
        if progress is not None and done:
            progress(done, total)
        for chunk, answers, notes in self._answers(left, cancel):
            self._store.write(chunk, answers, notes)
            done += len(chunk.rows)
            if progress is not None:
                progress(done, total)
        if done < total:
            raise Cancelled(f"sweep stopped after {done} of {total} pairs")

    def steps(self, chunks: Sequence[PairChunk]) -> Iterator[tuple[PairChunk, PairAnswers]]:
        """Run chunks one by one, keep their answers and yield them; those that are done first."""
        done = [chunk for chunk in chunks if self._store.has(chunk)]
        left = [chunk for chunk in chunks if not self._store.has(chunk)]
        for chunk in done:
            yield chunk, self._store.read([chunk], self.run_one)
        for chunk, answers, notes in self._answers(left, None):
            self._store.write(chunk, answers, notes)
            yield chunk, answers

    def run_one(self, chunk: PairChunk) -> None:
        """Run one chunk here, and keep its answers."""
        self._store.write(chunk, *run_noted(self._model_of(chunk), chunk))

    def _answers(
        self, chunks: Sequence[PairChunk], cancel: Event | None
    ) -> Iterator[tuple[PairChunk, PairAnswers, Mapping[str, str]]]:
        """Run chunks, here or there, until `cancel` is set.

        Raises:
            ModelChanged: the model here was changed between two chunks. Workers of other processes
                have their own.
        """
        model = self._model
        if self._workers is not None:  # several chunks may be under way when the first one is done
            self._state = self._state or model.fingerprint
        for chunk, answers, notes in self._unchecked(chunks, cancel):
            if self._source is None:
                # A chunk checks itself that its model is the same until its end. What is left to
                # check is that it began with the model of the chunks before it.
                ran_here = self._workers is None and chunk.control != "shuffled_weights"
                began = model.tree.last_state if ran_here else None
                now = model.fingerprint if began is None else began
                self._state = self._state or now
                require_unchanged(model, self._state, now)
            yield chunk, answers, notes

    @property
    def state(self) -> Fingerprint:
        """The state of the model that the answers are of."""
        return self._state or self._model.fingerprint

    def _unchecked(
        self, chunks: Sequence[PairChunk], cancel: Event | None
    ) -> Iterator[tuple[PairChunk, PairAnswers, Mapping[str, str]]]:
        """Run chunks, whatever happens to the model between them."""
        if self._workers is None:
            for chunk in chunks:
                if cancel and cancel.is_set():
                    return
                yield chunk, *run_noted(self._model_of(chunk), chunk)
            return
        source, threads = self._source, self._workers.threads
        calls: list[tuple[PairChunk, Callable[..., Any], tuple[Any, ...]]] = [
            (chunk, run_noted, (self._model_of(chunk), chunk))
            if source is None
            else (chunk, work, (source, chunk, threads))
            for chunk in chunks
        ]
        yield from run_there(self._workers, calls, cancel)

    def _model_of(self, chunk: PairChunk) -> LanguageModel:
        """The model that a chunk is of: the user's, or its twin."""
        if chunk.control != "shuffled_weights":
            return self._model
        if self._twin is None:
            self._twin = shuffled_twin(self._model, self._seed)
        return self._twin
