"""History: the experiments that an explorer has answered, each once, oldest first."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from vene_widgets.errors import RequestError, choose
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.explorer.wire import messages as wire

if TYPE_CHECKING:
    from vene_widgets.engine.planning import Plan, PlannedSlot

KEPT = 50
"""Entries without a name that are kept beside the present one; the oldest goes first."""

SIZE = 200_000
"""Characters that the entries without a name may take: long prompts are kept less often."""

NAMED = 100
"""Entries with a name that are kept; they are never dropped, so no more can be named."""

RESERVED = re.compile(r"base|ungrouped|grouped|intervened|slot \d+|#\d+")
"""Names that the sides of a comparison have already."""


class Entry(NamedTuple):
    """One past experiment: its name if it was given one, what it was, the result in words."""

    name: str | None
    experiment: Experiment
    sentence: str


@dataclass(frozen=True)
class Record:
    """An entry with what the screen's strip draws: `number` stays the same as others go."""

    number: int
    entry: Entry
    settled: Experiment
    tokens: int
    revision: int
    top: wire.Candidate

    @property
    def title(self) -> str:
        """What a comparison and `restore` call it: its name, else its number."""
        return self.entry.name or f"#{self.number}"

    @cached_property
    def sent(self) -> dict[str, Any]:
        """`messages.PastEntry` as a dict; slots leave out what they do not say."""
        whole = wire.PastEntry(
            number=self.number,
            name=self.entry.name,
            experiment=self.settled,
            sentence=self.entry.sentence,
            tokens=self.tokens,
            revision=self.revision,
            token_id=self.top.token_id,
            label=self.top.label,
            probability=self.top.probability,
        )
        experiment = self.settled.model_dump(mode="json", exclude_defaults=True)
        return {**whole.model_dump(exclude={"experiment"}), "experiment": experiment}

    @cached_property
    def size(self) -> int:
        """Characters that it takes on the wire."""
        return len(json.dumps(self.sent))


class History:
    """What was answered, without repetition: an experiment that comes back keeps its place.

    Not safe for several threads at once; the explorer holds its lock around every call.
    """

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._count = 0
        self._current: int | None = None

    @property
    def records(self) -> Sequence[Record]:
        return tuple(self._records)

    def add(self, checked: Plan, sentence: str, top: wire.Candidate, revision: int) -> None:
        """Note the answer to an experiment; one that was there before is brought up to date."""
        experiment, same = checked.experiment, settled(checked)
        for i, record in enumerate(self._records):
            if record.settled == same:
                entry = record.entry._replace(sentence=sentence)
                self._records[i] = replace(record, entry=entry, top=top, revision=revision)
                self._current = record.number
                return
        entry = Entry(None, experiment, sentence)
        self._records.append(
            Record(self._count, entry, same, len(checked.base), revision, top),
        )
        self._current = self._count
        self._count += 1
        self._drop()

    def name(self, number: int, name: str | None) -> None:
        """Give an entry a name, or take it away with None.

        Raises:
            RequestError: no such entry; a name that is taken, or that a side of a comparison has.
        """
        numbers = [record.number for record in self._records]
        if number not in numbers:
            raise RequestError(
                f"history entry #{number} is not kept. Kept: "
                f"{', '.join(f'#{n}' for n in numbers) or 'none'}."
            )
        index = numbers.index(number)
        name = (name or "").strip() or None
        self._check(name, number)
        record = self._records[index]
        self._records[index] = replace(record, entry=record.entry._replace(name=name))
        self._drop()

    def _check(self, name: str | None, number: int) -> None:
        if name is None:
            return
        if RESERVED.fullmatch(name):
            raise RequestError(
                f"name {name!r} is one that the sides of a comparison have already (base, "
                "ungrouped, grouped, intervened, slot 0, #0): choose another."
            )
        others = {r.entry.name: r.number for r in self._records if r.number != number}
        if name in others:
            raise RequestError(
                f"name {name!r} is taken by entry #{others[name]}: names are unique. Choose "
                "another, or rename that entry first."
            )
        if sum(other is not None for other in others) >= NAMED:
            raise RequestError(
                f"{NAMED} entries have names, which is as many as are kept: take the name of one "
                f"away to name {name!r}."
            )

    def current(self) -> Record | None:
        """The entry of the newest answer."""
        return next((r for r in self._records if r.number == self._current), None)

    def find(self, key: str | int) -> Record:
        """An entry by its name, by its title (`#3`), or by its place in the list.

        Raises:
            RequestError: nothing under that name or at that place; the message lists what there is.
        """
        titles = {record.title: record for record in self._records}
        titles |= {f"#{record.number}": record for record in self._records}
        if isinstance(key, int) and not isinstance(key, bool):
            if -len(self._records) <= key < len(self._records):
                return self._records[key]
            raise RequestError(
                f"history entry {key} is out of range: {len(self._records)} are kept, from 0, "
                "or from -1 at the newest."
            )
        if key in titles:
            return titles[key]
        choose(key, [record.title for record in self._records], "history entry")
        raise AssertionError("unreachable: titles are among the choices")

    def clear(self) -> None:
        self._records.clear()
        self._current = None

    def to_wire(self) -> dict[str, Any]:
        """`messages.Past` as a dict."""
        return {"entries": [record.sent for record in self._records], "current": self._current}

    def _drop(self) -> None:
        """Let the oldest entries without a name go; never the one on the screen."""
        loose = [r for r in self._records if not r.entry.name and r.number != self._current]
        kept, size = set[int](), 0
        for record in reversed(loose[-KEPT:]):
            size += record.size
            if size > SIZE:
                break
            kept.add(record.number)
        self._records = [
            r
            for r in self._records
            if r.entry.name or r.number == self._current or r.number in kept
        ]


def settled(checked: Plan) -> Experiment:
    """The experiment with the plan's integers in place of texts and of negative numbers.

    Two experiments that differ in how they were written, and not in what they do, become equal.
    The browser writes them the same way.
    """
    slots = [_settled(planned) for planned in checked.slots]
    return checked.experiment.replace(slots=slots)


def _settled(planned: PlannedSlot) -> Any:
    slot = planned.slot
    changes: dict[str, Any] = {
        "layer": planned.site.layer,
        "head": planned.site.head,
        "position": _one(planned.base_positions),
    }
    if planned.source is not None:
        changes["source"] = planned.source
        changes["source_position"] = _one(planned.source_positions)
    return slot.model_copy(update=changes)


def _one(positions: Iterable[int]) -> int | tuple[int, ...]:
    several = tuple(positions)
    return several[0] if len(several) == 1 else several
