"""Continue: the text that the model writes after the base prompt, with the slots and without."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from vene_widgets.engine.own_model import model_changed
from vene_widgets.errors import RequestError
from vene_widgets.explorer.session.feature import (
    Changes,
    Feature,
    Host,
    JobKind,
    Start,
    message_trait,
)
from vene_widgets.explorer.session.history_records import normal_form
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire.error_text import error_text
from vene_widgets.methods.decoding import Decoding
from vene_widgets.methods.generate import check_generation, generate_plan
from vene_widgets.methods.generation import BASE
from vene_widgets.sweeps.sweep import Cancelled
from vene_widgets.tables.token_text import visible

if TYPE_CHECKING:
    from vene_widgets.engine.planning import Plan
    from vene_widgets.explorer.session.worker import Worker
    from vene_widgets.methods.generation import Generation
    from vene_widgets.tables.generated import GeneratedToken

OLD = "From before the model changed: generate again."
STOPPED = "Stopped."
OTHER = "Stopped: another experiment is on the screen."

MOST = 200
"""New tokens of one text on the screen."""

FRAME_SECONDS = 0.05
"""Time between two messages of a text that is being written."""


class GenerationFeature(Feature):
    """Generates the texts of the experiment on the screen, and writes `generation`.

    Attributes:
        latest: the newest complete result; None before the first one.
    """

    traits: ClassVar = {"generation": message_trait(on_page=True)}
    jobs = (JobKind("generation", "The text could not be generated", is_awaited=False),)

    def __init__(self, session: Host, start: Start) -> None:
        super().__init__(session, start)
        self.latest: Generation | None = None
        self._shown: wire.GeneratedTexts | None = None
        self._request: wire.Generate | None = None  # whose text may still be written
        # A text is written with the model's lock held, so that never waits for this one.
        self._lock = threading.RLock()

    @property
    def changes(self) -> Changes:
        """Begin and stop."""
        return {wire.Generate: self.begin, wire.StopGenerating: lambda _request: self.cancel()}

    def begin(self, request: wire.Generate) -> None:
        """Queue the texts of the experiment on the screen.

        Raises:
            RequestError: more tokens than a screen or the model has room for, or slots that cannot
                act on a text; the last text stays.
        """
        session = self.session
        plan = session.plan
        if plan is None:
            raise RequestError("there is no experiment on the screen yet.")
        if request.max_new_tokens > MOST:
            raise RequestError(
                f"the screen shows up to {MOST} new tokens, got {request.max_new_tokens}: for "
                "longer texts call vw.generate(model, experiment, max_new_tokens=...)."
            )
        check_generation(session.model, plan, request.max_new_tokens, request.on)
        with session.lock, self._lock:
            empty = wire.GeneratedTexts(
                request=request.id,
                revision=session.revision,
                experiment=normal_form(plan),
                on=request.on,
                max_new_tokens=request.max_new_tokens,
                running="base",
                base=[],
                patched=[],
                base_text=None,
                patched_text=None,
                differs=None,
                note=None,
            )
            self._request = request
            self._write(empty)
            session.submit("generation", lambda: self._run(request, empty, plan))

    def experiment_began(self, plan: Plan, revision: int) -> None:
        """Stop the text of another experiment; the screen marks it as old."""
        with self._lock:
            if self._request and self._shown and self._shown.experiment != normal_form(plan):
                self._stop(OTHER)

    def model_changed(self) -> None:
        """Stop, and mark what is shown as old."""
        self.latest = None
        self._stop(OLD)

    def cancel(self) -> None:
        """Stop a text that is being written; what there is of it stays."""
        if self.session.worker.is_busy("generation"):
            self._stop(STOPPED)

    def close(self, session: Host) -> None:
        """Drop the result, which holds the model."""
        self.latest = None

    def _stop(self, note: str) -> None:
        with self._lock:
            self.session.worker.cancel("generation")
            self._request = None
            if self._shown is not None:
                self._write(self._shown.model_copy(update={"running": None, "note": note}))

    def _write(self, message: wire.GeneratedTexts) -> None:
        self._shown = message
        self.write("generation", message.model_dump())

    def _run(
        self, request: wire.Generate, empty: wire.GeneratedTexts, plan: Plan
    ) -> Generator[None, None, None]:
        """Job: both texts. For a more urgent job it stops, and begins again when that has ended.

        The same tokens come again, so the text on the screen goes on where it stood.
        """
        model, worker = self.session.model, self.session.worker
        began = model.fingerprint
        frames = _Frames(empty, bool(plan.live))
        try:
            found: Generation | None = None
            while found is None:
                frames.begin()
                try:
                    found = generate_plan(
                        model,
                        plan,
                        request.max_new_tokens,
                        request.on,
                        decoding=Decoding(),
                        baseline=frames.is_patched,
                        keep_bytes=0,
                        on_token=lambda token: self._show_token(request, frames, token),
                        cancel=_MustYield(worker),
                    )
                except Cancelled:
                    yield
        except Exception as error:
            reason = OLD if model_changed(model, began, error) else error_text(error)
            self._show(request, frames.message(running=None, note=reason))
            return
        with self._lock:
            if request is self._request:
                self.latest = found
                self._request = None
                self._write(frames.message(running=None, **_texts(found, frames.is_patched)))

    def _show(self, request: wire.Generate, message: wire.GeneratedTexts) -> None:
        """Show a message, unless its text was stopped or another one was asked for."""
        with self._lock:
            if request is self._request:
                self._write(message)

    def _show_token(self, request: wire.Generate, frames: _Frames, token: GeneratedToken) -> None:
        """Show a token as it comes, at the latest with one of the next."""
        if not frames.add(token) or not self._lock.acquire(blocking=False):
            return
        try:
            self._show(request, frames.message())
            frames.sent()
        finally:
            self._lock.release()


@dataclass
class _MustYield:
    """Set while the worker wants to do something else."""

    worker: Worker

    def is_set(self) -> bool:
        return self.worker.must_yield("generation")


class _Frames:
    """The texts as far as they are written, and when they are shown.

    Args:
        empty: the message without a token.
        is_patched: whether there is a text with slots in place beside the plain one.
    """

    def __init__(self, empty: wire.GeneratedTexts, is_patched: bool) -> None:
        self.is_patched = is_patched
        self._empty = empty
        self._tokens: list[tuple[bool, wire.NewToken]] = []
        self._shown = 0
        self._last = 0.0

    def begin(self) -> None:
        """Begin at the first token."""
        self._tokens.clear()

    def add(self, token: GeneratedToken) -> bool:
        """Add a token; whether it is time to show it."""
        is_base = token.run == BASE or not self.is_patched
        self._tokens.append((is_base, _new_token(token)))
        is_new = len(self._tokens) > self._shown
        return is_new and time.monotonic() - self._last >= FRAME_SECONDS

    def sent(self) -> None:
        """Note that all tokens are shown."""
        self._shown, self._last = len(self._tokens), time.monotonic()

    def message(self, **more: Any) -> wire.GeneratedTexts:
        """The message of the texts as they stand."""
        base = [token for is_base, token in self._tokens if is_base]
        patched = [token for is_base, token in self._tokens if not is_base]
        running = "patched" if patched else "base"
        update = {"base": base, "patched": patched, "running": running}
        return self._empty.model_copy(
            update={**update, "differs": _first_difference(base, patched), **more}
        )


def _new_token(token: GeneratedToken) -> wire.NewToken:
    return wire.NewToken(
        id=token.token_id,
        text=token.token,
        label=visible(token.token),
        probability=token.probability,
        rank=token.rank,
        best=visible(token.best),
        best_probability=token.best_probability,
    )


def _first_difference(
    base: Sequence[wire.NewToken], patched: Sequence[wire.NewToken]
) -> int | None:
    """The first step at which both texts differ, as far as they are written."""
    pairs = zip(base, patched, strict=False)
    return next((step for step, (one, other) in enumerate(pairs) if one.id != other.id), None)


def _texts(found: Generation, is_patched: bool) -> dict[str, Any]:
    """What is known at the end of both texts."""
    if not is_patched:
        return {"base_text": found.text}
    return {
        "base_text": found.base_text,
        "patched_text": found.text,
        "differs": found.agreement,
    }
