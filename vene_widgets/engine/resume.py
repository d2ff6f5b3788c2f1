"""Recompute only what a change can affect: the forward pass from a changed layer and position on.

Once a block's output has changed at position p, only later blocks can differ, and of them only
positions from p on; keys and values of earlier positions are the base run's. `ResumedBatch` carries
the changed rows of many cells through the blocks at once, as one flat batch for everything that
works on rows alone. Only the attention over base and changed keys is assembled here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn import functional

from vene_widgets.engine import blocks
from vene_widgets.engine.forward import apply, logits_of, run_block, token_batch
from vene_widgets.engine.hooks import Edit
from vene_widgets.models.sites import Site, module_at

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.models import LanguageModel


@dataclass(frozen=True, eq=False)
class BaseTrace:
    """The base's plain run, as far as resumed runs need it.

    Attributes:
        ids: `(1, positions)`.
        states: site -> `(positions, width)`, at least at `sites_to_resume`.
        keys, values: per layer `(key-value heads, positions, d_head)`, keys after rotary.
        logits: `(vocabulary,)` at the last position.
    """

    ids: Tensor
    states: Mapping[Site, Tensor]
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    logits: Tensor

    @property
    def bytes(self) -> int:
        """Memory held, in bytes."""
        tensors = (*self.states.values(), *self.keys, *self.values, self.logits)
        return sum(t.numel() * t.element_size() for t in tensors)


def sites_to_resume(model: LanguageModel) -> list[Site]:
    """The sites that have to be recorded in the base run."""
    components = model.sites.architecture.components
    names = [name for name, component in components.items() if component.needed_to_resume]
    return [model.sites.site(layer, n) for layer in range(model.sites.layers) for n in names]


def base_trace(
    model: LanguageModel, ids: Sequence[int], states: Mapping[Site, Tensor], logits: Tensor
) -> BaseTrace:
    """Build a `BaseTrace` from a plain run.

    Args:
        model: the model that ran.
        ids: the prompt's token ids.
        states: site -> `(positions, width)`, `sites_to_resume` among them.
        logits: `(vocabulary,)` at the last position.
    """
    site, layers = model.sites.site, range(model.sites.layers)

    def by_head(layer: int, name: str) -> Tensor:
        return blocks.split_heads(model, states[site(layer, name)])

    with torch.no_grad():
        positions = torch.arange(len(ids), device=model.device)
        rotary = blocks.rotation(model, states[site(0, "block_input")], positions)
        keys = [blocks.rotate(by_head(layer, "key_output"), rotary) for layer in layers]
        values = [by_head(layer, "value_output") for layer in layers]
    return BaseTrace(
        ids=token_batch(model, ids),
        states=states,
        keys=tuple(key.transpose(0, 1).contiguous() for key in keys),
        values=tuple(value.transpose(0, 1).contiguous() for value in values),
        logits=logits,
    )


@dataclass(eq=False)
class ResumedBatch:
    """The changed rows of some cells, moving through the blocks together.

    Attributes:
        model: the model.
        base: the plain run that everything unchanged is taken from.
        rows: first changed position p -> `(cells, positions - p, d_model)`, the residual stream of
            its cells in the order in which they entered.
        is_past_last_block: whether the last block is done; only the last position is left then.
    """

    model: LanguageModel
    base: BaseTrace
    rows: dict[int, Tensor] = field(default_factory=dict["int", "Tensor"])
    is_past_last_block: bool = False

    @cached_property
    def mask(self) -> Tensor:
        """`(positions, positions)`, added to attention scores: no position sees a later one."""
        n = self.length
        dtype, device = self.model.dtype, self.model.device
        return torch.full((n, n), -torch.inf, dtype=dtype, device=device).triu(1)

    @property
    def length(self) -> int:
        """Positions of the prompt."""
        return self.base.ids.shape[1]

    def enter(self, site: Site, positions: list[int], states: Tensor) -> None:
        """Add one cell per row of `states`.

        A `block_input` enters before its block, everything else after it.

        Args:
            site: where the cells are changed.
            positions: each cell's position.
            states: the new vectors, `(cells, width)`.
        """
        component = self.model.sites.architecture.components[site.component]
        if component.writes_residual:
            changed = self._changed_residual(site, positions, states)
            name = "block_input" if site.component == "block_input" else "block_output"
            plain = self._residual(site.layer, name)
            for n, p in enumerate(positions):
                tail = plain[p:].clone()
                tail[0] = changed[n]
                self._add_cell(p, tail)
            return
        whole = self._through_block(site, positions, states)
        for n, p in enumerate(positions):
            self._add_cell(p, whole[n, p:])

    def advance(self, layer: int) -> None:
        """Apply one block to all rows; the last one only to the last position."""
        model, names = self.model, self.model.sites.architecture
        last = self.is_past_last_block = layer == model.sites.layers - 1
        if not self.rows:
            return
        block = model.block(layer)
        starts = list(self.rows)
        # Norm and projections see all cells of all starts as one flat batch of rows.
        flat = torch.cat([self.rows[p].flatten(0, 1) for p in starts])
        normed = apply(module_at(block, names.attention_norm), flat)
        query, key, value = blocks.project(model, layer, normed)
        sizes = [self.rows[p].shape[0] * self.rows[p].shape[1] for p in starts]
        rotary = blocks.rotation(model, flat, torch.arange(self.length, device=flat.device))
        # Attention needs cells of one start at a time: they share the base's keys before it.
        attended: list[Tensor] = []
        residual: list[Tensor] = []
        for p, q, k, v in zip(
            starts, *(torch.split(t, sizes) for t in (query, key, value)), strict=True
        ):
            cells = self.rows[p].shape[0]
            kept = slice(-1, None) if last else slice(None)
            here = None if rotary is None else (rotary[0][p:], rotary[1][p:])
            q, k, v = (blocks.split_cells(model, t, cells) for t in (q, k, v))
            q, k = blocks.rotate(q, here)[:, kept], blocks.rotate(k, here)
            attended.append(self._attend(layer, p, q, k, v).flatten(0, 1))
            residual.append(self.rows[p][:, kept].flatten(0, 1))
        middle = torch.cat(residual) + blocks.project_out(model, layer, torch.cat(attended))
        normed = apply(module_at(block, names.mlp_norm), middle)
        after = middle + blocks.mlp(model, layer, normed)
        lengths = [1 if last else self.rows[p].shape[1] for p in starts]
        counts = [self.rows[p].shape[0] for p in starts]
        sizes = [count * length for count, length in zip(counts, lengths, strict=True)]
        for p, part, count in zip(starts, torch.split(after, sizes), counts, strict=True):
            self.rows[p] = part.reshape(count, len(part) // count, -1)

    def logits(self) -> dict[int, Tensor]:
        """First changed position -> logits `(cells, vocabulary)` at the last position."""
        starts = list(self.rows)
        if not starts:
            return {}
        ends = [self.rows[p][:, -1] for p in starts]
        all_logits = logits_of(self.model, torch.cat(ends))
        parts = torch.split(all_logits, [len(end) for end in ends])
        return dict(zip(starts, parts, strict=True))

    def _attend(self, layer: int, p: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of changed rows over the base's keys before p and their own from p on.

        Args:
            layer: the block.
            p: first changed position.
            query: `(cells, rows, heads, d_head)`, the last `rows` positions.
            key, value: `(cells, positions - p, key-value heads, d_head)`.

        Returns:
            `(cells, rows, heads * d_head)`.
        """
        sites, cells = self.model.sites, query.shape[0]

        def with_prefix(base: Tensor, own: Tensor) -> Tensor:
            return torch.cat([base[:, :p].expand(cells, -1, -1, -1), own.transpose(1, 2)], dim=2)

        keys = with_prefix(self.base.keys[layer], key)
        values = with_prefix(self.base.values[layer], value)
        shared = sites.heads // sites.key_value_heads
        if shared > 1:  # grouped-query attention
            keys, values = (t.repeat_interleave(shared, dim=1) for t in (keys, values))
        rows = query.shape[1]
        mask = self.mask.to(query.dtype)[-rows:] if rows > 1 else None
        attended = functional.scaled_dot_product_attention(
            query.transpose(1, 2),
            keys,
            values,
            attn_mask=mask,
            scale=blocks.attention_scale(self.model, layer),
        )
        return attended.transpose(1, 2).flatten(2)

    def _residual(
        self, layer: int, name: Literal["block_input", "middle", "block_output"]
    ) -> Tensor:
        """The base's residual stream `(positions, d_model)`; `middle` is before the MLP."""
        site = self.model.sites.site
        before = self.base.states[site(layer, "block_input")]
        if name == "block_input":
            return before
        middle = before + self.base.states[site(layer, "attention_output")]
        if name == "middle":
            return middle
        if layer + 1 < self.model.sites.layers:
            return self.base.states[site(layer + 1, "block_input")]
        return middle + self.base.states[site(layer, "mlp_output")]

    def _changed_residual(self, site: Site, positions: list[int], states: Tensor) -> Tensor:
        """Residual stream `(cells, d_model)` after a change of what is added to it."""
        if site.component in ("block_input", "block_output"):
            return states
        if site.component == "mlp_output":
            return self._residual(site.layer, "middle")[positions] + states
        # attention_output: the MLP of the same block reads the changed sum.
        norm = module_at(self.model.block(site.layer), self.model.sites.architecture.mlp_norm)
        middle = self._residual(site.layer, "block_input")[positions] + states
        return middle + blocks.mlp(self.model, site.layer, apply(norm, middle))

    def _through_block(self, site: Site, positions: list[int], states: Tensor) -> Tensor:
        """Run the changed block itself on the base's input, one batch row per cell.

        Returns:
            `(cells, positions, d_model)`.
        """
        model = self.model
        edit = Edit(
            site=site,
            rows=torch.arange(len(positions), device=model.device),
            positions=torch.tensor(positions, device=model.device),
            change=lambda _vectors: states,
        )
        before = self._residual(site.layer, "block_input")
        inputs = before.expand(len(positions), -1, -1)
        return run_block(model, self.base.ids, site.layer, inputs, [edit])

    def _add_cell(self, p: int, tail: Tensor) -> None:
        """Append one cell's rows `(positions - p, d_model)`."""
        if self.is_past_last_block:
            tail = tail[-1:]
        there = self.rows.get(p)
        self.rows[p] = tail[None] if there is None else torch.cat([there, tail[None]])
