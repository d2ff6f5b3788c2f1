"""Contrasts: any two sides of an explorer, run in full and compared.

A side is an experiment with a title: the base alone, a source alone, one slot alone, the slots
without their groups, the result, an earlier experiment. So whatever can be put on the screen can
stand on either side.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from typing import TYPE_CHECKING

import torch

from vene_widgets.engine.comparing import Comparison, compare
from vene_widgets.engine.running import Run, run
from vene_widgets.errors import choose
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire.views import TOP, candidates
from vene_widgets.tables import frames

if TYPE_CHECKING:
    from vene_widgets.models import LanguageModel


def sides(
    experiment: Experiment, past: Iterable[tuple[str, Experiment]] = ()
) -> dict[str, wire.Side]:
    """What can be compared, by the title that the screen shows.

    Args:
        experiment: the one on the screen.
        past: titles and experiments of the history.

    Returns:
        `base`; each source by its name; `slot 0`, ... each alone, the others skipped; `ungrouped`
        and `grouped`, or `intervened`, where a slot is live; the history. Groups and their
        counterpart run their source prompts anew, as the screen's columns do. A source whose name
        is one of the others' is called `source NAME`; an entry of the history whose title is taken
        stands aside.
    """
    found: dict[str, wire.Side] = {}
    own = {"base", "ungrouped", "grouped", "intervened"}
    own |= {f"slot {i}" for i in range(len(experiment.slots))}

    def add(title: str, side: Experiment, share_sources: bool = True) -> None:
        found[title] = wire.Side(title=title, experiment=side, share_sources=share_sources)

    add("base", Experiment(base=experiment.base))
    for name, prompt in experiment.sources.items():
        title = name
        while title in own or title in found or (title != name and title in experiment.sources):
            title = f"source {title}"
        add(title, Experiment(base=prompt))
    for i in range(len(experiment.slots)):
        add(f"slot {i}", alone(experiment, i))
    if experiment.live and experiment.has_groups:
        add("ungrouped", experiment.ungrouped(), share_sources=False)
        add("grouped", experiment, share_sources=False)
    elif experiment.live:
        add("intervened", experiment)
    for title, earlier in past:
        if title not in found:
            add(title, earlier, share_sources=not earlier.has_groups)
    return found


def alone(experiment: Experiment, index: int) -> Experiment:
    """The same slots, all skipped but one, so that each keeps its index."""
    return experiment.replace(
        slots=tuple(
            slot.model_copy(update={"skip": i != index}) for i, slot in enumerate(experiment.slots)
        )
    )


def side(value: str | Experiment | None, valid: Mapping[str, wire.Side]) -> wire.Side:
    """A side from what a caller names: a title, an experiment, or None for the result.

    Raises:
        RequestError: an unknown title; the message lists the valid ones.
    """
    if isinstance(value, Experiment):
        return wire.Side(title="given", experiment=value, share_sources=not value.has_groups)
    if value is None:
        value = next((t for t in ("grouped", "intervened") if t in valid), "base")
    return valid[choose(value, valid, "side")]


def run_side(model: LanguageModel, which: wire.Side) -> Run:
    """One side's exact run: batch size 1, from the first block on, the logits of all positions."""
    return run(model, which.experiment, share_sources=which.share_sources)


def contrast(model: LanguageModel, asked: wire.Compare) -> Generator[None, None, wire.Contrast]:
    """Run both sides and compare them; yields between the runs, returns what the screen shows."""
    left = run_side(model, asked.left)
    yield
    right = run_side(model, asked.right)
    yield
    return to_wire(asked, compare(left, right))


def failed(asked: wire.Compare, error: str) -> wire.Contrast:
    """A contrast that could not be made, with the reason."""
    return wire.Contrast(
        request=asked.id,
        left=asked.left.title,
        right=asked.right.title,
        milliseconds=0.0,
        kl=0.0,
        tokens=[],
        differences=[],
        verdict=None,
        error=error,
    )


def to_wire(asked: wire.Compare, comparison: Comparison) -> wire.Contrast:
    """A comparison, ready for the screen: the likely tokens of both, and what moved most."""
    runs = (comparison.left, comparison.right)
    model = runs[0].model
    last = [r.logits[-1].cpu() for r in runs]
    p = torch.stack([logits.double().softmax(-1) for logits in last])
    tops = [candidates(model, logits, p[n]) for n, logits in enumerate(last)]
    shown = list(dict.fromkeys(c.token_id for top in tops for c in top))
    shown.sort(key=lambda token: -p[:, token].max().item())
    frame = frames.difference_frame(last[0], last[1], model.token_text, k=TOP)
    titles = asked.left.title, asked.right.title
    return wire.Contrast(
        request=asked.id,
        left=titles[0],
        right=titles[1],
        milliseconds=sum(r.milliseconds for r in runs),
        kl=comparison.kl,
        tokens=[
            wire.TokenRow(
                token_id=token,
                label=frames.visible(model.token_text(token)),
                probabilities=p[:, token].tolist(),
            )
            for token in shown
        ],
        differences=difference_rows(frame.to_dict("records")),
        verdict=verdict(*titles, comparison),
        error=None,
    )


def difference_rows(rows: Iterable[Mapping[str, object]]) -> list[wire.Difference]:
    """Rows of `frames.difference_frame`, as they cross the wire."""
    kept = wire.Difference.model_fields
    return [wire.Difference.model_validate({name: row[name] for name in kept}) for row in rows]


def verdict(left: str, right: str, comparison: Comparison) -> wire.Verdict:
    """A comparison's verdict on two sides."""
    return wire.Verdict(
        left=left,
        right=right,
        verdict=comparison.verdict,
        max_abs=comparison.max_abs,
        tolerance=comparison.tolerance,
        first_divergence=comparison.first_divergence,
        scope=comparison.scope,
        words=comparison.words,
    )
