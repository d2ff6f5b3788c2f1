"""Is it real?: the finding on the screen under every choice that could have been made instead."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from vene_widgets.engine.own_model import model_changed, require_unchanged
from vene_widgets.errors import RequestError
from vene_widgets.experiments.components import ATTENTION_WEIGHT
from vene_widgets.explorer.session.feature import (
    Changes,
    Feature,
    Host,
    JobKind,
    Start,
    message_trait,
)
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire.error_text import error_text
from vene_widgets.sweeps.specification_templates import read_templates
from vene_widgets.sweeps.specifications import SpecificationCurve, specification_steps

if TYPE_CHECKING:
    from vene_widgets.engine.planning import Plan

OLD = "From before the model changed: run it again."
STOPPED = "Stopped."

MOST = 100
"""Tiles whose results are kept."""


class SpecificationFeature(Feature):
    """Runs the specifications of the first live slot, and writes `specification`."""

    traits: ClassVar = {"specification": message_trait(on_page=True)}
    jobs = (JobKind("specification", "The specifications could not be run"),)

    def __init__(self, session: Host, start: Start) -> None:
        super().__init__(session, start)
        self._shown: wire.Specification | None = None
        self._request: wire.RunSpecifications | None = None  # whose runs may still write
        self._findings: dict[tuple[object, ...], wire.Finding] = {}

    @property
    def changes(self) -> Changes:
        """Run them."""
        return {wire.RunSpecifications: self.begin}

    def begin(self, request: wire.RunSpecifications) -> None:
        """Queue the runs of the finding on the screen.

        Raises:
            RequestError: no finding that this can be done for; the last curve stays.
        """
        session = self.session
        finding = finding_of(session.plan) | {"templates": read_templates(request.templates)}
        with session.lock:
            self._request = request
            session.submit("specification", lambda: self._run(request, finding))

    def model_changed(self) -> None:
        """Stop, and mark what is shown as old; no tile says anything of the model before."""
        self.session.worker.cancel("specification")
        self._findings.clear()
        self._note(OLD)

    def cancel(self) -> None:
        """Stop a run; the last curve stays."""
        session = self.session
        with session.lock:
            is_running = session.worker.is_busy("specification")
            session.worker.cancel("specification")
            if is_running:
                self._note(STOPPED)

    def _note(self, note: str) -> None:
        with self.session.lock:
            self._request = None
            if self._shown is not None:
                update = {"note": note, "share": None, "findings": [*self._findings.values()]}
                self._write(self._shown.model_copy(update=update))

    def _write(self, message: wire.Specification) -> None:
        self._shown = message
        self.write("specification", message.model_dump())

    def _show(self, request: wire.RunSpecifications, message: wire.Specification) -> None:
        """Show a message, unless its run was stopped or another one was asked for."""
        with self.session.lock:
            if request is self._request:
                self._write(message)

    def _run(
        self, request: wire.RunSpecifications, finding: dict[str, Any]
    ) -> Generator[None, None, None]:
        """Job: one run per step; the model is free between two steps."""
        model = self.session.model
        began = model.fingerprint

        def message(**more: Any) -> wire.Specification:
            return _message(request, finding, [*self._findings.values()], **more)

        steps = specification_steps(model, **finding)
        try:
            while True:
                done, total = next(steps)
                require_unchanged(model, began, model.fingerprint)
                self._show(request, message(share=done / total))
                yield
        except StopIteration as end:
            with self.session.lock:
                if request is self._request:
                    self._keep(finding, end.value)
            self._show(request, message(curve=end.value))
        except Exception as error:
            reason = OLD if model_changed(model, began, error) else error_text(error)
            self._show(request, message(note=reason))

    def _keep(self, finding: Mapping[str, Any], curve: SpecificationCurve) -> None:
        """Keep the result of a tile, in place of an earlier one; the oldest goes first."""
        pair = finding["pairs"][0]
        agreed, count = curve.agreement
        found = wire.Finding(
            base=pair["base"],
            source=pair["source"],
            component=finding["component"],
            head=finding["head"],
            layer=finding["layer"],
            position=pair["site"],
            agreed=agreed,
            count=count,
        )
        key = tuple(found.model_dump(exclude={"agreed", "count"}).values())
        self._findings.pop(key, None)
        self._findings[key] = found
        while len(self._findings) > MOST:
            del self._findings[next(iter(self._findings))]


def finding_of(plan: Plan | None) -> dict[str, Any]:
    """The arguments of `specification_curve` for the first live slot that the map moves.

    Raises:
        RequestError: it has none, or one for which the choices have no meaning.
    """
    live = plan.live if plan else ()
    if plan is None or not live:
        raise RequestError("patch a tile first: the question is whether its effect is real.")
    slot = next((one for one in live if not one.slot.hold), live[0])
    if slot.keys is not None:
        raise RequestError(
            f"slot {slot.index} is on {ATTENTION_WEIGHT!r}, whose choices have no meaning here: a "
            "finding is about a state. Patch a tile of the map."
        )
    source = slot.source or next(iter(plan.sources), None)
    if source is None:
        raise RequestError("a finding is about a base and a source: add a source.")
    if slot.target is not None or len(slot.base_positions) != 1:
        raise RequestError(
            f"slot {slot.index} must be at one position of the base: the choices are of one site."
        )
    here = slot.base_positions[0]
    there = slot.source_positions[0] if slot.source else min(here, len(plan.sources[source]) - 1)
    experiment = plan.experiment
    pair = {
        "base": experiment.base,
        "source": experiment.sources[source],
        "site": here,
        "source_site": there,
    }
    return {
        "pairs": [pair],
        "layer": slot.site.layer,
        "position": "site",
        "component": slot.site.component,
        "head": slot.site.head,
    }


def _message(
    request: wire.RunSpecifications,
    finding: Mapping[str, Any],
    findings: list[wire.Finding],
    *,
    curve: SpecificationCurve | None = None,
    share: float | None = None,
    note: str | None = None,
) -> wire.Specification:
    """The message of a curve that has been run, is being run, or could not be run."""
    agreed, count = (0, 0) if curve is None else curve.agreement
    rows: list[Any] = [] if curve is None else curve.frame.to_dict("records")
    choices = (
        "direction",
        "wrong",
        "window",
        "metric",
        *(["template"] if request.templates else []),
    )
    pair = finding["pairs"][0]
    return wire.Specification(
        request=request.id,
        share=share,
        base=pair["base"],
        source=pair["source"],
        site="" if curve is None else curve.site,
        agreed=agreed,
        count=count,
        sentence="" if curve is None else curve.sentence,
        rows=[
            wire.SpecificationRow(
                choices=[f"{row[name]}" for name in choices], effect=float(f"{row['effect']:.4g}")
            )
            for row in rows
        ],
        left_out=[] if curve is None else list(curve.left_out),
        note=note,
        templates=request.templates,
        findings=findings,
    )
