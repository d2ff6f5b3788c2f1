"""Tiny models with random weights, one or several per family, and what their tensors must be.

Every setting that changes a number is on: norm weights and biases are random, logits are capped or
scaled where the family can, query heads share key-value heads, heads are wider or narrower than
d_model / heads, rotary acts on a part of each head. A second variant has a sliding window that is
shorter than the prompts, or another form of the block.
"""

from __future__ import annotations

import importlib
import re
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from by_hand import ByHand, token_ids
from torch import Tensor, nn

from vene_widgets.models.architectures import ARCHITECTURES
from vene_widgets.models.resume_blocker import has_attention_function

if TYPE_CHECKING:
    from vene_widgets import LanguageModel
    from vene_widgets.models.sites import Site

TINY = 120_000  # parameters
LAYERS, D_MODEL, HEADS, KEY_VALUE_HEADS, HEAD_DIM, D_MLP, POSITIONS = 3, 24, 4, 2, 10, 36, 48
WINDOW = 2  # tokens that a sliding window reaches; prompts have four to six

_TOKENS: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
_GROUPED: dict[str, Any] = {
    **_TOKENS,
    "hidden_size": D_MODEL,
    "intermediate_size": D_MLP,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KEY_VALUE_HEADS,
    "max_position_embeddings": POSITIONS,
}
_WIDE: dict[str, Any] = {**_GROUPED, "head_dim": HEAD_DIM}
_GPT: dict[str, Any] = {
    **_TOKENS,
    "n_embd": D_MODEL,
    "n_layer": LAYERS,
    "n_head": HEADS,
    "n_positions": POSITIONS,
    "n_inner": D_MLP,
}
_SLIDING = ["sliding_attention", "full_attention", "sliding_attention"]
_LONG = {"sliding_window": POSITIONS, "layer_types": _SLIDING}
_SHORT = {"sliding_window": WINDOW, "layer_types": _SLIDING}
_CAPPED = {"final_logit_softcapping": 12.0, "query_pre_attn_scalar": 7}
_HALF_ROTARY = {"rope_theta": 50.0, "rope_type": "default", "partial_rotary_factor": 0.5}
_THETA = {"rope_theta": 50.0, "rope_type": "default"}
_NEOX: dict[str, Any] = {
    **_TOKENS,
    "hidden_size": D_MODEL,
    "intermediate_size": D_MLP,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 3,  # 8 numbers each, 4 of them rotated
    "max_position_embeddings": POSITIONS,
    "rope_parameters": _HALF_ROTARY,
}
_OPT: dict[str, Any] = {
    **_TOKENS,
    "hidden_size": D_MODEL,
    "ffn_dim": D_MLP,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "max_position_embeddings": POSITIONS,
}
_NEO: dict[str, Any] = {
    **_TOKENS,
    "hidden_size": D_MODEL,
    "intermediate_size": D_MLP,
    "num_layers": LAYERS,
    "num_heads": HEADS,
    "max_position_embeddings": POSITIONS,
    "attention_types": [[["global", "local", "local"], 1]],
}
_GRANITE: dict[str, Any] = {
    **_WIDE,
    "rope_parameters": _THETA,
    "embedding_multiplier": 1.7,
    "logits_scaling": 1.5,
    "residual_multiplier": 0.6,
    "attention_multiplier": 0.4,
}
_STABLELM = {**_GROUPED, "num_attention_heads": 6, "rope_parameters": _HALF_ROTARY}

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2", _GPT),
    "llama": ("Llama", {**_WIDE, "rope_parameters": _THETA}),
    "bloom": ("Bloom", {**_TOKENS, "hidden_size": D_MODEL, "n_layer": LAYERS, "n_head": HEADS}),
    "cohere": ("Cohere", {**_WIDE, "logit_scale": 0.4, "rope_parameters": _THETA}),
    "cohere-norms": ("Cohere", {**_WIDE, "logit_scale": 0.4, "use_qk_norm": True}),
    "cohere2": ("Cohere2", {**_WIDE, **_LONG, "logit_scale": 0.4}),
    "cohere2-window": ("Cohere2", {**_WIDE, **_SHORT, "logit_scale": 0.4}),
    "gemma": ("Gemma", {**_WIDE, "rope_parameters": _THETA}),
    "gemma2": ("Gemma2", {**_WIDE, **_LONG, **_CAPPED, "attn_logit_softcapping": 1.5}),
    "gemma2-window": ("Gemma2", {**_WIDE, **_SHORT, **_CAPPED, "attn_logit_softcapping": 1.5}),
    "gemma3_text": ("Gemma3", {**_WIDE, **_LONG, **_CAPPED}),
    "gemma3_text-window": ("Gemma3", {**_WIDE, **_SHORT, **_CAPPED}),
    "gpt_neo": ("GPTNeo", {**_NEO, "window_size": POSITIONS}),
    "gpt_neo-window": ("GPTNeo", {**_NEO, "window_size": WINDOW}),
    "gpt_neox": ("GPTNeoX", _NEOX),
    "gpt_neox-sequential": ("GPTNeoX", {**_NEOX, "use_parallel_residual": False}),
    "gptj": ("GPTJ", {**_GPT, "n_head": 3, "rotary_dim": 4}),
    "granite": ("Granite", _GRANITE),
    "mistral": ("Mistral", {**_WIDE, "sliding_window": None, "rope_parameters": _THETA}),
    "mistral-window": ("Mistral", {**_WIDE, "sliding_window": WINDOW}),
    "olmo": ("Olmo", {**_WIDE, "rope_parameters": _THETA}),
    "olmo-clipped": ("Olmo", {**_WIDE, "clip_qkv": 0.8}),
    "olmo2": ("Olmo2", {**_WIDE, "rope_parameters": _THETA}),
    "olmo3": ("Olmo3", {**_WIDE, **_LONG}),
    "olmo3-window": ("Olmo3", {**_WIDE, **_SHORT}),
    "opt": ("OPT", _OPT),
    "opt-norms-after": ("OPT", {**_OPT, "do_layer_norm_before": False, "word_embed_proj_dim": 16}),
    "phi": ("Phi", {**_STABLELM, "qk_layernorm": True}),
    "phi3": ("Phi3", {**_WIDE, "rope_parameters": _THETA}),
    "phi3-window": ("Phi3", {**_WIDE, "sliding_window": WINDOW}),
    "qwen2": ("Qwen2", {**_GROUPED, "rope_parameters": _THETA}),
    "qwen2-window": ("Qwen2", {**_GROUPED, **_SHORT, "use_sliding_window": True}),
    "qwen3": ("Qwen3", {**_WIDE, "rope_parameters": _THETA}),
    "qwen3-window": ("Qwen3", {**_WIDE, **_SHORT, "use_sliding_window": True}),
    "smollm3": ("SmolLM3", {**_WIDE, "no_rope_layers": [1, 0, 1]}),
    "smollm3-window": (
        "SmolLM3",
        {**_WIDE, **_SHORT, "no_rope_layers": [1, 0, 1], "use_sliding_window": True},
    ),
    "stablelm": ("StableLm", {**_STABLELM, "use_qkv_bias": True}),
    "stablelm-parallel": (
        "StableLm",
        {**_STABLELM, "use_parallel_residual": True, "qk_layernorm": True},
    ),
    "starcoder2": ("Starcoder2", {**_WIDE, "rope_parameters": _THETA}),
    "starcoder2-window": ("Starcoder2", {**_WIDE, "sliding_window": WINDOW}),
}
"""Family, or family and variant -> the stem of its classes in transformers, and its config."""

_AFTER_SUBLAYERS = ("post_attention_layernorm", "post_feedforward_layernorm")
NORMED_BRANCHES: dict[str, tuple[str, str]] = {
    "gemma2": _AFTER_SUBLAYERS,
    "gemma3_text": _AFTER_SUBLAYERS,
    "olmo2": _AFTER_SUBLAYERS,
    "olmo3": _AFTER_SUBLAYERS,
}
"""Family -> norms of what attention and of what the MLP add to the residual stream."""

_GATED = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
_PLAIN_MLP = {
    "gpt2": ("mlp.c_fc", "mlp.c_proj"),
    "gpt_neo": ("mlp.c_fc", "mlp.c_proj"),
    "starcoder2": ("mlp.c_fc", "mlp.c_proj"),
    "gpt_neox": ("mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    "bloom": ("mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    "gptj": ("mlp.fc_in", "mlp.fc_out"),
    "phi": ("mlp.fc1", "mlp.fc2"),
    "opt": ("fc1", "fc2"),
}


def mlp_by_hand(model: LanguageModel, block: nn.Module, given: Tensor) -> tuple[Tensor, Tensor]:
    """Activation and output of a block's MLP, from its projections' weights.

    Args:
        model: one of `CONFIGS`.
        block: one of its blocks.
        given: the MLP's input, `(positions, d_model)`.
    """
    from transformers.activations import ACT2FN

    config: Any = model.model.config
    names = ("hidden_act", "hidden_activation", "activation_function")
    kind = next((getattr(config, name) for name in names if hasattr(config, name)), "gelu_new")
    if config.model_type in _PLAIN_MLP:
        up, down = (block.get_submodule(path) for path in _PLAIN_MLP[config.model_type])
        activation = ACT2FN[kind](up(given))
        return activation, down(activation)
    if config.model_type == "phi3":
        gate, linear = block.get_submodule("mlp.gate_up_proj")(given).chunk(2, dim=-1)
        down = block.get_submodule("mlp.down_proj")
    else:
        gate_proj, up, down = (block.get_submodule(path) for path in _GATED)
        gate, linear = gate_proj(given), up(given)
    activation = ACT2FN[kind](gate)
    return activation, down(activation * linear)


_CAUSAL_LM = {"GPT2": "GPT2LMHeadModel"}
_CONFIG = {"Gemma3": "Gemma3TextConfig"}


def family_of(name: str) -> str:
    """The `model_type` of one of `CONFIGS`."""
    return name.partition("-")[0]


def blocker_of(name: str) -> str | None:
    """Why passes of one of `CONFIGS` are not resumed, with the installed transformers."""
    architecture = ARCHITECTURES[family_of(name)]
    importlib.import_module(architecture.code)
    inside = "compute attention inside their attention module"
    if architecture.attention_method is None:
        return f"{architecture.name} models {inside}"
    if architecture.attention_method or has_attention_function(architecture):
        return None
    return f"{architecture.name} models of this version of transformers {inside}"


def build(name: str, vocabulary: int, attention: str = "", **options: Any) -> nn.Module:
    """One of `CONFIGS` with random weights, always the same; torch's own random state stays.

    Args:
        name: which.
        vocabulary: number of tokens.
        attention: `"eager"` or `"sdpa"`; by default what transformers chooses.
        options: more settings of the config.
    """
    import transformers

    stem, settings = CONFIGS[name]
    config_class = getattr(transformers, _CONFIG.get(stem, f"{stem}Config"))
    model_class = getattr(transformers, _CAUSAL_LM.get(stem, f"{stem}ForCausalLM"))
    config = config_class(vocab_size=vocabulary, **{**settings, **options})
    if attention:
        config._attn_implementation = attention
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(0)
        model: nn.Module = model_class(config).eval()
    _randomise(model, torch.Generator().manual_seed(zlib.crc32(name.encode())))
    assert sum(weight.numel() for weight in model.parameters()) < TINY
    return model


def _randomise(model: nn.Module, generator: torch.Generator) -> None:
    """Weights of moderate size: nothing is 0 or 1, and no state is out of proportion."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            drawn = torch.randn(weight.shape, generator=generator)
            if "norm" in name or ".ln_" in name:
                # Gemma's norms scale by 1 + weight.
                centre = 0.0 if "Gemma" in type(model).__name__ else 1.0
                weight.copy_((0.0 if name.endswith("bias") else centre) + 0.3 * drawn)
            elif weight.dim() == 1:
                weight.copy_(0.3 * drawn)
            elif "embed" in name or "wte" in name or "wpe" in name:
                weight.copy_(0.7 * drawn)
            else:
                weight.copy_(drawn * 1.5 / weight.shape[-1] ** 0.5)


def fused_part(model: LanguageModel, component: str, tensor: Tensor) -> Tensor:
    """A whole component, as a view of the tensor of its module, by the family's own layout.

    Args:
        model: one of `CONFIGS`.
        component: without heads.
        tensor: `(batch, positions, size)`, or `(batch * positions, size)` in OPT's MLP, for a
            single prompt.

    Returns:
        `(batch, positions, heads, d_head)` where a projection is fused, else `(batch, positions,
        width)`.
    """
    config: Any = model.model.config
    if tensor.dim() == 2:
        tensor = tensor[None]
    kind = {"query_output": 0, "key_output": 1, "value_output": 2}.get(component)
    if kind is None:
        return tensor
    if config.model_type in ("gpt_neox", "bloom"):  # q, k, v of head 0, then of head 1, ...
        heads = config.num_attention_heads
        return tensor.view(*tensor.shape[:2], heads, 3, config.hidden_size // heads)[:, :, :, kind]
    if config.model_type == "gpt2":  # all queries, all keys, all values
        return tensor.view(*tensor.shape[:2], 3, config.n_head, -1)[:, :, kind]
    if config.model_type == "phi3":  # the same, with fewer keys and values
        heads, shared = config.num_attention_heads, config.num_key_value_heads
        split = tensor.view(*tensor.shape[:2], heads + 2 * shared, -1)
        first = (0, heads, heads + shared)[kind]
        return split[:, :, first : first + (heads if kind == 0 else shared)]
    return tensor


def part(model: LanguageModel, component: str, head: int | None, tensor: Tensor) -> Tensor:
    """A component, or one of its heads, as a view of the tensor of its module.

    Returns:
        `(batch, positions, ...)`.
    """
    whole = fused_part(model, component.removeprefix("head_"), tensor)
    if head is None:
        return whole
    if whole.dim() == 3:
        config: Any = model.model.config
        count = config.num_attention_heads
        if component in ("head_key_output", "head_value_output"):
            count = getattr(config, "num_key_value_heads", None) or count
        whole = whole.view(*whole.shape[:2], count, -1)
    return whole[:, :, head]


class PartByHand(ByHand):
    """`ByHand` for any family's component or head: parts are found by the family's own layout."""

    def __init__(
        self,
        model: LanguageModel,
        base: str,
        source: str,
        component: str,
        head: int | None = None,
    ) -> None:
        self.model, self.component, self.head = model, component, head
        self.root = model.tree.root
        self.base, self.source = (token_ids(model, prompt) for prompt in (base, source))
        self.recorded: dict[int, Tensor] = {}

    def _site(self, layer: int) -> Site:
        return self.model.sites.site(layer, self.component, self.head)

    def _part(self, tensor: Tensor) -> Tensor:
        return part(self.model, self.component, self.head, tensor)

    def states(self, layer: int, ids: Tensor | None = None) -> Tensor:
        """The component in the source run, or in a run of other tokens, `(positions, ...)`."""
        found: list[Tensor] = []

        def read(tensor: Tensor) -> None:
            found.append(self._part(tensor).clone())

        self._call(self._site(layer), read, self.source if ids is None else ids)
        return found[-1][0]

    def logits(self, layer: int, position: int, source_position: int) -> Tensor:
        """Logits `(positions, vocabulary)` of one cell."""
        if layer not in self.recorded:
            self.recorded[layer] = self.states(layer)

        def put(tensor: Tensor) -> Tensor:
            new = tensor.clone()
            self._part(new)[0, position] = self.recorded[layer][source_position]
            return new

        return self._call(self._site(layer), put, self.base)


# ---- the table of docs/families.md ---------------------------------------------------------------

GROUPS = {
    "residual stream": ("block_input", "block_output"),
    "attention": ("attention_input", "attention_output"),
    "attended values": ("attention_value_output", "head_attention_value_output"),
    "queries, keys, values": (
        *("query_output", "key_output", "value_output"),
        *("head_query_output", "head_key_output", "head_value_output"),
    ),
    "MLP": ("mlp_input", "mlp_activation", "mlp_output"),
}
"""Column of the table -> its components."""

_MARKS = "<!-- table of families -->\n", "<!-- end of table -->\n"


def docstring(name: str) -> str:
    """What the file of a family says about it."""
    module = importlib.import_module(f"vene_widgets.models.architectures.{name}")
    return module.__doc__ or ""


def with_table(page: str, resumed: Mapping[str, bool]) -> str:
    """A page with the table of families between its marks.

    Args:
        page: the text.
        resumed: family -> whether its passes were resumed.
    """
    lines = [
        f"| models | `model_type` | {' | '.join(GROUPS)} |\n",
        f"|{'---|' * (2 + len(GROUPS))}\n",
    ]
    for name, architecture in ARCHITECTURES.items():
        first = docstring(name).splitlines()[0]
        models = re.sub(r" \([^)]*\)", "", first).partition(":")[0].rstrip(".")
        speed = "fast" if resumed[name] else "slow"
        cells = [
            speed if set(components) <= set(architecture.components) else "none"
            for components in GROUPS.values()
        ]
        lines.append(f"| {models} | `{name}` | {' | '.join(cells)} |\n")
    before, rest = page.split(_MARKS[0])
    after = rest.split(_MARKS[1])[1]
    return "".join([before, _MARKS[0], "\n", *lines, "\n", _MARKS[1], after])
