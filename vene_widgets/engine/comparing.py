"""compare(): how two exact runs differ, in one verdict and one table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch

from vene_widgets import sentences
from vene_widgets.engine.running import Run, run
from vene_widgets.engine.weights import make_weights
from vene_widgets.errors import RequestError
from vene_widgets.experiments.slot import weights_key
from vene_widgets.tables import frames

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from vene_widgets.experiments.experiment import Experiment
    from vene_widgets.models import LanguageModel

VerdictName = Literal["bit-equal", "allclose", "different"]

TOLERANCE = 1e-5
"""Default absolute and relative tolerance of `allclose`, the one that pyvene's tutorial uses."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Result of comparing two runs.

    Attributes:
        left, right: the runs.
        verdict: `bit-equal` (every logit and every block's output is the same number), `allclose`
            (logits within the tolerance, whatever the blocks' outputs), else `different`.
        max_abs: largest absolute difference of a logit.
        tolerance: what `allclose` allows, absolute and relative.
        first_divergence: first layer whose output differs in any bit; None if no layer's does.
        scope: `all positions`, or `last position` if the prompts differ in length or a run kept
            the logits of its last positions only.
    """

    left: Run = field(repr=False)
    right: Run = field(repr=False)
    verdict: VerdictName
    max_abs: float
    tolerance: float
    first_divergence: int | None
    scope: str

    @property
    def frame(self) -> pd.DataFrame:
        """Tokens at the last position by KL contribution (`frames.difference_frame`)."""
        return frames.difference_frame(
            self.left.logits[-1], self.right.logits[-1], self.left.model.token_text, k=None
        )

    @property
    def kl(self) -> float:
        """KL(right || left) of the next-token distributions, in nats."""
        return frames.kl_divergence(self.left.logits[-1], self.right.logits[-1])

    @property
    def words(self) -> str:
        """The verdict as one sentence."""
        return sentences.verdict(
            self.verdict, self.max_abs, self.tolerance, self.first_divergence, self.scope
        )

    def __repr__(self) -> str:
        return f"<Comparison {self.words}>"


def compare(left: Run, right: Run, *, tolerance: float = TOLERANCE) -> Comparison:
    """Compare two exact runs of the same model.

    Args:
        left, right: runs from `run`. Prompts of unequal length are compared at the last position.
        tolerance: absolute and relative tolerance of `allclose`, in logits.

    Raises:
        RequestError: runs over different vocabularies, or a tolerance that is not 0 or more.
    """
    if not 0 <= tolerance < float("inf"):  # refuses NaN too
        raise RequestError(f"tolerance must be a number of 0 or more, got {tolerance}.")
    sizes = left.logits.shape[-1], right.logits.shape[-1]
    if sizes[0] != sizes[1] or left.states.shape[::2] != right.states.shape[::2]:
        raise RequestError(
            f"runs of {left.model.name} ({sizes[0]} tokens) and {right.model.name} ({sizes[1]} "
            "tokens) cannot be compared: both must come from models of one shape and vocabulary."
        )
    lengths = {n for run in (left, right) for n in (len(run.logits), run.states.shape[1])}
    same_length = len(lengths) == 1  # and the logits of every position were kept
    part = slice(None) if same_length else slice(-1, None)
    a, b = _numbers(left.logits[part]), _numbers(right.logits[part])
    diverged = _first_divergence(left.states[:, part], right.states[:, part])
    verdict: VerdictName = "different"
    if torch.equal(a, b) and diverged is None:
        verdict = "bit-equal"
    elif torch.allclose(a, b, rtol=tolerance, atol=tolerance):
        verdict = "allclose"
    return Comparison(
        left=left,
        right=right,
        verdict=verdict,
        # Equal infinities, as of a masked vocabulary, differ by 0 and not by NaN.
        max_abs=(a - b).abs().masked_fill(a == b, 0).max().item(),
        tolerance=tolerance,
        first_divergence=diverged,
        scope="all positions" if same_length else "last position",
    )


def commute(model: LanguageModel, experiment: Experiment, i: int, j: int) -> Comparison:
    """Whether two slots commute: the experiment as it is, against the two in each other's place.

    Slots at different sites act in network order whatever the list says, so only slots at one site,
    or at a head and at the whole that it is a part of, can fail to commute.

    The verdict is that of `compare`: `bit-equal` if both orders give the same logits and block
    outputs, `allclose` if they give the same logits within the tolerance, else `different`.
    `allclose` is about the logits alone, and the states may still depend on the order: after the
    last block, for example, the final norm hides a change of scale. Compare `left.states` and
    `right.states` there, or take an earlier layer.

    Args:
        model: from `load` or `wrap`.
        experiment: what the slots are part of.
        i, j: their indices, skipped slots counted.

    Raises:
        RequestError: an index that no slot has.
    """
    slots = list(experiment.slots)
    for index in (i, j):
        if not 0 <= index < len(slots):
            raise RequestError(
                f"slot {index} is out of range: the experiment has {len(slots)} slots, from 0."
            )
    weights = make_weights(model, experiment)
    slots[i], slots[j] = slots[j], slots[i]
    # Unlinked weights go with their slot to its new index; linked ones keep their key.
    moved = {
        weights_key(experiment.slots[b], b): weights_key(slots[a], a) for a, b in ((i, j), (j, i))
    }
    swapped = {moved.get(key, key): module for key, module in weights.items()}
    other = run(model, experiment.replace(slots=tuple(slots)), weights=swapped)
    return compare(run(model, experiment, weights=weights), other)


def _first_divergence(a: Tensor, b: Tensor) -> int | None:
    """First layer where two stacks of states `(layers, positions, d_model)` are not bit-equal."""
    for layer in range(a.shape[0]):
        if not torch.equal(_numbers(a[layer]), _numbers(b[layer])):
            return layer
    return None


def _numbers(tensor: Tensor) -> Tensor:
    """The same numbers, exactly, on the CPU in float64, so that any two runs can be compared."""
    return tensor.cpu().double()
