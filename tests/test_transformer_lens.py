"""TransformerLens as an oracle: the same weights there give the same numbers.

It is an extra of its own, `vene-widgets[oracle]`; without it these tests are skipped.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import vene_widgets as vw

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

SPAIN, ITALY = "The capital of Spain is", "The capital of Italy is"
TARGETS = (" Rome", " Madrid")


@pytest.fixture(scope="module")
def hooked(capitals: vw.LanguageModel) -> Any:
    """A bridge over a copy of the built-in model, nothing folded or centred."""
    bridges = pytest.importorskip("transformer_lens.model_bridge", exc_type=ImportError)
    own = copy.deepcopy(capitals.model).cpu()
    return bridges.TransformerBridge.boot_transformers(
        "gpt2", hf_model=own, tokenizer=capitals.tokenizer, device="cpu"
    )


def ids(model: vw.LanguageModel, prompt: str) -> torch.Tensor:
    return torch.tensor([[token.id for token in model.tokens(prompt)]])


def names(model: vw.LanguageModel) -> tuple[int, int]:
    """The ids of the two targets."""
    one, other = model.resolve_tokens(list(TARGETS))
    return one, other


def difference(model: vw.LanguageModel, logits: torch.Tensor) -> torch.Tensor:
    right, wrong = names(model)
    return logits[0, -1, right] - logits[0, -1, wrong]


def swept(model: vw.LanguageModel, *arguments: Any, **options: Any) -> Any:
    frame = vw.sweep(model, SPAIN, ITALY, *arguments, targets=list(names(model)), **options).frame
    return frame[frame["target_id"] == names(model)[0]]


def test_logits(capitals: vw.LanguageModel, hooked: Any) -> None:
    with torch.no_grad():
        there = hooked(ids(capitals, SPAIN))[0]
    here = vw.run(capitals, vw.Experiment(base=SPAIN)).logits
    assert torch.allclose(here.cpu(), there, atol=1e-4)


@pytest.mark.parametrize(
    ("component", "there"),
    [
        ("block_input", "get_act_patch_resid_pre"),
        ("attention_output", "get_act_patch_attn_out"),
        ("mlp_output", "get_act_patch_mlp_out"),
    ],
)
def test_patching_the_stream(
    capitals: vw.LanguageModel, hooked: Any, component: str, there: str
) -> None:
    patching = pytest.importorskip("transformer_lens.patching", exc_type=ImportError)
    with torch.no_grad():
        _, cache = hooked.run_with_cache(ids(capitals, ITALY))
        metric = partial(difference, capitals)
        found = getattr(patching, there)(hooked, ids(capitals, SPAIN), cache, metric)
    own = swept(capitals, component).pivot(
        index="layer", columns="position", values="logit_difference"
    )
    assert np.allclose(own.to_numpy(), found.numpy(), atol=1e-4)
    assert np.ptp(found.numpy()) > 0.01


def test_patching_heads(capitals: vw.LanguageModel, hooked: Any) -> None:
    patching = pytest.importorskip("transformer_lens.patching", exc_type=ImportError)
    with torch.no_grad():
        _, cache = hooked.run_with_cache(ids(capitals, ITALY))
        found = patching.get_act_patch_attn_head_out_by_pos(
            hooked, ids(capitals, SPAIN), cache, partial(difference, capitals)
        )  # (layers, positions, heads)
    own = swept(capitals, "z", head="all").set_index(["layer", "position", "head"])
    for (layer, position, head), value in own["logit_difference"].items():
        assert value == pytest.approx(found[layer, position, head].item(), abs=1e-4)


def test_attention_patterns(capitals: vw.LanguageModel, hooked: Any) -> None:
    with torch.no_grad():
        _, cache = hooked.run_with_cache(ids(capitals, SPAIN))
    own = vw.attention(capitals, SPAIN).weights
    for layer in range(capitals.sites.layers):
        assert torch.allclose(own[layer].cpu().float(), cache["pattern", layer][0], atol=1e-5)


def test_the_lens(capitals: vw.LanguageModel, hooked: Any) -> None:
    with torch.no_grad():
        _, cache = hooked.run_with_cache(ids(capitals, SPAIN))
        found = {
            layer: hooked.unembed(hooked.ln_final(cache["resid_post", layer])).softmax(-1)[0]
            for layer in range(capitals.sites.layers)
        }
    right = names(capitals)[0]
    own = vw.lens(capitals, SPAIN, targets=[right]).frame
    row: Any
    for row in own.itertuples():
        there = found[row.layer][row.position, right].item()
        assert row.target_probability == pytest.approx(there, abs=1e-5)


def test_direct_logit_attribution(capitals: vw.LanguageModel, hooked: Any) -> None:
    right, wrong = names(capitals)
    with torch.no_grad():
        _, cache = hooked.run_with_cache(ids(capitals, SPAIN))
        heads = cache.stack_head_results(layer=-1, pos_slice=-1)  # (layers * heads, 1, d_model)
        heads = heads - heads.mean(-1, keepdim=True)
        scaled = heads / cache["ln_final.hook_scale"][0, -1] * hooked.ln_final.w
        found = (scaled @ (hooked.W_U[:, right] - hooked.W_U[:, wrong]))[:, 0]
    own = vw.paths(capitals, SPAIN, ITALY, senders="heads", targets=(right, wrong)).frame
    assert np.allclose(own["contribution"].to_numpy(), found.numpy(), atol=1e-4)
    assert found.abs().max() > 0.01
