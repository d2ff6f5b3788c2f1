"""LanguageModel: a Hugging Face model and its tokenizer, neither of them ever modified."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

from vene_widgets.errors import RequestError
from vene_widgets.models.resume_blocker import resume_blocker
from vene_widgets.models.sites import Sites, module_at

if TYPE_CHECKING:
    import torch
    from torch import nn


# One lock per Hugging Face model, shared by all its wrappers.
_LOCKS: weakref.WeakKeyDictionary[nn.Module, threading.RLock] = weakref.WeakKeyDictionary()
_LOCKS_LOCK = threading.Lock()


@dataclass(frozen=True)
class Token:
    """One token of a prompt: its index from 0, its id, and its exact text, spaces included."""

    index: int
    id: int
    text: str


class LanguageModel:
    """A causal language model and its tokenizer, as every function of this package takes them.

    `.model` and `.tokenizer` are the Hugging Face objects themselves. They are never modified:
    every run removes its hooks and restores what it changed.

    Attributes:
        name: the name or folder that it was loaded from.
        model: the Hugging Face causal language model.
        tokenizer: its tokenizer.
        sites: its components and their modules (`print(model.sites)`).
        recipe: source code of the call that loads the same model, `load("gpt2", device="cpu")`;
            None if the user wrapped a model.
        lock: held while a run has hooks on the model, so that a notebook cell and the explorer's
            worker never use it at the same time.
    """

    def __init__(
        self, name: str, model: nn.Module, tokenizer: Any, recipe: str | None = None
    ) -> None:
        self.name = name
        self.recipe = recipe
        self.model = model
        self.tokenizer = tokenizer
        self.sites = Sites(model)
        with _LOCKS_LOCK:
            self.lock = _LOCKS.setdefault(model, threading.RLock())
        self._texts: dict[int, str] = {}

    @property
    def device(self) -> torch.device:
        """Device of the weights, and of every tensor of a run."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights."""
        return next(self.model.parameters()).dtype

    @property
    def head(self) -> nn.Module:
        """The output head: its input is the last hidden state, its output the logits."""
        return module_at(self.model, self.sites.architecture.unembedding)

    @property
    def resume_blocker(self) -> str | None:
        """Reason why sweeps and cached runs use full forward passes; None if they can be resumed.

        Most runs restart at the first changed block. That is refused if it could differ from a
        full pass: unusual attention, user-defined hooks, replaced `forward` methods.
        """
        return resume_blocker(self.model)

    def block(self, layer: int) -> nn.Module:
        """The transformer block at a layer, from 0."""
        return module_at(self.model, f"{self.sites.architecture.blocks}.{layer}")

    def tokens(self, prompt: str) -> list[Token]:
        """Split a prompt into the tokens that the model reads, special tokens included.

        Raises:
            RequestError: not a str, no token at all, or more tokens than the model has positions.
        """
        _require_text(prompt)
        ids = list(self.tokenizer(prompt)["input_ids"])
        limit = self.sites.positions
        if not ids:
            raise RequestError(f"prompt {prompt!r} has no tokens: expected at least one.")
        if limit and len(ids) > limit:
            raise RequestError(
                f"prompt {prompt[:40]!r}… has {len(ids)} tokens; {self.name} takes at most {limit}."
            )
        return [Token(i, id_, self.token_text(id_)) for i, id_ in enumerate(ids)]

    def token_text(self, token_id: int) -> str:
        """The text of one token, leading space included. Different ids may have the same text.

        Raises:
            RequestError: an id outside the vocabulary.
        """
        token_id = int(token_id)
        if token_id not in self._texts:
            size = self.sites.vocabulary
            if not 0 <= token_id < size:
                raise RequestError(
                    f"token id {token_id} is out of range: ids go from 0 to {size - 1}."
                )
            self._texts[token_id] = self._decode(token_id)
        return self._texts[token_id]

    def token_texts(self, token_ids: Sequence[int]) -> list[str]:
        """`token_text` of several ids."""
        return [self.token_text(token_id) for token_id in token_ids]

    def token_id(self, text: str) -> int:
        """The id of a text that is exactly one token.

        Raises:
            RequestError: the text is no token or several; the message shows how it is split.
        """
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            raise RequestError(
                f"token {text!r} is {len(ids)} tokens, {self.token_texts(ids)}: expected exactly "
                "one (most words begin with a space, as in ' Rome')."
            )
        return int(ids[0])

    def resolve_token(self, token: str | int, name: str = "token id") -> int:
        """The id of one token, given by its exact text or by the id itself.

        Args:
            token: the user's input.
            name: the noun for error messages.

        Raises:
            RequestError: a text of no token or several, or an id outside the vocabulary.
        """
        if isinstance(token, str):
            return self.token_id(token)
        if isinstance(token, bool) or not isinstance(token, Integral):
            raise RequestError(f"{name} {token!r} is neither a token's text nor its id.")
        size = self.sites.vocabulary
        if not 0 <= token < size:
            raise RequestError(f"{name} {token} is out of range: ids go from 0 to {size - 1}.")
        return int(token)

    def _decode(self, token_id: int) -> str:
        """Decode one token, with the leading space that a lone token loses."""
        text = self.tokenizer.decode([token_id], clean_up_tokenization_spaces=False)
        piece = self.tokenizer.convert_ids_to_tokens(token_id)
        if isinstance(piece, str) and piece.startswith("▁") and not text.startswith(" "):
            return " " + text  # sentencepiece strips the space of the first token of a text
        return text

    def __repr__(self) -> str:
        sites, size = self.sites, sum(weight.numel() for weight in self.model.parameters())
        return (
            f"<LanguageModel {self.name!r}: {sites.architecture.name}, "
            f"{sites.layers} layers x {sites.d_model}, {size / 1e6:.1f} M parameters, "
            f"{sites.vocabulary} tokens, {self.device}, {self.dtype}>"
        )


def require_language_model(model: object) -> None:
    """Check that a model came from `load` or `wrap`, and is not, for instance, a model's name.

    Raises:
        RequestError: not a `LanguageModel`.
    """
    if not isinstance(model, LanguageModel):
        raise RequestError(
            f"model must come from vw.load(name) or vw.wrap(model, tokenizer), got a "
            f"{type(model).__name__}."
        )


def _require_text(prompt: object) -> None:
    """Check that a prompt is a str.

    Raises:
        RequestError: another type.
    """
    if not isinstance(prompt, str):
        raise RequestError(f"prompt must be a str, got {prompt!r}.")
