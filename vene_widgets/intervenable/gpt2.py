"""Helpers of pyvene's tutorials: GPT-2 with and without its head, next-token distributions."""

from __future__ import annotations

import os
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from vene_widgets.errors import RequestError, choose
from vene_widgets.models import LanguageModel, load
from vene_widgets.models.sites import module_at

_AFTER_THE_HEAD = ("final_logit_softcapping", "logit_scale", "logits_scaling")
"""Settings of a config that change logits after the output head (Gemma, Cohere, Granite)."""


def create_gpt2(
    name: str | os.PathLike[str] = "gpt2", cache_dir: str | os.PathLike[str] | None = None
) -> tuple[Any, Any, Any]:
    """GPT-2 without its output head, on the CPU: `(config, tokenizer, model)`.

    Args:
        name: `"capitals"` (built in), a name on the hub, or a local folder.
        cache_dir: folder of downloaded hub models.

    Returns:
        The model's output has `.last_hidden_state`, `(batch, tokens, d_model)`.
    """
    loaded = load(name, device="cpu", cache_dir=cache_dir)
    model = module_at(loaded.model, loaded.sites.architecture.backbone)
    return _config(loaded), loaded.tokenizer, model


def create_gpt2_lm(
    name: str | os.PathLike[str] = "gpt2",
    config: Any = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> tuple[Any, Any, Any]:
    """GPT-2 with its output head, on the CPU: `(config, tokenizer, model)`.

    Args:
        name, cache_dir: as for `create_gpt2`.
        config: None for trained weights; otherwise the model is new, with random weights of the
            config's shapes.
    """
    loaded = load(name, device="cpu", cache_dir=cache_dir)
    if config is None:
        return _config(loaded), loaded.tokenizer, loaded.model
    from transformers import GPT2LMHeadModel

    return config, loaded.tokenizer, GPT2LMHeadModel(config).eval()


def create_gpt_neo(
    name: str | os.PathLike[str] = "roneneldan/TinyStories-33M",
    cache_dir: str | os.PathLike[str] | None = None,
) -> tuple[Any, Any, Any]:
    """GPT-Neo with its output head, on the CPU: `(config, tokenizer, model)`."""
    return _create(name, cache_dir)


def create_gpt_neox(
    name: str | os.PathLike[str] = "EleutherAI/pythia-70m",
    cache_dir: str | os.PathLike[str] | None = None,
) -> tuple[Any, Any, Any]:
    """GPT-NeoX with its output head, on the CPU: `(config, tokenizer, model)`."""
    return _create(name, cache_dir)


def create_llama(
    name: str | os.PathLike[str] = "sharpbai/alpaca-7b-merged",
    cache_dir: str | os.PathLike[str] | None = None,
    dtype: torch.dtype = torch.bfloat16,
    config: Any = None,
) -> tuple[Any, Any, Any]:
    """Llama with its output head, on the CPU: `(config, tokenizer, model)`.

    Args:
        name, cache_dir: as for `create_gpt2`.
        dtype: of the weights.
        config: None for trained weights; otherwise the model is new, with random weights of the
            config's shapes, and the tokenizer is the named one's.
    """
    return _create(name, cache_dir, dtype, config)


def create_olmo(
    name: str | os.PathLike[str] = "allenai/OLMo-7B-0424-hf",
    cache_dir: str | os.PathLike[str] | None = None,
    dtype: torch.dtype = torch.bfloat16,
    config: Any = None,
) -> tuple[Any, Any, Any]:
    """OLMo with its output head, on the CPU; the arguments of `create_llama`."""
    return _create(name, cache_dir, dtype, config)


def _create(
    name: str | os.PathLike[str],
    cache_dir: str | os.PathLike[str] | None,
    dtype: torch.dtype = torch.float32,
    config: Any = None,
) -> tuple[Any, Any, Any]:
    """A model of any family with its output head: config, tokenizer, model."""
    if config is None:
        loaded = load(name, device="cpu", cache_dir=cache_dir, dtype=dtype)
        return _config(loaded), loaded.tokenizer, loaded.model
    import transformers

    auto: Any = transformers  # whose automatic classes have no types
    tokenizer = auto.AutoTokenizer.from_pretrained(name, cache_dir=cache_dir)
    return config, tokenizer, auto.AutoModelForCausalLM.from_config(config).eval()


def _config(loaded: LanguageModel) -> Any:
    """The Hugging Face config of a loaded model."""
    model: Any = loaded.model
    return model.config


def embed_to_distrib(
    model: nn.Module, embed: Tensor, log: bool = False, logits: bool = False
) -> Tensor:
    """Next-token distributions of last hidden states: their product with the output head's weights.

    Args:
        model: with an output head; without one, its token embeddings are used, which GPT-2 shares
            with its head.
        embed: last hidden states `(..., d_model)`.
        log: return log-probabilities.
        logits: return the numbers before the softmax.

    Returns:
        `(..., vocabulary)`, without gradients.

    Raises:
        RequestError: a model that scales or caps its logits after the head.
    """
    hf_model: Any = model
    for setting in _AFTER_THE_HEAD:
        if getattr(hf_model.config, setting, None) not in (None, 1, 1.0):
            raise RequestError(
                f"embed_to_distrib gives the product with the output head, and a "
                f"{type(model).__name__} changes its logits after that ({setting}): use the logits "
                "of the model itself."
            )
    head = hf_model.get_output_embeddings() or hf_model.get_input_embeddings()
    with torch.no_grad():
        scores = functional.linear(embed, head.weight, getattr(head, "bias", None))
        if logits:
            return scores
        return scores.log_softmax(-1) if log else scores.softmax(-1)


def format_token(tokenizer: Any, tok: Any) -> str:
    """A token's text, with visible spaces and newlines."""
    return tokenizer.decode(tok).replace(" ", "_").replace("\n", "\\n")


def top_vals(
    tokenizer: Any, res: Tensor, n: int = 10, return_results: bool = False
) -> list[tuple[str, float]] | None:
    """Print, or return, the n largest values of one distribution `(vocabulary,)`."""
    top = res.topk(min(n, res.shape[-1]))
    # torch leaves the element type of `tolist` open.
    ids: list[int] = cast("Any", top.indices).tolist()
    values: list[float] = cast("Any", top.values).tolist()
    rows = [(format_token(tokenizer, token), v) for token, v in zip(ids, values, strict=True)]
    if return_results:
        return rows
    for text, value in rows:
        print(f"{text:<20} {value}")
    return None


def sigmoid_boundary(_input: Tensor, boundary_x: Any, boundary_y: Any, temperature: Any) -> Tensor:
    """A soft mask: near 1 between two boundaries, near 0 outside."""
    rising = torch.sigmoid((_input - boundary_x) / temperature)
    return rising * torch.sigmoid((boundary_y - _input) / temperature)


def GET_LOC(  # noqa: N802 (pyvene's name)
    LOC: tuple[int, int],  # noqa: N803
    unit: str = "h.pos",
    batch_size: int = 1,
) -> list[Any]:
    """One slot's location from `(head, position)`, the same for every example."""
    choose(unit, ("h.pos",), "unit")
    head, position = LOC
    return [[[[head]] * batch_size, [[position]] * batch_size]]
