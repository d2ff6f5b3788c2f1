"""Blocks that pass states under other names, and embeddings inside other modules."""

from __future__ import annotations

from typing import Any

import pytest
from by_hand import check_everything
from torch import Tensor, nn
from transformers.models.llama import modeling_llama

import vene_widgets as vw


class NamesItsArguments(modeling_llama.LlamaDecoderLayer):
    def forward(self, hidden_states: Tensor, **kwargs: Any) -> Any:
        attention: Any = self.self_attn
        rows = self.input_layernorm(hidden_states)
        hidden = hidden_states + attention(hidden_states=rows, **kwargs)[0]
        mlp: Any = self.mlp
        return hidden + mlp(x=self.post_attention_layernorm(hidden))


def test_a_block_that_passes_states_by_another_name(llama: vw.LanguageModel) -> None:
    for block in llama.model.get_submodule("model.layers").children():
        block.__class__ = NamesItsArguments
    check_everything(llama)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft
@pytest.mark.parametrize("kind", ["Sequential", "adapter"])
def test_an_embedding_inside_another_module(llama: vw.LanguageModel, kind: str) -> None:
    root: Any = llama.model
    if kind == "Sequential":
        table = root.model.embed_tokens
        norm = nn.LayerNorm(table.embedding_dim).to(llama.device)
        root.model.embed_tokens = nn.Sequential(table, norm)
    else:
        peft: Any = pytest.importorskip("peft", reason="peft is not installed")
        options = {"token_indices": [5, 6], "target_modules": ["embed_tokens"]}
        root = peft.get_peft_model(root, peft.TrainableTokensConfig(**options))
    check_everything(vw.wrap(root, llama.tokenizer))
