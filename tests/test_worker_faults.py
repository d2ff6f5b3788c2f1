"""The worker under faults: it survives every error, finishes what it must, and keeps nothing."""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator
from functools import partial

import pytest

from vene_widgets import errors
from vene_widgets.errors import RequestError
from vene_widgets.explorer.session import worker as worker_module
from vene_widgets.explorer.session.worker import Worker
from vene_widgets.explorer.wire.error_text import error_text

Steps = Generator[None, None, None]


class Log:
    """What was reported, and what the jobs did."""

    def __init__(self) -> None:
        self.errors: list[tuple[str, Exception]] = []
        self.events: list[str] = []

    def failed(self, kind: str, error: Exception) -> None:
        self.errors.append((kind, error))

    def job(self, name: str, steps: int = 1, gate: threading.Event | None = None) -> Steps:
        try:
            for step in range(steps):
                if gate:
                    assert gate.wait(5)
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
    made = Worker(("answer", "sweep"), log.failed, finishes=("answer",))
    yield made
    made.close()
    assert made._thread is None or not made._thread.is_alive()


def assert_serves(worker: Worker, log: Log) -> None:
    """The next job of every kind runs to its end."""
    for kind in ("answer", "sweep"):
        worker.submit(kind, lambda kind=kind: log.job(f"next {kind}"))
        assert worker.wait(kind, 5)
        assert f"next {kind} done" in log.events


class Mute(Exception):
    """An error whose text cannot be made."""

    def __str__(self) -> str:
        raise ZeroDivisionError("no text")

    __repr__ = __str__


class Deadly(Mute):
    """An error whose text ends the thread that asks for it."""

    def __str__(self) -> str:
        raise SystemExit(5)

    __repr__ = __str__


class NoText(BaseException):
    """Not an `Exception`, and without a text."""

    def __str__(self) -> str:
        return 3  # type: ignore[return-value]


# ---- every error is reported once ---------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        ValueError("on purpose"),
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        StopIteration(),
        MemoryError(),
        RecursionError(),
        Mute(),
        Deadly(),
        NoText(),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("when", ["before", "first", "later"])
def test_every_error_is_reported_once_and_the_next_job_runs(
    worker: Worker, log: Log, error: BaseException, when: str
) -> None:
    def steps() -> Steps:
        if when == "later":
            yield
        raise error

    def raises() -> Steps:
        raise error

    worker.submit("answer", raises if when == "before" else steps)
    assert worker.wait("answer", 5)
    assert len(log.errors) == 1
    kind, reported = log.errors[0]
    assert kind == "answer" and isinstance(reported, Exception)
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        assert reported is error
    else:
        assert reported.__cause__ is error
    said = error_text(reported)
    assert said and "\n" not in said and len(said) <= 1000
    assert_serves(worker, log)
    assert len(log.errors) == 1


def test_an_error_that_would_end_a_program_arrives_as_a_request_error(
    worker: Worker, log: Log
) -> None:
    def steps() -> Steps:
        raise SystemExit("bye")
        yield

    worker.submit("sweep", steps)
    assert worker.wait("sweep", 5)
    [(_, reported)] = log.errors
    assert type(reported) is RequestError
    assert error_text(reported).startswith("SystemExit: bye was raised")


@pytest.mark.parametrize("raised", [ValueError("in close"), SystemExit(1), Mute()])
def test_a_job_whose_close_raises_is_reported(
    worker: Worker, log: Log, raised: BaseException
) -> None:
    begun = threading.Event()

    def steps() -> Steps:
        try:
            while True:
                begun.set()
                yield
        finally:
            raise raised

    worker.submit("sweep", steps)
    assert begun.wait(5)
    worker.cancel("sweep")
    assert worker.wait("sweep", 5)
    assert [kind for kind, _ in log.errors] == ["sweep"]
    assert_serves(worker, log)


def test_a_job_that_ignores_its_end_is_reported_and_dropped(worker: Worker, log: Log) -> None:
    begun = threading.Event()

    def steps() -> Steps:
        try:
            while True:
                begun.set()
                yield
        except GeneratorExit:
            yield  # a second close, by the garbage collector, ends it

    worker.submit("sweep", steps)
    assert begun.wait(5)
    worker.cancel("sweep")
    assert worker.wait("sweep", 5)
    [(kind, error)] = log.errors
    assert kind == "sweep" and "ignored GeneratorExit" in str(error)
    assert_serves(worker, log)


@pytest.mark.parametrize("raised", [ValueError("in on_failed"), SystemExit(2), Mute()])
def test_a_callback_that_raises_is_logged(
    log: Log, raised: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def on_failed(kind: str, error: Exception) -> None:
        log.failed(kind, error)
        raise raised

    def broken() -> Steps:
        raise Mute
        yield

    made = Worker(("answer", "sweep"), on_failed)
    try:
        with caplog.at_level(logging.ERROR):
            made.submit("answer", broken)
            assert made.wait("answer", 5)
        assert len(log.errors) == 1
        assert "could not be reported" in caplog.text and type(raised).__name__ in caplog.text
        assert_serves(made, log)
    finally:
        made.close()


def test_a_job_that_is_no_generator_is_reported(worker: Worker, log: Log) -> None:
    worker.submit("answer", lambda: None)  # type: ignore[arg-type, return-value]
    assert worker.wait("answer", 5)
    assert [type(error) for _, error in log.errors] == [TypeError]
    assert_serves(worker, log)


# ---- texts of errors ----------------------------------------------------------------------------


@pytest.mark.parametrize("text", [error_text, errors.error_text])
def test_an_error_without_a_text_is_named_by_its_class(text: Callable[..., str]) -> None:
    assert text(Mute()) == "Mute, whose text cannot be shown: it raised ZeroDivisionError"
    assert text(Deadly()) == "Deadly, whose text cannot be shown: it raised SystemExit"
    assert text(NoText()) == "NoText, whose text cannot be shown: it raised TypeError"
    assert text(KeyboardInterrupt()) == "KeyboardInterrupt"
    assert text(ValueError("short")) == "ValueError: short"


@pytest.mark.parametrize("text", [error_text, errors.error_text])
def test_an_errors_text_is_one_short_line(text: Callable[..., str]) -> None:
    said = text(ValueError("line one\n   line two\r\n\n" + "x" * 10**7))
    assert said.startswith("ValueError: line one line two x") and said.endswith("…")
    assert len(said) == errors.ERROR_CHARACTERS and "\n" not in said
    # Names of valid choices are not cut.
    listed = "expected one of " + ", ".join(f"name {i}" for i in range(60)) + "."
    assert text(RequestError(listed)) == listed
    assert len(text(RequestError("x" * 10**6))) == errors.REQUEST_CHARACTERS
    assert len(text(type("E" * 5000, (Exception,), {})("x"))) == errors.ERROR_CHARACTERS


# ---- a started job finishes ---------------------------------------------------------------------


def test_a_started_job_finishes_while_newer_ones_of_its_kind_wait(worker: Worker, log: Log) -> None:
    gate, begun = threading.Event(), threading.Event()

    def first() -> Steps:
        begun.set()
        yield from log.job("first", 3, gate)

    worker.submit("answer", first)
    assert begun.wait(5)
    for name in ("second", "third", "newest"):
        worker.submit("answer", lambda name=name: log.job(name))
    gate.set()
    assert worker.wait("answer", 5)
    done = [event for event in log.events if event.endswith("done")]
    assert done == ["first done", "newest done"]
    assert not any(event.startswith(("second", "third")) for event in log.events)


def test_clicks_faster_than_answers_are_answered(worker: Worker, log: Log) -> None:
    def slow(name: str) -> Steps:
        for _ in range(4):
            time.sleep(0.01)
            yield
        log.events.append(name)

    end = time.monotonic() + 1
    count = 0
    while time.monotonic() < end:  # a click every 5 ms, an answer in 40 ms
        worker.submit("answer", lambda name=str(count): slow(name))
        count += 1
        time.sleep(0.005)
    assert worker.wait("answer", 5)
    assert len(log.events) > 5 and log.events[-1] == str(count - 1)


def test_cancel_ends_a_job_that_would_finish(worker: Worker, log: Log) -> None:
    gate, begun = threading.Event(), threading.Event()

    def first() -> Steps:
        begun.set()
        yield from log.job("first", 3, gate)

    worker.submit("answer", first)
    assert begun.wait(5)
    worker.submit("answer", lambda: log.job("waiting"))
    worker.cancel("answer")
    worker.submit("answer", lambda: log.job("after"))
    gate.set()
    assert worker.wait("answer", 5)
    assert log.events == ["first0", "first closed", "after0", "after done", "after closed"]


def test_a_running_job_of_another_kind_is_replaced(worker: Worker, log: Log) -> None:
    gate, begun = threading.Event(), threading.Event()

    def first() -> Steps:
        begun.set()
        yield from log.job("first", 3, gate)

    worker.submit("sweep", first)
    assert begun.wait(5)
    worker.submit("sweep", lambda: log.job("second"))
    gate.set()
    assert worker.wait("sweep", 5)
    assert "first done" not in log.events and log.events[-2:] == ["second done", "second closed"]


# ---- the thread ---------------------------------------------------------------------------------


def test_the_thread_exists_only_while_there_is_work(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "IDLE_SECONDS", 0.05)
    made = Worker(("answer", "sweep"), log.failed)
    assert made._thread is None
    threads: list[threading.Thread] = []
    for round_ in range(3):
        made.submit("answer", lambda: log.job("a"))
        thread = made._thread
        assert thread is not None
        threads.append(thread)
        assert made.wait("answer", 5)
        thread.join(5)
        assert not thread.is_alive() and len(log.events) == 3 * (round_ + 1)
    assert len(set(threads)) == 3
    made.close()
    made.submit("answer", lambda: log.job("never"))
    assert made._thread is threads[-1] and not made.is_busy("answer")


def test_no_job_is_lost_while_the_thread_ends_and_starts(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "IDLE_SECONDS", 0.0002)
    made = Worker(("answer", "sweep"), log.failed)
    ran: list[int] = []

    def job(number: int) -> Steps:
        ran.append(number)
        yield

    for number in range(2000):
        made.submit("answer", lambda number=number: job(number))
        assert made.wait("answer", 5)
        if number % 3 == 0:
            time.sleep(0.0002)
    assert ran == list(range(2000)) and log.errors == []
    made.close()


def test_a_job_that_comes_while_the_thread_ends_gets_another(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "IDLE_SECONDS", 0.0)
    ending, gate = threading.Event(), threading.Event()

    class Lingering(Worker):
        def _work(self) -> None:
            super()._work()
            ending.set()
            assert gate.wait(5)

    made = Lingering(("answer",), log.failed)
    made.submit("answer", lambda: log.job("first"))
    assert made.wait("answer", 5) and ending.wait(5)
    made.submit("answer", lambda: log.job("second"))  # the first thread is alive still
    assert made.wait("answer", 5) and log.events[-2:] == ["second done", "second closed"]
    gate.set()
    made.close()


def test_many_submitters_start_one_thread(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "IDLE_SECONDS", 0.001)
    made = Worker(("answer", "sweep"), log.failed)
    at_once = most = 0
    guard = threading.Lock()

    def job() -> Steps:
        nonlocal at_once, most
        with guard:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.0005)
        with guard:
            at_once -= 1
        yield

    def click() -> None:
        for _ in range(200):
            made.submit("answer", job)
            made.wait("answer", 5)

    clicking = [threading.Thread(target=click) for _ in range(4)]
    for thread in clicking:
        thread.start()
    for thread in clicking:
        thread.join(30)
    assert most == 1 and not made.is_busy("answer") and log.errors == []
    made.close()


class Owner:
    """Like a screen: it owns a worker and is captured by the jobs."""

    def __init__(self) -> None:
        self.worker = Worker(("answer",), self.failed)
        self.data = bytearray(1000)
        self.seen: list[str] = []

    def failed(self, kind: str, error: Exception) -> None:
        self.seen.append(f"{kind}: {error}")

    def job(self, fails: bool) -> Steps:
        yield
        if fails:
            raise ValueError(len(self.data))


@pytest.mark.parametrize("fails", [False, True])
def test_an_idle_thread_keeps_neither_owner_nor_job(fails: bool) -> None:
    owner = Owner()
    owner.worker.submit("answer", partial(owner.job, fails))
    assert owner.worker.wait("answer", 5)
    thread = owner.worker._thread
    assert thread is not None and thread.is_alive()
    assert owner.seen == (["answer: 1000"] if fails else [])
    gone, worker = weakref.ref(owner), owner.worker
    del owner
    gc.collect()
    end = time.monotonic() + 5
    while gone() is not None and time.monotonic() < end:  # the thread leaves its last step
        gc.collect()
        time.sleep(0.01)
    assert gone() is None and thread.is_alive()
    worker.close()


def test_a_failure_without_its_owner_is_dropped() -> None:
    owner = Owner()
    gate, begun = threading.Event(), threading.Event()

    def job() -> Steps:
        begun.set()
        assert gate.wait(5)
        raise ValueError("nobody to tell")
        yield

    worker = owner.worker
    worker.submit("answer", job)
    assert begun.wait(5)
    del owner
    gc.collect()
    gate.set()
    assert worker.wait("answer", 5)
    worker.close()


def test_a_system_without_threads_is_reported(
    worker: Worker, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        worker.submit("answer", lambda: log.job("a"))
    assert worker.wait("answer", 1)
    [(kind, error)] = log.errors
    assert kind == "answer" and "no thread could be started" in str(error)
    assert_serves(worker, log)


def test_close_ends_waiting_whatever_a_job_does(log: Log) -> None:
    made = Worker(("answer",), log.failed)
    gate, begun = threading.Event(), threading.Event()
    waited: list[bool] = []

    def stubborn() -> Steps:
        begun.set()
        assert gate.wait(5)
        raise SystemExit
        yield

    made.submit("answer", stubborn)
    assert begun.wait(5)
    waiting = threading.Thread(target=lambda: waited.append(made.wait("answer")))
    waiting.start()
    made.close(timeout=0.01)
    waiting.join(5)
    assert waited == [True]
    gate.set()
    made.close()
    assert made._thread is not None and not made._thread.is_alive()
