"""measure(): what a few short passes say about a model before results rest on it.

Nothing here is assumed from a name: whether a model is causal, whether rows of a batch are
independent, and whether resumed passes agree with full ones is seen in its own numbers, once per
state of the model. Of code that is not the family's own, a few short rows do not show how it treats
many long ones: sweeps check their batches, and `rows_differ` notes what they find.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vene_widgets.engine.forward import (
    KeysAndValues,
    all_logits,
    note_keys_and_values,
    token_batch,
)
from vene_widgets.engine.hooks import Edit, intervene, note_block_outputs, record
from vene_widgets.engine.own_model import own_model
from vene_widgets.engine.resume import Cells, ResumedBatch, base_trace, sites_to_resume
from vene_widgets.errors import error_text
from vene_widgets.models.behaviour import Behaviour
from vene_widgets.models.language_model import LanguageModel
from vene_widgets.models.resume_blocker import code_blocker, foreign_code

if TYPE_CHECKING:
    from vene_widgets.models.sites import Site

TOLERANCE = 1e-4
"""Largest difference that counts as rounding, as a fraction of the logits' range, in float32."""

LENGTH = 5
"""Tokens of the probe prompts."""

SEED = 0

_ENTRIES = ("block_input", "key_output", "attention_value_output", "block_output")
"""Changes that enter a block in different ways: its input, what later positions read, what only
their own position reads, its output."""


def behaviour(model: LanguageModel) -> Behaviour:
    """What was measured of the model's present state; measured now if nothing was.

    Call it inside `own_model`.
    """
    tree = model.tree
    known = tree.behaviour
    if known is None or known[0] != tree.state:
        tree.behaviour = known = (tree.state, _measure(model))
    return known[1]


def rows_differ(model: LanguageModel) -> None:
    """Note that rows of a batch did not get the numbers of a prompt alone. Inside `own_model`."""
    tree = model.tree
    tree.behaviour = (tree.state, replace(behaviour(model), batches=False))


def measure(model: LanguageModel) -> Behaviour:
    """`behaviour`, from outside a run."""
    with model.lock, torch.no_grad(), own_model(model):
        return behaviour(model)


LanguageModel.measure = staticmethod(measure)


def resume_blocker(model: LanguageModel) -> str | None:
    """Why passes through the model's present state may not be resumed; None if they may.

    Nothing is measured if the code alone says no. Call it inside `own_model`.
    """
    return code_reason(model) or behaviour(model).resume_blocker


def code_reason(model: LanguageModel) -> str | None:
    """`models.resume_blocker.code_blocker` of the model's present state, read once."""
    tree = model.tree
    if tree.code is None or tree.code[0] != tree.state:
        tree.code = (tree.state, code_blocker(model.net, model.sites.architecture))
    return tree.code[1]


def tolerance(model: LanguageModel) -> float:
    """Largest difference that counts as rounding, as a fraction of the numbers' range."""
    return max(TOLERANCE, 4 * torch.finfo(model.dtype).eps)


def distance(one: Tensor, other: Tensor, scale: Tensor) -> float:
    """Largest difference of logits as a fraction of the finite range of some; NaN where one is NaN.

    Equal infinities do not differ: a model may mask tokens that are never to be said.
    """
    one, other, scale = one.float(), other.float(), scale.float()
    finite = scale[scale.isfinite()]
    if not finite.numel():
        return float("nan")
    size = (finite.max() - finite.min()).clamp_min(torch.finfo(torch.float32).tiny)
    return float((one - other).abs().masked_fill(one == other, 0).max() / size)


def _measure(model: LanguageModel) -> Behaviour:
    """Run the probes."""
    blocker = code_reason(model)
    is_own = blocker is None or foreign_code(model.net, model.sites.architecture) is None
    try:
        probe = _Probe(model)
    except Exception as error:  # a model or a hook that takes no short prompts of any tokens
        reason = f"a probe of {LENGTH} tokens failed: {error_text(error)}"
        return Behaviour(False, False, False, False, is_own, blocker or reason)
    if not bool(probe.plain.isfinite().all()):
        blocker = blocker or "its logits are not finite"
    if not probe.is_causal:
        blocker = blocker or "the model's attention is not causal"
    if not (probe.batches and probe.embeds_alone and probe.ends_alone):
        blocker = blocker or "the model treats rows or positions in a way that cannot be resumed"
    if blocker is None:
        blocker = _resuming_blocker(probe)
    return Behaviour(
        is_causal=probe.is_causal,
        embeds_alone=probe.embeds_alone,
        ends_alone=probe.ends_alone,
        batches=probe.batches,
        is_family_code=is_own,
        resume_blocker=blocker,
    )


def _resuming_blocker(probe: _Probe) -> str | None:
    """Reason that resumed passes themselves give; None if they agree with full ones."""
    try:
        error = probe.resumed_error()
    except Exception as raised:  # known modules in places where the family's file has others
        return f"a resumed pass failed: {error_text(raised)}"
    if error <= probe.tolerance:
        return None
    return (
        f"resumed passes differ from full ones by {error:.1g} of the logits' range "
        f"(limit {probe.tolerance:.1g})"
    )


class _Probe:
    """Short passes over made-up tokens, and what they show.

    The plain prompt runs alone. A batch then holds it again, with another last token, with another
    first token, with random states in the middle (as the last block's output, and in the first
    block where each kind of change enters it), and once more as it is.
    """

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        sites = model.sites
        length = min(LENGTH, sites.positions or LENGTH)
        generator = torch.Generator(device="cpu").manual_seed(SEED)

        def numbers(count: int) -> list[int]:
            drawn = torch.randint(sites.vocabulary, (count,), generator=generator, device="cpu")
            return [int(number) for number in drawn]

        self.ids = numbers(length)
        other = [(token + 1) % sites.vocabulary for token in (self.ids[0], self.ids[-1])]
        self.middle = length // 2 if length > 2 else 0
        self.input = sites.site(0, "block_input")
        self.last = sites.site(sites.layers - 1, "block_output")
        entries = [name for name in _ENTRIES if name in sites.architecture.components]
        self.entries = [sites.site(0, name) for name in entries]
        changed = [self.last, *self.entries]
        wanted = list(dict.fromkeys([*sites_to_resume(model), *changed]))
        with record(model, wanted) as found, note_block_outputs(model):
            self.plain = all_logits(model, token_batch(model, self.ids))[0].float()
        self.states = {site: tensor[0] for site, tensor in found.items()}
        self.random = [self._random_state(site, generator) for site in changed]
        prompts = [self.ids, [*self.ids[:-1], other[1]], [other[0], *self.ids[1:]]]
        rows = [*prompts, *[self.ids] * len(changed), self.ids]
        edits = [
            self._edit(row, site, state)
            for row, (site, state) in enumerate(zip(changed, self.random, strict=True), 3)
        ]
        try:
            with intervene(model, edits), record(model, [self.input, self.last]) as batch:
                self.batch = self._run(rows)
        except Exception:  # code of the user's that takes one prompt at a time
            self.batches = self.is_causal = self.embeds_alone = self.ends_alone = False
            return
        first, last = batch[self.input], batch[self.last]
        self.batches = all(self._agree(self.batch[row], self.plain) for row in (0, -1))
        before = slice(0, length - 1)
        self.is_causal = (
            self._agree(self.batch[1][before], self.batch[0][before])
            and self._same(last[1][before], last[0][before])
            and length > 1
        )
        self.embeds_alone = self._same(first[2][1:], first[0][1:])
        self.ends_alone = self._agree(self.batch[3][-1], self.batch[0][-1])

    @property
    def tolerance(self) -> float:
        """Largest difference that counts as rounding, as a fraction of the logits' range."""
        return tolerance(self.model)

    def resumed_error(self) -> float:
        """Largest difference of resumed passes from full ones, as a fraction of the range."""
        model, errors = self.model, list[float]()
        heads = self._heads()
        if heads is None:
            raise AssertionError("a block did not call its attention")
        whole = {site: self.states[site][None] for site in sites_to_resume(model)}
        trace = base_trace(model, whole, heads)
        own = self.states[self.input][self.middle]
        cells = [(self.input, own), *zip(self.entries, self.random[1:], strict=True)]
        wanted = [self.plain[-1], *self.batch[4:-1, -1]]

        def resume(several: Sequence[int]) -> None:
            sites, states = zip(*(cells[n] for n in several), strict=True)
            count = len(several)
            batch = Cells(sites, [0] * count, [self.middle] * count, torch.stack(states))
            logits = ResumedBatch(model, trace, batch).logits()
            errors.extend(
                self._distance(one, wanted[n]) for one, n in zip(logits, several, strict=True)
            )

        for n in range(len(cells)):
            resume([n])
        # A map resumes many cells of one component together.
        resume([n for n, (site, _) in enumerate(cells) if site == self.input])
        return max(errors)

    def _heads(self) -> KeysAndValues | None:
        """Keys and values of the plain prompt; None if some block computes none."""
        with note_keys_and_values(self.model) as noted:
            all_logits(self.model, token_batch(self.model, self.ids))
        return noted[0] if noted else None

    def _run(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Logits of some prompts of one length, `(prompts, positions, vocabulary)`."""
        ids = torch.tensor([list(row) for row in rows], dtype=torch.long, device=self.model.device)
        return all_logits(self.model, ids).float()

    def _random_state(self, site: Site, generator: torch.Generator) -> Tensor:
        """A random vector of a site's width and usual size."""
        states = self.states[site].float()
        shape = (site.width,)
        drawn = torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
        scale = states.std() if len(states) > 1 else states.abs().mean()
        return (drawn.to(states.device) * scale).to(self.states[site].dtype)

    def _edit(self, row: int, site: Site, state: Tensor) -> Edit:
        """Put a state into one row of the batch."""
        device = self.model.device
        return Edit(
            site,
            torch.tensor([row], device=device),
            torch.tensor([self.middle], device=device),
            lambda _vectors: state[None],
        )

    def _distance(self, one: Tensor, other: Tensor) -> float:
        """`distance` as a fraction of the plain logits' range."""
        return distance(one, other, self.plain)

    def _agree(self, one: Tensor, other: Tensor) -> bool:
        """Whether logits are equal but for rounding."""
        return self._distance(one, other) <= self.tolerance

    def _same(self, one: Tensor, other: Tensor) -> bool:
        """Whether states are equal but for rounding."""
        scale = max(float(other.float().abs().max()), 1e-12) if other.numel() else 1.0
        difference = (one.float() - other.float()).abs()
        return other.numel() == 0 or float(difference.max()) <= self.tolerance * scale
