"""Plain runs kept per prompt, so that an experiment starts at its first changed block.

A resumed run calls the model's own remaining blocks with the very arguments that they had in the
plain run, at batch 1 and over the whole prompt: the arithmetic is that of a full run, and so are
the numbers, bit for bit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from vene_widgets.engine.hooks import Edit, intervene, record, record_calls, record_head_input
from vene_widgets.errors import RequestError
from vene_widgets.models.sites import Site, module_at

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.models import LanguageModel, Token

LIMIT = 256 * 2**20
"""Bytes that a memory holds before it forgets the prompt that was used longest ago."""


@dataclass(frozen=True, eq=False)
class Passed:
    """What a forward pass over one prompt gave.

    Attributes:
        logits: `(positions, vocabulary)`, or of the last positions only where no more were kept.
        last_hidden_state: `(positions, d_model)`.
        states: `(layers, positions, d_model)`, every block's output.
    """

    logits: Tensor
    last_hidden_state: Tensor
    states: Tensor


@dataclass(frozen=True, eq=False)
class Kept:
    """A plain run of one prompt, whole.

    Attributes:
        passed: what it gave.
        sites: site -> `(positions, width)`, every component of every block that is no single head.
        calls: each block's own arguments, its hidden states first.
    """

    passed: Passed
    sites: Mapping[Site, Tensor]
    calls: Sequence[tuple[tuple[Any, ...], dict[str, Any]]]

    @property
    def bytes(self) -> int:
        """Memory held, in bytes; what the model's own cache of masks shares is not counted."""
        p = self.passed
        tensors = (p.logits, p.last_hidden_state, p.states, *self.sites.values())
        return sum(t.numel() * t.element_size() for t in tensors)

    def at(self, model: LanguageModel, site: Site) -> Tensor:
        """The vectors `(positions, width)` at a site, a head's taken out of the whole tensor's."""
        if site in self.sites:
            return self.sites[site]
        whole = model.sites.site(site.layer, site.component.removeprefix("head_"))
        return self.sites[whole][:, site.start - whole.start : site.stop - whole.start]


class Memory:
    """Plain runs by prompt, up to a number of bytes, the least recently used forgotten first.

    It notices when the model's weights were changed in place or replaced, and runs anew. What is
    written through a parameter's `.data` escapes torch's own count of changes: call `clear()` then.

    Args:
        limit: bytes that it may hold; the run that was asked last is kept in any case.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        if limit < 0:
            raise RequestError(f"limit {limit} is negative; a number of bytes is needed.")
        self.limit = limit
        self._kept: OrderedDict[tuple[int, tuple[int, ...]], Kept] = OrderedDict()
        self._weights: tuple[Any, ...] = ()

    def __len__(self) -> int:
        return len(self._kept)

    def __repr__(self) -> str:
        held, limit = (n / 2**20 for n in (self.bytes, self.limit))
        return f"<Memory of {len(self)} plain runs: {held:.3g} of {limit:.3g} MB>"

    @property
    def bytes(self) -> int:
        """Memory held, in bytes."""
        return sum(kept.bytes for kept in self._kept.values())

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()

    def recall(
        self, model: LanguageModel, tokens: Sequence[Token], logits_to_keep: int = 0
    ) -> Kept:
        """The plain run of a prompt, made now when it is not known. Call it within a run."""
        weights = (id(model.model), *((p.data_ptr(), p._version) for p in model.model.parameters()))
        if weights != self._weights:
            self.clear()
            self._weights = weights
        ids = tuple(token.id for token in tokens)
        key = logits_to_keep, ids
        if key not in self._kept:
            self._kept[key] = _keep(model, ids, logits_to_keep)
        self._kept.move_to_end(key)
        while self.bytes > self.limit and len(self._kept) > 1:
            self._kept.popitem(last=False)
        return self._kept[key]


def pass_through(
    model: LanguageModel, ids: Sequence[int], edits: Sequence[Edit], logits_to_keep: int = 0
) -> Passed:
    """A whole forward pass at batch 1 with changes at some sites.

    Args:
        model: what runs.
        ids: the prompt's token ids.
        edits: the changes.
        logits_to_keep: for how many of the last positions the output head runs; 0 for all. Its
            products over one position and over several round differently.
    """
    blocks = [model.sites.site(layer, "block_output") for layer in range(model.sites.layers)]
    batch = torch.tensor([list(ids)], device=model.device)
    with (
        intervene(model, edits),
        record(model, blocks) as states,
        record_head_input(model) as seen,
    ):
        more = {"input_ids": batch, "use_cache": False, "return_dict": True}
        if logits_to_keep:
            backbone = module_at(model.model, model.sites.architecture.backbone)
            last = backbone(**more).last_hidden_state
            logits = model.head(last[:, -logits_to_keep:])
        else:
            logits = model.model(**more).logits
            last = seen[-1]
    return Passed(logits[0], last[0], torch.stack([states[block][0] for block in blocks]))


def resume(
    model: LanguageModel, kept: Kept, edits: Sequence[Edit], logits_to_keep: int = 0
) -> Passed:
    """`pass_through` from the first changed block on; what lies before is the plain run's."""
    if not edits:  # the caller may do with it what he likes
        p = kept.passed
        return Passed(p.logits.clone(), p.last_hidden_state.clone(), p.states.clone())
    first, count = min(edit.site.layer for edit in edits), model.sites.layers
    blocks = [model.sites.site(layer, "block_output") for layer in range(first, count)]
    architecture = model.sites.architecture
    (hidden, *_), _ = kept.calls[first]
    with intervene(model, edits), record(model, blocks) as states:
        for layer in range(first, count):
            (_, *args), kwargs = kept.calls[layer]
            out = module_at(model.model, f"{architecture.blocks}.{layer}")(hidden, *args, **kwargs)
            hidden = out[0] if isinstance(out, tuple) else out
        last = module_at(model.model, architecture.final_norm)(hidden)
        logits = model.head(last[:, -logits_to_keep:])
    after = torch.stack([states[block][0] for block in blocks])
    return Passed(logits[0], last[0], torch.cat([kept.passed.states[:first], after]))


def _keep(model: LanguageModel, ids: Sequence[int], logits_to_keep: int) -> Kept:
    names = [name for name in model.sites.components if model.sites.head_count(name) is None]
    sites = [model.sites.site(layer, n) for layer in range(model.sites.layers) for n in names]
    with record(model, sites) as found, record_calls(model) as calls:
        passed = pass_through(model, ids, [], logits_to_keep)
    return Kept(passed, {site: tensor[0] for site, tensor in found.items()}, tuple(calls))
