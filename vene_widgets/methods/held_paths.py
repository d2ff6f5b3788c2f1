"""HeldPaths: direct paths to the logits with the scales of norms held, so that they add up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vene_widgets.engine.forward import apply_rows
from vene_widgets.engine.held_norms import HeldNorm
from vene_widgets.engine.residual import AttentionParts, attention_parts, residual_factor
from vene_widgets.methods.path_runs import PathRuns, change_of, sending_heads
from vene_widgets.models.sites import module_at

if TYPE_CHECKING:
    from torch import Tensor

HEAD_ROWS = 64
"""Vectors that go through the output head at once."""


class HeldPaths:
    """Direct paths to the logits with norms held at what they are in the base run.

    Args:
        runs: the plain runs.

    Raises:
        RequestError: a norm is of no known kind.
    """

    def __init__(self, runs: PathRuns) -> None:
        self._runs = runs
        model, base = runs.model, runs.base
        architecture = model.sites.architecture
        self._norm = HeldNorm(model, architecture.final_norm, base.final[-1])
        self._head = module_at(model.net, model.sites.unembedding)
        self._sublayers: dict[tuple[int, str], HeldNorm] = {}
        if architecture.norms_after is not None:
            for layer in range(model.sites.layers):
                for kind, path in zip(("attention", "mlp"), architecture.norms_after, strict=True):
                    full = f"{architecture.blocks}.{layer}.{path}"
                    at = base.outputs["attention" if kind == "attention" else "mlp"][layer, -1]
                    self._sublayers[layer, kind] = HeldNorm(model, full, at)
        tokens = list(runs.metric.tokens)
        zero = torch.zeros_like(self._norm.output)
        self._no_input = self._raw(zero[None])[0]
        raw = self._raw(self._norm.output[None])[0]
        given = base.logits.float()
        # What a model does after its head (a cap, a scale) is held as a factor of each logit.
        near = raw.abs().where(raw != 0, torch.inf).argmin()
        factors = torch.where(raw != 0, given / raw, given[near] / raw[near])
        self._factors = factors[tokens]
        self._signs = torch.tensor([1.0, -1.0][: len(tokens)], device=raw.device)

    def effects(self, patched: AttentionParts | None) -> tuple[list[float], list[float], float]:
        """Effects of patching, contributions in the base run, and the biases' contribution."""
        runs, last = self._runs, self._runs.base.length - 1
        model, base = runs.model, runs.base
        heads = sending_heads(runs) or [0]
        silent = torch.zeros_like(base.attended)
        parts = attention_parts(model, base, heads, base.attended, silent, slice(last, last + 1))
        changes: list[Tensor] = []
        own: list[Tensor] = []
        for writer in runs.senders:
            if writer.layer < 0:
                own.append(base.inputs[0][-1].float())
                changes.append(change_of(runs, writer, patched, (last,))[0])
            elif writer.head is None:
                own.append(base.added["mlp"][writer.layer][-1])
                one, other = (
                    run.outputs["mlp"][writer.layer, -1].float() for run in (runs.source, base)
                )
                is_patched = last in runs.positions
                changes.append(self._added(writer.layer, "mlp", (one - other) * is_patched))
            else:
                row = heads.index(writer.head)
                own.append(
                    self._added(writer.layer, "attention", parts.outputs[writer.layer, row, 0])
                )
                change = parts.outputs[writer.layer, row, 0] * 0
                if patched is not None and runs.is_changed(writer):
                    change = patched.outputs[writer.layer, row, 0]
                changes.append(self._added(writer.layer, "attention", change))
        bias = torch.zeros_like(self._norm.output)
        for layer in range(model.sites.layers):
            bias += self._added(layer, "attention", parts.reference[layer, 0])
            if norm := self._sublayers.get((layer, "attention")):
                bias += norm.offset * residual_factor(model)
        rows = self._read(torch.stack([*changes, *own, bias]))
        count = len(changes)
        offset = self._norm.offset[None]
        constant = self._metric(self._linear(offset) + self._no_input[list(runs.metric.tokens)])
        numbers = [float(row) for row in rows]
        return numbers[:count], numbers[count : 2 * count], numbers[-1] + float(constant[0])

    def _added(self, layer: int, kind: str, change: Tensor) -> Tensor:
        """A part of a sublayer's output as it is added to the residual stream."""
        norm = self._sublayers.get((layer, kind))
        return (change if norm is None else norm(change)) * residual_factor(self._runs.model)

    def _read(self, parts: Tensor) -> Tensor:
        """Parts of the final residual stream `(rows, d_model)` -> of the metric `(rows,)`."""
        return self._metric(self._linear(self._norm(parts)))

    def _metric(self, raw: Tensor) -> Tensor:
        """The head's outputs for the metric's tokens `(rows, tokens)` -> `(rows,)`, float64."""
        return (raw * self._factors * self._signs).cpu().double().sum(-1)

    def _linear(self, normed: Tensor) -> Tensor:
        """The head's outputs for the metric's tokens without its bias, `(rows, tokens)`."""
        tokens = list(self._runs.metric.tokens)
        found: list[Tensor] = []
        for start in range(0, len(normed), HEAD_ROWS):
            raw = self._raw(normed[start : start + HEAD_ROWS])
            found.append((raw - self._no_input)[:, tokens])
        return torch.cat(found)

    def _raw(self, rows: Tensor) -> Tensor:
        """The output head's own output, `(rows, vocabulary)`, float32."""
        return apply_rows(self._head, rows, self._runs.model.dtype)
