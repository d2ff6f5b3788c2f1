"""Texts of every family with slots in place: cached = uncached = full passes with hooks by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import families
import pytest
import torch
from by_hand import distance
from families import CONFIGS, PartByHand
from torch import Tensor

import vene_widgets as vw
from vene_widgets.models import wrap

BASE, ITALY = "The capital of Spain is", "The capital of Italy is"
LENGTH, MORE = 5, 5
TOLERANCE = 1e-5  # of the logits' range
PLACES: dict[str, tuple[Any, Callable[[int], list[int]]]] = {
    "prompt": ("prompt", lambda _: [3]),
    "every": ("every", lambda end: [3, *range(LENGTH, end)]),
    "positions": ([1, 6, 7], lambda end: [p for p in (1, 6, 7) if p < end]),
}
"""Name -> `on`, and the positions of a text of some length that a slot at position 3 changes."""


class TextByHand(PartByHand):
    """Greedy decoding of the whole text at each step, a source state put in some positions."""

    def write(self, layer: int, places: Callable[[int], list[int]]) -> tuple[list[int], Tensor]:
        """The new tokens, and the logits `(tokens, vocabulary)` that they were chosen from."""
        state, text, logits = self.states(layer)[3], self.base, list[Tensor]()

        def put(tensor: Tensor) -> Tensor:
            new = tensor.clone()
            # OPT's MLP has examples and positions in one dimension.
            part = self._part(new)
            for position in places(text.shape[1]):
                part[0, position] = state
            return new

        for _ in range(MORE):
            logits.append(self._call(self._site(layer), put, text)[-1])
            chosen = logits[-1].argmax()
            text = torch.cat([text, chosen.view(1, 1)], -1)
            if int(chosen) == 0:  # the end of a text
                break
        return text[0, LENGTH:].tolist(), torch.stack(logits)


@pytest.fixture(params=CONFIGS)
def model(
    request: pytest.FixtureRequest, tiny_tokenizer: Any, device: torch.device
) -> vw.LanguageModel:
    built = families.build(request.param, len(tiny_tokenizer)).to(device)
    return wrap(built, tiny_tokenizer, request.param)


def test_cached_is_uncached_is_by_hand(model: vw.LanguageModel) -> None:
    """Flat MLPs, sliding windows, grouped heads, fused projections, ALiBi, parallel blocks."""
    last = model.sites.head_count("head_attention_value_output") or 1
    sites: list[tuple[str, int | None]] = [
        ("block_output", None),
        ("mlp_output", None),
        ("mlp_activation", None),
    ]
    sites.append(("head_attention_value_output", last - 1))
    for n, (on, places) in enumerate(PLACES.values()):
        component, head = sites[n % 4]
        effects = [_check(model, component, head, on, places)]
        effects.append(_check(model, *sites[3 if n else 2], on, places))
        assert max(effects) > 1e-3, "slots that changed nothing"


def _check(
    model: vw.LanguageModel, component: str, head: int | None, on: Any, places: Any
) -> float:
    """Compare one slot's texts; returns its effect on the logits."""
    slot = vw.Slot(layer=1, position=3, component=component, head=head)
    experiment = vw.Experiment(base=BASE, sources=ITALY, slots=[slot])
    cached, uncached = (
        vw.generate(model, experiment, MORE, on, use_cache=use_cache) for use_cache in (True, False)
    )
    hand = TextByHand(model, BASE, ITALY, component, head)
    tokens, logits = hand.write(1, places)
    where = f"{component}, {on}"
    assert list(cached.tokens) == list(uncached.tokens) == tokens, where
    assert distance(cached.logits, logits) <= TOLERANCE, where
    assert distance(uncached.logits, logits) <= TOLERANCE, where
    assert cached.acted_at == uncached.acted_at == (tuple(places(LENGTH + len(tokens) - 1)),)
    shared = min(len(tokens), len(cached.base_tokens or ()))
    return distance(cached.logits[:shared], cached.base_logits[:shared])


def test_without_slots_it_is_the_models_own_generate(model: vw.LanguageModel) -> None:
    root: Any = model.model
    ids = torch.tensor([[token.id for token in model.tokens(BASE)]], device=model.device)
    for use_cache in (True, False):
        own = root.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=MORE,
            use_cache=use_cache,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
        found = vw.generate(model, vw.Experiment(base=BASE), MORE, use_cache=use_cache)
        assert list(found.tokens) == own.sequences[0, LENGTH:].tolist()
        assert torch.equal(found.logits, torch.cat(own.logits).cpu())
        assert found.base_tokens == found.tokens and found.agreement is None
