"""Decoding: how the tokens of a text are chosen, and what that is for transformers' `generate`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vene_widgets.errors import RequestError, shown
from vene_widgets.experiments import limits
from vene_widgets.experiments.fields import as_float, as_int
from vene_widgets.tables.number_text import significant

if TYPE_CHECKING:
    from vene_widgets.models import LanguageModel

ONE_TEXT: dict[str, Any] = {
    "num_beams": 1,
    "num_beam_groups": 1,
    "num_return_sequences": 1,
    "penalty_alpha": None,
    "dola_layers": None,
    "constraints": None,
    "force_words_ids": None,
    "guidance_scale": None,
    "prompt_lookup_num_tokens": None,
    "assistant_early_exit": None,
    "use_mtp": None,
    "token_healing": False,
    "cache_implementation": None,
    "prefill_chunk_size": None,
    "disable_compile": True,
    "max_length": None,
    "return_dict_in_generate": False,
    "output_attentions": False,
    "output_hidden_states": False,
    "output_scores": False,
    "output_logits": False,
}
"""Settings of a model's `generation_config` that would run several texts, several tokens or other
models in one pass, and what is put in their place."""


@dataclass(frozen=True)
class Decoding:
    """How tokens are chosen.

    Attributes:
        temperature, top_p, top_k: of the samples; None for the model's own.
        seed: of the samples.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int = 0

    @property
    def samples(self) -> bool:
        """Whether tokens are drawn; else each is the most likely one."""
        return (self.temperature, self.top_p, self.top_k) != (None, None, None)

    @property
    def words(self) -> str:
        """In words: `most likely token each time`, `sampled, temperature 0.7, seed 0`."""
        if not self.samples:
            return "most likely token each time"
        parts = [
            f"{name} {significant(value)}"
            for name, value in (
                ("temperature", self.temperature),
                ("top-p", self.top_p),
                ("top-k", self.top_k),
            )
            if value is not None
        ]
        return ", ".join(["sampled", *parts, f"seed {self.seed}"])

    def options(self, model: LanguageModel, count: int, use_cache: bool) -> dict[str, Any]:
        """Arguments of transformers' `generate`, as far as the installed version has them.

        Args:
            model: the model to run.
            count: new tokens at most.
            use_cache: whether keys and values are kept between passes.
        """
        from transformers import GenerationConfig

        known = vars(GenerationConfig())
        options = {name: value for name, value in ONE_TEXT.items() if name in known}
        options |= {"max_new_tokens": count, "use_cache": use_cache, "do_sample": self.samples}
        for name in ("temperature", "top_p", "top_k"):
            if (value := getattr(self, name)) is not None:
                options[name] = value
        root: Any = model.tree.root
        own: Any = getattr(root, "generation_config", None)
        ends: Any = getattr(own, "eos_token_id", None)
        if getattr(own, "pad_token_id", None) is None and ends is not None:
            # One text needs no padding; without an id, transformers would warn.
            options["pad_token_id"] = ends if isinstance(ends, int) else ends[0]
        if getattr(own, "stop_strings", None):
            options["tokenizer"] = model.tokenizer
        return options


def read_decoding(temperature: object, top_p: object, top_k: object, seed: object) -> Decoding:
    """Check the rules of decoding.

    Raises:
        RequestError: a number out of range.
    """
    heat = None if temperature is None else _number(temperature, "temperature")
    if heat is not None and not 0 < heat < math.inf:
        raise RequestError(
            f"temperature must be above 0, got {shown(temperature)}. For the most likely token "
            "each time, leave temperature, top_p and top_k out."
        )
    share = None if top_p is None else _number(top_p, "top_p")
    if share is not None and not 0 < share <= 1:
        raise RequestError(f"top_p must be above 0 and at most 1, got {shown(top_p)}.")
    most = None if top_k is None else _count(top_k, "top_k")
    if most is not None and most < 0:
        raise RequestError(f"top_k must be 1 or more, or 0 for no limit, got {most}.")
    start = _count(seed, "seed")
    if not 0 <= start < 2**63:
        raise RequestError(f"seed must be 0 or more and below 2**63, got {start}.")
    return Decoding(heat, share, most, start)


def read_length(model: LanguageModel, prompt: int, max_new_tokens: object) -> int:
    """Check a number of new tokens.

    Args:
        model: the model to run.
        prompt: tokens of the prompt.
        max_new_tokens: the user's input.

    Raises:
        RequestError: below 1, or more than the model has positions for. The last new token does not
            run, so it needs none.
    """
    count = _count(max_new_tokens, "max_new_tokens")
    positions = model.sites.positions
    most = limits.POSITIONS if positions is None else positions - prompt + 1
    if not 1 <= count <= most:
        reason = f" after a prompt of {prompt} tokens" if positions is not None else ""
        whole = f" ({model.name} has {positions} positions)" if positions is not None else ""
        raise RequestError(
            f"max_new_tokens must be from 1 to {most}{reason}{whole}, got {shown(count)}."
        )
    return count


def _number(value: object, name: str) -> float:
    try:
        return as_float(value)
    except RequestError as error:
        raise RequestError(f"{name}: {error}.") from None


def _count(value: object, name: str) -> int:
    try:
        return as_int(value)
    except RequestError as error:
        raise RequestError(f"{name}: {error}.") from None
