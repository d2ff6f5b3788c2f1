"""A cache that is kept gives what the model gives now, also after changes that are easy to miss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from by_hand import ITALY, SPAIN, distance, token_ids
from changed_models import Change, code
from torch import nn

import vene_widgets as vw


def one_row_of_the_embedding(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    """Through `.data`, which moves no version counter."""
    table: Any = model.model.get_submodule("model.embed_tokens")
    table.weight.data[token_ids(model, SPAIN)[0, 2]].zero_()


def functional(name: str, change: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Change:
    def patched(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(nn.functional, name, change(getattr(nn.functional, name)))

    return patched


def property_of_a_class(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    fixed = property(lambda self: 1.0, lambda self, value: None)
    patch.setattr(code(model).LlamaRMSNorm, "variance_epsilon", fixed, raising=False)


CHANGES: dict[str, tuple[Change, str | None]] = {
    "a row of the embedding": (one_row_of_the_embedding, None),
    "attention": (
        functional(
            "scaled_dot_product_attention",
            lambda real: lambda query, *args, **kwargs: real(query * 2, *args, **kwargs),
        ),
        "function scaled_dot_product_attention was replaced",
    ),
    "activation": (
        functional("silu", lambda real: lambda rows, *args, **kwargs: real(rows) * 2),
        "function silu was replaced",
    ),
    "a property": (property_of_a_class, None),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_kept_cache_after_a_change(
    llama: vw.LanguageModel, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, reason = CHANGES[kind]
    cache, slots = vw.ActivationCache(), [vw.Slot(layer=1, position=3)]
    experiment = vw.Experiment(base=SPAIN, sources=ITALY, slots=slots)
    before = vw.run(llama, experiment, cache=cache).logits
    vw.sweep(llama, SPAIN, ITALY, cache=cache)
    change(llama, monkeypatch)
    fresh = vw.run(llama, experiment).logits
    assert distance(fresh, before) > 1e-3, "nothing was changed"
    swept = vw.sweep(llama, SPAIN, ITALY, cache=cache).logits
    assert distance(swept[1, 3], fresh[-1]) <= 1e-5
    assert distance(vw.run(llama, experiment, cache=cache).logits, fresh) <= 1e-5
    assert reason is None or reason in str(llama.resume_blocker)


def test_rows_of_tokens_that_a_prompt_does_not_have(llama: vw.LanguageModel) -> None:
    """Kept runs stay where their own rows are as they were."""
    cache, plain = vw.ActivationCache(), vw.Experiment(base=SPAIN)
    vw.run(llama, plain, cache=cache)
    held, state = cache.bytes, llama.fingerprint
    table: Any = llama.model.get_submodule("model.embed_tokens")
    other = int(token_ids(llama, ITALY)[0, 3])
    assert other not in token_ids(llama, SPAIN)
    own = table.weight.data[other].clone()
    table.weight.data[other].zero_()
    vw.run(llama, plain, cache=cache)
    table.weight.data[other] = own
    assert llama.fingerprint == state and cache.bytes == held
