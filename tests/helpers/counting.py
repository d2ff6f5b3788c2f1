"""Count what torch does: operators, launches, reads by the host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

READS = frozenset(
    {
        *("aten::_local_scalar_dense", "aten::equal", "aten::nonzero", "aten::is_nonzero"),
        *("aten::masked_select", "aten::unique_dim", "aten::_unique2"),
    }
)
"""Operators that wait for the device and give the host a number, or a shape that depends on one."""


class Operators(TorchDispatchMode):
    """Counts the operators that run while it is entered, by name; also those that make views."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.names[function._schema.name] += 1
        return function(*args, **(kwargs or {}))

    @property
    def count(self) -> int:
        """All of them."""
        return self.names.total()

    @property
    def reads(self) -> int:
        """Those in `READS`."""
        return sum(number for name, number in self.names.items() if name in READS)


def operators(work: Callable[[], object]) -> Operators:
    """What one call of a function does."""
    with Operators() as found:
        work()
    return found
