"""What a request has to know of each intervention: its name, its inputs, its options. No torch.

The operators themselves are in `vene_widgets.interventions`; `register` adds to both.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OperatorFacts:
    """One intervention, as a slot sees it.

    Attributes:
        needs_source: whether it reads a source run.
        options: fields of a slot, out of `OPTIONS`, that it uses; None means it may use any.
    """

    needs_source: bool = True
    options: frozenset[str] | None = frozenset()

    def ignores(self, option: str) -> bool:
        """Whether an option has no effect on it."""
        return self.options is not None and option not in self.options


OPTIONS = ("rank", "scale")
"""Fields of a slot that only some interventions use."""

_RANK = frozenset({"rank"})

OPERATORS: dict[str, OperatorFacts] = {
    "vanilla": OperatorFacts(),
    "addition": OperatorFacts(),
    "subtraction": OperatorFacts(),
    "zero": OperatorFacts(needs_source=False),
    "mean": OperatorFacts(needs_source=False),
    "noise": OperatorFacts(needs_source=False, options=frozenset({"scale"})),
    "collect": OperatorFacts(needs_source=False),
    "rotated_space": OperatorFacts(),
    "low_rank_rotated_space": OperatorFacts(options=_RANK),
    "sigmoid_mask": OperatorFacts(),
    "boundless_rotated_space": OperatorFacts(),
    "pca_rotated_space": OperatorFacts(options=_RANK),
}
"""Every intervention by the name that a slot gives, built-in ones first."""

BUILT_IN: tuple[str, ...] = tuple(OPERATORS)


def built_in_with(option: str) -> list[str]:
    """Built-in interventions that use an option."""
    return [name for name in BUILT_IN if not OPERATORS[name].ignores(option)]
