"""Compare: any two sides of an explorer, both run in full.

A side is an experiment with a title: the base alone, a source alone, one slot alone, the slots
without their groups, the result, an earlier experiment.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

from vene_widgets.engine.comparing import compare
from vene_widgets.engine.own_model import require_unchanged
from vene_widgets.engine.planning import Plan, plan_experiment
from vene_widgets.engine.running import Run, run_plan
from vene_widgets.errors import choose
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.explorer.session.feature import (
    Changes,
    Feature,
    Host,
    JobKind,
    Start,
    message_trait,
)
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire import views
from vene_widgets.explorer.wire.error_text import error_text

if TYPE_CHECKING:
    from vene_widgets.models import LanguageModel
    from vene_widgets.models.fingerprint import Fingerprint


class CompareFeature(Feature):
    """Compares the two sides of the newest `Compare`, and writes `contrast`."""

    traits: ClassVar = {"contrast": message_trait()}
    jobs = (JobKind("contrast", "The comparison failed"),)

    def __init__(self, session: Host, start: Start) -> None:
        super().__init__(session, start)
        self._request: wire.Compare | None = None  # whose comparison the panel shows

    @property
    def changes(self) -> Changes:
        """The two sides."""
        return {wire.Compare: self.begin}

    def begin(self, request: wire.Compare) -> None:
        """Queue a comparison; an invalid side is refused before the last one is replaced."""
        session = self.session
        left = plan_experiment(session.model, request.left.experiment)
        right = plan_experiment(session.model, request.right.experiment)
        with session.lock:
            self._request = request
            session.submit("contrast", lambda: self._compare(request, left, right))

    def model_changed(self) -> None:
        """Replace the comparison by a note that it is of before."""
        if self._request is not None:
            old = views.failed_contrast(
                self._request, "The model has changed since: compare again."
            )
            self.session.worker.cancel("contrast")
            self._show(self._request, old)
            self._request = None

    def cancel(self) -> None:
        """Stop a comparison that is queued or running; the panel then says so."""
        session = self.session
        with session.lock:
            request, is_pending = self._request, session.worker.is_busy("contrast")
            session.worker.cancel("contrast")
            if request and is_pending:
                cancelled = views.failed_contrast(request, "The comparison was cancelled.")
                self._show(request, cancelled)
                self._request = None

    def _compare(
        self, request: wire.Compare, left: Plan, right: Plan
    ) -> Generator[None, None, None]:
        """Job: run both sides in full and compare them."""
        model = self.session.model
        began = model.fingerprint
        try:
            contrast = yield from compare_sides(model, request, left, right)
            require_unchanged(model, began, model.fingerprint)
        except Exception as error:
            # Shown in the panel rather than raised: the answer on the screen is still valid.
            reason = f"The comparison failed: {error_text(error)}"
            contrast = views.failed_contrast(request, reason)
        self._show(request, contrast)

    def _show(self, request: wire.Compare, contrast: wire.Contrast) -> None:
        """Show a comparison, unless another has been requested since."""
        with self.session.lock:
            if request is self._request:
                self.write("contrast", contrast.model_dump())


def sides(
    experiment: Experiment, past: Iterable[tuple[str, Experiment]] = ()
) -> dict[str, wire.Side]:
    """The sides that can be compared, by the title that the screen shows.

    Args:
        experiment: the one on the screen.
        past: titles and experiments of the history.

    Returns:
        `base`; each source by its name; `slot 0`, ..., each alone with the others skipped;
        `ungrouped` and `grouped`, or `intervened`, if a slot is live; the history. Grouped and
        ungrouped sides do not share source runs, like the screen's columns. A source or an entry
        of the history whose name is another side's title becomes `source NAME` or `history NAME`.
    """
    found: dict[str, wire.Side] = {}
    reserved = {"base", "ungrouped", "grouped", "intervened"}
    reserved |= {f"slot {i}" for i in range(len(experiment.slots))}

    def add(title: str, side: Experiment, share_sources: bool = True) -> None:
        found[title] = wire.Side(title=title, experiment=side, share_sources=share_sources)

    add("base", Experiment(base=experiment.base))

    def free(word: str, name: str, others: Collection[str]) -> str:
        title = name
        # Prefix until the title is free, and is no other name of its kind either.
        while title in reserved or title in found or (title != name and title in others):
            title = f"{word} {title}"
        return title

    for name, prompt in experiment.sources.items():
        add(free("source", name, experiment.sources), Experiment(base=prompt))
    for i in range(len(experiment.slots)):
        add(f"slot {i}", only_slot(experiment, i))
    if experiment.live and experiment.has_groups:
        add("ungrouped", experiment.ungrouped(), share_sources=False)
        add("grouped", experiment, share_sources=False)
    elif experiment.live:
        add("intervened", experiment)
    entries = list(past)
    titles = [title for title, _ in entries]
    for title, earlier in entries:
        add(free("history", title, titles), earlier, share_sources=not earlier.has_groups)
    return found


def only_slot(experiment: Experiment, index: int) -> Experiment:
    """The experiment with all slots but one skipped; every slot keeps its index."""
    return experiment.replace(
        slots=tuple(
            slot.model_copy(update={"skip": i != index}) for i, slot in enumerate(experiment.slots)
        )
    )


def resolve_side(value: str | Experiment | None, valid: Mapping[str, wire.Side]) -> wire.Side:
    """Find a side by its title, or make one from an experiment; None is the result.

    Args:
        value: a title, an experiment or None.
        valid: the sides of the explorer, from `sides`.

    Raises:
        RequestError: an unknown title; the message lists the valid ones.
    """
    if isinstance(value, Experiment):
        return wire.Side(title="given", experiment=value, share_sources=not value.has_groups)
    if value is None:
        value = next((t for t in ("grouped", "intervened") if t in valid), "base")
    return valid[choose(value, valid, "side")]


def run_side(
    model: LanguageModel,
    side: wire.Side,
    plan: Plan | None = None,
    state: Fingerprint | None = None,
) -> Run:
    """Run one side exactly: batch size 1, all blocks, the logits of all positions.

    Args:
        model: the model to run.
        side: the experiment and whether its slots share source runs.
        plan: of its experiment, if it is planned already.
        state: the state of the model that the run must be of; None for any.
    """
    plan = plan or plan_experiment(model, side.experiment)
    return run_plan(model, plan, share_sources=side.share_sources, state=state)


def compare_sides(
    model: LanguageModel, request: wire.Compare, left: Plan, right: Plan
) -> Generator[None, None, wire.Contrast]:
    """Run both sides and compare them; yields after each run.

    Args:
        model: the model to run.
        request: the two sides.
        left, right: their plans.

    Returns:
        The comparison for the screen, as the generator's value.
    """
    state = model.fingerprint
    left_run = run_side(model, request.left, left, state)
    yield
    right_run = run_side(model, request.right, right, state)
    yield
    return views.contrast(request, compare(left_run, right_run))
