"""PathRuns: the plain runs that paths go between, and what each sender writes in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from vene_widgets.engine.path_passes import Writer
from vene_widgets.engine.residual import AttentionParts, ResidualRun, attention_parts

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.methods.answer_metric import AnswerMetric
    from vene_widgets.models import LanguageModel


@dataclass(frozen=True, eq=False)
class PathRuns:
    """The plain runs that paths go between, and the request in integers.

    Attributes:
        model: the model.
        base, source: plain runs, equally long.
        senders: what is patched.
        positions: at which senders are patched.
        metric: what is measured.
    """

    model: LanguageModel
    base: ResidualRun
    source: ResidualRun
    senders: tuple[Writer, ...]
    positions: tuple[int, ...]
    metric: AnswerMetric

    def is_changed(self, writer: Writer) -> bool:
        """Whether the sender writes something else in the source run, at the positions."""
        here = list(self.positions)
        one, other = (_written(self.model, run, writer)[here] for run in (self.base, self.source))
        return not torch.equal(one, other)


def _written(model: LanguageModel, run: ResidualRun, writer: Writer) -> Tensor:
    """What a sender computes in a plain run, `(positions, width)`."""
    if writer.layer < 0:
        return run.inputs[0]
    if writer.head is None:
        return run.outputs["mlp"][writer.layer]
    start = writer.head * model.sites.d_head
    return run.attended[writer.layer][:, start : start + model.sites.d_head]


def patched_heads(runs: PathRuns, kept: slice) -> AttentionParts | None:
    """What attention adds with one head's vectors from the source; None without such senders."""
    heads = sending_heads(runs)
    if not heads:
        return None
    here = torch.zeros(runs.base.length, 1, dtype=torch.bool, device=runs.base.attended.device)
    here[list(runs.positions)] = True
    one = torch.where(here, runs.source.attended, runs.base.attended)
    return attention_parts(runs.model, runs.base, heads, one, runs.base.attended, kept)


def sending_heads(runs: PathRuns) -> list[int]:
    """Heads, of any layer, that are senders."""
    return sorted({writer.head for writer in runs.senders if writer.head is not None})


def change_of(
    runs: PathRuns, writer: Writer, patched: AttentionParts | None, kept: Sequence[int]
) -> Tensor:
    """What patching a sender changes in the residual stream, `(kept positions, d_model)`."""
    base, source = runs.base, runs.source
    if writer.head is not None and patched is not None:
        change = patched.added[writer.layer, sending_heads(runs).index(writer.head)]
        # Equal vectors give no change at all, whatever the rounding of a batch.
        return change if runs.is_changed(writer) else torch.zeros_like(change)
    if writer.layer < 0:
        change = source.inputs[0].float() - base.inputs[0].float()
    else:
        change = source.added["mlp"][writer.layer] - base.added["mlp"][writer.layer]
    outside = [n for n in range(base.length) if n not in set(runs.positions)]
    change[outside] = 0
    return change[list(kept)]
