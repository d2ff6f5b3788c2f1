"""Experiment: a base prompt, sources, and the slots that change the base's run.

Plain data, frozen, JSON both ways. This module checks everything that needs no model;
`engine.planning.plan_experiment` checks the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from vene_widgets.errors import RequestError, choose, listed, shown
from vene_widgets.experiments import limits
from vene_widgets.experiments.fields import Name, Prompt
from vene_widgets.experiments.frozen_dict import FrozenDict
from vene_widgets.experiments.request import Request
from vene_widgets.experiments.slot import Slot


def _as_sources(value: Any) -> dict[Any, Any]:
    """The sources by name; a bare prompt is the only source, named `source`.

    Raises:
        RequestError: neither, or too many.
    """
    if isinstance(value, str):
        return {"source": value}
    if not isinstance(value, Mapping):
        raise RequestError(f"expected a prompt, or a dict of names and prompts, got {shown(value)}")
    sources = cast("Mapping[Any, Any]", value)
    limits.check_size(sources, limits.SOURCES, "sources")
    return dict(sources)


def as_slots(value: Any) -> tuple[Any, ...]:
    """The slots of an iterable, or the one slot.

    Raises:
        RequestError: neither, or too many.
    """
    if isinstance(value, Slot):
        return (value,)
    if isinstance(value, (str, bytes, Mapping, BaseModel)) or not isinstance(value, Iterable):
        given = shown(cast("object", value))
        raise RequestError(f"expected a Slot or a list of Slots, got {given}")
    return limits.bounded(cast("Iterable[Any]", value), limits.SLOTS, "slots")


def _require_text(base: str) -> str:
    """Refuse an empty base.

    Raises:
        RequestError: it is empty.
    """
    if not base:
        raise RequestError("base '' is empty: expected a prompt of at least one token")
    return base


def _require_texts(sources: dict[str, str]) -> FrozenDict[str, str]:
    """Refuse empty sources.

    Raises:
        RequestError: one is empty.
    """
    for name, prompt in sources.items():
        if not prompt:
            raise RequestError(
                f"source {shown(name)} is empty: expected a prompt of at least one token"
            )
    return FrozenDict(sources)


class Experiment(Request):
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

    base: Annotated[Prompt, AfterValidator(_require_text)]
    sources: Annotated[
        dict[Name, Prompt], BeforeValidator(_as_sources), AfterValidator(_require_texts)
    ] = Field(default_factory=FrozenDict)
    slots: Annotated[tuple[Slot, ...], BeforeValidator(as_slots)] = ()
    mode: Literal["parallel", "serial"] = "parallel"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            base: str,
            sources: str | Mapping[str, str] = ...,
            slots: Iterable[Slot] | Slot = ...,
            mode: Literal["parallel", "serial"] = ...,
        ) -> None: ...

    def __eq__(self, other: object) -> bool:
        # == of dicts ignores order, but in serial mode the order of the sources is the chain.
        if not isinstance(other, Experiment):
            return NotImplemented
        return super().__eq__(other) and list(self.sources) == list(other.sources)

    def __hash__(self) -> int:
        return hash((self.base, self.sources, self.slots, self.mode))

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
                    f"slots[{index}] and slots[{first}] share link {shown(slot.link)} but not "
                    f"their intervention, rank, seed and scale: {options} and {expected}."
                )
        return self

    @model_validator(mode="after")
    def _check_sources_and_groups(self) -> Experiment:
        """Check that named sources exist, no source is missing, and each group reads one source."""
        groups: dict[str, tuple[int, str | None]] = {}
        for index, slot in enumerate(self.slots):
            if slot.reads_run:
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
                    f"slots[{index}] reads source {shown(source)}, but group {shown(slot.group)} "
                    f"reads {shown(expected)} (slots[{first}]): slots of a group share one source. "
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
        names = listed(self.sources) if self.sources else "none: add one to Experiment.sources"
        raise RequestError(
            f"slots[{index}] ({slot.intervention} at layer {slot.layer}) names no source, and the "
            f"experiment has {len(self.sources)}. Sources: {names}."
        )

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
