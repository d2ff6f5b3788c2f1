"""The logit lens of the experiment on the screen: what every layer would answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from vene_widgets.errors import RequestError
from vene_widgets.explorer.session.feature import Changes, Host, JobKind, Start, message_trait
from vene_widgets.explorer.session.history_records import normal_form
from vene_widgets.explorer.session.reading import ReadingFeature
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire import views
from vene_widgets.explorer.wire.numbers import float_rows, int_rows
from vene_widgets.methods.lens import Lens, lens_steps

if TYPE_CHECKING:
    from vene_widgets.engine.planning import Plan

MOST_TARGETS = 8
"""Tokens whose ranks are read, the newest ones: several views of a widget may ask for others."""


class LensFeature(ReadingFeature):
    """Reads all layers of the experiment's runs, and writes `lens`."""

    name = "lens"
    empty = wire.LensGrid(
        revision=0, note=None, experiment=None, layers=[], tokens=[], targets=[], runs=[]
    )
    traits: ClassVar = {"lens": message_trait(on_page=True)}
    jobs = (JobKind("lens", "The layers could not be read", is_awaited=False),)

    def __init__(self, session: Host, start: Start) -> None:
        super().__init__(session, start)
        self._targets: list[int] = []

    @property
    def changes(self) -> Changes:
        """Read the layers."""
        return {wire.ReadLens: self.begin}

    def begin(self, request: wire.ReadLens) -> None:
        """Queue a reading of the experiment on the screen.

        Raises:
            RequestError: a target is no token of the model, or too many targets.
        """
        model = self.session.model
        if len(request.targets) > MOST_TARGETS:
            raise RequestError(
                f"{len(request.targets)} targets were given, at most {MOST_TARGETS} are possible."
            )
        wanted = [model.resolve_token(token) for token in request.targets]
        with self.session.lock:
            self._targets = list(dict.fromkeys([*wanted, *self._targets]))[:MOST_TARGETS]
            targets = self._targets
            self.begin_reading(
                request,
                lambda plan: lens_steps(model, plan.experiment, targets=targets),
                _message,
            )


def _message(found: Lens, plan: Plan, revision: int) -> wire.LensGrid:
    """A lens as the screen shows it."""
    best = {name: [row[0] for row in int_rows(one.top)] for name, one in found.cells.items()}
    ids = list(dict.fromkeys(token for run in best.values() for token in run))
    index = {token: n for n, token in enumerate(ids)}

    def named(token: int) -> wire.LensToken:
        return wire.LensToken(token_id=token, label=views.label(found.model, token))

    def by_target(rows: list[list[float]]) -> list[list[float]]:
        return [[row[n] for row in rows] for n in range(len(found.targets))]

    return wire.LensGrid(
        revision=revision,
        note=None,
        experiment=normal_form(plan),
        layers=list(found.layers),
        tokens=[named(token) for token in ids],
        targets=[named(token) for token in found.targets],
        runs=[
            wire.LensRun(
                name=name,
                length=len(found.tokens[name]),
                best=[index[token] for token in best[name]],
                probabilities=[row[0] for row in float_rows(one.top_log_p.exp())],
                ranks=[list(map(int, column)) for column in by_target(float_rows(one.ranks))],
                shares=by_target(float_rows(one.log_p.exp())),
            )
            for name, one in found.cells.items()
        ],
    )
