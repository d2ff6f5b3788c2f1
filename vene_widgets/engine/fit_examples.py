"""Pairs of prompts -> training and held-out examples of a fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from vene_widgets.engine.forward import last_position_logits
from vene_widgets.engine.hooks import record
from vene_widgets.engine.own_model import own_model
from vene_widgets.engine.positions import resolve_positions, source_positions
from vene_widgets.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.models import LanguageModel, Token
    from vene_widgets.models.sites import Site

Pair = Sequence[str]
"""Base and source prompt, and the wanted next token's text if it is not the source's own."""


@dataclass(frozen=True)
class FitSite:
    """Where a subspace is fitted: a site, and positions as a `Slot` stores them."""

    site: Site
    position: int | tuple[int | str, ...] | str
    source_position: int | tuple[int | str, ...] | str | None


@dataclass(frozen=True, eq=False)
class Example:
    """One pair, ready to run.

    Attributes:
        ids: the base's token ids.
        positions: where its states are swapped.
        source: the source's vectors `(positions, width)`.
        wanted: id of the wanted next token.
    """

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    source: Tensor
    wanted: int


def split_pairs(
    pairs: list[Pair], held_out: float | Sequence[Pair], seed: int
) -> tuple[list[Pair], list[Pair]]:
    """Pairs to train on, and held-out pairs.

    Args:
        pairs: all of them, or the training pairs alone.
        held_out: share of the pairs to hold out, drawn from the seed; or the held-out pairs.
        seed: of the draw.

    Raises:
        RequestError: no pair on one side, a malformed pair, or one that occurs twice.
    """
    if isinstance(held_out, (int, float)):
        if not 0 < held_out < 1:
            raise RequestError(f"held_out must be a share between 0 and 1, got {held_out!r}.")
        count = max(1, round(held_out * len(pairs)))
        shuffled = permutation(len(pairs), seed)
        testing = [pairs[i] for i in shuffled[:count]]
        training = [pairs[i] for i in shuffled[count:]]
    else:
        training, testing = pairs, list(held_out)
    if not training or not testing:
        raise RequestError(
            f"{len(training)} pairs to train on and {len(testing)} held out: each needs one at "
            "least. Give more pairs."
        )
    seen: set[tuple[str, ...]] = set()
    for pair in (*training, *testing):
        if isinstance(pair, str) or len(pair) not in (2, 3):
            raise RequestError(
                f"a pair must be (base, source) or (base, source, wanted), got {pair!r}."
            )
        if tuple(pair[:2]) in seen:
            raise RequestError(
                f"pair {pair!r} is there twice: held-out pairs must be new, so give each one once."
            )
        seen.add(tuple(pair[:2]))
    return training, testing


def make_examples(
    model: LanguageModel, where: FitSite, pairs: Sequence[Pair], batch_size: int, name: str
) -> list[Example]:
    """Check the pairs and run every distinct source once.

    Args:
        model: the model to run.
        where: the site and the positions.
        pairs: base, source and perhaps the wanted token.
        batch_size: sources per forward pass.
        name: what a pair is called in error messages.

    Raises:
        RequestError: an invalid prompt, position or wanted token; the message names the pair.
    """
    sources = {pair[1]: tuple(model.tokens(pair[1])) for pair in pairs}
    states, answers = _run_sources(model, where.site, sources, batch_size)
    examples: list[Example] = []
    for index, pair in enumerate(pairs):
        label, base = f"{name} {index}", tuple(model.tokens(pair[0]))
        here = resolve_positions(
            where.position, base, f"{label}.position", f"base {pair[0]!r}", distinct=True
        )
        wanted_place = where.source_position
        if wanted_place is None:
            wanted_place = source_positions(where.position, here)
        there = resolve_positions(
            wanted_place, sources[pair[1]], f"{label}.source_position", f"source {pair[1]!r}"
        )
        if len(here) != len(there):
            raise RequestError(
                f"{label} pairs {len(there)} source positions with {len(here)} base positions."
            )
        wanted = model.token_id(pair[2]) if len(pair) == 3 else answers[pair[1]]
        source = states[pair[1]][list(there)]
        examples.append(Example(tuple(token.id for token in base), here, source, wanted))
    return examples


def shuffle_wanted(examples: Sequence[Example], seed: int) -> list[Example]:
    """The same pairs, their wanted tokens permuted among them."""
    others = permutation(len(examples), seed)
    return [
        replace(example, wanted=examples[other].wanted)
        for example, other in zip(examples, others, strict=True)
    ]


def batches_of_equal_length(
    lengths: Sequence[int], size: int, generator: torch.Generator | None = None
) -> Iterator[list[int]]:
    """Every index once, in batches of prompts of equal length; in random order with a generator."""
    indices = list(range(len(lengths)))
    if generator is not None:
        indices = _random_order(len(lengths), generator)
    groups: dict[int, list[int]] = {}
    for index in indices:
        groups.setdefault(lengths[index], []).append(index)
    batches = [group[i : i + size] for group in groups.values() for i in range(0, len(group), size)]
    order = list(range(len(batches)))
    if generator is not None:
        order = _random_order(len(batches), generator)
    for index in order:
        yield batches[index]


def permutation(count: int, seed: int) -> list[int]:
    """A random order of `count` indices; equal seeds give equal orders."""
    return _random_order(count, torch.Generator(device="cpu").manual_seed(seed))


def _random_order(count: int, generator: torch.Generator) -> list[int]:
    return [int(index) for index in torch.randperm(count, generator=generator, device="cpu")]


def _run_sources(
    model: LanguageModel, site: Site, sources: dict[str, tuple[Token, ...]], batch_size: int
) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Each source's states at the site `(positions, width)`, and its likeliest next token."""
    states: dict[str, Tensor] = {}
    answers: dict[str, int] = {}
    prompts = list(sources)
    for rows in batches_of_equal_length([len(sources[p]) for p in prompts], batch_size):
        batch = [prompts[row] for row in rows]
        ids = torch.tensor([[t.id for t in sources[p]] for p in batch], device=model.device)
        with model.lock, torch.no_grad(), own_model(model), record(model, [site]) as found:
            logits = last_position_logits(model, ids).float()
        if site not in found:
            raise RequestError(f"{site} was never reached by a forward pass of {model.name}.")
        for row, prompt in enumerate(batch):
            states[prompt] = found[site][row].clone()
            answers[prompt] = int(logits[row].argmax())
    return states, answers
