"""SweepRequest: one slot and the layers and positions to move it over. Frozen, JSON both ways."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, field_validator, model_validator

from vene_widgets.errors import RequestError, choose, shown
from vene_widgets.experiments import limits
from vene_widgets.experiments.components import COMPONENTS
from vene_widgets.experiments.experiment import as_slots
from vene_widgets.experiments.fields import (
    ALL,
    Name,
    Positions,
    Prompt,
    Where,
    as_int,
    as_ints,
    as_prompts,
)
from vene_widgets.experiments.operators import OPERATORS
from vene_widgets.experiments.request import Request
from vene_widgets.experiments.slot import Slot, require_distinct
from vene_widgets.experiments.synonyms import with_our_names


def _as_layers(value: Any) -> int | tuple[int, ...] | None:
    """One layer, or several as a tuple.

    Raises:
        RequestError: another type, or too many.
    """
    found = as_ints(value)
    if isinstance(found, str):
        raise RequestError(f"expected an int or a list of ints, got {shown(value)}")
    if isinstance(found, tuple):
        limits.check_size(found, limits.LAYERS, "layers")
    return found


def _as_window(value: Any) -> int:
    """A number of layers.

    Raises:
        RequestError: no whole number from 1.
    """
    found = as_int(value)
    if not 1 <= found <= limits.LAYERS:
        raise RequestError(
            f"window must be a number of layers from 1 to {limits.LAYERS}, got {shown(value)}"
        )
    return found


def _as_head(value: Any) -> Any:
    """One head, or `"all"`.

    Raises:
        RequestError: another type.
    """
    return value if value in (None, ALL) else as_int(value)


class SweepRequest(Request):
    """The cells of a sweep and the intervention at each of them.

    A request has no base and no source, so that one request serves many pairs.
    `sweeps.planning.plan_sweep` checks it against a model and two prompts.

    Attributes:
        component, head: the tensor to change, as in `Slot`; `"all"` for one sweep per head
            (`sweeps.planning.plan_sweeps`).
        source: name of the experiment's source to copy from; None for its first.
        layers: indices of blocks, negative from the last; None for all.
        positions: base positions, as in `Slot`; None for all.
        source_positions: one per position; None pairs the prompts' tokens by
            `engine.positions.align`.
        intervention: the operator at every cell.
        prompts: for `mean`, the prompts that the mean is over, as in `Slot`.
        window: how many layers a cell changes, itself in the middle; of an even number, one more
            before it than after (Meng et al. 2022). Near the ends there are fewer.
        fixed: slots that every cell has as well, before its own at the same site: a corruption to
            be restored, a head that is knocked out. They act on the base.
    """

    component: str = "block_output"
    head: Annotated[int | Literal["all"] | None, BeforeValidator(_as_head)] = None
    source: Name | None = None
    layers: Annotated[tuple[int, ...] | int | None, BeforeValidator(_as_layers)] = None
    positions: Positions | None = None
    source_positions: Positions | None = None
    intervention: str = "vanilla"
    prompts: Annotated[tuple[Prompt, ...], BeforeValidator(as_prompts)] = ()
    window: Annotated[int, BeforeValidator(_as_window)] = 1
    fixed: Annotated[tuple[Slot, ...], BeforeValidator(as_slots)] = ()

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            component: str = ...,
            head: int | Literal["all"] | None = ...,
            source: str | None = ...,
            layers: Sequence[int] | int | None = ...,
            positions: Where | None = ...,
            source_positions: Where | None = ...,
            intervention: str = ...,
            prompts: Sequence[str] | str = ...,
            window: int = ...,
            fixed: Iterable[Slot] | Slot = ...,
        ) -> None: ...

    @model_validator(mode="before")
    @classmethod
    def _use_our_names(cls, value: Any) -> Any:
        return with_our_names(value)

    @field_validator("component")
    @classmethod
    def _check_component(cls, value: str) -> str:
        return choose(value, COMPONENTS, "component")

    @field_validator("intervention")
    @classmethod
    def _check_intervention(cls, value: str) -> str:
        return choose(value, OPERATORS, "intervention")

    @field_validator("positions")
    @classmethod
    def _check_positions_distinct(
        cls, value: int | tuple[int | str, ...] | str | None
    ) -> int | tuple[int | str, ...] | str | None:
        if isinstance(value, tuple):
            require_distinct(value)
        return value
