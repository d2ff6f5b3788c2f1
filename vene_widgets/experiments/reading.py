"""What a slot reads instead of a source's run: a vector, or means over prompts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real
from typing import Any, Protocol, cast

from vene_widgets.errors import RequestError, shown
from vene_widgets.experiments import limits
from vene_widgets.experiments.components import ATTENTION_WEIGHT
from vene_widgets.experiments.operators import OPERATORS


class Reading(Protocol):
    """The fields of a slot that say what it reads."""

    @property
    def intervention(self) -> str: ...
    @property
    def component(self) -> str: ...
    @property
    def source(self) -> str | None: ...
    @property
    def source_position(self) -> object: ...
    @property
    def source_layer(self) -> int | None: ...
    @property
    def prompts(self) -> tuple[str, ...]: ...
    @property
    def minus(self) -> tuple[str, ...]: ...
    @property
    def vector(self) -> tuple[float, ...] | None: ...


def as_vector(value: Any) -> tuple[float, ...] | None:
    """Numbers as a tuple, from a list, an array or a tensor of one dimension.

    Raises:
        RequestError: something else, no numbers, too many, or one that is not finite.
    """
    if value is None:
        return None
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise RequestError(f"vector must be a list of numbers, got {shown(cast('object', value))}")
    found = limits.bounded(cast("Iterable[Any]", value), limits.DIMS, "numbers in a vector")
    for number in found:
        if isinstance(number, bool) or not isinstance(number, Real) or not math.isfinite(number):
            raise RequestError(f"vector must have finite numbers only, got {shown(number)}")
    if not found:
        raise RequestError("vector [] is empty: expected as many numbers as the site is wide")
    return tuple(float(number) for number in found)


def check_reading(slot: Reading) -> None:
    """Check that what a slot reads goes together.

    Raises:
        RequestError: two sources of one slot, or one that its intervention does not read.
    """
    name = slot.intervention
    reads = OPERATORS[name].needs_source
    has_own = slot.vector is not None or bool(slot.prompts)
    if slot.minus and not slot.prompts:
        raise RequestError("minus is subtracted from the mean of prompts: it needs prompts")
    if slot.minus and name == "mean":
        raise RequestError(
            "minus has no effect on intervention 'mean', which replaces the state: use 'addition' "
            "to add a difference of means"
        )
    if slot.vector is not None and slot.prompts:
        raise RequestError("a slot reads a vector or the mean of prompts, not both")
    if slot.vector is not None and not reads:
        raise RequestError(f"intervention {name!r} reads no source: remove vector")
    if has_own and reads and slot.source is not None:
        raise RequestError(
            f"source {shown(slot.source)} would not be read: the slot has "
            f"{'a vector' if slot.vector is not None else 'prompts'} of its own. Remove one of them"
        )
    if slot.vector is not None and slot.source_position is not None:
        raise RequestError("source_position has no meaning for a vector: remove it")
    if slot.source_layer is not None and (slot.vector is not None or not (reads or slot.prompts)):
        raise RequestError(
            f"source_layer {slot.source_layer} would not be read: the slot reads no run"
        )
    if slot.component == ATTENTION_WEIGHT and (
        slot.vector is not None or slot.source_layer is not None or (slot.prompts and reads)
    ):
        raise RequestError(
            "attention_weight reads a source's pattern of the same layer, or for 'mean' that of "
            "prompts: remove vector, source_layer and, for other interventions, prompts"
        )
