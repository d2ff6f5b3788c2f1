"""Some heads alone, and all but these: what the marked heads carry of the prompts' difference."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, ClassVar

from vene_widgets.explorer.session.feature import Changes, JobKind, message_trait
from vene_widgets.explorer.session.history_records import normal_form
from vene_widgets.explorer.session.paths import source_of
from vene_widgets.explorer.session.reading import ReadingFeature
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.methods.circuit import Circuit, circuit

if TYPE_CHECKING:
    from vene_widgets.engine.planning import Plan


class CircuitFeature(ReadingFeature):
    """Runs the base with some heads alone and without them, and writes `circuit`."""

    name = "circuit"
    empty = wire.CircuitGrid(
        revision=0, note=None, experiment=None, source="", targets=[], heads=[], runs=[]
    )
    traits: ClassVar = {"circuit": message_trait(on_page=True)}
    jobs = (JobKind("circuit", "The circuit could not be run", is_awaited=False),)

    @property
    def changes(self) -> Changes:
        """Run them."""
        return {wire.ReadCircuit: self.begin}

    def begin(self, request: wire.ReadCircuit) -> None:
        """Queue the runs of the base on the screen.

        Raises:
            RequestError: there is no source, or none of this name.
        """
        session = self.session
        with session.lock:
            source = source_of(session.plan, request.source)

            def steps(plan: Plan) -> Generator[None, None, Circuit]:
                """All runs are one batch, and one step."""
                yield
                return circuit(
                    session.model,
                    plan.experiment.base,
                    plan.experiment.sources[source],
                    heads=request.heads,
                    ablation="source",
                    targets=request.targets,
                )

            self.begin_reading(
                request,
                steps,
                lambda found, plan, revision: _message(found, plan, revision, source, request),
            )


def _message(
    found: Circuit, plan: Plan, revision: int, source: str, request: wire.ReadCircuit
) -> wire.CircuitGrid:
    """A circuit as the screen shows it."""
    rows: list[Any] = found.frame.to_dict("records")
    return wire.CircuitGrid(
        revision=revision,
        note=None,
        experiment=normal_form(plan),
        source=source,
        targets=request.targets,
        heads=request.heads,
        runs=[wire.CircuitRun(**row) for row in rows],
    )
