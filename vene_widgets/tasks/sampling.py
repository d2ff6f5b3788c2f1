"""Groups of examples, and samples that hold equally many of each group."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vene_widgets.tasks.checks import Case


@dataclass(frozen=True)
class Group:
    """Examples of one kind: every combination of some choices.

    A task's sample holds equally many pairs of each of its groups.

    Attributes:
        name: the kind, `"ABBA"`.
        choices: name -> what may be chosen. One that is named like an optional field counts as
            one choice in a template without that field.
        pair: the base and the source of one combination.
    """

    name: str
    choices: Mapping[str, Sequence[Any]]
    pair: Callable[..., tuple[Case, Case]]

    def __len__(self) -> int:
        return prod(len(several) for several in self.choices.values())

    def __getitem__(self, index: int) -> tuple[Case, Case]:
        chosen: list[Any] = []
        for several in reversed(list(self.choices.values())):
            index, place = divmod(index, len(several))
            chosen.append(several[place])
        return self.pair(*reversed(chosen))

    def without(self, fields: Sequence[str]) -> Group:
        """The same group with one choice only for some fields."""
        kept = {
            name: several[:1] if name in fields else several
            for name, several in self.choices.items()
        }
        return Group(self.name, kept, self.pair)


def in_order(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Every (group, index), group by group."""
    for group, size in enumerate(sizes):
        yield from ((group, index) for index in range(size))


class Sampler:
    """Random draws without repetition, one from each group in turn.

    Args:
        sizes: of the groups.
        seed: of the draws.
        accept: whether a draw `(group, index)` counts. A group whose draw does not count draws
            again before the next group's turn, so that each gives equally many.
    """

    def __init__(self, sizes: Sequence[int], seed: int, accept: Callable[[int, int], bool]) -> None:
        generator = random.Random(seed)
        self._accept = accept
        self._draws = [
            (group, _shuffled(size, random.Random(generator.getrandbits(64))))
            for group, size in enumerate(sizes)
        ]

    def draw(self, n: int, misses: int) -> int:
        """Draw until `n` draws counted.

        Args:
            n: how many.
            misses: most draws that may fail for each that counts, and for the first.

        Returns:
            How many counted: fewer than `n` if the groups are exhausted or too many draws failed.
        """
        found = failed = 0
        while self._draws and found < n:
            for turn in list(self._draws):
                group, indices = turn
                for index in indices:
                    if self._accept(group, index):
                        found += 1
                        break
                    failed += 1
                    if failed > misses * (found + 1):
                        return found
                else:
                    self._draws.remove(turn)
                if found == n:
                    break
        return found


def _shuffled(size: int, generator: random.Random) -> Iterator[int]:
    """The numbers below `size` in random order, without a list of them all at first."""
    seen: set[int] = set()
    while 2 * len(seen) < size:
        index = generator.randrange(size)
        if index not in seen:
            seen.add(index)
            yield index
    rest = [index for index in range(size) if index not in seen]
    generator.shuffle(rest)
    yield from rest
