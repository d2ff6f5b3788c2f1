"""Runner: the chunks of a data set, run here or by workers, kept in memory or in a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from vene_widgets.sweeps.pairs.controls import shuffled_twin
from vene_widgets.sweeps.pairs.model_source import ModelSource, run_noted, work
from vene_widgets.sweeps.pairs.tasks import PairAnswers, PairTask, joined
from vene_widgets.sweeps.pairs.workers import Workers, run_there
from vene_widgets.sweeps.sweep import Cancelled

if TYPE_CHECKING:
    from vene_widgets.models import LanguageModel
    from vene_widgets.sweeps.sweep import Event


class Store(Protocol):
    """Where the answers of chunks are kept."""

    def has(self, task: PairTask) -> bool: ...
    def write(self, task: PairTask, answers: PairAnswers, notes: Mapping[str, str]) -> None: ...
    def read(self, tasks: Sequence[PairTask], again: Callable[[PairTask], None]) -> PairAnswers: ...


class Memory:
    """Answers that are kept in this process."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int], PairAnswers] = {}

    def has(self, task: PairTask) -> bool:
        """Whether a chunk is done."""
        return (task.control, task.number) in self._found

    def write(self, task: PairTask, answers: PairAnswers, notes: Mapping[str, str]) -> None:
        """Keep the answers of a chunk."""
        del notes
        self._found[task.control, task.number] = answers

    def read(self, tasks: Sequence[PairTask], again: Callable[[PairTask], None]) -> PairAnswers:
        """The answers of some chunks, all of them done; they are given away."""
        del again
        return joined([self._found.pop((task.control, task.number)) for task in tasks])


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

    def run(
        self,
        tasks: Sequence[PairTask],
        progress: Callable[[int, int], None] | None,
        cancel: Event | None,
    ) -> None:
        """Run the chunks that are not done yet.

        Args:
            tasks: all chunks, of controls too.
            progress: called with `(pairs done, pairs in all)`.
            cancel: when set, it stops before the next chunk.

        Raises:
            Cancelled: see `cancel`; what is done is kept.
        """
        total = sum(len(task.rows) for task in tasks)
        left = [task for task in tasks if not self._store.has(task)]
        done = total - sum(len(task.rows) for task in left)
        if progress is not None and done:
            progress(done, total)
        for task, answers, notes in self._answers(left, cancel):
            self._store.write(task, answers, notes)
            done += len(task.rows)
            if progress is not None:
                progress(done, total)
        if done < total:
            raise Cancelled(f"sweep stopped after {done} of {total} pairs")

    def run_one(self, task: PairTask) -> None:
        """Run one chunk here, and keep its answers."""
        self._store.write(task, *run_noted(self._model_of(task), task))

    def _answers(
        self, tasks: Sequence[PairTask], cancel: Event | None
    ) -> Iterator[tuple[PairTask, PairAnswers, Mapping[str, str]]]:
        """Run chunks, here or there, until `cancel` is set."""
        if self._workers is None:
            for task in tasks:
                if cancel and cancel.is_set():
                    return
                yield task, *run_noted(self._model_of(task), task)
            return
        source, threads = self._source, self._workers.threads
        calls: list[tuple[PairTask, Callable[..., Any], tuple[Any, ...]]] = [
            (task, run_noted, (self._model_of(task), task))
            if source is None
            else (task, work, (source, task, threads))
            for task in tasks
        ]
        yield from run_there(self._workers, calls, cancel)

    def _model_of(self, task: PairTask) -> LanguageModel:
        """The model that a chunk is of: the user's, or its twin."""
        if task.control != "shuffled_weights":
            return self._model
        if self._twin is None:
            self._twin = shuffled_twin(self._model, self._seed)
        return self._twin
