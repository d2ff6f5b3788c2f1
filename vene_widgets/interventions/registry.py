"""Every operator by the name that a slot gives; `register` adds a user's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor

from vene_widgets.errors import RequestError, choose
from vene_widgets.experiments.operators import BUILT_IN, OPERATORS, OperatorFacts
from vene_widgets.interventions.base import Intervention, Options, only_masked
from vene_widgets.interventions.rotated import (
    BoundlessRotatedSpace,
    LowRankRotatedSpace,
    PCARotatedSpace,
    RotatedSpace,
    SigmoidMask,
)
from vene_widgets.interventions.simple import (
    Addition,
    Collect,
    Mean,
    Noise,
    Subtraction,
    Vanilla,
    Zero,
)

Function = Callable[[Tensor, "Tensor | None"], Tensor]
"""A user's own operator: base and source `(..., width)` -> new, same shape."""


class _Custom(Intervention):
    """Base of the classes that `register` makes around a user's function."""

    function: ClassVar[Function]

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        # Copies: what a user's function does in place must not reach the run.
        given = None if source is None else source.clone()
        new = type(self).function(base.clone(), given)
        if not isinstance(new, Tensor) or new.shape != base.shape:
            got = tuple(new.shape) if isinstance(new, Tensor) else type(new).__name__
            raise RequestError(
                f"intervention {self.name!r} returned {got}; a tensor of the base's shape "
                f"{tuple(base.shape)} is needed."
            )
        return only_masked(mask, base, new.to(base.dtype))


INTERVENTIONS: dict[str, type[Intervention]] = {
    kind.name: kind
    for kind in (
        Vanilla,
        Addition,
        Subtraction,
        Zero,
        Mean,
        Noise,
        Collect,
        RotatedSpace,
        LowRankRotatedSpace,
        SigmoidMask,
        BoundlessRotatedSpace,
        PCARotatedSpace,
    )
}
"""Every operator by the name that a slot gives."""


def register(
    name: str, operator: Function | type[Intervention], *, needs_source: bool = True
) -> None:
    """Make a user's own function or `Intervention` class known under a name for slots.

    Args:
        name: what slots will call it; a name given before is taken over, a built-in one is not.
        operator: a function `(base, source) -> new` of tensors `(..., width)`, or a class.
        needs_source: whether a function reads a source run.

    Raises:
        RequestError: a built-in name, or something that cannot be called.
    """
    if not name or name in BUILT_IN:
        raise RequestError(
            f"intervention name {name!r} is taken or empty. Choose another than: "
            f"{', '.join(BUILT_IN)}."
        )
    if isinstance(operator, type) and issubclass(operator, Intervention):
        INTERVENTIONS[name] = operator
        OPERATORS[name] = OperatorFacts(operator.needs_source, options=None)
        return
    if isinstance(operator, type) or not callable(operator):
        raise RequestError(f"operator {operator!r} is neither a function nor an Intervention class")
    body: dict[str, Any] = {
        "name": name,
        "needs_source": needs_source,
        "formula": f"new = {name}(b, s)" if needs_source else f"new = {name}(b)",
        "about": (operator.__doc__ or "A function of the user's own.").strip().split("\n")[0],
        "function": staticmethod(operator),
        "__doc__": operator.__doc__,
    }
    INTERVENTIONS[name] = type(name, (_Custom,), body)
    OPERATORS[name] = OperatorFacts(needs_source)


def unregister(name: str) -> None:
    """Remove what `register` added under a name; unknown and built-in names are left alone."""
    if name not in BUILT_IN:
        INTERVENTIONS.pop(name, None)
        OPERATORS.pop(name, None)


def make(name: str, options: Options) -> Intervention:
    """One operator by its name; equal options give equal weights."""
    return INTERVENTIONS[choose(name, INTERVENTIONS, "intervention")](options)
