"""Models as their users have them: saved, dispatched, with an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from by_hand import distance, plain_logits
from families_testing import BASE, ITALY, MAP_TOLERANCE, PLAIN_VARIANTS, Build, check_map_is_runs

import vene_widgets as vw
from vene_widgets.models import wrap


@pytest.mark.parametrize("name", PLAIN_VARIANTS)
def test_a_saved_folder_gives_the_same_numbers(
    name: str, build: Build, tmp_path: Path, device: torch.device
) -> None:
    model = build(name)
    net: Any = model.model
    net.save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    loaded = vw.load(str(tmp_path), device=device)
    plain = vw.Experiment(base=BASE)
    assert torch.equal(vw.run(loaded, plain).logits, vw.run(model, plain).logits)
    assert loaded.resume_blocker == model.resume_blocker
    half = vw.load(str(tmp_path), device=device, dtype="bfloat16")
    assert half.dtype == torch.bfloat16 and half.resume_blocker == model.resume_blocker
    check_map_is_runs(half, component="value_output", tolerance=0.05)


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "gemma2", "bloom", "opt"])
def test_the_first_sweep_of_a_model_with_hooks_of_accelerate(name: str, build: Build) -> None:
    """They note on themselves where inputs were: that is no change of the model."""
    accelerate = pytest.importorskip("accelerate")
    whole = build(name)
    model = build(name)
    if model.device.type != "cpu":
        pytest.skip("the hooks are put on the CPU")
    net: Any = accelerate.dispatch_model(model.model, {"": "cpu"}, force_hooks=True)
    model = wrap(net, model.tokenizer, name)
    before = net._hf_hook.input_device
    swept = vw.sweep(model, BASE, ITALY)
    assert net._hf_hook.input_device == before, "the user's own hook was written to"
    assert model.resume_blocker is not None
    assert distance(swept.logits, vw.sweep(whole, BASE, ITALY).logits) <= 1e-5


@pytest.mark.filterwarnings("ignore::FutureWarning:transformers")
@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("qwen2", ["q_proj", "v_proj", "down_proj"]),
        ("gemma2", ["q_proj", "v_proj"]),
        ("gpt_neox", ["query_key_value", "dense"]),
    ],
)
def test_a_low_rank_adapter(name: str, targets: list[str], build: Build) -> None:
    peft: Any = pytest.importorskip("peft")
    bare = build(name)
    options = peft.LoraConfig(r=2, target_modules=targets, task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(build(name).model, options).eval()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for parameter_name, parameter in adapted.named_parameters():
            if "lora_B" in parameter_name:
                parameter.copy_(0.3 * torch.randn(parameter.shape))
    model = wrap(adapted, bare.tokenizer, name)
    own = vw.run(model, vw.Experiment(base=BASE)).logits
    assert distance(own, plain_logits(model, BASE)) <= 1e-5
    assert distance(own, plain_logits(bare, BASE)) > MAP_TOLERANCE
    assert model.resume_blocker is not None
    check_map_is_runs(model, component="query_output")
