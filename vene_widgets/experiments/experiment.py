"""Experiment and Slot: frozen, validated, JSON in and out.

An experiment is plain data. What can be checked without a model is checked here; `planning.plan`
checks the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
from vene_widgets.experiments.frozen_dict import Frozen
from vene_widgets.experiments.operators import OPERATORS, OPTIONS, built_in_with


def plain_ints(value: Any) -> Any:
    """Turn numpy and torch integers, arrays and ranges into plain ints and tuples.

    Raises:
        RequestError: a bool, which is an int to Python but never meant as one here.
    """
    if isinstance(value, bool):
        raise RequestError(
            f"{value!r} is a bool; an int is needed (a position may be a list or a token's text)"
        )
    if isinstance(value, (str, int)) or value is None:
        return value
    if hasattr(value, "tolist"):
        return plain_ints(value.tolist())
    if isinstance(value, (list, tuple, range)):
        return tuple(plain_ints(item) for item in value)
    return value


def known_fields(model: type[BaseModel], value: Any) -> Any:
    """Pass what a model is made from, unless it has a field that the model lacks.

    Raises:
        RequestError: an unknown field, with the closest one and all there are.
    """
    for name in value if isinstance(value, Mapping) else ():
        choose(name, model.model_fields, f"field of {model.__name__}")
    return value


Positions = Annotated[int | tuple[int, ...] | str, BeforeValidator(plain_ints)]
"""An int (negative counts from the end), several ints, or a token's text that occurs once."""

Where = int | Sequence[int] | str
"""Positions as a user may write them."""

Name = Annotated[str, Field(min_length=1, max_length=80)]


class Slot(BaseModel):
    """One line of an experiment: a site, positions, what is done there, and from which source.

    Attributes:
        layer: index of the block, from 0; negative counts from the last.
        position: where in the base prompt: an int (negative counts from the end), a list of ints,
            or a token's text when it occurs once (`" Spain"`).
        component: which tensor of the block (`vene_widgets.models.sites.COMPONENTS`).
        head: which head, for per-head components (`head_value_output`, ...).
        source: name of the source prompt; may be left out when the experiment has just one.
        source_position: where in the source prompt, position i into base position i of `position`;
            None means the same positions as in the base.
        intervention: the operator (`vene_widgets.interventions.INTERVENTIONS`).
        strength: how far to go: new = base + strength · (intervention − base). 0 leaves the base's
            own state, 1 is the intervention in full, and what lies between blends the two; above 1
            goes further along the same line, below 0 the other way.
        subspace: which coordinates may change, of the site or, for rotated interventions, of their
            own basis: a list of dims, a half-open range `"0:2"`, or a name in `partition`; None is
            all of them.
        partition: names for half-open ranges, `{"left": (0, 1), "right": (1, 2)}`; whether one fits
            the site is asked when `subspace` names it.
        rank: columns of a low-rank rotation, or principal components; refused elsewhere.
        scale: standard deviation of noise, in the site's own units; refused elsewhere.
        seed: of noise, and of the weights that an intervention begins with.
        prompts: for `mean`, the prompts over whose states at `source_position` it is taken.
        link: slots with one link share one set of weights, and nothing else.
        group: slots of one group read one shared source run.
        skip: a skipped slot does nothing and keeps its index.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layer: Annotated[int, BeforeValidator(plain_ints)]
    position: Positions
    component: str = "block_output"
    head: Annotated[int | None, BeforeValidator(plain_ints)] = None
    source: Name | None = None
    source_position: Positions | None = None
    intervention: str = "vanilla"
    strength: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    subspace: Annotated[tuple[int, ...] | str | None, BeforeValidator(plain_ints)] = None
    partition: Annotated[dict[Name, tuple[int, int]], AfterValidator(Frozen)] | None = None
    rank: Annotated[int | None, BeforeValidator(plain_ints)] = None
    scale: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    seed: Annotated[int, BeforeValidator(plain_ints), Field(ge=0, lt=2**63)] = 0
    prompts: tuple[str, ...] = ()
    link: Name | None = None
    group: Name | None = None
    skip: bool = False

    if TYPE_CHECKING:  # what validation accepts, which is more than what the fields hold

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
    def _fields_exist(cls, value: Any) -> Any:
        return known_fields(cls, value)

    @field_validator("component")
    @classmethod
    def _component_exists(cls, value: str) -> str:
        return choose(value, COMPONENTS, "component")

    @field_validator("intervention")
    @classmethod
    def _intervention_exists(cls, value: str) -> str:
        return choose(value, OPERATORS, "intervention")

    @field_validator("position", "source_position")
    @classmethod
    def _positions_are_distinct(cls, value: Any) -> Any:
        if isinstance(value, tuple) and not value:
            raise ValueError("position [] is empty; to do nothing, set skip=True")
        return value

    @model_validator(mode="after")
    def _fields_fit_together(self) -> Slot:
        if self.intervention == "mean" and not self.prompts:
            raise RequestError("intervention 'mean' needs prompts to take the mean of; none given")
        for name, (start, stop) in (self.partition or {}).items():
            if not 0 <= start < stop:
                raise RequestError(
                    f"partition {name!r} ({start}, {stop}) is not a half-open range of dims: "
                    "(start, stop) with 0 <= start < stop is needed."
                )
        if isinstance(self.subspace, str):
            self.subspace_range()
        self._options_are_used()
        return self

    def _options_are_used(self) -> None:
        for option in OPTIONS:
            value = getattr(self, option)
            if value == type(self).model_fields[option].default:
                continue
            if OPERATORS[self.intervention].ignores(option):
                raise RequestError(
                    f"{option} {value!r} does not fit intervention {self.intervention!r}, which "
                    f"makes nothing of it: leave it out. Interventions with a {option}: "
                    f"{', '.join(map(repr, built_in_with(option)))}."
                )

    def subspace_range(self) -> tuple[int, int]:
        """The half-open range that a textual subspace means.

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

        Raises:
            RequestError: empty, named twice or out of range; `what` says whose it is.
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
                f"{what} {self.subspace!r} does not fit: one or more different dims from 0 to "
                f"{size - 1} are needed."
            )
        return found


class Experiment(BaseModel):
    """A base prompt, named source prompts, and the ordered slots that change the base's run.

    Frozen: every change makes a new experiment, `experiment.replace(slots=...)`. Equal ones ask for
    the same, the order of the sources included, and have one hash, so they can be keys of a dict.
    `model_dump_json()` and `Experiment.model_validate_json(text)` are inverse to each other.

    Attributes:
        base: the prompt whose run is changed.
        sources: name -> prompt whose run is copied from.
        mode: `parallel`, every source runs as it is; or `serial`, the sources form a chain in their
            order, in which slots that read one source act on the run of the next, and those that
            read the last one on the base.
        slots: in list order; slots at different sites act in network order, slots at one site in
            list order, each seeing what the one before left.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str
    sources: Annotated[dict[Name, str], AfterValidator(Frozen)] = Field(default_factory=Frozen)
    slots: tuple[Slot, ...] = ()
    mode: Literal["parallel", "serial"] = "parallel"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            base: str,
            sources: str | Mapping[str, str] = ...,
            slots: Iterable[Slot] = ...,
            mode: Literal["parallel", "serial"] = ...,
        ) -> None: ...

    @model_validator(mode="before")
    @classmethod
    def _fields_exist(cls, value: Any) -> Any:
        return known_fields(cls, value)

    def __eq__(self, other: object) -> bool:
        # A mapping's own == is blind to the order, which makes another chain.
        if not isinstance(other, Experiment):
            return NotImplemented
        return super().__eq__(other) and list(self.sources) == list(other.sources)

    def __hash__(self) -> int:
        return hash((self.base, self.sources, self.slots, self.mode))

    @field_validator("base")
    @classmethod
    def _base_is_not_empty(cls, value: str) -> str:
        if not value:
            raise ValueError("base '' is empty; a prompt of at least one token is needed")
        return value

    @field_validator("sources", mode="before")
    @classmethod
    def _one_prompt_is_a_source(cls, value: Any) -> Any:
        """A bare prompt is accepted as the single source, named `source`."""
        return {"source": value} if isinstance(value, str) else value

    @field_validator("sources")
    @classmethod
    def _sources_are_not_empty(cls, value: dict[str, str]) -> dict[str, str]:
        for name, prompt in value.items():
            if not prompt:
                raise ValueError(
                    f"source {name!r} is empty; a prompt of at least one token is needed"
                )
        return value

    @model_validator(mode="after")
    def _slots_name_known_sources(self) -> Experiment:
        self._links_fit()
        groups: dict[str, tuple[int, str | None]] = {}
        for index, slot in enumerate(self.slots):
            if OPERATORS[slot.intervention].needs_source:
                self.source_of(slot, index)
            elif slot.source is not None:
                choose(slot.source, self.sources, f"slots[{index}].source")
            if slot.group is None:
                continue
            source = slot.source or next(iter(self.sources), None)
            first, expected = groups.setdefault(slot.group, (index, source))
            if source != expected:
                raise RequestError(
                    f"slots[{index}] reads source {source!r}, but group {slot.group!r} reads "
                    f"{expected!r} (slots[{first}]): slots of a group share one source. "
                    "Give the slot another group, or the same source."
                )
        return self

    def _links_fit(self) -> None:
        """Slots that share weights must have weights of one kind and shape."""
        links: dict[str, tuple[int, tuple[object, ...]]] = {}
        for index, slot in enumerate(self.slots):
            if slot.link is None:
                continue
            kind = slot.intervention, slot.rank, slot.seed, slot.scale
            first, expected = links.setdefault(slot.link, (index, kind))
            if kind != expected:
                raise RequestError(
                    f"slots[{index}] and slots[{first}] share link {slot.link!r} but not their "
                    f"intervention, rank, seed and scale: {kind} and {expected}."
                )

    def target_of(self, source: str | None) -> str | None:
        """Name of the source on whose run the slots that read `source` act; None for the base."""
        if self.mode == "parallel" or source is None:
            return None
        names = list(self.sources)
        after = names.index(source) + 1
        return names[after] if after < len(names) else None

    def source_of(self, slot: Slot, index: int = 0) -> str:
        """Name of the source that a slot reads.

        Raises:
            RequestError: unknown source, or no source given where there is not exactly one.
        """
        if slot.source is not None:
            return choose(slot.source, self.sources, f"slots[{index}].source")
        if len(self.sources) == 1:
            return next(iter(self.sources))
        listed = ", ".join(map(repr, self.sources)) or "none: add one to Experiment.sources"
        raise RequestError(
            f"slots[{index}] ({slot.intervention} at layer {slot.layer}) names no source, and the "
            f"experiment has {len(self.sources)}. Sources: {listed}."
        )

    def replace(self, **changes: Any) -> Experiment:
        """A new, validated experiment with some fields changed."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        unknown = set(changes) - set(fields)
        if unknown:
            choose(sorted(unknown)[0], fields, "field of Experiment")
        return type(self)(**{**fields, **changes})

    @property
    def live(self) -> tuple[int, ...]:
        """Indices of the slots that are not skipped."""
        return tuple(i for i, slot in enumerate(self.slots) if not slot.skip)

    @property
    def has_groups(self) -> bool:
        """Whether any slot belongs to a group."""
        return any(slot.group is not None for slot in self.slots)

    def ungrouped(self) -> Experiment:
        """The same slots without their groups: each reads a source run of its own."""
        return self.replace(slots=tuple(s.model_copy(update={"group": None}) for s in self.slots))
