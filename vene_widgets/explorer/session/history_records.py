"""History: the answered experiments of an explorer, each once, oldest first."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import pydantic

from vene_widgets.errors import RequestError, choose
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire.ordered import WireExperiment

if TYPE_CHECKING:
    from vene_widgets.engine.planning import Plan, PlannedSlot
    from vene_widgets.experiments.slot import Slot

_experiments: pydantic.TypeAdapter[Experiment] = pydantic.TypeAdapter(WireExperiment)

MAX_UNNAMED = 50
"""Entries without a name, not counting the current one; the oldest is dropped first."""

MAX_UNNAMED_CHARACTERS = 200_000
"""Total size of the entries without a name, as JSON: fewer fit if their prompts are long."""

MAX_NAMED = 100
"""Entries with a name: they are never dropped, so further names are refused."""

RESERVED_NAMES = re.compile(r"base|ungrouped|grouped|intervened|slot \d+|#\d+")
"""Titles of the sides of a comparison, and of unnamed entries."""


class Entry(NamedTuple):
    """One past experiment.

    Attributes:
        name: given by the user; None if it has none.
        experiment: what was run.
        sentence: the result in words.
    """

    name: str | None
    experiment: Experiment
    sentence: str


@dataclass(frozen=True)
class HistoryRecord:
    """An entry with the data of the history strip.

    Attributes:
        number: counts entries from 0; it never changes.
        entry: the public part.
        normal_form: the experiment as `normal_form` writes it.
        tokens: number of tokens of its base prompt.
        revision: of its newest answer.
        top: the most likely next token of its result.
    """

    number: int
    entry: Entry
    normal_form: Experiment
    tokens: int
    revision: int
    top: wire.Candidate

    @property
    def title(self) -> str:
        """Its name in comparisons and `restore`: the user's, else its number."""
        return self.entry.name or f"#{self.number}"

    @cached_property
    def wire_entry(self) -> dict[str, Any]:
        """`messages.PastEntry` as a dict, without the slots' defaults."""
        message = wire.PastEntry(
            number=self.number,
            name=self.entry.name,
            experiment=self.normal_form,
            sentence=self.entry.sentence,
            tokens=self.tokens,
            revision=self.revision,
            token_id=self.top.token_id,
            label=self.top.label,
            probability=self.top.probability,
        )
        experiment = _experiments.dump_python(self.normal_form, mode="json", exclude_defaults=True)
        return {**message.model_dump(exclude={"experiment"}), "experiment": experiment}

    @cached_property
    def size(self) -> int:
        """Characters of its JSON on the wire."""
        return len(json.dumps(self.wire_entry))


class History:
    """The answered experiments without repetition: one that is run again keeps its place.

    Not thread-safe: the explorer holds its lock around every call.
    """

    def __init__(self) -> None:
        self._records: list[HistoryRecord] = []
        self._count = 0
        self._current: int | None = None

    @property
    def records(self) -> Sequence[HistoryRecord]:
        """All entries, oldest first."""
        return tuple(self._records)

    def add(
        self,
        plan: Plan,
        sentence: str,
        top: wire.Candidate,
        revision: int,
        *,
        is_current: bool = True,
    ) -> int:
        """Add an answered experiment, or update the result of its earlier entry.

        Which slots are held is no part of what was run: an entry has those that were held last.

        Args:
            plan: of the experiment.
            sentence: the result in words.
            top: the most likely next token.
            revision: of the answer.
            is_current: whether it is the newest answer.

        Returns:
            The number of its entry.
        """
        experiment, normal = plan.experiment, normal_form(plan)
        for i, record in enumerate(self._records):
            if _with_no_hold(record.normal_form) == _with_no_hold(normal):
                entry = record.entry._replace(sentence=sentence)
                if record.normal_form != normal:
                    entry = entry._replace(experiment=experiment)
                self._records[i] = replace(
                    record, entry=entry, normal_form=normal, top=top, revision=revision
                )
                if is_current:
                    self._current = record.number
                return record.number
        entry = Entry(None, experiment, sentence)
        self._records.append(
            HistoryRecord(self._count, entry, normal, len(plan.base), revision, top)
        )
        number = self._count
        if is_current:
            self._current = number
        self._count += 1
        self._drop_oldest()
        return number

    def name(self, number: int, name: str | None) -> None:
        """Name an entry; None or an empty name removes its name.

        Raises:
            RequestError: no such entry; a name that is taken or reserved; too many names.
        """
        numbers = [record.number for record in self._records]
        if number not in numbers:
            raise RequestError(
                f"history entry #{number} does not exist. Valid: "
                f"{', '.join(f'#{n}' for n in numbers) or 'none'}."
            )
        index = numbers.index(number)
        name = (name or "").strip() or None
        self._check_name(name, number)
        record = self._records[index]
        self._records[index] = replace(record, entry=record.entry._replace(name=name))
        self._drop_oldest()  # an entry that lost its name counts as unnamed again

    def _check_name(self, name: str | None, number: int) -> None:
        """Refuse a name for entry `number` that is reserved or taken, or one name too many."""
        if name is None:
            return
        if RESERVED_NAMES.fullmatch(name):
            raise RequestError(
                f"name {name!r} is reserved for the sides of a comparison (base, ungrouped, "
                "grouped, intervened, slot 0, #0): choose another."
            )
        others = {r.entry.name: r.number for r in self._records if r.number != number}
        if name in others:
            raise RequestError(
                f"name {name!r} is taken by entry #{others[name]}: names are unique. Choose "
                "another, or rename that entry first."
            )
        if sum(other is not None for other in others) >= MAX_NAMED:
            raise RequestError(
                f"name {name!r} exceeds the limit of {MAX_NAMED} named entries. "
                "Remove the name of another entry first."
            )

    def current(self) -> HistoryRecord | None:
        """The entry of the newest answer."""
        return next((r for r in self._records if r.number == self._current), None)

    def find(self, key: str | int) -> HistoryRecord:
        """Find an entry by its name, its number (`#3`) or its index in `records`.

        Raises:
            RequestError: no such entry; the message lists the valid ones.
        """
        titles = {record.title: record for record in self._records}
        titles |= {f"#{record.number}": record for record in self._records}
        if isinstance(key, int) and not isinstance(key, bool):
            if -len(self._records) <= key < len(self._records):
                return self._records[key]
            count = len(self._records)
            valid = f"0 to {count - 1} (or -{count} to -1 from the newest)" if count else "none"
            raise RequestError(
                f"history entry {key} is out of range: there are {count} entries. Valid: {valid}."
            )
        if key in titles:
            return titles[key]
        choose(key, [record.title for record in self._records], "history entry")
        raise AssertionError("unreachable: titles are among the choices")

    def clear(self) -> None:
        """Remove all entries; numbers go on counting."""
        self._records.clear()
        self._current = None

    def to_wire(self) -> dict[str, Any]:
        """`messages.Past` as a dict."""
        return {
            "entries": [record.wire_entry for record in self._records],
            "current": self._current,
        }

    def _drop_oldest(self) -> None:
        """Drop the oldest entries without a name beyond the limits; never the current one."""
        unnamed = [r for r in self._records if not r.entry.name and r.number != self._current]
        within_limits, size = set[int](), 0
        for record in reversed(unnamed[-MAX_UNNAMED:]):
            size += record.size
            if size > MAX_UNNAMED_CHARACTERS:
                break
            within_limits.add(record.number)
        self._records = [
            r
            for r in self._records
            if r.entry.name or r.number == self._current or r.number in within_limits
        ]


def normal_form(plan: Plan) -> Experiment:
    """Rewrite a plan's experiment with its integers in place of texts and negative indices.

    Experiments that do the same but are written differently become equal. The browser uses the
    same form.
    """
    slots = [normal_slot(planned) for planned in plan.slots]
    return plan.experiment.replace(slots=slots)


def _with_no_hold(experiment: Experiment) -> Experiment:
    """What an experiment runs."""
    slots = [slot.model_copy(update={"hold": False}) for slot in experiment.slots]
    return experiment.replace(slots=slots)


def normal_slot(planned: PlannedSlot) -> Slot:
    """A planned slot with its integers in place of texts and negative indices."""
    slot = planned.slot
    changes: dict[str, Any] = {
        "layer": planned.site.layer,
        "head": planned.site.head,
        "position": int_or_tuple(planned.base_positions),
    }
    if planned.source is not None:
        changes["source"] = planned.source
        changes["source_position"] = int_or_tuple(planned.source_positions)
    if planned.keys is not None:
        changes["source_position"] = int_or_tuple(planned.keys)
    return slot.model_copy(update=changes)


def int_or_tuple(positions: tuple[int, ...]) -> int | tuple[int, ...]:
    """A single position as an int."""
    return positions[0] if len(positions) == 1 else positions
