"""What a map can show: one registry that menus, axis labels and docstrings read from.

Apart from the frames, so that the figure process need not import torch.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """What a map can show of each cell. Menus, axis labels and docstrings read from here.

    Attributes:
        name: what the user asks for.
        title: what a legend says; `t` stands for the target token.
        unit: of the values, empty for a plain number.
        formula: for one cell; `base` is the unchanged base run.
        column: of `sweep_frame`.
        range: smallest and largest possible value; None where there is no bound.
        diverging: coloured symmetrically around 0.
        of_target: whether it speaks of one target token, or of the whole distribution.
        about: when to use it, in one sentence.
    """

    name: str
    title: str
    unit: str
    formula: str
    column: str
    range: tuple[float | None, float | None]
    diverging: bool
    of_target: bool
    about: str

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
            False,
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
            True,
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
            True,
            True,
            "Shows changes of unlikely targets too, where ΔP stays near 0.",
        ),
        Metric(
            "kl",
            "KL(cell ‖ base)",
            "nats",
            "Σ P after · ln (P after / P base) over the vocabulary",
            "kl",
            (0.0, None),
            False,
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
            False,
            True,
            "Where the target stands among all tokens; 1 means that it is the answer.",
        ),
    )
}
"""The metrics of a sweep by name. KL: Kullback & Leibler 1951, "On Information and Sufficiency"."""
