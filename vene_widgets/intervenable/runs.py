"""The forward passes of one call: each distinct source once, then the base."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor

from vene_widgets.engine.forward import forward_inputs, generate_inputs
from vene_widgets.engine.generating import TextEdit, intervene_while_generating
from vene_widgets.engine.hooks import (
    Edit,
    EditStats,
    intervene,
    record,
)
from vene_widgets.errors import RequestError
from vene_widgets.intervenable.inputs import Encoding, are_equal, token_mask
from vene_widgets.intervenable.operators import Batch
from vene_widgets.intervenable.slot_calls import Request, SlotCall
from vene_widgets.intervenable.slots import site_of
from vene_widgets.models import LanguageModel
from vene_widgets.models.module_site import module_site
from vene_widgets.models.sites import Site, module_at

HookInput: TypeAlias = tuple[list[int], Tensor]
"""Indices into `SlotCall.base`, and the vectors `(indices, width)` that a hook found there."""


@dataclass(frozen=True, eq=False)
class _SourceRun:
    """One source run to make.

    Attributes:
        encoding: the source.
        readers: slots that read it.
        editors: slots that change it (serial mode).
    """

    encoding: Encoding
    readers: list[SlotCall]
    editors: list[SlotCall]


@dataclass(eq=False)
class CallRunner:
    """Run the forward passes of one call and keep what its hooks found.

    Attributes:
        model: the model to run.
        request: the call's arguments.
        slot_calls: what the live slots do.
        measures: whether to measure every edit.
        weights_train: whether gradients flow to the model's own weights.
        source_vectors: per slot index, the vectors `(n, width)` that it reads.
        hook_inputs: per slot index, the base vectors that its hooks found.
        stats: per slot index, what its edits did.
        module_inputs: what hooked modules got, if operators ask for it.
    """

    model: LanguageModel
    request: Request
    slot_calls: Sequence[SlotCall]
    measures: bool
    weights_train: bool = False
    source_vectors: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    hook_inputs: dict[int, list[HookInput]] = field(default_factory=dict[int, list[HookInput]])
    stats: dict[int, list[EditStats]] = field(default_factory=dict[int, list[EditStats]])
    module_inputs: dict[Site, Tensor] = field(default_factory=dict[Site, Tensor])

    def run(self, options: Mapping[str, Any]) -> Any:
        """Run the sources, then the base with the slots in place.

        Args:
            options: more arguments of the model's forward.

        Returns:
            The model's own output on the base.

        Raises:
            RequestError: a slot's hook never fired.
        """
        calls = self._run_sources()
        sites = [self._input_site(call) for call in calls] if self.request.passes_inputs else []
        edits = self._edits(calls)
        with record(self.model, sites) as self.module_inputs, intervene(self.model, edits):
            output = self._forward({**self.request.base, **options})
        self._require_fired()
        return output

    def generate(self, options: Mapping[str, Any], *, on_prompt: bool) -> Any:
        """Run the sources, then generate from the base with the slots in place.

        Args:
            options: more arguments of `generate`.
            on_prompt: whether the slots act on the prompt, or else on every new token.

        Returns:
            What transformers' `generate` returns.

        Raises:
            RequestError: a slot's hook never fired.
        """
        edits, shape = self._edits(self._run_sources()), token_mask(self.request.base).shape
        prompt = shape[0], shape[1]
        new_tokens = None if on_prompt else range(shape[1], sys.maxsize)
        text_edits = [TextEdit(edit, new_tokens) for edit in edits]
        with intervene_while_generating(self.model, text_edits, prompt):
            output = generate_inputs(self.model, **self.request.base, **options)
        if on_prompt:  # a text may end before there is a pass of a new token
            self._require_fired()
        return output

    def _input_site(self, call: SlotCall) -> Site:
        """Where the module that a slot hooks gets its input."""
        slot = call.slot
        path = site_of(self.model, slot.layer, slot.component, call.base[0][1]).path
        return module_site(f"{path}.input", path, "input", module_at(self.model.net, path))

    def _forward(self, inputs: Mapping[str, Any]) -> Any:
        return forward_inputs(self.model, inputs, weights_train=self.weights_train)

    def _run_sources(self) -> list[SlotCall]:
        """Run the sources and keep what is read of them; returns the calls that act on the base."""
        for call in self.slot_calls:
            if call.constant is not None:
                self.source_vectors[call.slot.index] = call.constant.to(self.model.device)
        for source_run in self._plan_source_runs():
            self._record_source(source_run)
        # In serial mode, only the last group acts on the base; the others act on source runs.
        is_serial, last_group = self.request.mode == "serial", len(self.request.runs) - 1
        return [c for c in self.slot_calls if not is_serial or c.slot.group == last_group]

    def _require_fired(self) -> None:
        for call in self.slot_calls:
            if call.slot.index not in self.hook_inputs:
                raise RequestError(
                    f"{call.slot} did not fire: the forward pass of {self.model.name} never "
                    "reached it."
                )

    def collected(self) -> list[Any]:
        """What each collecting slot found (`IntervenableModelOutput.collected_activations`)."""
        return [
            _gather(call, self.hook_inputs[call.slot.index])
            for call in self.slot_calls
            if call.slot.operator.collects
        ]

    def _plan_source_runs(self) -> list[_SourceRun]:
        """The source runs to make, in group order."""
        planned: list[_SourceRun] = []
        for group, encoding in enumerate(self.request.runs):
            readers = [c for c in self.slot_calls if c.slot.group == group and c.source is not None]
            editors: list[SlotCall] = []
            if self.request.mode == "serial":
                editors = [c for c in self.slot_calls if c.slot.group == group - 1]
            if encoding is None or not (readers or editors):
                continue
            # Equal sources run once, unless slots change one of them.
            shared = next(
                (
                    other
                    for other in planned
                    if are_equal(other.encoding, encoding) and not (editors or other.editors)
                ),
                None,
            )
            if shared is None:
                planned.append(_SourceRun(encoding, readers, editors))
            else:
                shared.readers.extend(readers)
        return planned

    def _record_source(self, source_run: _SourceRun) -> None:
        """Run one source, and keep the vectors that its readers read."""
        sites = {
            (call.slot.index, head): site_of(self.model, call.slot.layer, call.slot.component, head)
            for call in source_run.readers
            for _, head, _ in call.source or ()
        }
        edits = self._edits(source_run.editors)
        with intervene(self.model, edits), record(self.model, sites.values()) as states:
            self._forward({**source_run.encoding, "use_cache": False})
        for call in source_run.readers:
            vectors: list[Tensor] = []
            for example, head, position in call.source or ():
                site = sites[call.slot.index, head]
                if site not in states:
                    raise RequestError(
                        f"{call.slot} reads {site}, which the forward pass never reached."
                    )
                site.check(states[site], example + 1)
                vectors.append(states[site][example, position])
            self.source_vectors[call.slot.index] = torch.stack(vectors)

    def _edits(self, slot_calls: Sequence[SlotCall]) -> list[Edit]:
        """The edits of some slots: one per slot, or one per head of a slot."""
        device = self.model.device
        edits: list[Edit] = []
        for call in slot_calls:
            slot = call.slot
            for head in dict.fromkeys(head for _, head, _ in call.base):
                indices = [n for n, (_, other, _) in enumerate(call.base) if other == head]
                examples = [call.base[n][0] for n in indices]
                batch = Batch(
                    sizes=tuple(examples.count(example) for example in dict.fromkeys(examples)),
                    mask=None if call.mask is None else call.mask[indices],
                    subspaces=call.subspaces,
                    keywords=self.request.keywords,
                )
                on_applied = None
                if self.measures:
                    on_applied = self.stats.setdefault(slot.index, []).append
                edits.append(
                    Edit(
                        site=site_of(self.model, slot.layer, slot.component, head),
                        rows=torch.tensor(examples, device=device),
                        positions=torch.tensor([call.base[n][2] for n in indices], device=device),
                        change=partial(self._apply_operator, call, batch, indices),
                        on_applied=on_applied,
                    )
                )
        return edits

    def _apply_operator(
        self, call: SlotCall, batch: Batch, indices: list[int], vectors: Tensor
    ) -> Tensor:
        """The new vectors at some of a slot's base places, `(indices, width)`."""
        index = call.slot.index
        if self.request.passes_inputs:
            states = self.module_inputs[self._input_site(call)]
            places = [call.base[n] for n in indices]
            got = [states[example, position] for example, _, position in places]
            batch = replace(batch, module_inputs=torch.stack(got))
        self.hook_inputs.setdefault(index, []).append((indices, vectors))
        source = self.source_vectors.get(index)
        return call.slot.operator(vectors, None if source is None else source[indices], batch)


def _gather(call: SlotCall, inputs: Sequence[HookInput]) -> Tensor | tuple[Tensor, ...]:
    """What a collecting slot found, ordered by example, then head, then position.

    Returns:
        `(batch, units, width)`, per head `(batch, heads, positions, width)`; one tensor per example
        if they differ in their number of places.
    """
    # The hooks fire head by head; `call.base` goes example by example.
    order = torch.tensor(
        [n for indices, _ in inputs for n in indices], dtype=torch.long, device="cpu"
    ).argsort()
    vectors = torch.cat([vectors for _, vectors in inputs])
    vectors = vectors[order.to(vectors.device)]
    # Only the selected coordinates, provided that they are the same for every vector.
    if call.mask is not None and bool((call.mask == call.mask[0]).all()):
        vectors = vectors[:, call.mask[0].to(vectors.device)]
    examples = [example for example, _, _ in call.base]
    sizes = [examples.count(example) for example in dict.fromkeys(examples)]
    rows: Sequence[Tensor] = torch.split(vectors, sizes)
    if call.slot.place_unit in ("h", "h.pos"):
        head_counts = [
            len({head for example, head, _ in call.base if example == one})
            for one in dict.fromkeys(examples)
        ]
        rows = [
            row.reshape(count, -1, row.shape[-1])
            for row, count in zip(rows, head_counts, strict=True)
        ]
    return torch.stack(list(rows)) if len({row.shape for row in rows}) == 1 else tuple(rows)
