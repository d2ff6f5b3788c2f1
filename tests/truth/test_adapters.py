"""Models with LoRA by peft and by transformers; prompt tuning is refused."""

from __future__ import annotations

from typing import Any

import pytest
from by_hand import ITALY, SPAIN, check_everything, distance, plain_logits

import vene_widgets as vw
from vene_widgets.models import wrap


def lora(model: vw.LanguageModel, **more: Any) -> Any:
    import peft

    targets = ["c_attn"] if model.sites.architecture.name == "gpt2" else ["q_proj", "v_proj"]
    return peft.LoraConfig(
        r=2,
        lora_alpha=8,
        target_modules=targets,
        init_lora_weights=False,
        fan_in_fan_out=model.sites.architecture.name == "gpt2",
        task_type="CAUSAL_LM",
        **more,
    )


# transformers warns of a name that peft still uses.
peft_warns = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@peft_warns
@pytest.mark.parametrize("state", ["on", "merged", "disabled", "merged away"])
def test_lora_by_peft(model: vw.LanguageModel, state: str) -> None:
    import peft

    plain = plain_logits(model, SPAIN)
    adapted: Any = peft.get_peft_model(model.model, lora(model)).eval()
    wrapped = wrap(adapted, model.tokenizer)
    vw.sweep(wrapped, SPAIN, ITALY)
    if state == "merged":
        adapted.merge_adapter()
    elif state == "disabled":
        adapted.base_model.disable_adapter_layers()
    elif state == "merged away":
        wrapped = wrap(adapted.merge_and_unload(), model.tokenizer)
    own = plain_logits(wrapped, SPAIN, adapted)
    assert (distance(own, plain) > 1e-3) == (state != "disabled")
    assert distance(vw.run(wrapped, vw.Experiment(base=SPAIN)).logits, own) <= 1e-5
    check_everything(wrapped)
    assert (wrapped.resume_blocker is None) == (state == "merged away")


def test_lora_by_transformers(model: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.integrations import peft as integration

    # The newest peft of a registry may be older than what transformers asks for.
    monkeypatch.setattr(integration, "check_peft_version", lambda **_: None)
    root: Any = model.model
    plain = plain_logits(model, SPAIN)
    before = vw.sweep(model, SPAIN, ITALY).logits
    root.add_adapter(lora(model))
    assert distance(plain_logits(model, SPAIN), plain) > 1e-3
    check_everything(model)
    root.disable_adapters()
    check_everything(model)
    assert distance(vw.sweep(model, SPAIN, ITALY).logits, before) <= 1e-5
    root.enable_adapters()
    check_everything(model)


@peft_warns
def test_prompt_tuning_is_refused(model: vw.LanguageModel) -> None:
    import peft

    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    adapted = peft.get_peft_model(model.model, config)
    with pytest.raises(vw.RequestError, match="virtual tokens"):
        wrap(adapted, model.tokenizer)
