"""The residual stream as a sum: what each head and each MLP adds to it.

Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits": a block reads the residual
stream and adds to it. What is added is measured where it is added: after the norm that follows a
sublayer in some families, and after a constant factor. `record_residual` checks that the stream
is the sum of these parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from vene_widgets.engine.behaviour import tolerance
from vene_widgets.engine.forward import forward, last_position_logits, token_batch
from vene_widgets.engine.hooks import Edit, intervene, record
from vene_widgets.errors import RequestError
from vene_widgets.models.module_site import module_site
from vene_widgets.models.resume_blocker import may_leave_out_positions
from vene_widgets.models.sites import module_at
from vene_widgets.models.unwrapping import unwrapped

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.models import LanguageModel
    from vene_widgets.models.sites import Site

CPU_BYTES, GPU_BYTES = 2**29, 2**31
"""Memory that the rows of one batch may take."""

Sublayer = Literal["attention", "mlp"]


@dataclass(frozen=True, eq=False)
class ResidualRun:
    """A plain run of one prompt, its residual stream in parts.

    Attributes:
        ids: token ids of the prompt.
        logits: `(vocabulary,)`, at the last position.
        inputs: `(layers, positions, d_model)`, the residual stream before each block. The first is
            what the embedding writes.
        final: `(positions, d_model)`, the residual stream after the last block.
        attended: `(layers, positions, d_heads)`, what the heads attended to, side by side.
        outputs: of attention and of the MLP, `(layers, positions, d_model)` each.
        added: the same as it is added to the residual stream, float32.
    """

    ids: tuple[int, ...]
    logits: Tensor
    inputs: Tensor
    final: Tensor
    attended: Tensor
    outputs: dict[Sublayer, Tensor]
    added: dict[Sublayer, Tensor]

    @property
    def length(self) -> int:
        """Tokens of the prompt."""
        return len(self.ids)


def added_site(model: LanguageModel, layer: int, sublayer: Sublayer) -> Site:
    """Where a sublayer's output is as it is added, but for `residual_factor`."""
    architecture = model.sites.architecture
    if architecture.norms_after is None:
        return model.sites.site(layer, f"{sublayer}_output")
    norm = architecture.norms_after[sublayer == "mlp"]
    path = f"{architecture.blocks}.{layer}.{norm}"
    return module_site(path, path, "output", module_at(model.net, path))


def residual_factor(model: LanguageModel) -> float:
    """The factor by which the outputs of sublayers are multiplied before they are added."""
    name = model.sites.architecture.residual_factor
    return float(getattr(unwrapped(model.model).config, name)) if name else 1.0


def record_residual(model: LanguageModel, ids: Sequence[int]) -> ResidualRun:
    """Run a prompt without changes and record the parts of its residual stream.

    Call it inside `own_model`.

    Raises:
        RequestError: the residual stream is not the sum of what its blocks add.
    """
    layers, factor = range(model.sites.layers), residual_factor(model)
    wanted: dict[str, list[Site]] = {
        name: [model.sites.site(layer, name) for layer in layers]
        for name in ("block_input", "attention_value_output", "attention_output", "mlp_output")
    }
    kinds: tuple[Sublayer, Sublayer] = "attention", "mlp"
    parts = {kind: [added_site(model, layer, kind) for layer in layers] for kind in kinds}
    with record(
        model, [site for sites in (*wanted.values(), *parts.values()) for site in sites]
    ) as (found):
        result = forward(model, ids, [], 1)
    missing = [
        site for sites in (*wanted.values(), *parts.values()) for site in sites if site not in found
    ]
    if missing:
        raise RequestError(
            f"{missing[0]} was never reached by a forward pass of {model.name}, so the parts of "
            "its residual stream are not known."
        )

    def stacked(sites: Sequence[Site]) -> Tensor:
        return torch.stack([found[site][0] for site in sites])

    run = ResidualRun(
        ids=tuple(ids),
        logits=result.logits[-1],
        inputs=stacked(wanted["block_input"]),
        final=result.states[-1],
        attended=stacked(wanted["attention_value_output"]),
        outputs={kind: stacked(wanted[f"{kind}_output"]) for kind in kinds},
        added={kind: stacked(parts[kind]).float() * factor for kind in kinds},
    )
    _require_sum(model, run)
    return run


def _require_sum(model: LanguageModel, run: ResidualRun) -> None:
    """Check that every block adds its attention's and its MLP's output to its input."""
    before = run.inputs.float()
    after = torch.cat([before[1:], run.final.float()[None]])
    error = (after - before - run.added["attention"] - run.added["mlp"]).abs()
    scale = torch.maximum(after.abs().amax(-1), before.abs().amax(-1)).clamp_min(1e-12)
    share = (error.amax(-1) / scale).amax(-1)
    wrong = share > tolerance(model)  # NaN is found in the logits
    if bool(wrong.any()):
        layer = int(wrong.int().argmax())
        raise RequestError(
            f"block {layer} of {model.name} does more than add the outputs of its attention and of "
            "its MLP to the residual stream (a norm of the sum, or code of its own): direct paths "
            "are defined only where the residual stream is a sum."
        )


def chunks(model: LanguageModel, rows: int, length: int, recorded: int) -> Iterator[range]:
    """Split the rows of a batch, as many at a time as fit into the memory of one.

    Call it inside `own_model`.

    Args:
        model: the model to run.
        rows: how many there are.
        length: tokens of each.
        recorded: numbers that are recorded per token.
    """
    sites = model.sites
    numbers = 4 * sites.d_model + 3 * sites.d_mlp + 5 * sites.heads * sites.d_head
    each = length * (numbers + 2 * length * sites.heads + 2 * recorded)
    kept = 1 if may_leave_out_positions(model.net, sites.architecture) else length
    each += 2 * kept * sites.vocabulary
    limit = CPU_BYTES if model.device.type == "cpu" else GPU_BYTES
    at_once = max(1, limit // (each * max(4, model.dtype.itemsize)))
    for start in range(0, rows, at_once):
        yield range(start, min(rows, start + at_once))


def rows_edit(site: Site, new: Tensor) -> Edit:
    """Replace a site's vectors in every row, at every position, by `(rows, positions, width)`."""
    rows, positions = new.shape[:2]
    every = torch.arange(rows * positions, device=new.device)
    flat = new.flatten(0, 1)
    return Edit(
        site=site,
        rows=torch.div(every, positions, rounding_mode="floor"),
        positions=every % positions,
        change=lambda vectors: flat.to(vectors.dtype),
    )


def place_edit(site: Site, row: int, positions: Sequence[int], values: Tensor) -> Edit:
    """Replace a site's vectors at some positions of one row by those of `(positions, width)`."""
    places = torch.tensor(list(positions), device=values.device)
    return Edit(
        site=site,
        rows=torch.full_like(places, row),
        positions=places,
        change=lambda vectors: values[places].to(vectors.dtype),
    )


def head_masks(model: LanguageModel, heads: Sequence[int | None]) -> Tensor:
    """Which coordinates of all heads' vectors belong to a row's head, `(rows, d_heads)`."""
    width = model.sites.d_head
    found = torch.zeros(len(heads), model.sites.heads * width, dtype=torch.bool, device="cpu")
    for row, head in enumerate(heads):
        if head is not None:
            found[row, head * width : (head + 1) * width] = True
    return found.to(model.device)


@dataclass(frozen=True, eq=False)
class AttentionParts:
    """What attention writes in every layer by itself, row by row.

    All are `(layers, rows, positions, d_model)`, float32, with no rows for the reference.

    Attributes:
        outputs: outputs of attention − those of the reference.
        added: the same of what is added to the residual stream.
        reference: outputs of the reference `(layers, positions, d_model)`.
    """

    outputs: Tensor
    added: Tensor
    reference: Tensor


def attention_parts(
    model: LanguageModel,
    run: ResidualRun,
    heads: Sequence[int],
    one: Tensor,
    others: Tensor,
    positions: slice,
) -> AttentionParts:
    """What attention writes if one head at a time attends to something else than the others.

    Each block gets the run's own input, so that a change in one layer does not reach the next.
    The reference is a row in which no head is exceptional. Call it inside `own_model`.

    Args:
        model: the model to run.
        run: the plain run.
        heads: of each row.
        one, others: what the row's head and what the others attended to, `(layers, positions,
            d_heads)`.
        positions: which are kept of the results.
    """
    sites, layers = model.sites, range(model.sites.layers)
    factor, ids = residual_factor(model), token_batch(model, run.ids)
    written = [sites.site(layer, "attention_output") for layer in layers]
    added = [added_site(model, layer, "attention") for layer in layers]
    found: list[tuple[Tensor, Tensor]] = []
    reference: Tensor | None = None
    recorded = 2 * len(layers) * sites.d_model
    for rows in chunks(model, len(heads), run.length, recorded):
        masks = head_masks(model, [None, *(heads[row] for row in rows)])[:, None]
        edits: list[Edit] = []
        for layer in layers:
            same = run.inputs[layer].expand(len(masks), -1, -1)
            edits.append(rows_edit(sites.site(layer, "block_input"), same))
            attended = torch.where(masks, one[layer], others[layer])
            edits.append(rows_edit(sites.site(layer, "attention_value_output"), attended))
        with intervene(model, edits), record(model, [*written, *added]) as states:
            last_position_logits(model, ids.expand(len(masks), -1))
        outputs = torch.stack([states[site][:, positions].float() for site in written])
        sums = torch.stack([states[site][:, positions].float() for site in added])
        reference = outputs[:, 0]
        found.append((outputs[:, 1:] - outputs[:, :1], factor * (sums[:, 1:] - sums[:, :1])))
    assert reference is not None  # noqa: S101  # there is a head
    outputs, sums = zip(*found, strict=True)
    return AttentionParts(torch.cat(outputs, 1), torch.cat(sums, 1), reference)
