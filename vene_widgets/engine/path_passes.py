"""Passes of path patching: what a change of the residual stream does at a receiver, and after it.

Every batch has the unchanged base as its first row, and effects are differences from it: rows of
one batch round alike.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from vene_widgets.engine.behaviour import behaviour, distance, resume_blocker, tolerance
from vene_widgets.engine.forward import last_position_logits, logits_of, token_batch
from vene_widgets.engine.hooks import Edit, intervene, record, replay_blocks
from vene_widgets.engine.residual import ResidualRun, chunks, head_masks, place_edit, rows_edit
from vene_widgets.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.engine.held_inputs import HeldInput
    from vene_widgets.models import LanguageModel
    from vene_widgets.models.sites import Site

Measure = Callable[["Tensor"], "Tensor"]
"""Logits `(rows, vocabulary)` -> one number per row, float64."""


def require_rows(model: LanguageModel) -> None:
    """Check that a model treats the rows of a batch alike. Inside `own_model`.

    Raises:
        RequestError: it does not, or its probe failed.
    """
    if not behaviour(model).batches:
        raise RequestError(
            f"{model.name} does not treat the rows of a batch like prompts alone, so direct paths "
            "cannot be measured. Remove the hooks or code that mix them."
        )


def effects_on_logits(
    model: LanguageModel, run: ResidualRun, changes: Tensor, measure: Measure
) -> Tensor:
    """Effects of changes of the last position's final residual stream.

    The model's own final norm and head are run anew.

    Args:
        model: the model to run.
        run: the plain run.
        changes: `(rows, d_model)`, float32.
        measure: of the logits.

    Returns:
        `(rows,)`, float64.

    Raises:
        RequestError: the model does something else after its blocks than on one position alone.
    """
    base = run.final[-1].float()
    found: list[Tensor] = []
    for rows in chunks(model, len(changes), 1, 0):
        part = changes[rows.start : rows.stop]
        hidden = torch.cat([base[None], base + part]).to(model.dtype)
        logits = logits_of(model, hidden)
        if not distance(logits[0], run.logits, run.logits) <= tolerance(model):
            raise RequestError(
                f"the logits of {model.name} at one position depend on more than its final "
                "residual stream there, so direct paths to the logits cannot be measured."
            )
        values = measure(logits)
        found.append(values[1:] - values[0])
    return torch.cat(found)


def received(
    model: LanguageModel,
    run: ResidualRun,
    sites: Sequence[Site],
    changes: Tensor,
    held: Sequence[HeldInput] = (),
) -> Generator[None, None, tuple[Tensor, ...]]:
    """What sites of one block get if its input is changed, and all between is held; in steps.

    The other blocks do not run. Attention's output is the plain run's, so that of a change only
    the direct part reaches the MLP.

    Args:
        model: the model to run.
        run: the plain run.
        sites: of one block: queries, keys or values of a head, or its MLP's output.
        changes: of its input, `(rows, positions, d_model)`, float32.
        held: inputs of its sublayers whose norms are held; other norms are computed anew.

    Returns:
        Per site `(1 + rows, positions, width)`; the first row is the unchanged base's.
    """
    layer, ids = sites[0].layer, token_batch(model, run.ids)
    others = {n: None for n in range(model.sites.layers) if n != layer}
    attended = run.outputs["attention"][layer]
    found: list[list[Tensor]] = []
    for rows in chunks(model, len(changes), run.length, sum(site.width for site in sites)):
        part = torch.cat([torch.zeros_like(changes[:1]), changes[rows.start : rows.stop]])
        inputs = (run.inputs[layer].float() + part).to(model.dtype)
        edits = [
            rows_edit(model.sites.site(layer, "block_input"), inputs),
            rows_edit(
                model.sites.site(layer, "attention_output"), attended.expand(len(part), -1, -1)
            ),
            *(one.edit(part) for one in held),
        ]
        with (
            replay_blocks(model, others),
            intervene(model, edits),
            record(model, sites) as states,
        ):
            last_position_logits(model, ids.expand(len(part), -1))
        first = 1 if found else 0
        found.append([states[site][first:].clone() for site in sites])
        yield
    return tuple(torch.cat(parts) for parts in zip(*found, strict=True))


def effects_of(
    model: LanguageModel, run: ResidualRun, new: Mapping[Site, Tensor], measure: Measure
) -> Generator[None, None, Tensor]:
    """Effects of new values at some sites, with everything after them computed anew; in steps.

    Args:
        model: the model to run.
        run: the plain run.
        new: per site `(1 + rows, positions, width)`; the first row is the unchanged base's.
        measure: of the logits.

    Returns:
        `(rows,)`, float64.
    """
    first, ids = min(site.layer for site in new), token_batch(model, run.ids)
    may_skip = resume_blocker(model) is None
    count = len(next(iter(new.values()))) - 1
    found: list[Tensor] = []
    for rows in chunks(model, count, run.length, 0):
        here = torch.tensor([0, *(row + 1 for row in rows)], device=model.device)
        skipped = {
            layer: run.inputs[layer + 1].expand(len(here), -1, -1)
            for layer in range(first if may_skip else 0)
        }
        if skipped:  # the next block may take a view of it, where no norm copies it before
            skipped[first - 1] = skipped[first - 1].contiguous()
        edits = [rows_edit(site, values[here]) for site, values in new.items()]
        with replay_blocks(model, skipped), intervene(model, edits):
            values = measure(last_position_logits(model, ids.expand(len(here), -1)))
        found.append(values[1:] - values[0])
        yield
    return torch.cat(found)


@dataclass(frozen=True)
class Writer:
    """What writes to the residual stream.

    Attributes:
        layer: index of the block; -1 for the embedding.
        head: index of the head; None for the MLP or the embedding.
    """

    layer: int
    head: int | None = None


def recomputed(
    model: LanguageModel,
    run: ResidualRun,
    source: ResidualRun,
    writers: Sequence[Writer],
    positions: Sequence[int],
    sites: Sequence[Site],
    measure: Measure,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Patch one writer per row, hold all other heads, and let the MLPs compute anew.

    Args:
        model: the model to run.
        run, source: the plain runs of base and source.
        writers: one per row.
        positions: at which they get the source's values.
        sites: what is recorded.
        measure: of the logits.

    Returns:
        Effects `(rows,)` on the logits, float64, and per site `(1 + rows, positions, width)`.
    """
    ids, device = token_batch(model, run.ids), model.device
    here = torch.zeros(run.length, 1, dtype=torch.bool, device=device)
    here[list(positions)] = True
    effects: list[Tensor] = []
    found: list[list[Tensor]] = []
    recorded = sum(site.width for site in sites)
    for rows in chunks(model, len(writers), run.length, recorded):
        chosen = [None, *(writers[row] for row in rows)]
        edits: list[Edit] = []
        for layer in range(model.sites.layers):
            heads = [w.head if w is not None and w.layer == layer else None for w in chosen]
            masks = head_masks(model, heads)[:, None] & here
            new = torch.where(masks, source.attended[layer], run.attended[layer])
            edits.append(rows_edit(model.sites.site(layer, "attention_value_output"), new))
        for layer, head in {(w.layer, w.head) for w in chosen if w is not None}:
            if head is not None:
                continue
            mine = [n for n, w in enumerate(chosen) if w == Writer(layer, head)]
            component = "block_input" if layer < 0 else "mlp_output"
            values = source.inputs[0] if layer < 0 else source.outputs["mlp"][layer]
            edits += [
                place_edit(model.sites.site(max(layer, 0), component), n, positions, values)
                for n in mine
            ]
        with intervene(model, edits), record(model, sites) as states:
            values = measure(last_position_logits(model, ids.expand(len(chosen), -1)))
        first = 1 if effects else 0
        effects.append(values[1:] - values[0])
        found.append([states[site][first:].clone() for site in sites])
    return torch.cat(effects), tuple(torch.cat(parts) for parts in zip(*found, strict=True))


def with_heads_ablated(
    model: LanguageModel,
    ids: Sequence[int],
    source: Sequence[int] | None,
    kept: Sequence[Writer],
    attended: Tensor | None,
) -> tuple[Tensor, tuple[Tensor, Tensor | None]]:
    """Run a prompt with all heads, only some of them, all but these, and none.

    Args:
        model: the model to run.
        ids: the prompt's token ids.
        source: those of another prompt, for its plain logits.
        kept: the heads that stay in the second row, and are replaced in the third.
        attended: what takes the place of the others' output, `(layers, positions, d_heads)`; None
            for zeros.

    Returns:
        Logits `(4, vocabulary)` at the last position, and those of the plain runs.
    """
    batch, length = token_batch(model, ids), len(ids)
    plain = last_position_logits(model, batch)[0]
    other = None if source is None else last_position_logits(model, token_batch(model, source))[0]
    found: list[Tensor] = []
    for rows in chunks(model, 4, length, 0):
        edits: list[Edit] = []
        for layer in range(model.sites.layers):
            heads = [writer.head for writer in kept if writer.layer == layer]
            mine = head_masks(model, heads).any(0)
            keeps = torch.stack([torch.ones_like(mine), mine, ~mine, torch.zeros_like(mine)])
            site = model.sites.site(layer, "attention_value_output")
            values = None if attended is None else attended[layer]
            edits.append(_ablation(site, keeps[rows.start : rows.stop], values, length))
        with intervene(model, edits):
            found.append(last_position_logits(model, batch.expand(len(rows), -1)))
    return torch.cat(found), (plain, other)


def _ablation(site: Site, keeps: Tensor, values: Tensor | None, length: int) -> Edit:
    """Replace what each row does not keep, as the row computes it, at every position.

    Args:
        site: all heads' vectors of a layer.
        keeps: which of their coordinates stay, `(rows, d_heads)`.
        values: what takes the place of the others, `(positions, d_heads)`; None for zeros.
        length: tokens of the prompt.
    """
    every = torch.arange(len(keeps) * length, device=keeps.device)
    mask = keeps.repeat_interleave(length, 0)

    def change(vectors: Tensor) -> Tensor:
        if values is None:
            return vectors * mask
        return torch.where(mask, vectors, values.to(vectors.dtype).repeat(len(keeps), 1))

    return Edit(
        site=site,
        rows=torch.div(every, length, rounding_mode="floor"),
        positions=every % length,
        change=change,
    )
