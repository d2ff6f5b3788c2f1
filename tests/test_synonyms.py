"""Other names of components and interventions are accepted, or explained."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from request_testing import SPAIN, refusal, slot

import vene_widgets as vw
from vene_widgets.errors import RequestError, choose, closest
from vene_widgets.experiments import SweepRequest
from vene_widgets.models import LanguageModel
from vene_widgets.models.sites import Sites


@pytest.mark.parametrize(
    ("theirs", "head", "ours"),
    [
        ("resid_pre", None, "block_input"),
        ("resid_post", None, "block_output"),
        ("attn_out", None, "attention_output"),
        ("mlp_out", None, "mlp_output"),
        ("post", None, "mlp_activation"),
        ("pattern", None, "attention_weight"),
        ("z", None, "attention_value_output"),
        ("z", 1, "head_attention_value_output"),
        ("q", 0, "head_query_output"),
        ("k", None, "key_output"),
        ("v", 2, "head_value_output"),
    ],
)
def test_transformer_lens_names_are_answered_with_ours(
    tiny_gpt2: LanguageModel, theirs: str, head: int | None, ours: str
) -> None:
    assert slot(component=theirs, head=head) == slot(component=ours, head=head)
    assert SweepRequest(component=theirs, head=head).component == ours
    assert slot(component=ours, head=head).replace(component=theirs).component == ours
    if ours != "attention_weight":
        assert tiny_gpt2.sites.site(0, theirs, head) == tiny_gpt2.sites.site(0, ours, head)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("swap", "vanilla"),
        ("patch", "vanilla"),
        ("interchange", "vanilla"),
        ("ablate", "zero"),
        ("knockout", "zero"),
        ("mean_ablate", "mean"),
    ],
)
def test_everyday_names_of_interventions(name: str, ours: str) -> None:
    assert slot(intervention=name, prompts=[SPAIN]).intervention == ours
    assert SweepRequest(intervention=name).intervention == ours


@pytest.mark.usefixtures("restored_registry")
def test_a_registered_name_is_no_synonym() -> None:
    vw.register("swap", lambda base, source: base + source)
    assert slot(intervention="swap").intervention == "swap"


def test_hooks_and_false_friends_of_transformer_lens_are_explained() -> None:
    text = refusal(lambda: slot(component="blocks.3.hook_resid_post"))
    assert "write layer=3, component='block_output'" in text
    assert "component='head_attention_value_output'" in refusal(
        lambda: slot(component="blocks.3.attn.hook_z", head=1)
    )
    assert "before the MLP's norm" in refusal(lambda: slot(component="mlp_in"))
    assert "Valid: 'block_input'" in refusal(lambda: slot(component="blocks.3.ln1.hook_scale"))


def test_unlike_names_are_not_suggested() -> None:
    names = ["gpt2", "llama"]
    for name in ("opt", "gpt_neox", "gemma2", "bert"):
        assert closest(name, names) is None
    assert closest("Lama", names) == "llama" and closest(" GPT2", names) == "gpt2"
    with pytest.raises(RequestError) as caught:
        choose("x" * 10**7, [f"name {i}" for i in range(1000)], "name")
    assert len(str(caught.value)) < 1000 and "(1000 in all)" in str(caught.value)


@pytest.mark.parametrize("kind", ["falcon", "gpt_bigcode", "gemma4", "mpt"])
def test_another_family_is_refused_without_a_guess(kind: str) -> None:
    module: Any = torch.nn.Linear(2, 2)
    module.config = type("Config", (), {"model_type": kind})()
    text = refusal(lambda: Sites(module))
    assert f"architecture '{kind}' is not known: the families that work are 'gpt2'" in text
    assert "Did you mean" not in text and "models/architectures/" in text
