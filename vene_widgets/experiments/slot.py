"""Slot: one intervention of an experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from vene_widgets.errors import RequestError, choose
from vene_widgets.experiments.components import COMPONENTS
from vene_widgets.experiments.fields import Name, Positions, Where, as_ints, check_field_names
from vene_widgets.experiments.frozen_dict import FrozenDict
from vene_widgets.experiments.operators import OPERATORS, OPTIONS, built_in_with


class Slot(BaseModel):
    """One intervention of an experiment: a site, positions, the intervention there, and its source.

    Attributes:
        layer: index of the block, from 0; negative counts from the last.
        position: where in the base prompt: an int (negative counts from the end), a list of ints,
            or a token's text if it occurs once (`" Spain"`).
        component: which tensor of the block (`vene_widgets.experiments.components.COMPONENTS`).
        head: which head, for per-head components (`head_value_output`, ...).
        source: name of the source prompt; may be left out if the experiment has just one.
        source_position: where in the source prompt; its i-th position is copied to the i-th of
            `position`. None means the same positions as in the base.
        intervention: the operator (`vene_widgets.interventions.INTERVENTIONS`).
        strength: new = base + strength · (intervention − base). 0 is the base's state, 1 the full
            intervention; values between interpolate, above 1 and below 0 they extrapolate.
        subspace: which coordinates may change, of the site or, for rotated interventions, of their
            own basis: a list of dims, a half-open range `"0:2"`, or a name in `partition`; None is
            all of them.
        partition: names for half-open ranges, `{"left": (0, 1), "right": (1, 2)}`; a range is
            checked against the site's width only if `subspace` names it.
        rank: columns of a low-rank rotation, or principal components; other interventions refuse
            it.
        scale: standard deviation of noise, in the site's own units; other interventions refuse it.
        seed: of noise, and of an intervention's initial weights.
        prompts: for `mean`, the prompts whose states at `source_position` are averaged.
        link: slots with the same link share one set of weights, and nothing else.
        group: slots of one group share one source run.
        skip: a skipped slot does nothing and keeps its index.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layer: Annotated[int, BeforeValidator(as_ints)]
    position: Positions
    component: str = "block_output"
    head: Annotated[int | None, BeforeValidator(as_ints)] = None
    source: Name | None = None
    source_position: Positions | None = None
    intervention: str = "vanilla"
    strength: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    subspace: Annotated[tuple[int, ...] | str | None, BeforeValidator(as_ints)] = None
    partition: Annotated[dict[Name, tuple[int, int]], AfterValidator(FrozenDict)] | None = None
    rank: Annotated[int | None, BeforeValidator(as_ints)] = None
    scale: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    seed: Annotated[int, BeforeValidator(as_ints), Field(ge=0, lt=2**63)] = 0
    prompts: tuple[str, ...] = ()
    link: Name | None = None
    group: Name | None = None
    skip: bool = False

    if TYPE_CHECKING:  # validation accepts more types than the fields hold

        def __init__(
            self,
            *,
            layer: int,
            position: Where,
            component: str = ...,
            head: int | None = ...,
            source: str | None = ...,
            source_position: Where | None = ...,
            intervention: str = ...,
            strength: float = ...,
            subspace: Sequence[int] | str | None = ...,
            partition: Mapping[str, tuple[int, int]] | None = ...,
            rank: int | None = ...,
            scale: float = ...,
            seed: int = ...,
            prompts: Sequence[str] = ...,
            link: str | None = ...,
            group: str | None = ...,
            skip: bool = ...,
        ) -> None: ...

    @model_validator(mode="before")
    @classmethod
    def _check_field_names(cls, value: Any) -> Any:
        check_field_names(cls, value)
        return value

    @field_validator("component")
    @classmethod
    def _check_component(cls, value: str) -> str:
        return choose(value, COMPONENTS, "component")

    @field_validator("intervention")
    @classmethod
    def _check_intervention(cls, value: str) -> str:
        return choose(value, OPERATORS, "intervention")

    @field_validator("position", "source_position")
    @classmethod
    def _check_position_not_empty(
        cls, value: int | tuple[int, ...] | str | None
    ) -> int | tuple[int, ...] | str | None:
        """Refuse `[]`. Duplicates depend on the prompt's length, see `engine.positions`."""
        if value == ():
            raise ValueError("position [] is empty; to do nothing, set skip=True")
        return value

    @model_validator(mode="after")
    def _check_mean_has_prompts(self) -> Slot:
        if self.intervention == "mean" and not self.prompts:
            raise RequestError("intervention 'mean' needs prompts to take the mean of, got none")
        return self

    @model_validator(mode="after")
    def _check_partition(self) -> Slot:
        for name, (start, stop) in (self.partition or {}).items():
            if not 0 <= start < stop:
                raise RequestError(
                    f"partition {name!r} must be a half-open range of dims (start, stop) with "
                    f"0 <= start < stop, got ({start}, {stop})."
                )
        return self

    @model_validator(mode="after")
    def _check_subspace_text(self) -> Slot:
        if isinstance(self.subspace, str):
            self.subspace_range()
        return self

    @model_validator(mode="after")
    def _check_options_have_effect(self) -> Slot:
        for option in OPTIONS:
            value = getattr(self, option)
            if value == type(self).model_fields[option].default:
                continue
            if OPERATORS[self.intervention].ignores(option):
                raise RequestError(
                    f"{option} {value!r} has no effect on intervention {self.intervention!r}: "
                    f"remove it. Interventions with a {option}: "
                    f"{', '.join(map(repr, built_in_with(option)))}."
                )
        return self

    def subspace_range(self) -> tuple[int, int]:
        """The half-open range that a textual subspace stands for.

        Raises:
            RequestError: neither a range nor a name in the partition.
        """
        text = str(self.subspace)
        if self.partition and text in self.partition:
            return self.partition[text]
        start, colon, stop = text.partition(":")
        if colon and start.strip().isdigit() and stop.strip().isdigit():
            return int(start), int(stop)
        names = ", ".join(map(repr, self.partition or ())) or "none"
        raise RequestError(
            f"subspace {text!r} is neither a half-open range such as '0:2' nor a name in the "
            f"partition. Names: {names}."
        )

    def dims(self, size: int, what: str = "subspace") -> tuple[int, ...] | None:
        """The coordinates that may change, out of `size`; None for all.

        Args:
            size: how many coordinates there are, of the site or of the rotated basis.
            what: the noun for the message.

        Raises:
            RequestError: no dims, duplicate dims, or dims out of range.
        """
        if self.subspace is None:
            return None
        if isinstance(self.subspace, str):
            start, stop = self.subspace_range()
            found = tuple(range(start, stop))
        else:
            found = self.subspace
        if not found or len(set(found)) != len(found) or min(found) < 0 or max(found) >= size:
            raise RequestError(
                f"{what} {self.subspace!r} is invalid: expected one or more distinct dims from 0 "
                f"to {size - 1}."
            )
        return found


def weights_key(slot: Slot, index: int) -> str:
    """Key of a slot's weights in `run(..., weights=...)`; slots of one link have the same key."""
    return f"link {slot.link}" if slot.link else f"slot {index}"
