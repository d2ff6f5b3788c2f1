"""Registry of all operators by name; `register` adds user-defined ones."""

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
"""A user-defined operator: base and source `(..., width)` -> new vectors, same shape."""


class _FunctionIntervention(Intervention):
    """Base of the classes that `register` makes around a user-defined function."""

    function: ClassVar[Function]

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        # Pass copies, so that in-place operations of the function cannot change the run.
        new = type(self).function(base.clone(), None if source is None else source.clone())
        new = _require_shape(self.name, new, base)
        return only_masked(mask, base, new.to(base.dtype))


def _require_shape(name: str, new: object, base: Tensor) -> Tensor:
    """Return the result of a user-defined function if it is a tensor of the base's shape.

    Raises:
        RequestError: another shape, or no tensor.
    """
    if not isinstance(new, Tensor) or new.shape != base.shape:
        got = tuple(new.shape) if isinstance(new, Tensor) else f"a {type(new).__name__}"
        raise RequestError(
            f"intervention {name!r} must return a tensor of the base's shape "
            f"{tuple(base.shape)}, got {got}."
        )
    return new


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
"""Name in a slot -> class of the operator, built-in ones first."""


def register(
    name: str, operator: Function | type[Intervention], *, needs_source: bool = True
) -> None:
    """Register a user-defined function or `Intervention` class under a name for slots.

    Args:
        name: its name in slots. A name registered before is replaced; built-in names are refused.
        operator: a function `(base, source) -> new` of tensors `(..., width)`, or a class.
        needs_source: whether a function reads a source run; a class has its own `needs_source`.

    Raises:
        RequestError: an empty or built-in name, or an operator that is neither a function nor an
            `Intervention` class.
    """
    if not name or name in BUILT_IN:
        raise RequestError(
            f"intervention name {name!r} is empty or built in. Choose a name other than: "
            f"{', '.join(BUILT_IN)}."
        )
    if isinstance(operator, type) and issubclass(operator, Intervention):
        INTERVENTIONS[name] = operator
        OPERATORS[name] = OperatorFacts(operator.needs_source, options=None)
        return
    if isinstance(operator, type) or not callable(operator):
        raise RequestError(f"operator {operator!r} is neither a function nor an Intervention class")
    namespace: dict[str, Any] = {
        "name": name,
        "needs_source": needs_source,
        "formula": f"new = {name}(b, s)" if needs_source else f"new = {name}(b)",
        "about": (operator.__doc__ or "A function of the user's own.").strip().split("\n")[0],
        "function": staticmethod(operator),
        "__doc__": operator.__doc__,
    }
    INTERVENTIONS[name] = type(name, (_FunctionIntervention,), namespace)
    OPERATORS[name] = OperatorFacts(needs_source)


def unregister(name: str) -> None:
    """Remove a name that `register` added; unknown and built-in names are ignored."""
    if name not in BUILT_IN:
        INTERVENTIONS.pop(name, None)
        OPERATORS.pop(name, None)


def make(name: str, options: Options) -> Intervention:
    """Construct an operator by its name; equal options give equal weights."""
    return INTERVENTIONS[choose(name, INTERVENTIONS, "intervention")](options)
