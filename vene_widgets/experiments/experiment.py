"""Experiment: a base prompt, sources, and the slots that change the base's run.

Plain data, frozen, JSON both ways. This module checks everything that needs no model;
`engine.planning.plan_experiment` checks the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from vene_widgets.errors import RequestError, choose
from vene_widgets.experiments.fields import Name, check_field_names
from vene_widgets.experiments.frozen_dict import FrozenDict
from vene_widgets.experiments.operators import OPERATORS
from vene_widgets.experiments.slot import Slot


class Experiment(BaseModel):
    """A base prompt, named source prompts, and the ordered slots that change the base's run.

    Frozen: every change makes a new experiment, `experiment.replace(slots=...)`. Equality includes
    the order of the sources, and equal experiments have equal hashes, so they can be keys of a
    dict. `model_dump_json()` and `Experiment.model_validate_json(text)` are inverses.

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
    sources: Annotated[dict[Name, str], AfterValidator(FrozenDict)] = Field(
        default_factory=FrozenDict
    )
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
    def _check_field_names(cls, value: Any) -> Any:
        check_field_names(cls, value)
        return value

    def __eq__(self, other: object) -> bool:
        # == of dicts ignores order, but in serial mode the order of the sources is the chain.
        if not isinstance(other, Experiment):
            return NotImplemented
        return super().__eq__(other) and list(self.sources) == list(other.sources)

    def __hash__(self) -> int:
        return hash((self.base, self.sources, self.slots, self.mode))

    @field_validator("base")
    @classmethod
    def _check_base_not_empty(cls, value: str) -> str:
        if not value:
            raise ValueError("base '' is empty: expected a prompt of at least one token")
        return value

    @field_validator("sources", mode="before")
    @classmethod
    def _name_single_source(cls, value: Any) -> Any:
        """Accept a bare prompt as the only source, named `source`."""
        return {"source": value} if isinstance(value, str) else value

    @field_validator("sources")
    @classmethod
    def _check_sources_not_empty(cls, value: dict[str, str]) -> dict[str, str]:
        for name, prompt in value.items():
            if not prompt:
                raise ValueError(
                    f"source {name!r} is empty: expected a prompt of at least one token"
                )
        return value

    @model_validator(mode="after")
    def _check_links(self) -> Experiment:
        """Check that slots of one link agree in the options that their weights are made from."""
        links: dict[str, tuple[int, tuple[object, ...]]] = {}
        for index, slot in enumerate(self.slots):
            if slot.link is None:
                continue
            options = slot.intervention, slot.rank, slot.seed, slot.scale
            first, expected = links.setdefault(slot.link, (index, options))
            if options != expected:
                raise RequestError(
                    f"slots[{index}] and slots[{first}] share link {slot.link!r} but not their "
                    f"intervention, rank, seed and scale: {options} and {expected}."
                )
        return self

    @model_validator(mode="after")
    def _check_sources_and_groups(self) -> Experiment:
        """Check that named sources exist, no source is missing, and each group reads one source."""
        groups: dict[str, tuple[int, str | None]] = {}
        for index, slot in enumerate(self.slots):
            if OPERATORS[slot.intervention].needs_source:
                self.source_of(slot, index)
            elif slot.source is not None:
                choose(slot.source, self.sources, f"slots[{index}].source")
            if slot.group is None:
                continue
            # A slot that names no source counts as reading the first one.
            source = slot.source or next(iter(self.sources), None)
            first, expected = groups.setdefault(slot.group, (index, source))
            if source != expected:
                raise RequestError(
                    f"slots[{index}] reads source {source!r}, but group {slot.group!r} reads "
                    f"{expected!r} (slots[{first}]): slots of a group share one source. "
                    "Give the slot another group, or the same source."
                )
        return self

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
            RequestError: unknown source, or no source given if there is not exactly one.
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
        """The same slots without groups: each reads its own source run."""
        return self.replace(slots=tuple(s.model_copy(update={"group": None}) for s in self.slots))
