"""Metrics of a sweep map: the registry that menus, axis labels and docstrings read from.

The browser receives it with the scene and adds only the arithmetic. The module is separate from
`frames` so that the figure process need not import torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MetricName = Literal[
    "probability",
    "delta",
    "log_ratio",
    "logit_difference",
    "recovery",
    "kl",
    "kl_source",
    "rank",
]
"""The registry's keys, as a type: both sides of the wire are checked against it."""

Scale = Literal["amount", "difference", "share", "order"]
"""How values are coloured: from 0 upwards, symmetrically around 0, from 0 to 1 and also below 0 if
there are clear decreases, or by rank, 1 being darkest."""


@dataclass(frozen=True)
class Metric:
    """A number that a map can show for each cell.

    Attributes:
        name: key in `METRICS`.
        title: for legends; `t` stands for the target token, `u` for the contrast token.
        label: for menus, in words; the target's token follows it if the metric has one.
        unit: of the values, empty for a plain number.
        formula: for one cell; `base` is the unchanged base run.
        column: of `sweep_frame`.
        range: smallest and largest possible value; None if unbounded.
        scale: how values are coloured.
        of_target: whether it depends on a target token, or on the whole distribution only.
        of_pair: whether it compares the target with a contrast token.
        of_source: whether it compares the cell with a source run.
        about: when to use it, in one sentence.
    """

    name: MetricName
    title: str
    label: str
    unit: str
    formula: str
    column: str
    range: tuple[float | None, float | None]
    scale: Scale
    of_target: bool
    about: str
    of_pair: bool = False
    of_source: bool = False

    @property
    def diverging(self) -> bool:
        """Whether values are coloured symmetrically around 0."""
        return self.scale == "difference"

    @property
    def axis(self) -> str:
        """Title and unit, as a legend shows them."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            name="probability",
            title="P(t)",
            label="probability of",
            unit="",
            formula="P(t) after patching",
            column="probability",
            range=(0.0, 1.0),
            scale="amount",
            of_target=True,
            about="Probability of the target with the cell patched.",
        ),
        Metric(
            name="delta",
            title="ΔP(t)",
            label="change of probability of",
            unit="",
            formula="P(t) after patching − P(t) in the base run",
            column="delta",
            range=(-1.0, 1.0),
            scale="difference",
            of_target=True,
            about="Change in the target's probability from the base run.",
        ),
        Metric(
            name="log_ratio",
            title="Δ ln P(t)",
            label="log ratio of",
            unit="nats",
            formula="ln P(t) after patching − ln P(t) in the base run",
            column="log_ratio",
            range=(None, None),
            scale="difference",
            of_target=True,
            about="Change in log probability: shows unlikely targets too, where ΔP stays near 0.",
        ),
        Metric(
            name="logit_difference",
            title="logit(t) − logit(u)",
            label="logit difference",
            unit="logits",
            formula="ln (P(t) / P(u)) after patching",
            column="logit_difference",
            range=(None, None),
            scale="difference",
            of_target=True,
            about="Preference for one token over another, independent of all other tokens.",
            of_pair=True,
        ),
        Metric(
            name="recovery",
            title="Recovery of t against u",
            label="recovery of",
            unit="",
            formula="(ln (P(t) / P(u)) after patching − in the base run) / (in the source run − in "
            "the base run)",
            column="recovery",
            range=(None, None),
            scale="share",
            of_target=True,
            about="Share of the logit difference between the plain runs: 0 is the base, 1 the "
            "source (Zhang & Nanda 2024).",
            of_pair=True,
            of_source=True,
        ),
        Metric(
            name="kl",
            title="KL(cell ‖ base)",
            label="KL from base",
            unit="nats",
            formula="Σ P after · ln (P after / P base) over the vocabulary",
            column="kl",
            range=(0.0, None),
            scale="amount",
            of_target=False,
            about="Divergence of the whole next-token distribution from the base run's.",
        ),
        Metric(
            name="kl_source",
            title="KL(cell ‖ source)",
            label="KL from source",
            unit="nats",
            formula="Σ P after · ln (P after / P source) over the vocabulary",
            column="kl_source",
            range=(0.0, None),
            scale="amount",
            of_target=False,
            about="What is missing until the whole next-token distribution is the source run's.",
            of_source=True,
        ),
        Metric(
            name="rank",
            title="Rank of t",
            label="rank of",
            unit="1 = most likely",
            formula="1 + number of tokens more likely than t",
            column="rank",
            range=(1.0, None),
            scale="order",
            of_target=True,
            about="Rank of the target among all tokens; rank 1 is the prediction.",
        ),
    )
}
"""Metrics of a sweep by name. KL: Kullback & Leibler 1951, "On Information and Sufficiency"."""
