"""Experiment and Slot: frozen, validated, JSON in and out; every check of a request stands here.

An experiment is plain data. `Experiment` checks what can be checked without a model; `plan` checks
the rest against a model and returns integers only, so that nothing downstream has to ask again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from vene_widgets.errors import RequestError, choose
from vene_widgets.interventions import INTERVENTIONS
from vene_widgets.sites import COMPONENTS, Site

if TYPE_CHECKING:
    from vene_widgets.models import LanguageModel, Token


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
        component: which tensor of the block (`vene_widgets.sites.COMPONENTS`).
        head: which head, for per-head components (`head_value_output`, ...).
        source: name of the source prompt; may be left out when the experiment has just one.
        source_position: where in the source prompt, position i into base position i of `position`;
            None means the same positions as in the base.
        intervention: the operator (`vene_widgets.interventions.INTERVENTIONS`).
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
            group: str | None = ...,
            skip: bool = ...,
        ) -> None: ...

    @field_validator("component")
    @classmethod
    def _component_exists(cls, value: str) -> str:
        return choose(value, COMPONENTS, "component")

    @field_validator("intervention")
    @classmethod
    def _intervention_exists(cls, value: str) -> str:
        return choose(value, INTERVENTIONS, "intervention")

    @field_validator("position", "source_position")
    @classmethod
    def _positions_are_distinct(cls, value: Any) -> Any:
        if isinstance(value, tuple) and not value:
            raise ValueError("position [] is empty; to do nothing, set skip=True")
        return value


class Experiment(BaseModel):
    """A base prompt, named source prompts, and the ordered slots that change the base's run.

    Frozen: every change makes a new experiment, `experiment.replace(slots=...)`.
    `model_dump_json()` and `Experiment.model_validate_json(text)` are inverse to each other.

    Attributes:
        base: the prompt whose run is changed.
        sources: name -> prompt whose run is copied from.
        slots: in list order; slots at different sites act in network order, slots at one site in
            list order, each seeing what the one before left.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str
    sources: dict[Name, str] = Field(default_factory=dict)
    slots: tuple[Slot, ...] = ()

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            base: str,
            sources: str | Mapping[str, str] = ...,
            slots: Iterable[Slot] = ...,
        ) -> None: ...

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
        groups: dict[str, tuple[int, str | None]] = {}
        for index, slot in enumerate(self.slots):
            if INTERVENTIONS[slot.intervention].needs_source:
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


@dataclass(frozen=True)
class PlannedSlot:
    """A slot checked against a model: integers only.

    Attributes:
        index: place in `Experiment.slots`, skipped slots counted.
        slot: the slot as the user wrote it.
        site: where it acts.
        source: name of its source, None for interventions that need none.
        base_positions, source_positions: equally long; source position i goes to base position i.
    """

    index: int
    slot: Slot
    site: Site
    source: str | None
    base_positions: tuple[int, ...]
    source_positions: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """An experiment checked against a model.

    Attributes:
        experiment: what was asked.
        base: tokens of the base prompt.
        sources: name -> tokens of the source prompt.
        slots: every slot, skipped ones too, at their own index.
    """

    experiment: Experiment
    base: tuple[Token, ...]
    sources: Mapping[str, tuple[Token, ...]]
    slots: tuple[PlannedSlot, ...]

    @property
    def live(self) -> tuple[PlannedSlot, ...]:
        """The slots that act."""
        return tuple(planned for planned in self.slots if not planned.slot.skip)


def plan(model: LanguageModel, experiment: Experiment) -> Plan:
    """Check an experiment against a model, and turn every position into an int.

    Raises:
        RequestError: a prompt without tokens or too long, a layer, head or position out of range,
            a token text that does not occur exactly once, unequal numbers of base and source
            positions. The message names the slot.
    """
    base = tuple(model.tokens(experiment.base))
    sources = {name: tuple(model.tokens(text)) for name, text in experiment.sources.items()}
    slots = []
    for index, slot in enumerate(experiment.slots):
        what = f"slots[{index}]"
        try:
            site = model.sites.site(slot.layer, slot.component, slot.head)
        except RequestError as error:
            raise RequestError(f"{what}: {error}") from None
        positions = resolve_positions(slot.position, base, f"{what}.position", "base")
        name = None
        source_positions: tuple[int, ...] = ()
        if INTERVENTIONS[slot.intervention].needs_source:
            name = experiment.source_of(slot, index)
            wanted = slot.source_position
            if wanted is None:
                wanted = positions if isinstance(slot.position, str) else slot.position
            source_positions = resolve_positions(
                wanted, sources[name], f"{what}.source_position", f"source {name!r}"
            )
            if len(source_positions) != len(positions):
                raise RequestError(
                    f"{what} pairs {len(source_positions)} source positions "
                    f"{list(source_positions)} with {len(positions)} base positions "
                    f"{list(positions)}: source position i goes to base position i, so both need "
                    "the same number."
                )
        slots.append(PlannedSlot(index, slot, site, name, positions, source_positions))
    return Plan(experiment, base, sources, tuple(slots))


def resolve_positions(
    positions: int | tuple[int, ...] | str, tokens: tuple[Token, ...], what: str, prompt: str
) -> tuple[int, ...]:
    """Positions as a user may write them -> distinct ints from 0.

    Args:
        positions: an int, several, or a token's text.
        tokens: the prompt's tokens.
        what: the field's name for the message; `prompt` says which prompt it is about.

    Raises:
        RequestError: out of range, named twice, or a text that does not occur exactly once.
    """
    listed = ", ".join(f"{token.index} {token.text!r}" for token in tokens)
    if isinstance(positions, str):
        found = [token.index for token in tokens if token.text == positions]
        if len(found) != 1:
            count = "does not occur" if not found else f"occurs {len(found)} times, at {found},"
            raise RequestError(
                f"{what} {positions!r} {count} in the {prompt}: a token's text must occur once. "
                f"Tokens: {listed}."
            )
        return (found[0],)
    given = (positions,) if isinstance(positions, int) else positions
    count = len(tokens)
    for position in given:
        if not isinstance(position, int):
            raise RequestError(
                f"{what} {position!r} is not an int. Valid: an int, a list of ints, or one token's "
                f"text. Tokens: {listed}."
            )
        if not -count <= position < count:
            raise RequestError(
                f"{what} {position} is out of range: the {prompt} has {count} tokens, "
                f"0 to {count - 1} (or -{count} to -1 from the end). Tokens: {listed}."
            )
    resolved = tuple(position % count for position in given)
    if what.endswith(".position") and len(set(resolved)) != len(resolved):
        raise RequestError(f"{what} {list(given)} names a position twice in the {prompt}.")
    return resolved


def align(base: tuple[Token, ...], source: tuple[Token, ...]) -> tuple[int, ...]:
    """For each base position, the source position that a sweep pairs it with.

    Equal lengths pair one to one. Otherwise the common beginning pairs from the left, the common
    end from the right, and what lies between pairs in order, its rest with the last differing token
    of the source.

    Returns:
        Source positions, one per base position.
    """
    n, m = len(base), len(source)
    if n == m:
        return tuple(range(n))
    shorter = min(n, m)
    left = 0
    while left < shorter and base[left].id == source[left].id:
        left += 1
    right = 0
    while right < shorter - left and base[n - 1 - right].id == source[m - 1 - right].id:
        right += 1
    middle = [min(i, max(m - right - 1, 0)) for i in range(left, n - right)]
    return (*range(left), *middle, *range(m - right, m))
