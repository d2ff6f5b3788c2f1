"""What follows a change, and nothing else: the forward pass from a changed layer and position on.

After a block's output has changed at position p, only later blocks can differ, and of them only the
positions from p on. Their keys and values for earlier positions are the base run's. `Front` carries
the changed rows of many cells through the blocks at once, as one flat batch for everything that
works on rows alone. The arithmetic is that of the model's own modules; only the attention over
base and changed keys is put together here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from vene_widgets.engine.hooks import Edit, intervene, record, undisturbed
from vene_widgets.models.sites import Site, module_at

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vene_widgets.models import LanguageModel

DIRECT = ("block_input", "block_output", "attention_output", "mlp_output")
"""Components whose change enters the residual stream at once; others run their block once more."""

RECORDED = ("block_input", "key_output", "value_output", "attention_output", "mlp_output")


@dataclass(frozen=True, eq=False)
class Trace:
    """A plain run of one prompt, with what a resumed run needs of it.

    Attributes:
        ids: `(1, positions)`.
        states: site -> `(positions, width)`.
        keys, values: per layer `(key-value heads, positions, d_head)`, keys with their rotation.
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


def recorded(model: LanguageModel) -> list[Site]:
    """The sites of a plain run that resumed runs need."""
    return [model.sites.site(n, name) for n in range(model.sites.layers) for name in RECORDED]


def plain(
    model: LanguageModel, prompts: Sequence[Sequence[int]], sites: Sequence[Site]
) -> list[tuple[dict[Site, Tensor], Tensor]]:
    """Plain runs of some prompts in one forward pass, which costs little more than one of them.

    A shorter prompt is padded on its right, where nothing that it computes can see.

    Args:
        model: what runs.
        prompts: token ids.
        sites: what to keep of them.

    Returns:
        Per prompt: site -> `(positions, width)`, and the last position's logits `(vocabulary,)`.
    """
    length = max(len(ids) for ids in prompts)
    batch = [[*ids, *[ids[-1]] * (length - len(ids))] for ids in prompts]
    last = [len(ids) - 1 for ids in prompts]
    with undisturbed(model), record(model, sites) as found:
        backbone = module_at(model.model, model.sites.architecture.backbone)
        rows = torch.tensor(batch, device=model.device)
        hidden = backbone(input_ids=rows, use_cache=False, return_dict=True).last_hidden_state
        # Still three dimensions, as a hook of the user's on the head expects them.
        logits = model.head(hidden[range(len(last)), last][:, None])[:, 0]
        return [
            ({site: tensor[n, : len(ids)] for site, tensor in found.items()}, logits[n])
            for n, ids in enumerate(prompts)
        ]


def trace(
    model: LanguageModel, ids: Sequence[int], states: Mapping[Site, Tensor], logits: Tensor
) -> Trace:
    """What resumed runs need, from a plain run that kept the states at `recorded` sites."""
    sites = model.sites
    layers = range(sites.layers)
    with torch.no_grad():
        where = torch.arange(len(ids), device=model.device)
        turn = _rotation(model, states[sites.site(0, "block_input")], where)
        keys = [_rotate(_heads(model, states[sites.site(n, "key_output")]), turn) for n in layers]
        values = [_heads(model, states[sites.site(n, "value_output")]) for n in layers]
    return Trace(
        ids=torch.tensor([list(ids)], device=model.device),
        states=states,
        keys=tuple(key.transpose(0, 1).contiguous() for key in keys),
        values=tuple(value.transpose(0, 1).contiguous() for value in values),
        logits=logits,
    )


@dataclass(eq=False)
class Front:
    """The changed rows of some cells, moving through the blocks together.

    Attributes:
        base: the plain run that everything else is taken from.
        rows: first changed position p -> `(cells, positions - p, d_model)`, the residual stream of
            its cells in the order in which they entered.
        passed_all: whether the last block is passed; only the last position is left then.
    """

    model: LanguageModel
    base: Trace
    rows: dict[int, Tensor] = field(default_factory=dict)
    passed_all: bool = False

    @cached_property
    def mask(self) -> Tensor:
        """`(positions, positions)`, added to attention scores: no position sees a later one."""
        n = self.length
        return torch.full((n, n), -torch.inf, device=self.model.device).triu(1)

    @property
    def length(self) -> int:
        """Positions of the prompt."""
        return self.base.ids.shape[1]

    def enter(self, site: Site, positions: list[int], states: Tensor) -> None:
        """Cells join whose site takes `states[n]`, `(width,)`, at `positions[n]`.

        A `block_input` joins before its block is passed, everything else after it.
        """
        if site.component in DIRECT:
            changed = self._residuals(site, positions, states)
            name = "block_input" if site.component == "block_input" else "block_output"
            plain = self._residual(site.layer, name)
            for n, p in enumerate(positions):
                tail = plain[p:].clone()
                tail[0] = changed[n]
                self._join(p, tail)
            return
        whole = self._through_block(site, positions, states)
        for n, p in enumerate(positions):
            self._join(p, whole[n, p:])

    def advance(self, layer: int) -> None:
        """Pass one block; in the last one only the last position is carried on."""
        self.passed_all = layer == self.model.sites.layers - 1
        if not self.rows:
            return
        model, names = self.model, self.model.sites.architecture
        block = _block(model, layer)
        last = self.passed_all
        starts = list(self.rows)
        flat = torch.cat([self.rows[p].flatten(0, 1) for p in starts])
        normed = module_at(block, names.attention_norm)(flat)
        query, key, value = _project(model, layer, normed)
        sizes = [self.rows[p].shape[0] * self.rows[p].shape[1] for p in starts]
        where = torch.arange(self.length, device=flat.device)
        turn = _rotation(model, flat, where)
        mixed, kept = [], []
        for p, q, k, v in zip(
            starts, query.split(sizes), key.split(sizes), value.split(sizes), strict=True
        ):
            cells = self.rows[p].shape[0]
            tail = slice(-1, None) if last else slice(None)
            here = None if turn is None else (turn[0][p:], turn[1][p:])
            q = _rotate(_cells(model, q, cells), here)[:, tail]
            k = _rotate(_cells(model, k, cells), here)
            v = _cells(model, v, cells)
            mixed.append(self._attend(layer, p, q, k, v).flatten(0, 1))
            kept.append(self.rows[p][:, tail].flatten(0, 1))
        out = module_at(model.model, model.sites.site(layer, "attention_value_output").path)
        middle = torch.cat(kept) + out(torch.cat(mixed))
        after = middle + _mlp(model, layer, module_at(block, names.mlp_norm)(middle))
        width = 1 if last else None
        sizes = [self.rows[p].shape[0] * (width or self.rows[p].shape[1]) for p in starts]
        for p, part in zip(starts, after.split(sizes), strict=True):
            self.rows[p] = part.unflatten(0, (self.rows[p].shape[0], -1))

    def logits(self) -> dict[int, Tensor]:
        """First changed position -> logits `(cells, vocabulary)` at the last position."""
        final = module_at(self.model.model, self.model.sites.architecture.final_norm)
        starts = list(self.rows)
        if not starts:
            return {}
        ends = [self.rows[p][:, -1] for p in starts]
        all_logits = self.model.head(final(torch.cat(ends)))
        parts = all_logits.split([len(end) for end in ends])
        return dict(zip(starts, parts, strict=True))

    def _attend(self, layer: int, p: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of changed rows over the base's keys before p and their own from p on.

        Args:
            query: `(cells, rows, heads, d_head)`, the last `rows` positions.
            key, value: `(cells, positions - p, key-value heads, d_head)`.

        Returns:
            `(cells, rows, heads * d_head)`.
        """
        sites, cells = self.model.sites, query.shape[0]
        keys = torch.cat(
            [self.base.keys[layer][:, :p].expand(cells, -1, -1, -1), key.transpose(1, 2)], dim=2
        )
        values = torch.cat(
            [self.base.values[layer][:, :p].expand(cells, -1, -1, -1), value.transpose(1, 2)], dim=2
        )
        shared = sites.heads // sites.key_value_heads
        if shared > 1:
            keys, values = (t.repeat_interleave(shared, dim=1) for t in (keys, values))
        rows = query.shape[1]
        mask = self.mask.to(query.dtype)[-rows:] if rows > 1 else None
        mixed = functional.scaled_dot_product_attention(
            query.transpose(1, 2), keys, values, attn_mask=mask, scale=_scale(self.model, layer)
        )
        return mixed.transpose(1, 2).flatten(2)

    def _residual(self, layer: int, name: str) -> Tensor:
        """The base's residual stream `(positions, d_model)` before, within or after a block."""
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

    def _residuals(self, site: Site, positions: list[int], states: Tensor) -> Tensor:
        """The residual stream `(cells, d_model)` that a direct change leaves at its position."""
        if site.component in ("block_input", "block_output"):
            return states
        if site.component == "mlp_output":
            return self._residual(site.layer, "middle")[positions] + states
        norm = self.model.sites.architecture.mlp_norm
        middle = self._residual(site.layer, "block_input")[positions] + states
        normed = module_at(_block(self.model, site.layer), norm)(middle)
        return middle + _mlp(self.model, site.layer, normed)

    def _through_block(self, site: Site, positions: list[int], states: Tensor) -> Tensor:
        """Run the changed block itself on the base's input, one batch row per cell.

        Returns:
            `(cells, positions, d_model)`.
        """
        model, n = self.model, self.length
        edit = Edit(
            site=site,
            rows=torch.arange(len(positions), device=model.device),
            positions=torch.tensor(positions, device=model.device),
            change=lambda _vectors: states,
        )
        before = self._residual(site.layer, "block_input")
        where = torch.arange(n, device=model.device)
        mask = torch.full((n, n), torch.finfo(before.dtype).min, device=before.device)
        more: dict[str, Any] = {"attention_mask": mask.triu(1).to(before.dtype)[None, None]}
        if model.sites.architecture.rotary:
            rotary = module_at(model.model, model.sites.architecture.rotary)
            more["position_embeddings"] = rotary(before[None], where[None])
        with intervene(model, [edit]):
            out = _block(model, site.layer)(
                before.expand(len(positions), -1, -1), use_cache=False, **more
            )
        return out[0] if isinstance(out, tuple) else out

    def _join(self, p: int, tail: Tensor) -> None:
        if self.passed_all:
            tail = tail[-1:]
        there = self.rows.get(p)
        self.rows[p] = tail[None] if there is None else torch.cat([there, tail[None]])


Rotation = tuple["Tensor", "Tensor"]
"""Cosines and sines, `(positions, d_head)` each."""


def _block(model: LanguageModel, layer: int) -> nn.Module:
    return module_at(model.model, f"{model.sites.architecture.blocks}.{layer}")


def _mlp(model: LanguageModel, layer: int, normed: Tensor) -> Tensor:
    """The block's MLP on rows `(rows, d_model)`.

    The GELU of Hendrycks and Gimpel 2016 in its tanh form, as GPT-2 has it, takes eight passes over
    the widest tensor of the block in transformers' own module; torch has it in one.
    """
    mlp = module_at(_block(model, layer), model.sites.architecture.mlp)
    own = type(mlp).__module__.startswith("transformers.")
    if own and model.sites.architecture.mlp_modules:
        up, activation, down = (
            module_at(mlp, path) for path in model.sites.architecture.mlp_modules
        )
        if type(activation).__name__ == "NewGELUActivation":
            return down(functional.gelu(up(normed), approximate="tanh"))
    return mlp(normed)


def _project(model: LanguageModel, layer: int, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values `(rows, width)`; a module that makes several is called once."""
    made: dict[str, Tensor] = {}
    found = []
    for name in ("query_output", "key_output", "value_output"):
        site = model.sites.site(layer, name)
        if site.path not in made:
            made[site.path] = module_at(model.model, site.path)(normed)
        found.append(made[site.path][:, site.start : site.stop])
    return found[0], found[1], found[2]


def _heads(model: LanguageModel, vectors: Tensor) -> Tensor:
    """`(rows, width)` -> `(rows, heads, d_head)`."""
    return vectors.unflatten(-1, (-1, model.sites.d_head))


def _cells(model: LanguageModel, vectors: Tensor, cells: int) -> Tensor:
    """`(cells * rows, width)` -> `(cells, rows, heads, d_head)`."""
    return _heads(model, vectors).unflatten(0, (cells, -1))


def _rotation(model: LanguageModel, like: Tensor, positions: Tensor) -> Rotation | None:
    """The rotary embedding's cosines and sines, or None where the family has none."""
    path = model.sites.architecture.rotary
    if not path:
        return None
    cos, sin = module_at(model.model, path)(like[None], positions[None])
    return cos[0], sin[0]


def _rotate(vectors: Tensor, turn: Rotation | None) -> Tensor:
    """Rotary position embedding (Su et al. 2021) of `(..., rows, heads, d_head)`, halves paired."""
    if turn is None:
        return vectors
    cos, sin = (t[:, None, :] for t in turn)
    first, second = vectors.chunk(2, dim=-1)
    return vectors * cos + torch.cat([-second, first], dim=-1) * sin


def _scale(model: LanguageModel, layer: int) -> float:
    """What attention scores are multiplied with."""
    attention = module_at(_block(model, layer), model.sites.architecture.attention)
    scaling = getattr(attention, "scaling", None)
    return float(scaling) if scaling is not None else model.sites.d_head**-0.5
