"""AnswerMetric: one number per distribution, of a target token and a contrast token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from vene_widgets.errors import RequestError, choose, shown
from vene_widgets.experiments.token_text import visible
from vene_widgets.tables.statistics import (
    checked_distribution,
    default_targets,
    probabilities,
    to_float64,
)

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.models import LanguageModel

METRICS = {
    "logit_difference": "logit(target) − logit(contrast)",
    "logit": "logit(target)",
    "log_probability": "ln P(target)",
    "probability": "P(target)",
}
"""Metric -> its formula."""

LINEAR = ("logit_difference", "logit")
"""Metrics that are linear in the logits."""


@dataclass(frozen=True)
class AnswerMetric:
    """What an answer is measured by.

    Attributes:
        name: one of `METRICS`.
        target, contrast: token ids; contrast is None for metrics of one token.
    """

    name: str
    target: int
    contrast: int | None

    def __call__(self, logits: Tensor) -> Tensor:
        """Logits `(rows, vocabulary)` -> `(rows,)`, float64, on the CPU."""
        if self.name in LINEAR:
            ids = [self.target] if self.contrast is None else [self.target, self.contrast]
            values = to_float64(logits[:, ids])
            return values[:, 0] - values[:, 1] if self.contrast is not None else values[:, 0]
        log_p = to_float64(logits).log_softmax(-1)[:, self.target]
        return log_p.exp() if self.name == "probability" else log_p

    @property
    def tokens(self) -> tuple[int, ...]:
        """Ids of the tokens that it reads."""
        return (self.target,) if self.contrast is None else (self.target, self.contrast)

    def words(self, model: LanguageModel) -> str:
        """The formula with the tokens' texts."""
        target = f"“{visible(model.token_text(self.target))}”"
        text = METRICS[self.name].replace("target", target)
        if self.contrast is not None:
            text = text.replace("contrast", f"“{visible(model.token_text(self.contrast))}”")
        return text


def answer_metric(
    model: LanguageModel,
    name: str,
    targets: Sequence[str | int] | str | int | None,
    base_logits: Tensor,
    source_logits: Tensor | None,
) -> AnswerMetric:
    """The metric that a caller asked for.

    Args:
        model: the model, for the tokens.
        name: one of `METRICS`.
        targets: the target and the contrast; None for the token that the source raises most and
            the base's answer.
        base_logits, source_logits: `(vocabulary,)` of the plain runs.

    Raises:
        RequestError: an unknown metric, tokens that are none, too few or too many tokens, or
            logits that are not finite.
    """
    choose(name, METRICS, "metric")
    needed = 2 if name == "logit_difference" else 1
    checked_distribution(base_logits, "logits of the base run")
    if source_logits is not None:
        checked_distribution(source_logits, "logits of the source run")
    if targets is None:
        if source_logits is None:
            raise RequestError("targets is missing: name the target and the contrast token.")
        ids = default_targets(probabilities(base_logits), probabilities(source_logits))
    else:
        ids = resolve_targets(model, targets, needed, name)
    return AnswerMetric(name, ids[0], ids[1] if needed == 2 else None)


def resolve_targets(
    model: LanguageModel, targets: Sequence[str | int] | str | int, needed: int, name: str
) -> tuple[int, ...]:
    """Ids of the target and, for a difference, of the contrast.

    Raises:
        RequestError: no tokens, the same one twice, or a number of them that the metric cannot use.
    """
    ids = model.resolve_tokens(targets, "target")
    if not needed <= len(ids) <= 2:
        raise RequestError(
            f"targets {shown(targets)} must be {_NEEDS[needed]} for metric {name!r}."
        )
    if len(ids) == 2 and ids[0] == ids[1]:
        raise RequestError(f"targets {shown(targets)} must be two different tokens.")
    return ids


_NEEDS = {1: "one token, the target", 2: "two tokens, the target and the contrast"}


def require_finite(values: Tensor, what: str) -> None:
    """Check that no number is NaN or infinite.

    Raises:
        RequestError: one is.
    """
    if bad := int((~torch.isfinite(values)).sum()):
        raise RequestError(
            f"{what}: {bad} of {values.numel()} values are NaN or infinite. Half precision "
            "overflows this way: load the model in float32."
        )
