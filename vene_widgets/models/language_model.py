"""LanguageModel: a Hugging Face model and its tokenizer, held side by side and left as they are."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vene_widgets.errors import RequestError
from vene_widgets.models.resume_blocker import resume_blocker
from vene_widgets.models.sites import Sites, module_at

if TYPE_CHECKING:
    import torch
    from torch import nn


# One lock per Hugging Face model, however often it is wrapped.
_LOCKS: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
_LOCKS_LOCK = threading.Lock()


@dataclass(frozen=True)
class Token:
    """One token of a prompt: its place from 0, its id, and its text (exact, spaces included)."""

    index: int
    id: int
    text: str


class LanguageModel:
    """What every function of this package takes as its model.

    The Hugging Face objects stay reachable as `.model` and `.tokenizer`, and are never changed:
    every run puts back what it touched.

    Attributes:
        name: how it was asked for.
        model: the Hugging Face causal language model.
        tokenizer: its tokenizer.
        sites: which components it has, and where (`print(model.sites)`).
        recipe: source of the call that loads the same model, `load("gpt2", device="cpu")`; None for
            a user's own one.
        lock: held while a run has hooks on the model, so that a notebook cell and the explorer's
            worker never meet inside it.
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
        """Where the weights are; every tensor of a run stays there."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The weights' number type."""
        return next(self.model.parameters()).dtype

    @property
    def head(self) -> nn.Module:
        """The output head: its input is the last hidden state, its output the logits."""
        return module_at(self.model, self.sites.architecture.unembedding)

    @property
    def resume_blocker(self) -> str | None:
        """Reason why sweeps and cached answers run whole forward passes; None if they need not.

        Most runs restart at the first changed block. That is refused where it could differ from a
        full pass: unusual attention, user-defined hooks, replaced `forward` methods.
        """
        return resume_blocker(self.model)

    def tokens(self, prompt: str) -> list[Token]:
        """Split a prompt into the tokens that the model sees, special tokens included.

        Raises:
            RequestError: no token at all, or more than the model has positions for.
        """
        if not isinstance(prompt, str):
            raise RequestError(f"prompt {prompt!r} is not a text; a str is needed.")
        ids = list(self.tokenizer(prompt)["input_ids"])
        limit = self.sites.positions
        if not ids:
            raise RequestError(f"prompt {prompt!r} has no tokens; at least one is needed.")
        if limit and len(ids) > limit:
            raise RequestError(
                f"prompt {prompt[:40]!r}… has {len(ids)} tokens; {self.name} takes at most {limit}."
            )
        return [Token(i, id_, self.token_text(id_)) for i, id_ in enumerate(ids)]

    def token_text(self, token_id: int) -> str:
        """The text of one token, its leading space kept. Different ids may share a text.

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
            RequestError: the text is none or several tokens; the message shows the split.
        """
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            raise RequestError(
                f"token {text!r} is {len(ids)} tokens, {self.token_texts(ids)}; exactly one is "
                "needed (most words begin with a space, as in ' Rome')."
            )
        return int(ids[0])

    def _decode(self, token_id: int) -> str:
        text = self.tokenizer.decode([token_id], clean_up_tokenization_spaces=False)
        piece = self.tokenizer.convert_ids_to_tokens(token_id)
        if isinstance(piece, str) and piece.startswith("▁") and not text.startswith(" "):
            return " " + text  # sentencepiece drops the space of a lone token
        return text

    def __repr__(self) -> str:
        s, count = self.sites, sum(p.numel() for p in self.model.parameters())
        return (
            f"<LanguageModel {self.name!r}: {s.architecture.name}, "
            f"{s.layers} layers x {s.d_model}, "
            f"{count / 1e6:.1f} M parameters, {s.vocabulary} tokens, {self.device}, {self.dtype}>"
        )
