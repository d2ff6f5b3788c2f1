"""What each pair of a data set follows: tokens, or sets of tokens whose probabilities are added."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch

from vene_widgets.errors import RequestError, shown
from vene_widgets.tables.statistics import log_p_of

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.experiments.pairs import Target

TargetIds: TypeAlias = "int | tuple[int, ...]"
"""The id of a token, or the ids of a set, in ascending order."""

MAX_TARGETS = 16
"""Most targets that are followed of each pair."""

ROLES = ("target", "contrast")
"""What the targets are called: the first is the target, the second its contrast."""


def role(target: int) -> str:
    """What the n-th target is called."""
    return ROLES[target] if target < len(ROLES) else f"target {target + 1}"


def set_key(number: int) -> int:
    """What stands for the id of a target that is a set: -1 for the first target, then -2, -3."""
    return -1 - number


def resolved_targets(
    targets: Sequence[Target], token_id: Callable[[str | int], int], text: Callable[[int], str]
) -> tuple[TargetIds, ...]:
    """The targets of one pair as ids.

    Args:
        targets: as in `Pair`.
        token_id: the id of a token.
        text: the text of an id, for messages.

    Raises:
        RequestError: too many targets, or a token in two of them.
    """
    if len(targets) > MAX_TARGETS:
        raise RequestError(f"targets must be at most {MAX_TARGETS} tokens, got {len(targets)}.")
    found: list[TargetIds] = []
    owners: dict[int, int] = {}
    for number, target in enumerate(targets):
        is_set = isinstance(target, tuple)
        ids = {token_id(token) for token in target} if is_set else {token_id(target)}
        for one in ids:
            if (other := owners.setdefault(one, number)) != number:
                raise RequestError(_twice(text(one), other, number, is_set))
        found.append(tuple(sorted(ids)) if is_set else ids.pop())
    return tuple(found)


def _twice(token: str, one: int, other: int, is_set: bool) -> str:
    if not is_set:
        return (
            f"targets name the token {shown(token)} twice: a target and its contrast must differ."
        )
    return (
        f"{role(one)} and {role(other)} both have {shown(token)}: a token belongs to one set only."
    )


@dataclass(frozen=True, eq=False)
class PairTargets:
    """The targets of some pairs, equally many of each, ready to be read from logits.

    Attributes:
        keys: the id of each target, of sets `set_key`, `(pairs, targets)`, on the CPU.
        ids: of all tokens of each pair, `(pairs, tokens)`; pairs of fewer tokens are padded.
        owners: which target each of them belongs to, -1 for none, `(pairs, tokens)`; None if every
            target is a token.
    """

    keys: Tensor
    ids: Tensor
    owners: Tensor | None

    def log_p(self, logits: Tensor, pairs: Tensor | None = None) -> Tensor:
        """Ln P of the targets, in float64.

        Args:
            logits: `(rows, vocabulary)`.
            pairs: which pair each row is of, `(rows,)`; None if they are the pairs in order.

        Returns:
            `(rows, targets)`, on the device of `log_p_of`.
        """
        tokens = log_p_of(logits, _of(self.ids, pairs))
        if self.owners is None:
            return tokens
        owners = _of(self.owners, pairs).to(tokens.device)
        return torch.stack(
            [
                tokens.masked_fill(owners != target, -torch.inf).logsumexp(-1)
                for target in range(self.keys.shape[1])
            ],
            -1,
        )


def _of(values: Tensor, pairs: Tensor | None) -> Tensor:
    return values if pairs is None else values.index_select(0, pairs)


def pair_targets(targets: Sequence[Sequence[TargetIds]], device: torch.device) -> PairTargets:
    """Targets on a device.

    Args:
        targets: of each pair, equally many.
        device: of the logits.
    """
    if not any(isinstance(one, tuple) for several in targets for one in several):
        ids = torch.tensor([list(several) for several in targets], dtype=torch.long, device="cpu")
        return PairTargets(ids, ids.to(device), None)
    members = [[one if isinstance(one, tuple) else (one,) for one in own] for own in targets]
    width = max(sum(map(len, own)) for own in members)
    ids = torch.zeros((len(members), width), dtype=torch.long, device="cpu")
    owners = torch.full_like(ids, -1)
    for row, own in enumerate(members):
        flat = [(token, number) for number, several in enumerate(own) for token in several]
        ids[row, : len(flat)], owners[row, : len(flat)] = torch.tensor(flat, device="cpu").T
    keys = [
        [set_key(n) if isinstance(one, tuple) else one for n, one in enumerate(own)]
        for own in targets
    ]
    return PairTargets(torch.tensor(keys, device="cpu"), ids.to(device), owners.to(device))


def token_count(targets: Sequence[TargetIds]) -> int:
    """How many tokens the targets of one pair have."""
    return sum(len(one) if isinstance(one, tuple) else 1 for one in targets)
