"""The first tutorial of pyvene, with its names."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from intervenable_testing import ITALY, SPAIN, plain
from transformers import GPT2Config

from vene_widgets.intervenable import (
    IntervenableConfig,
    IntervenableModel,
    IntervenableRepresentationConfig,
    LowRankRotatedSpaceIntervention,
    VanillaIntervention,
    create_gpt2,
    create_gpt2_lm,
    embed_to_distrib,
    format_token,
    top_vals,
)


@pytest.fixture(params=["tiny", "capitals"])
def tutorial(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """A tokenizer and a GPT-2 without its head, as the tutorial has them."""
    if request.param == "capitals":
        _, tokenizer, gpt = create_gpt2("capitals")
    else:
        tokenizer = request.getfixturevalue("tiny_tokenizer")
        gpt = copy.deepcopy(request.getfixturevalue("tiny_gpt2").model.transformer)
        with torch.no_grad():  # a norm with equal weights gives states whose sum never changes
            gpt.ln_f.weight.copy_(torch.linspace(0.5, 1.5, gpt.ln_f.weight.numel()))
    return tokenizer, gpt


def old_config(gpt: Any, layers: list[int], kind: Any, **fields: Any) -> IntervenableConfig:
    """A config in the first tutorial's own words."""
    return IntervenableConfig(
        intervenable_model_type=type(gpt),
        intervenable_representations=[
            IntervenableRepresentationConfig(layer, "block_output", "pos", 1, **fields)
            for layer in layers
        ],
        intervenable_interventions_type=kind,
    )


def test_the_tutorial_grouped_is_ungrouped(tutorial: tuple[Any, Any]):
    tokenizer, gpt = tutorial
    base = tokenizer(SPAIN, return_tensors="pt")
    source = tokenizer(ITALY, return_tensors="pt")
    where = {"sources->base": ([[[3]], [[4]]], [[[3]], [[4]]])}
    apart = IntervenableModel(old_config(gpt, [0, 2], VanillaIntervention), gpt)
    together = IntervenableModel(old_config(gpt, [0, 2], VanillaIntervention, group_key=0), gpt)
    nothing, one = apart(base, [source, tokenizer(ITALY, return_tensors="pt")], where)
    _, other = together(base, [source], where)
    assert nothing is None
    assert torch.equal(one.last_hidden_state, other.last_hidden_state)
    assert not torch.equal(one.last_hidden_state, plain(gpt, base).last_hidden_state)


def test_the_tutorial_any_slot_of_three_alive(tutorial: tuple[Any, Any]):
    tokenizer, gpt = tutorial
    base = tokenizer(SPAIN, return_tensors="pt")
    source = tokenizer(ITALY, return_tensors="pt")
    model = IntervenableModel(old_config(gpt, [0, 0, 0], VanillaIntervention), gpt)
    found = []
    for alive in range(3):
        sources, places = [None] * 3, [None] * 3
        sources[alive], places[alive] = source, [[4]]  # type: ignore[call-overload]
        found.append(model(base, sources, {"sources->base": (places, places)})[1][0])
    assert torch.equal(found[0], found[1]) and torch.equal(found[1], found[2])
    assert not torch.equal(found[0], plain(gpt, base)[0])


def test_the_tutorial_linked_subspaces(
    tutorial: tuple[Any, Any], capsys: pytest.CaptureFixture[str]
):
    tokenizer, gpt = tutorial
    base = tokenizer(SPAIN, return_tensors="pt")
    source = tokenizer(ITALY, return_tensors="pt")
    config = old_config(
        gpt,
        [0, 0],
        LowRankRotatedSpaceIntervention,
        intervenable_low_rank_dimension=2,
        subspace_partition=[[0, 1], [1, 2]],
        intervention_link_key=0,
    )
    model = IntervenableModel(config, gpt)
    at, both = [[4]], {"sources->base": ([[[4]], [[4]]], [[[4]], [[4]]])}
    _, one = model(
        base,
        [None, source],
        {"sources->base": ([None, at], [None, at])},
        subspaces=[None, [[1]]],
    )
    _, two = model(
        base,
        [source, None],
        {"sources->base": ([at, None], [at, None])},
        subspaces=[[[1]], None],
    )
    _, three = model(base, [source, source], both, subspaces=[[[0]], [[1]]])
    _, four = model(base, [source, source], both, subspaces=[[[1]], [[0]]])
    a, b, c, d = (output.last_hidden_state for output in (one, two, three, four))
    print(
        torch.equal(a, b),
        torch.equal(b, c),
        torch.allclose(a, c, atol=1e-5),
        torch.allclose(c, d, atol=1e-5),
    )
    assert capsys.readouterr().out == "True False False True\n"
    (rotation,) = model.get_trainable_parameters()
    assert rotation.grad is None
    four[0].sum().backward()
    assert rotation.grad is not None and rotation.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in gpt.parameters())
    assert all(weight.requires_grad for weight in gpt.parameters())


def test_the_tutorials_helpers(capsys: pytest.CaptureFixture[str]):
    config, tokenizer, gpt = create_gpt2("capitals")
    _, _, lm = create_gpt2_lm("capitals")
    base = tokenizer(SPAIN, return_tensors="pt")
    assert config.n_embd == gpt.wte.weight.shape[1]
    output = plain(gpt, base)
    distribution = embed_to_distrib(gpt, output.last_hidden_state)
    expected = plain(lm, base).logits.softmax(-1)
    assert torch.allclose(distribution, expected, atol=1e-6)
    logs = embed_to_distrib(lm, output.last_hidden_state, log=True)
    assert torch.allclose(logs.exp(), distribution, atol=1e-6)
    best = top_vals(tokenizer, distribution[0, -1], n=3, return_results=True)
    assert best is not None and best[0][0] == "_Madrid"
    top_vals(tokenizer, distribution[0, -1], n=3)
    assert capsys.readouterr().out.startswith("_Madrid ")
    assert format_token(tokenizer, base["input_ids"][0, 3]) == "_Spain"
    small = GPT2Config(vocab_size=1267, n_embd=8, n_layer=1, n_head=1, n_positions=8)
    assert create_gpt2_lm("capitals", config=small)[2].config.n_embd == 8
