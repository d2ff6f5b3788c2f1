"""Facts about each intervention that requests are checked against: name, inputs, options. No torch.

The operators themselves are in `vene_widgets.interventions`; `register` adds to both.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OperatorFacts:
    """What a slot has to satisfy to use one intervention.

    Attributes:
        needs_source: whether it reads a source run.
        options: fields of a slot, out of `OPTIONS`, that it uses; None if it may use any.
        overwrites: whether the new state is independent of the base's state.
    """

    needs_source: bool = True
    options: frozenset[str] | None = frozenset()
    overwrites: bool = False

    def ignores(self, option: str) -> bool:
        """Whether an option has no effect on the intervention."""
        return self.options is not None and option not in self.options


OPTIONS = ("rank", "scale")
"""Fields of a slot that only some interventions use."""

_RANK = frozenset({"rank"})

OPERATORS: dict[str, OperatorFacts] = {
    "vanilla": OperatorFacts(overwrites=True),
    "addition": OperatorFacts(),
    "subtraction": OperatorFacts(),
    "zero": OperatorFacts(needs_source=False, overwrites=True),
    "mean": OperatorFacts(needs_source=False, overwrites=True),
    "noise": OperatorFacts(needs_source=False, options=frozenset({"scale"})),
    "collect": OperatorFacts(needs_source=False),
    "rotated_space": OperatorFacts(),
    "low_rank_rotated_space": OperatorFacts(options=_RANK),
    "sigmoid_mask": OperatorFacts(),
    "boundless_rotated_space": OperatorFacts(),
    "pca_rotated_space": OperatorFacts(options=_RANK),
}
"""Name in a slot -> facts about the intervention, built-in ones first."""

BUILT_IN: tuple[str, ...] = tuple(OPERATORS)


def built_in_with(option: str) -> list[str]:
    """Names of the built-in interventions that use an option."""
    return [name for name in BUILT_IN if not OPERATORS[name].ignores(option)]
