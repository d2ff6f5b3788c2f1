"""SweepRequest: one slot and the layers and positions to move it over. Frozen, JSON both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from vene_widgets.experiments.fields import Name, Where, as_ints, check_field_names

if TYPE_CHECKING:
    from collections.abc import Sequence

_Ints = Annotated[tuple[int, ...] | int | None, BeforeValidator(as_ints)]


class SweepRequest(BaseModel):
    """The cells of a sweep and the intervention at each of them.

    A request has no prompts, so that one request serves many pairs. `sweeps.planning.plan_sweep`
    checks it against a model and two prompts.

    Attributes:
        component, head: the tensor to change, as in `Slot`.
        source: name of the experiment's source to copy from; None for its first.
        layers: indices of blocks, negative from the last; None for all.
        positions: base positions, as in `Slot`; None for all.
        source_positions: one per position; None pairs the prompts' tokens by
            `engine.positions.align`.
        intervention: the operator at every cell.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    component: str = "block_output"
    head: Annotated[int | None, BeforeValidator(as_ints)] = None
    source: Name | None = None
    layers: _Ints = None
    positions: Annotated[tuple[int | str, ...] | int | str | None, BeforeValidator(as_ints)] = None
    source_positions: Annotated[
        tuple[int | str, ...] | int | str | None, BeforeValidator(as_ints)
    ] = None
    intervention: str = "vanilla"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            component: str = ...,
            head: int | None = ...,
            source: str | None = ...,
            layers: Sequence[int] | int | None = ...,
            positions: Where | None = ...,
            source_positions: Where | None = ...,
            intervention: str = ...,
        ) -> None: ...

    @model_validator(mode="before")
    @classmethod
    def _check_field_names(cls, value: Any) -> Any:
        check_field_names(cls, value)
        return value

    def replace(self, **changes: Any) -> SweepRequest:
        """A new, validated request with some fields changed."""
        return type(self)(**{**{n: getattr(self, n) for n in type(self).model_fields}, **changes})
