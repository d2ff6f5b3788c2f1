"""Direct paths between the prompts on the screen: what each head and MLP adds to what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from vene_widgets.errors import RequestError, choose
from vene_widgets.explorer.session.feature import Changes, JobKind, message_trait
from vene_widgets.explorer.session.history_records import normal_form
from vene_widgets.explorer.session.reading import ReadingFeature
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire import views
from vene_widgets.methods.paths import Paths, path_steps

if TYPE_CHECKING:
    from vene_widgets.engine.planning import Plan


class PathsFeature(ReadingFeature):
    """Measures the paths from all senders to one receiver, and writes `paths`."""

    name = "paths"
    empty = wire.PathGrid(
        revision=0,
        note=None,
        experiment=None,
        source="",
        targets=[],
        receiver=None,
        base_metric=0.0,
        source_metric=0.0,
        senders=[],
        frozen_note=None,
    )
    traits: ClassVar = {"paths": message_trait(on_page=True)}
    jobs = (JobKind("paths", "The paths could not be measured", is_awaited=False),)

    @property
    def changes(self) -> Changes:
        """Measure them."""
        return {wire.ReadPaths: self.begin}

    def begin(self, request: wire.ReadPaths) -> None:
        """Queue the runs between the prompts on the screen.

        Raises:
            RequestError: there is no source, or none of this name.
        """
        session = self.session
        with session.lock:
            source = source_of(session.plan, request.source)
            self.begin_reading(
                request,
                lambda plan: path_steps(
                    session.model,
                    plan.experiment.base,
                    plan.experiment.sources[source],
                    senders="all",
                    receivers=_receivers(request.receiver),
                    targets=request.targets or None,
                    both=True,
                ),
                lambda found, plan, revision: _message(found, plan, revision, source, request),
            )


def source_of(plan: Plan | None, name: str | None) -> str:
    """The source that paths lead from: this one, or the first.

    Raises:
        RequestError: there is none, or none of this name.
    """
    names = list(plan.sources) if plan else []
    if not names:
        raise RequestError("paths are between a base and a source: add a source.")
    return names[0] if name is None else choose(name, names, "source")


def _receivers(end: wire.PathEnd | None) -> Any:
    """A receiver as `vw.paths` takes it.

    Raises:
        RequestError: a head's input without a head.
    """
    if end is None:
        return "logits"
    return [f"mlp{end.layer}"] if end.part == "mlp" else [((end.layer, end.head), end.part)]


def _message(
    found: Paths, plan: Plan, revision: int, source: str, request: wire.ReadPaths
) -> wire.PathGrid:
    """Paths as the screen shows them."""
    return wire.PathGrid(
        revision=revision,
        note=None,
        experiment=normal_form(plan),
        source=source,
        targets=[
            wire.LensToken(token_id=token, label=views.label(found.model, token))
            for token in found.metric.tokens
        ],
        receiver=request.receiver,
        base_metric=found.base_metric,
        source_metric=found.source_metric,
        senders=[
            wire.PathSender(
                layer=edge.sender.layer,
                head=edge.sender.head,
                effect=edge.effect,
                frozen=edge.frozen,
            )
            for edge in found.edges
        ],
        frozen_note=found.frozen_blocker,
    )
