"""The worker: latest wins per kind, urgent kinds interrupt, errors and cancels do not stop it."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator

import pytest

from vene_widgets.explorer.session.worker import Worker

Steps = Generator[None, None, None]


class Log:
    """What happened, in order; steps of a job may be held back by an event."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.errors: list[tuple[str, Exception]] = []

    def failed(self, kind: str, error: Exception) -> None:
        self.errors.append((kind, error))

    def job(self, name: str, steps: int = 1, hold: threading.Event | None = None) -> Steps:
        try:
            for step in range(steps):
                if hold:
                    assert hold.wait(5)
                self.events.append(f"{name}{step}")
                yield
            self.events.append(f"{name} done")
        finally:
            self.events.append(f"{name} closed")


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def worker(log: Log) -> Iterator[Worker]:
    made = Worker(("answer", "sweep"), log.failed)
    yield made
    made.close()
    assert made._thread is None or not made._thread.is_alive()


def test_a_job_runs_to_its_end(worker: Worker, log: Log) -> None:
    worker.submit("answer", lambda: log.job("a", 3))
    assert worker.wait("answer", 5)
    assert log.events == ["a0", "a1", "a2", "a done", "a closed"]


def test_an_urgent_job_interrupts_between_steps(worker: Worker, log: Log) -> None:
    gate, begun = threading.Event(), threading.Event()

    def sweep() -> Steps:
        begun.set()
        yield from log.job("s", 3, gate)

    worker.submit("sweep", sweep)
    assert begun.wait(5)
    worker.submit("answer", lambda: log.job("a"))
    gate.set()
    assert worker.wait("sweep", 5) and worker.wait("answer", 5)
    assert log.events.index("a done") < log.events.index("s1")
    assert log.events[-2:] == ["s done", "s closed"]


def test_the_latest_of_a_kind_wins(worker: Worker, log: Log) -> None:
    gate, begun = threading.Event(), threading.Event()

    def first() -> Steps:
        begun.set()
        yield from log.job("first", 3, gate)

    worker.submit("sweep", first)
    assert begun.wait(5)
    worker.submit("sweep", lambda: log.job("second"))
    worker.submit("sweep", lambda: log.job("third"))
    gate.set()
    assert worker.wait("sweep", 5)
    assert "first done" not in log.events and "first closed" in log.events
    assert not any(event.startswith("second") for event in log.events)
    assert log.events[-1] == "third closed" and "third done" in log.events


def test_cancel_closes_what_is_under_way(worker: Worker, log: Log) -> None:
    gate, begun = threading.Event(), threading.Event()

    def sweep() -> Steps:
        begun.set()
        yield from log.job("s", 3, gate)

    worker.submit("sweep", sweep)
    assert begun.wait(5)
    worker.cancel("sweep")
    gate.set()
    assert worker.wait("sweep", 5)
    assert log.events == ["s0", "s closed"]


def test_an_error_is_reported_and_the_worker_goes_on(worker: Worker, log: Log) -> None:
    def broken() -> Steps:
        yield
        raise ZeroDivisionError("on purpose")

    worker.submit("sweep", broken)
    assert worker.wait("sweep", 5)
    worker.submit("sweep", lambda: log.job("s"))
    assert worker.wait("sweep", 5)
    assert [(kind, type(error)) for kind, error in log.errors] == [("sweep", ZeroDivisionError)]
    assert "s done" in log.events


def test_an_error_before_the_first_step_is_reported(worker: Worker, log: Log) -> None:
    def never() -> Steps:
        raise KeyError("no generator")

    worker.submit("answer", never)
    assert worker.wait("answer", 5)
    assert [type(error) for _, error in log.errors] == [KeyError]


def test_waiting_on_its_own_thread_returns(worker: Worker, log: Log) -> None:
    def waits_for_itself() -> Steps:
        assert worker.wait("answer")
        log.events.append("went on")
        yield

    worker.submit("answer", waits_for_itself)
    assert worker.wait("answer", 5)
    assert log.events == ["went on"]


def test_close_ends_the_thread_with_a_job_under_way(log: Log) -> None:
    worker = Worker(("sweep",), log.failed)
    begun = threading.Event()

    def endless() -> Steps:
        try:
            while True:
                begun.set()
                yield
        finally:
            log.events.append("closed")

    worker.submit("sweep", endless)
    assert begun.wait(5)
    worker.close()
    assert worker._thread is not None and not worker._thread.is_alive()
    assert log.events == ["closed"]
    worker.submit("sweep", endless)  # after closing, nothing starts
    assert not worker.is_busy("sweep")
