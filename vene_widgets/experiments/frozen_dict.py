"""Frozen: a mapping that cannot be changed in place, for the fields of frozen models."""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

from vene_widgets.errors import RequestError

K = TypeVar("K")
V = TypeVar("V")


class Frozen(dict[K, V]):
    """A dict that refuses to be changed, and can be hashed.

    It is a dict still, so that JSON, pickle, `copy` and `==` take it as one; a change is a new
    dict, `{**old, name: value}` or `old | {...}`. As with any dict, order counts for nothing in
    `==`.
    """

    def _refuse(self, *arguments: Any, **named: Any) -> NoReturn:
        raise RequestError(
            f"{dict(self)} belongs to something frozen and cannot be changed in place. Copy "
            "it into a new one: experiment.replace(sources={**experiment.sources, name: prompt})."
        )

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse  # pyright: ignore[reportAssignmentType]

    def __hash__(self) -> int:
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)  # a dict's own way sets one item after another

    def __deepcopy__(self, memo: dict[int, Any]) -> Frozen[K, V]:
        return self

    def __copy__(self) -> Frozen[K, V]:
        return self
