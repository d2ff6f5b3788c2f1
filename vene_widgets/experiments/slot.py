"""Slot: one intervention of an experiment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from vene_widgets.errors import RequestError, choose, listed, shown
from vene_widgets.experiments import limits
from vene_widgets.experiments.components import COMPONENTS
from vene_widgets.experiments.edges import check_edges
from vene_widgets.experiments.fields import (
    Int,
    Name,
    Number,
    Positions,
    Prompt,
    Where,
    as_bool,
    as_ints,
    as_prompts,
)
from vene_widgets.experiments.frozen_dict import FrozenDict
from vene_widgets.experiments.operators import OPERATORS, OPTIONS, built_in_with
from vene_widgets.experiments.reading import as_vector, check_reading
from vene_widgets.experiments.request import Request
from vene_widgets.experiments.synonyms import with_our_names

_RANGE = re.compile(r"\s*(\d+)\s*:\s*(\d+)\s*", re.ASCII)


def _as_subspace(value: Any) -> Any:
    """Dims as a tuple of ints, or a text of bounded length.

    Raises:
        RequestError: another type, or too many dims.
    """
    if isinstance(value, str):
        limits.check_size(value, 80, "characters in a subspace")
        return value
    found = as_ints(value)
    if isinstance(found, int):
        raise RequestError(f"expected a list of dims, got {shown(value)}; write [{found}] for one")
    return found


def _as_partition(value: Any) -> Any:
    """Ranges by name, their ends as plain ints.

    Raises:
        RequestError: no dict, or too many names.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise RequestError(f"expected a dict of names and ranges, got {shown(value)}")
    ranges = cast("Mapping[Any, Any]", value)
    limits.check_size(ranges, limits.PARTS, "names in a partition")
    return {name: as_ints(ends) for name, ends in ranges.items()}


class Slot(Request):
    """One intervention of an experiment: a site, positions, the intervention there, and its source.

    Attributes:
        layer: index of the block, from 0; negative counts from the last.
        position: where in the base prompt: an int (negative counts from the end); a token's text as
            it is shown, if it occurs once (`" Spain"`); a list or range of them
            (`[" Spain", -1]`); a slice (`slice(1, 4)`, stored as `"1:4"`); or `"all"`. A text in a
            list is always a token's, so that `["all"]` is the token `all`.
        component: which tensor of the block. Residual stream: `block_input` (also `resid_pre`),
            `block_output` (`resid_post`). MLP: `mlp_input`, `mlp_activation` (`post`, `mlp_post`),
            `mlp_output` (`mlp_out`). Attention: `attention_input`, `attention_output` (`attn_out`).
            All heads joined: `attention_value_output` (`z`), `query_output` (`q`), `key_output`
            (`k`), `value_output` (`v`). One head, given by `head`: `head_attention_value_output`
            (`z`), `head_query_output` (`q`), `head_key_output` (`k`), `head_value_output` (`v`).
            After the softmax: `attention_weight` (`pattern`), one weight per query and key. The
            names in parentheses are TransformerLens'.
        head: which head, for the components of one head, and for `attention_weight`, where None is
            every head.
        source: name of the source prompt; may be left out if the experiment has just one.
        source_position: where in the source prompt; its i-th position is copied to the i-th of
            `position`, so both need the same number. None means the same positions, as they are
            written: negative ones, slices and `"all"` count in the source itself, a token's text
            stands for its index in the base. For `attention_weight` it has another meaning: the
            keys in the base, as `position` is the queries. Every query's weight of every key
            changes; None is all keys. Queries and keys are read in the source as they are written,
            by the same rule.
        intervention: the operator. Copy the source's vectors: `vanilla` (also `patch`, `swap`,
            `interchange`). Add or subtract them: `addition` (`add`), `subtraction` (`subtract`).
            Ablate, without a source: `zero` (`ablate`, `knockout`, `zero_ablate`, `zero_ablation`),
            `mean` (`mean_ablate`, `mean_ablation`), `noise`. Change nothing: `collect`. Copy
            coordinates of a trained basis, or by a trained mask: `rotated_space`,
            `low_rank_rotated_space`, `boundless_rotated_space`, `pca_rotated_space`,
            `sigmoid_mask`. Or a name that `vw.register` added.
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
        prompts: for `mean`, the prompts whose states at `source_position` are averaged. For an
            intervention that copies, adds or subtracts a source's vectors, their mean is what it
            reads, instead of a source; one source position then serves every position.
        minus: prompts whose mean is subtracted from that of `prompts`: the difference of means of
            two lists, a steering vector (Turner et al. 2023; Rimsky et al. 2024).
        vector: numbers to read instead of a source, as many as the site is wide; they serve every
            position.
        source_layer: the layer of the source, or of `prompts`, that is read; None for `layer`.
        link: slots with the same link share one set of weights, and nothing else.
        group: slots of one group share one source run.
        skip: a skipped slot does nothing and keeps its index.
        hold: whether the explorer's map has the slot in every tile, as `sweep` has those of its
            argument `fixed`. It changes nothing in a run.
    """

    layer: Int
    position: Positions
    component: str = "block_output"
    head: Int | None = None
    source: Name | None = None
    source_position: Positions | None = None
    intervention: str = "vanilla"
    strength: Annotated[Number, Field(allow_inf_nan=False)] = 1.0
    subspace: Annotated[tuple[int, ...] | str | None, BeforeValidator(_as_subspace)] = None
    partition: Annotated[
        dict[Name, tuple[int, int]] | None,
        BeforeValidator(_as_partition),
        AfterValidator(lambda value: None if value is None else FrozenDict(value)),
    ] = None
    rank: Int | None = None
    scale: Annotated[Number, Field(ge=0, allow_inf_nan=False)] = 1.0
    seed: Annotated[Int, Field(ge=0, lt=2**63)] = 0
    prompts: Annotated[tuple[Prompt, ...], BeforeValidator(as_prompts)] = ()
    minus: Annotated[tuple[Prompt, ...], BeforeValidator(as_prompts)] = ()
    vector: Annotated[tuple[float, ...] | None, BeforeValidator(as_vector)] = None
    source_layer: Int | None = None
    link: Name | None = None
    group: Name | None = None
    skip: Annotated[bool, BeforeValidator(as_bool)] = False
    hold: Annotated[bool, BeforeValidator(as_bool)] = False

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
            prompts: Sequence[str] | str = ...,
            minus: Sequence[str] | str = ...,
            vector: Iterable[float] | None = ...,
            source_layer: int | None = ...,
            link: str | None = ...,
            group: str | None = ...,
            skip: bool = ...,
            hold: bool = ...,
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

    @field_validator("position", "source_position")
    @classmethod
    def _check_position_not_empty(
        cls, value: int | tuple[int | str, ...] | str | None
    ) -> int | tuple[int | str, ...] | str | None:
        if value == ():
            raise ValueError("position [] is empty; to do nothing, set skip=True")
        return value

    @field_validator("position")
    @classmethod
    def _check_position_distinct(
        cls, value: int | tuple[int | str, ...] | str
    ) -> int | tuple[int | str, ...] | str:
        """Refuse a repeated position; whether -1 is 4 too, the prompt decides (`engine`)."""
        if isinstance(value, tuple):
            require_distinct(value)
        return value

    @model_validator(mode="after")
    def _check_edges(self) -> Slot:
        has_subspace = self.subspace is not None or self.partition is not None
        check_edges(self.component, self.intervention, has_subspace=has_subspace)
        return self

    @model_validator(mode="after")
    def _check_mean_has_prompts(self) -> Slot:
        if self.intervention == "mean" and not self.prompts:
            raise RequestError("intervention 'mean' needs prompts to take the mean of, got none")
        return self

    @model_validator(mode="after")
    def _check_what_is_read(self) -> Slot:
        check_reading(self)
        return self

    @property
    def reads_run(self) -> bool:
        """Whether it reads the run of a source: not if it has prompts or a vector of its own."""
        own = self.vector is not None or bool(self.prompts)
        return OPERATORS[self.intervention].needs_source and not own

    @model_validator(mode="after")
    def _check_partition(self) -> Slot:
        for name, (start, stop) in (self.partition or {}).items():
            if not 0 <= start < stop <= limits.DIMS:
                raise RequestError(
                    f"partition {shown(name)} must be a half-open range of dims (start, stop) with "
                    f"0 <= start < stop <= {limits.DIMS}, got ({start}, {stop})."
                )
        return self

    @model_validator(mode="after")
    def _check_subspace_text(self) -> Slot:
        if isinstance(self.subspace, str):
            _, stop = self.subspace_range()
            if stop > limits.DIMS:
                raise RequestError(
                    f"subspace {shown(self.subspace)} reaches beyond the widest site there is: "
                    f"expected dims below {limits.DIMS}."
                )
        return self

    @model_validator(mode="after")
    def _check_options_have_effect(self) -> Slot:
        for option in OPTIONS:
            value = getattr(self, option)
            if value == type(self).model_fields[option].default:
                continue
            if OPERATORS[self.intervention].ignores(option):
                raise RequestError(
                    f"{option} {shown(value)} has no effect on intervention {self.intervention!r}: "
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
        if ends := _RANGE.fullmatch(text):
            return int(ends[1]), int(ends[2])
        raise RequestError(
            f"subspace {shown(text)} is neither a half-open range such as '0:2' nor a name in the "
            f"partition. Names: {listed(self.partition or ())}."
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
            fits = start < stop <= size
            found = tuple(range(start, stop)) if fits else ()
        else:
            found = self.subspace
        if not found or len(set(found)) != len(found) or min(found) < 0 or max(found) >= size:
            raise RequestError(
                f"{what} {shown(self.subspace)} is invalid: expected one or more distinct dims "
                f"from 0 to {size - 1}."
            )
        return found


def require_distinct(positions: tuple[int | str, ...]) -> None:
    """Refuse positions of which one is written twice: nothing is written in one place twice.

    Raises:
        RequestError: a repeated position.
    """
    if len(set(positions)) == len(positions):
        return
    seen = set[int | str]()
    for position in positions:
        if position in seen:
            raise RequestError(
                f"position {shown(position)} is named twice in {shown(list(positions))}: expected "
                "distinct positions"
            )
        seen.add(position)


def weights_key(slot: Slot, index: int) -> str:
    """Key of a slot's weights in `run(..., weights=...)`; slots of one link have the same key."""
    return f"link {slot.link}" if slot.link else f"slot {index}"
