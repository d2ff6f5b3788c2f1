"""FrozenDict: a hashable dict without in-place changes, for the fields of frozen models."""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

from vene_widgets.errors import RequestError, shown

K = TypeVar("K")
V = TypeVar("V")


class FrozenDict(dict[K, V]):
    """A hashable dict that raises on every in-place change.

    As a subclass of dict it works with JSON, pickle, `copy` and `==`, which ignores order. To
    change it, make a new dict: `{**old, name: value}` or `old | {...}`.
    """

    def _raise_frozen(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise RequestError(
            f"{shown(dict(self))} is part of a frozen object and cannot be changed in place. "
            "Make a new one: experiment.replace(sources={**experiment.sources, name: prompt})."
        )

    __setitem__ = __delitem__ = __ior__ = _raise_frozen
    # The signature is not dict's, but no call gets that far.
    clear = pop = popitem = setdefault = update = _raise_frozen  # pyright: ignore[reportAssignmentType]

    # Hash without order, since == ignores it. In dict, `__hash__` is None.
    def __hash__(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        # By default unpickling a dict sets its items one by one, which would raise.
        return type(self), (dict(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenDict[K, V]:
        return self

    def __copy__(self) -> FrozenDict[K, V]:
        return self
