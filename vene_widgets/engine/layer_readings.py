"""reading_steps(): what every block's output gives if it is the last block's.

The state takes the place of the last block's output, and the model's own forward goes on from
there (`engine.forward.logits_after`). Logits are reduced to statistics a chunk at a time.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from vene_widgets.engine.behaviour import behaviour, tolerance
from vene_widgets.engine.forward import forward, logits_after
from vene_widgets.engine.hooks import Edit
from vene_widgets.engine.own_model import own_model, require_unchanged
from vene_widgets.engine.planning import Plan
from vene_widgets.engine.running import run_plan
from vene_widgets.engine.slot_reports import require_fired
from vene_widgets.errors import RequestError
from vene_widgets.models.resume_blocker import foreign_code, may_leave_out_positions
from vene_widgets.tables.statistics import (
    CellStatistics,
    cell_statistics,
    checked_distribution,
    concatenated,
)

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.interventions import Intervention
    from vene_widgets.models import LanguageModel
    from vene_widgets.models.fingerprint import Fingerprint

CHUNK_BYTES = 64 * 2**20
"""Logits of one run that are computed at a time, in bytes of float64. Of a model whose head needs
all positions at once, those of a layer."""


def reading_steps(
    model: LanguageModel,
    plans: Mapping[str, Plan],
    layers: Sequence[int],
    targets: Sequence[int],
    modules: Mapping[str, Intervention],
) -> Generator[float, None, dict[str, CellStatistics]]:
    """Run some plans and read the blocks of each run, in steps; in between the model is free.

    Args:
        model: the model to run.
        plans: name of the run -> what to run. The others are compared with the first.
        layers: which blocks to read.
        targets: ids of the tokens to follow.
        modules: the interventions of all slots, by their keys.

    Yields:
        How much has been read, 0 to 1.

    Returns:
        Name of the run -> statistics of its readings, layer by layer and position by position. KL
        is that to the first run at the same layer and position; it has no meaning where the
        prompts differ in length.

    Raises:
        RequestError: logits that are NaN or infinite, or that depend on more than the last block's
            output, or a slot that no pass comes by.
        ModelChanged: the model changed meanwhile.
    """
    with model.lock, torch.no_grad(), own_model(model):
        began, replayed = model.tree.state, _may_replay(model)
    runs: list[_Run] = []
    for name, plan in plans.items():
        with model.lock:
            runs.append(_run(model, name, plan, modules, began, replayed))
        yield 0.0
    parts: dict[str, list[CellStatistics]] = {name: [] for name in plans}
    steps = _read(runs, layers, targets, parts)
    share: float | None = 0.0
    while share is not None:
        with model.lock, torch.no_grad(), own_model(model):
            require_unchanged(model, began, model.tree.state)
            if share == 0:
                for one in runs:
                    one.check()
            share = next(steps, None)
        if share is not None:
            yield share
    return {name: concatenated(each) for name, each in parts.items()}


@dataclass(frozen=True, eq=False)
class _Run:
    """One run to be read.

    Attributes:
        model: the model.
        name: of the run.
        ids: token ids of its prompt.
        states: `(layers, positions, d_model)`, every block's output.
        logits: of the last positions `(kept, vocabulary)`, those of the run itself.
        replayed: whether blocks need not run when it is read.
    """

    model: LanguageModel
    name: str
    ids: tuple[int, ...]
    states: Tensor
    logits: Tensor
    replayed: bool

    def check(self) -> None:
        """Check that the run's logits follow from its last block's output alone.

        Raises:
            RequestError: they do not, or they are NaN or infinite.
        """
        states, model = self.states, self.model
        for row, logits in enumerate(self.logits, len(self.ids) - len(self.logits)):
            if bool((logits.isnan() | (logits == torch.inf)).any()):
                checked_distribution(logits, f"{self.name}, position {row}")
        before: list[Edit] = []
        if len(states) > 1:
            # With another input of the first block all states before the last output are others,
            # which must not be seen in the logits.
            at = torch.arange(len(self.ids), device=model.device)
            site = model.sites.site(0, "block_input")
            before = [Edit(site, torch.zeros_like(at), at, lambda vectors: -vectors)]
        keep = None if len(self.logits) == len(self.ids) else self._last(len(self.logits))
        again = logits_after(
            model, self.ids, states[-1], keep, replayed=self.replayed, before=before
        )
        found = _distance(again, self.logits)
        if not found <= tolerance(model):
            raise RequestError(
                f"the lens cannot read {model.name}: its last block's output alone does not give "
                f"its logits (they differ by {found:.2g} of their range in run {self.name!r}). "
                "Models whose head reads more than the last block's output have no lens."
            )

    def _last(self, count: int) -> Tensor:
        length = len(self.ids)
        return torch.arange(length - count, length, device=self.model.device)

    def read(self, layer: int, positions: range) -> Tensor:
        """Logits `(positions, vocabulary)` if the last block returned a layer's output."""
        model, whole = self.model, len(positions) == len(self.ids)
        keep = None if whole else torch.tensor(list(positions), device=model.device)
        return logits_after(model, self.ids, self.states[layer], keep, replayed=self.replayed)


def _may_replay(model: LanguageModel) -> bool:
    """Whether blocks need not run: only in a family's own code nothing else depends on them."""
    if foreign_code(model.net, model.sites.architecture) is not None:
        return False
    return behaviour(model).is_family_code  # it also sees how blocks return their output


def _run(
    model: LanguageModel,
    name: str,
    plan: Plan,
    modules: Mapping[str, Intervention],
    began: Fingerprint,
    replayed: bool,
) -> _Run:
    """Run a plan, and keep its states and the logits that it is checked with."""
    ids = tuple(token.id for token in plan.base)
    size = _chunk(model, len(ids))
    keep = 0 if size >= len(ids) else size
    if plan.slots:
        weights = {slot.weights_key: modules[slot.weights_key] for slot in plan.slots}
        made = run_plan(model, plan, weights=weights, logits_to_keep=keep, state=began)
        require_fired(made.record, model.name)
        return _Run(model, name, ids, made.states, made.logits, replayed)
    with torch.no_grad(), own_model(model):
        require_unchanged(model, began, model.tree.state)
        plain = forward(model, ids, [], keep)
    return _Run(model, name, ids, plain.states, plain.logits, replayed)


def _chunk(model: LanguageModel, length: int) -> int:
    """How many positions of a prompt are read at a time."""
    return max(1, min(length, CHUNK_BYTES // (8 * model.sites.vocabulary)))


def _chunks(model: LanguageModel, length: int) -> Iterator[range]:
    """The positions of a prompt in chunks, which end where the prompt ends."""
    size = _chunk(model, length)
    if not may_leave_out_positions(model.net, model.sites.architecture):
        size = length  # the head computes all of them anyway
    starts = range(length % size, length, size)
    if length % size:
        yield range(length % size)
    for start in starts:
        yield range(start, start + size)


def _read(
    runs: Sequence[_Run],
    layers: Sequence[int],
    targets: Sequence[int],
    parts: Mapping[str, list[CellStatistics]],
) -> Iterator[float]:
    """Read every layer and position of some runs, against the first of them.

    Args:
        runs: the base and the others.
        layers: which blocks.
        targets: ids of the tokens to follow.
        parts: name of the run -> where its statistics go, a chunk at a time.

    Yields:
        How much has been read, after every chunk.
    """
    base, *others = runs

    def add(
        one: _Run, layer: int, positions: range, logits: Tensor, against: Tensor | None
    ) -> None:
        cells = _statistics(logits, against, targets)
        _require_numbers(one.name, layer, positions, logits, cells)
        parts[one.name].append(cells)

    for done, layer in enumerate(layers, 1):
        for positions in _chunks(base.model, len(base.ids)):
            against = base.read(layer, positions)
            add(base, layer, positions, against, None)
            for one in others:
                if len(one.ids) == len(base.ids):
                    add(one, layer, positions, one.read(layer, positions), against)
            yield (done - 0.5) / len(layers)
        for one in others:
            if len(one.ids) != len(base.ids):
                for positions in _chunks(one.model, len(one.ids)):
                    add(one, layer, positions, one.read(layer, positions), None)
                    yield done / len(layers)


def _statistics(logits: Tensor, base: Tensor | None, targets: Sequence[int]) -> CellStatistics:
    """Statistics of some readings, each against its own base.

    Args:
        logits: `(positions, vocabulary)`.
        base: the same of the base run; None for a KL of 0.
        targets: ids of the tokens to follow.
    """
    if logits.device.type == "mps":  # no float64
        logits, base = logits.cpu(), None if base is None else base.cpu()
    if base is None:
        nothing = torch.zeros(logits.shape[-1], dtype=torch.float64, device=logits.device)
        cells = cell_statistics(logits, nothing, targets)
        return replace(cells, kl=torch.zeros_like(cells.kl))
    size = max(1, CHUNK_BYTES // (8 * logits.shape[-1]))
    pairs = zip(torch.split(logits, size), torch.split(base, size), strict=True)
    return concatenated(
        [
            cell_statistics(rows, against.double().log_softmax(-1), targets)
            for rows, against in pairs
        ]
    )


def _require_numbers(
    name: str, layer: int, positions: range, logits: Tensor, cells: CellStatistics
) -> None:
    """Check that readings are distributions.

    Raises:
        RequestError: logits of one are NaN or infinite; the message says where.
    """
    is_bad = cells.top_log_p[:, 0].isnan()
    if bool(is_bad.any()):
        row = int(is_bad.int().argmax())
        checked_distribution(logits[row], f"{name}, layer {layer}, position {positions[row]}")


def _distance(found: Tensor, own: Tensor) -> float:
    """Largest difference of logits as a fraction of their range; equal infinities do not differ."""
    found, own = found.float(), own.float()
    finite = own[own.isfinite()]
    size = (finite.max() - finite.min()).clamp_min(torch.finfo(torch.float32).tiny)
    return float((found - own).abs().masked_fill(found == own, 0).max() / size)
