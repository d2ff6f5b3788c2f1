"""The map: a sweep of one slot over two of layer, head and position."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, ClassVar

from vene_widgets.engine.own_model import model_changed
from vene_widgets.errors import RequestError
from vene_widgets.experiments.fields import ALL
from vene_widgets.experiments.sweep_request import SweepRequest
from vene_widgets.explorer.held import by_slot, held_slots
from vene_widgets.explorer.map_plan import plan_map
from vene_widgets.explorer.session.feature import (
    ATTEMPTS,
    Changes,
    Feature,
    Host,
    JobKind,
    Start,
    message_trait,
)
from vene_widgets.explorer.session.map_builder import MapBuilder, base_without_held
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.figures.setup_lines import sweep_setup
from vene_widgets.sweeps.cells import sweep_steps
from vene_widgets.sweeps.planning import SweepPlan
from vene_widgets.sweeps.preparing import prepare_sweeps

if TYPE_CHECKING:
    import pandas as pd

    from vene_widgets.engine.planning import Plan
    from vene_widgets.experiments.experiment import Experiment

MAX_TYPED_TOKENS = 8
"""Tokens typed by the user that the map carries, the newest ones."""


class MapFeature(Feature):
    """Sweeps the prompts when they or the model are new, and writes `map`.

    Attributes:
        request: the newest valid sweep as it was asked for (`plan_map` completes it).
        shown: the map on the screen, maybe not full yet; None if there is none.
        typed: tokens typed by the user -> ids of their requests.
        on_full: called on the worker's thread after every map that was filled.
        on_begin: called under the lock when another map begins.
    """

    traits: ClassVar = {"map": message_trait(on_page=True)}
    jobs = (
        JobKind("sweep", "The map could not be filled"),
        JobKind("follow", "The token could not be added to the map", is_awaited=False),
    )

    def __init__(self, session: Host, start: Start) -> None:
        super().__init__(session, start)
        self.request = SweepRequest(component=start.component)
        if start.shared is not None:
            self.request = start.shared.sweep_request
        self.shown: MapBuilder | None = None
        self.typed: dict[int, str] = {}
        self.on_full: list[Callable[[], None]] = []
        self.on_begin: list[Callable[[], None]] = []
        self._asked: Experiment | None = None  # whose prompts and held slots were swept last
        self._full: MapBuilder | None = None  # the newest full one

    @property
    def changes(self) -> Changes:
        """Another sweep; a token that the map shall carry."""
        return {
            wire.SetSweep: lambda request: self.begin(_requested(request)),
            wire.FollowToken: lambda request: self.track_token(request.token, request.id),
        }

    @property
    def is_full(self) -> bool:
        """Whether there is a full map."""
        return self._full is not None

    def full_map(self, wanted: str) -> MapBuilder:
        """The map on the screen, for something that needs all of it.

        Args:
            wanted: what, for the error message.

        Raises:
            RequestError: it is not full.
        """
        full = self._full
        if full is None or full is not self.shown or self.session.worker.is_busy("sweep"):
            raise RequestError(f"{wanted} needs a full map: wait until it is filled.")
        return full

    def table(self) -> pd.DataFrame:
        """The newest full map as a frame; empty if there is none."""
        import pandas as pd

        full = self._full
        return full.frame.copy() if full else pd.DataFrame()

    @property
    def target(self) -> int | None:
        """The token that the newest full map shows first; None if there is no map."""
        return self._full.target if self._full else None

    @property
    def swept(self) -> SweepRequest:
        """The request of the newest full map, complete; else the newest valid one."""
        return self._full.plan.request if self._full else self.request

    @property
    def setup(self) -> str:
        """What the newest full map shows, in a line for its figure; empty if there is none."""
        full = self._full
        return sweep_setup(full.plan, full.plan.request.head) if full else ""

    def begin(self, request: SweepRequest) -> None:
        """Queue a sweep of the prompts; an invalid one is refused before the map changes.

        Raises:
            RequestError: an unknown source, or a sweep that is invalid for the model.
        """
        session = self.session
        with session.lock:
            plans = plan_map(session.model, session.experiment, request)
            done = plans[0].request
            self.request = request.replace(source=done.source, fixed=done.fixed, head=done.head)
            if done.positions is not None and plans[0].positions[-1] == len(plans[0].base) - 1:
                self.request = self.request.replace(positions=-1)  # of every later prompt too
            self._asked = session.experiment
            experiment, revision = session.experiment, session.revision
            session.submit("sweep", lambda: self._fill_anew(plans, experiment, revision))
            for listener in self.on_begin:
                listener()

    def track_token(self, text_or_id: str | int, request: str) -> None:
        """Let the map carry one more token; at most `MAX_TYPED_TOKENS` typed ones stay.

        Args:
            text_or_id: the token.
            request: id of the browser's request.

        Raises:
            RequestError: no token.
        """
        session = self.session
        token = session.model.resolve_token(text_or_id)
        with session.lock:
            others = [(t, r) for t, r in self.typed.items() if t != token]
            self.typed = {**dict(others[1 - MAX_TYPED_TOKENS :]), token: request}
            session.submit("follow", self._extend)

    def experiment_began(self, plan: Plan, revision: int) -> None:
        """Sweep anew with other held slots; prompts that are new come to `inputs_changed`."""
        now, before = plan.experiment, self._asked
        has_same_prompts = before is not None and (now.base, [*now.sources.items()]) == (
            before.base,
            [*before.sources.items()],
        )
        if has_same_prompts and held_slots(plan) != self.request.fixed:
            self.begin(self.request)

    def inputs_changed(self, plan: Plan, *, has_new_prompts: bool) -> None:
        """Sweep the prompts anew."""
        request = self.request
        if has_new_prompts:  # hand-made pairs were positions of the old prompts
            request = request.replace(source_positions=None)
            if isinstance(request.positions, int) and request.positions >= len(plan.base):
                request = request.replace(positions=-1)
        if request.source not in plan.sources:
            request = request.replace(source=next(iter(plan.sources), None))
        self.request = request
        self.begin(request)

    def model_changed(self) -> None:
        """Drop the map; it stays on the screen, marked as old."""
        self._drop()

    def cancel(self) -> None:
        """Stop the sweep; the finished rows stay."""
        self.session.worker.cancel("sweep")
        self.session.worker.cancel("follow")

    def close(self, session: Host) -> None:
        """Drop the map."""
        self._drop()

    def _drop(self) -> None:
        self.shown = self._full = None

    def _fill_anew(
        self, plans: Sequence[SweepPlan], experiment: Experiment, revision: int
    ) -> Generator[None, None, None]:
        """Job: fill the map; begin again if the model changes meanwhile."""
        model = self.session.model
        for attempt in range(ATTEMPTS):
            state = model.fingerprint
            try:
                yield from self._fill(plans, revision)
            except Exception as error:
                changed = model_changed(model, state, error)
                if changed is None and isinstance(error, RequestError):
                    raise by_slot(error, experiment) from None
                if changed is None:
                    raise
                if attempt == ATTEMPTS - 1:
                    raise changed from None
                yield
            else:
                return

    def _fill(self, plans: Sequence[SweepPlan], revision: int) -> Generator[None, None, None]:
        """Fill the map row by row; updates are throttled to 10 Hz."""
        session = self.session
        prepared = prepare_sweeps(plans, session.cache)
        builder = MapBuilder(
            prepared, revision, self.typed, base_without_held(plans[0], session.cache)
        )
        due = time.monotonic() + 0.1
        for row in sweep_steps(*prepared):
            if row is None:
                yield
                continue
            builder.add_row(row)
            now = time.monotonic()
            if builder.done == builder.total or now < due:
                yield
                continue
            self.shown = builder
            self.write("map", builder.map().model_dump())
            session.set_status(progress=builder.done / builder.total)
            # Serialising a large map is slow: spend at most a fifth of the time on it.
            due = time.monotonic() + max(0.1, 4 * (time.monotonic() - now))
            yield
        # Full before the browser has it, which may ask at once for something that needs all of it.
        self.shown = self._full = builder
        self.write("map", builder.map().model_dump())
        session.set_status(progress=None)
        for listener in self.on_full:
            listener()

    def _extend(self) -> Generator[None, None, None]:
        """Job: make the map carry the typed tokens."""
        session, builder = self.session, self.shown
        if builder is None:
            return  # the next sweep carries them from the start
        for done in builder.track_tokens(self.typed, session.cache):
            session.set_status(progress=done)
            yield
            if builder is not self.shown:  # another sweep has begun
                return
        self.write("map", builder.map().model_dump())
        session.set_status(progress=None)


def _requested(request: wire.SetSweep) -> SweepRequest:
    """The sweep that a request stands for; a map of all heads is of one layer or position."""
    fields = request.model_dump(exclude={"id", "kind", "layer", "position"})
    if request.head != ALL:
        return SweepRequest(**fields)
    if request.layer is not None:
        return SweepRequest(**fields, layers=(request.layer,))
    position, partners = request.position, request.source_positions
    at = -1 if position is None else position
    if partners is not None and -len(partners) <= at < len(partners):
        fields["source_positions"] = partners[at]
    return SweepRequest(**fields, positions=at)
