"""The forward passes of one call: sources first, each distinct one once, then the base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vene_widgets.engine.hooks import Edit, EditStats, intervene, record
from vene_widgets.errors import RequestError
from vene_widgets.intervenable.acting import Act, Request
from vene_widgets.intervenable.inputs import Encoding, same
from vene_widgets.intervenable.operators import Batch
from vene_widgets.models import LanguageModel


@dataclass(eq=False)
class Call:
    """One call on its way.

    Attributes:
        model: what runs.
        request: what was asked.
        acts: what the live slots do.
        measures: whether their hooks report what they did.
        values: per slot, the vectors `(n, width)` that it reads.
        met: per slot, what its hooks met: indices into its base places, and the vectors there.
        stats: per slot, what its edits did.
    """

    model: LanguageModel
    request: Request
    acts: Sequence[Act]
    measures: bool
    values: dict[int, Tensor] = field(default_factory=dict)
    met: dict[int, list[tuple[list[int], Tensor]]] = field(default_factory=dict)
    stats: dict[int, list[EditStats]] = field(default_factory=dict)

    def run(self, options: Mapping[str, Any]) -> Any:
        """Run the sources, then the base with the slots in place; the model's own output.

        Raises:
            RequestError: a slot's hook never fired.
        """
        for act in self.acts:
            if act.constant is not None:
                self.values[act.slot.index] = act.constant.to(self.model.device)
        serial, runs = self.request.mode == "serial", self.request.runs
        for run, here, before in self._sources():
            self._source(run, here, before)
        last = [act for act in self.acts if not serial or act.slot.group == len(runs) - 1]
        with intervene(self.model, self._edits(last)):
            output = self.model.model(**self.request.base, **options)
        for act in self.acts:
            if act.slot.index not in self.met:
                raise RequestError(
                    f"{act.slot} did not fire: the forward pass of {self.model.name} never "
                    "reached it."
                )
        return output

    def collected(self) -> list[Any]:
        """Per collecting slot, what it found (`IntervenableModelOutput.collected_activations`)."""
        return [
            _gathered(act, self.met[act.slot.index])
            for act in self.acts
            if act.slot.operator.collects
        ]

    def _sources(self) -> list[tuple[Encoding, list[Act], list[Act]]]:
        """The source runs to make: encoding, who reads it, and who acts on it (serial mode)."""
        made: list[tuple[Encoding, list[Act], list[Act]]] = []
        for group, run in enumerate(self.request.runs):
            here = [a for a in self.acts if a.slot.group == group and a.source is not None]
            before: list[Act] = []
            if self.request.mode == "serial":
                before = [a for a in self.acts if a.slot.group == group - 1]
            if run is None or not (here or before):
                continue
            known = next((m for m in made if same(m[0], run) and not (before or m[2])), None)
            if known is None:
                made.append((run, here, before))
            else:
                known[1].extend(here)
        return made

    def _source(self, run: Encoding, here: Sequence[Act], before: Sequence[Act]) -> None:
        """One source run: what stands at the places that slots read."""
        at = {
            (act.slot.index, head): self.model.sites.site(act.slot.layer, act.slot.component, head)
            for act in here
            for _, head, _ in act.source or ()
        }
        with intervene(self.model, self._edits(before)), record(self.model, at.values()) as states:
            self.model.model(**run, use_cache=False)
        for act in here:
            vectors = []
            for example, head, position in act.source or ():
                site = at[act.slot.index, head]
                if site not in states:
                    raise RequestError(
                        f"{act.slot} reads {site}, which the forward pass never reached."
                    )
                vectors.append(states[site][example, position])
            self.values[act.slot.index] = torch.stack(vectors)

    def _edits(self, acts: Sequence[Act]) -> list[Edit]:
        """The hook-level changes: one per slot, or one per head of a slot."""
        device, edits = self.model.device, []
        for act in acts:
            index = act.slot.index
            for head in dict.fromkeys(head for _, head, _ in act.base):
                chosen = [n for n, (_, other, _) in enumerate(act.base) if other == head]
                rows = [act.base[n][0] for n in chosen]
                batch = Batch(
                    sizes=tuple(rows.count(example) for example in dict.fromkeys(rows)),
                    mask=None if act.mask is None else act.mask[chosen],
                    subspaces=act.subspaces,
                )
                on_applied = self.stats.setdefault(index, []).append if self.measures else None
                edits.append(
                    Edit(
                        site=self.model.sites.site(act.slot.layer, act.slot.component, head),
                        rows=torch.tensor(rows, device=device),
                        positions=torch.tensor([act.base[n][2] for n in chosen], device=device),
                        change=partial(self._change, act, batch, chosen),
                        on_applied=on_applied,
                    )
                )
        return edits

    def _change(self, act: Act, batch: Batch, chosen: list[int], vectors: Tensor) -> Tensor:
        self.met.setdefault(act.slot.index, []).append((chosen, vectors))
        source = self.values.get(act.slot.index)
        return act.slot.operator(vectors, None if source is None else source[chosen], batch)


def _gathered(act: Act, parts: Sequence[tuple[list[int], Tensor]]) -> Any:
    """What a collecting slot found, by example, then head, then position."""
    order = torch.tensor([n for chosen, _ in parts for n in chosen]).argsort()
    vectors = torch.cat([vectors for _, vectors in parts])
    vectors = vectors[order.to(vectors.device)]
    if act.mask is not None and bool((act.mask == act.mask[0]).all()):
        vectors = vectors[:, act.mask[0].to(vectors.device)]
    examples = [example for example, _, _ in act.base]
    rows: Sequence[Tensor] = vectors.split([examples.count(e) for e in dict.fromkeys(examples)])
    if act.slot.unit == "h.pos":
        heads = [len({h for e, h, _ in act.base if e == one}) for one in dict.fromkeys(examples)]
        rows = [r.reshape(n, -1, r.shape[-1]) for r, n in zip(rows, heads, strict=True)]
    return torch.stack(list(rows)) if len({row.shape for row in rows}) == 1 else tuple(rows)
