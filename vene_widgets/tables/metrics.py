"""What a map can show: one registry that menus, axis labels and docstrings read from.

The screen gets it with its scene and adds nothing but the arithmetic. Apart from the frames, so
that the figure process need not import torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MetricName = Literal["probability", "delta", "log_ratio", "logit_difference", "kl", "rank"]
"""The registry's keys, as a type: both sides of the wire are checked against it."""

Scale = Literal["amount", "difference", "order"]
"""How values are coloured: from 0 upwards, symmetrically around 0, or by rank, 1 being most."""


@dataclass(frozen=True)
class Metric:
    """What a map can show of each cell. Menus, axis labels and docstrings read from here.

    Attributes:
        name: what the user asks for.
        title: what a legend says; `t` stands for the target token, `u` for a second one.
        unit: of the values, empty for a plain number.
        formula: for one cell; `base` is the unchanged base run.
        column: of `sweep_frame`.
        range: smallest and largest possible value; None where there is no bound.
        scale: how its values are coloured.
        of_target: whether it speaks of a target token, or of the whole distribution.
        of_pair: whether it sets the target against a second token.
        about: when to use it, in one sentence.
    """

    name: MetricName
    title: str
    unit: str
    formula: str
    column: str
    range: tuple[float | None, float | None]
    scale: Scale
    of_target: bool
    about: str
    of_pair: bool = False

    @property
    def diverging(self) -> bool:
        """Whether it is coloured symmetrically around 0."""
        return self.scale == "difference"

    @property
    def axis(self) -> str:
        """Title and unit, as a legend shows them."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "probability",
            "P(t)",
            "",
            "P(t) after the change",
            "probability",
            (0.0, 1.0),
            "amount",
            True,
            "How likely the target is when the cell is changed.",
        ),
        Metric(
            "delta",
            "ΔP(t)",
            "",
            "P(t) after the change − P(t) in the base run",
            "delta",
            (-1.0, 1.0),
            "difference",
            True,
            "How much probability the change gave to the target, or took from it.",
        ),
        Metric(
            "log_ratio",
            "Δ ln P(t)",
            "nats",
            "ln P(t) after the change − ln P(t) in the base run",
            "log_ratio",
            (None, None),
            "difference",
            True,
            "Shows changes of unlikely targets too, where ΔP stays near 0.",
        ),
        Metric(
            "logit_difference",
            "logit(t) − logit(u)",
            "logits",
            "ln (P(t) / P(u)) after the change",
            "logit_difference",
            (None, None),
            "difference",
            True,
            "Which of two tokens the cell prefers, and by how much; the other tokens play no part.",
            of_pair=True,
        ),
        Metric(
            "kl",
            "KL(cell ‖ base)",
            "nats",
            "Σ P after · ln (P after / P base) over the vocabulary",
            "kl",
            (0.0, None),
            "amount",
            False,
            "How far the whole next-token distribution moved, whichever tokens changed.",
        ),
        Metric(
            "rank",
            "Rank of t",
            "1 = most likely",
            "1 + how many tokens are more likely than t",
            "rank",
            (1.0, None),
            "order",
            True,
            "Where the target stands among all tokens; 1 means that it is the answer.",
        ),
    )
}
"""The metrics of a sweep by name. KL: Kullback & Leibler 1951, "On Information and Sufficiency"."""
