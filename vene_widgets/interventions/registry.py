"""Registry of all operators by name; `register` adds user-defined ones."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor

from vene_widgets.errors import RequestError, choose
from vene_widgets.experiments.operators import BUILT_IN, OPERATORS, OperatorFacts
from vene_widgets.interventions.base import Intervention, Options, conform, only_masked
from vene_widgets.interventions.random_stream import RandomStream
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
        return only_masked(mask, base, conform(new, base, self.name))

    def __reduce__(self) -> tuple[Any, ...]:
        # The class is made at run time; its name in the registry stands for it.
        if INTERVENTIONS.get(self.name) is not type(self):
            raise RequestError(
                f"intervention {self.name!r} cannot be pickled: its name was unregistered or "
                "registered anew since it was made. Make it again."
            )
        return _new_by_name, (self.name,), self.__dict__

    def __copy__(self) -> _FunctionIntervention:
        new = type(self)(self.options)
        new.__dict__.update(self.__dict__)
        return new

    def __deepcopy__(self, memo: dict[int, Any]) -> _FunctionIntervention:
        # By class, not by name: the name may stand for another function by now.
        memo[id(self)] = new = type(self)(self.options)
        new.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return new


def _new_by_name(name: str) -> Intervention:
    """An unpickled intervention of a registered function, before its state is restored.

    Raises:
        RequestError: no function of that name is registered in this process.
    """
    kind = INTERVENTIONS.get(name)
    if kind is None or not issubclass(kind, _FunctionIntervention):
        raise RequestError(
            f"a pickled intervention is the function {name!r}, which is not registered here. "
            f"Before unpickling, call vw.register({name!r}, ...) with that function."
        )
    return kind.__new__(kind)


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
        "about": (operator.__doc__ or "User-defined function.").strip().split("\n")[0],
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
    """Construct an operator by its name; equal options give equal weights.

    The constructor of a user-defined class draws its random numbers from the options' seed, not
    from torch's global generator, and creates its tensors on the CPU unless it names a device.
    """
    kind = INTERVENTIONS[choose(name, INTERVENTIONS, "intervention")]
    with RandomStream(options.seed):
        return kind(options)
