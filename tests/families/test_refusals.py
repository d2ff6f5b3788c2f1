"""Families that are not known, and requests that a family refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import families
import pytest
import torch
from by_hand import distance, token_ids
from families_testing import BASE, FUSED, LONGER, TOLERANCE, Build

import vene_widgets as vw
from vene_widgets.models import wrap
from vene_widgets.models.architectures import ARCHITECTURES
from vene_widgets.models.sites import require_architecture


def test_an_unknown_family_is_refused_in_words():
    with pytest.raises(vw.RequestError) as caught:
        require_architecture("falcon", "model 'x': ")
    names = ", ".join(repr(name) for name in ARCHITECTURES)
    assert str(caught.value) == (
        f"model 'x': architecture 'falcon' is not known: the families that work are {names}. Load "
        "a model of one of them, or add a table of this one's modules to "
        'vene_widgets/models/architectures/ (docs/families.md, "Add a family").'
    )


def test_gemma_3_with_its_vision_tower_is_refused_with_what_to_load(
    tmp_path: Path, tiny_tokenizer: Any
):
    """What the page says to take out of it gives the whole model's numbers."""
    from transformers import Gemma3Config, Gemma3ForCausalLM, Gemma3ForConditionalGeneration

    vision = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "image_size": 8,
        "patch_size": 4,
    }
    text_config: Any = families.build(
        "gemma3_text-window",
        len(tiny_tokenizer),
        final_logit_softcapping=None,  # which only the text-only class would apply
    ).config
    config = Gemma3Config(text_config=text_config, vision_config=vision, mm_tokens_per_image=4)
    whole: Any = Gemma3ForConditionalGeneration(config).eval()
    whole.save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    words = (
        "architecture 'gemma3' is Gemma 3 with its vision tower. Load a text-only model, of the "
        "family 'gemma3_text' (for instance google/gemma-3-1b-it), or take the language model out "
        "of this one, as docs/families.md shows."
    )
    with pytest.raises(vw.RequestError, match=re.escape(words)):
        vw.load(str(tmp_path))
    with pytest.raises(vw.RequestError, match=re.escape(words)):
        wrap(whole, tiny_tokenizer)
    text: Any = Gemma3ForCausalLM(whole.config.text_config)
    text.model, text.lm_head = whole.model.language_model, whole.lm_head
    model = wrap(text.eval(), tiny_tokenizer)
    with torch.no_grad():
        own = whole(input_ids=token_ids(model, BASE)).logits[0]
    assert distance(vw.run(model, vw.Experiment(base=BASE)).logits, own) <= TOLERANCE
    assert model.resume_blocker is None


PROMPTS = {"base": BASE, "sources": {"source": LONGER}}


@pytest.mark.parametrize("name", [*FUSED, "opt", "qwen3"])
def test_a_refusal_is_one_sentence_that_names_what_is_valid(name: str, build: Build) -> None:
    model = build(name)
    count = model.sites.key_value_heads
    width = model.sites.d_head
    head: dict[str, Any] = {"component": "head_key_output", "head": 0}
    refused: list[tuple[dict[str, Any], str]] = [
        ({"component": "head_key_output", "head": count}, f"needs a head: 0 to {count - 1}"),
        ({"component": "head_value_output"}, "needs a head"),
        ({"component": "mlp_output", "head": 1}, "one vector per position"),
        ({"component": "mlp_gate"}, "is not known. Valid: 'block_input'"),
        ({"layer": 7}, "layer 7 is out of range: the model has 3 layers"),
        ({**head, "subspace": [width]}, f"distinct dims from 0 to {width - 1}"),
        (
            {**head, "intervention": "low_rank_rotated_space", "rank": width + 1},
            f"expected 1 to {width}, the width of the site",
        ),
    ]
    for fields, words in refused:
        slot = {"layer": 1, "position": 3, **fields}
        with pytest.raises(vw.RequestError) as caught:
            vw.run(model, vw.Experiment.model_validate({**PROMPTS, "slots": [slot]}))
        text = str(caught.value)
        assert words in text and "\n" not in text, fields
