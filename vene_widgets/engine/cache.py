"""ActivationCache: plain runs by prompt, from which experiments resume."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from vene_widgets.engine.behaviour import code_reason
from vene_widgets.engine.forward import (
    ForwardResult,
    KeysAndValues,
    forward,
    note_keys_and_values,
)
from vene_widgets.engine.hooks import record
from vene_widgets.errors import RequestError
from vene_widgets.models.checksums import is_plain
from vene_widgets.models.sites import Site

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.models import LanguageModel, Token
    from vene_widgets.models.fingerprint import Fingerprint

DEFAULT_LIMIT = 256 * 2**20
"""Bytes that a cache holds before it evicts the least recently used prompt."""


@dataclass(frozen=True, eq=False)
class CachedRun:
    """A plain run of one prompt.

    Attributes:
        result: its logits and block outputs.
        states: site -> `(positions, width)`: every component of every block, per-head ones as part
            of the whole tensor.
        heads: what attention read, for models whose passes may be resumed; else None.
        embedded: its tokens' rows of the embedding, `(positions, d_model)`; None if there is none.
    """

    result: ForwardResult
    states: Mapping[Site, Tensor]
    heads: KeysAndValues | None
    embedded: Tensor | None = None

    @property
    def bytes(self) -> int:
        """Memory held, in bytes."""
        r = self.result
        tensors = (r.logits, r.last_hidden_state, r.states, *self.states.values())
        heads = 0 if self.heads is None else self.heads.bytes
        rows = () if self.embedded is None else (self.embedded,)
        return heads + sum(t.numel() * t.element_size() for t in (*tensors, *rows))

    def states_at(self, model: LanguageModel, site: Site) -> Tensor:
        """The vectors `(positions, width)` at a site; a head's are cut out of the whole tensor."""
        if site in self.states:
            return self.states[site]
        whole = model.sites.site(site.layer, site.component.removeprefix("head_"))
        start = (site.head or 0) * site.width
        return self.states[whole][:, start : start + site.width]


class ActivationCache:
    """Plain runs by prompt, up to a number of bytes; the least recently used is evicted first.

    A cache belongs to one state of one model: when the model has changed (its weights, modules,
    settings or hooks, `models/fingerprint.py`), every run is dropped. What it hands out through
    `run` and `sweep` are copies.

    Args:
        limit: bytes that it may hold; the run requested last is kept in any case.

    Raises:
        RequestError: a negative limit.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        if limit < 0:
            raise RequestError(f"limit must be 0 bytes or more, got {limit}.")
        self.limit = limit
        self._runs: OrderedDict[tuple[int, tuple[int, ...]], CachedRun] = OrderedDict()
        self._model: LanguageModel | None = None
        self._state: Fingerprint | None = None

    def __len__(self) -> int:
        return len(self._runs)

    def __repr__(self) -> str:
        held, limit = (n / 2**20 for n in (self.bytes, self.limit))
        return f"<ActivationCache of {len(self)} plain runs: {held:.3g} of {limit:.3g} MB>"

    @property
    def bytes(self) -> int:
        """Memory held, in bytes."""
        return sum(run.bytes for run in self._runs.values())

    def clear(self) -> None:
        """Drop every run."""
        self._runs.clear()
        self._model = self._state = None

    def plain_run(
        self, model: LanguageModel, tokens: Sequence[Token], logits_to_keep: int = 0
    ) -> CachedRun:
        """A prompt's run without changes, made now unless it is cached.

        Call it inside `own_model`, and do not write into its tensors.

        Args:
            model: the model to run.
            tokens: the prompt.
            logits_to_keep: as in `forward`; runs with other values are other entries.
        """
        return self.run_of(model, [token.id for token in tokens], logits_to_keep)

    def run_of(
        self, model: LanguageModel, ids: Sequence[int], logits_to_keep: int = 0
    ) -> CachedRun:
        """`plain_run` of a prompt that is given by its token ids."""
        if model is not self._model or model.tree.state != self._state:
            self.clear()
            self._model, self._state = model, model.tree.state
        ids = tuple(ids)
        key = logits_to_keep, ids
        if key in self._runs and not _is_as_embedded(model, ids, self._runs[key]):
            self._runs.clear()  # a change that a fingerprint's samples did not see
        if key not in self._runs:
            self._runs[key] = _record_run(model, ids, logits_to_keep)
        self._runs.move_to_end(key)
        while self.bytes > self.limit and len(self._runs) > 1:
            self._runs.popitem(last=False)
        return self._runs[key]


def _record_run(model: LanguageModel, ids: Sequence[int], logits_to_keep: int) -> CachedRun:
    """Run a prompt and keep every component."""
    whole = [name for name in model.sites.components if model.sites.head_count(name) is None]
    sites = [model.sites.site(layer, n) for layer in range(model.sites.layers) for n in whole]
    can_note = code_reason(model) is None
    noting = note_keys_and_values(model) if can_note else nullcontext(list[KeysAndValues]())
    with record(model, sites) as found, noting as heads:
        result = forward(model, ids, [], logits_to_keep)
    states = {site: tensor[0] for site, tensor in found.items()}
    return CachedRun(result, states, heads[0] if heads else None, _embedded(model, ids))


def _embedded(model: LanguageModel, ids: Sequence[int]) -> Tensor | None:
    """The rows of the embedding that a prompt's tokens read; None if no plain table holds them."""
    net: Any = model.net
    weight: object = getattr(net.get_input_embeddings(), "weight", None)
    if not isinstance(weight, torch.Tensor) or not is_plain(weight):
        return None
    return weight.detach()[torch.tensor(ids, dtype=torch.long, device=weight.device)]


def _is_as_embedded(model: LanguageModel, ids: Sequence[int], run: CachedRun) -> bool:
    """Whether the tokens' rows are those of the run: a sample of a large table leaves most out."""
    rows = _embedded(model, ids)
    if rows is None or run.embedded is None:
        return rows is run.embedded
    return torch.equal(rows.view(torch.uint8), run.embedded.view(torch.uint8))  # bits: NaN too
