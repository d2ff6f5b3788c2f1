"""LanguageModel: a Hugging Face model and its tokenizer, neither of them ever modified."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

from vene_widgets.errors import RequestError, shown
from vene_widgets.experiments import limits
from vene_widgets.experiments.fields import as_int, as_prompt, as_token_text
from vene_widgets.models.runnable import require_runnable
from vene_widgets.models.sites import Sites, module_at
from vene_widgets.models.token_pieces import Piece, TokenIndex, read_piece, texts_in_prompt
from vene_widgets.models.unwrapping import (
    is_without_weights,
    unwrapped,
    without_weights,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

    from vene_widgets.models.behaviour import Behaviour
    from vene_widgets.models.fingerprint import Fingerprint
    from vene_widgets.models.model_tree import ModelTree


@dataclass(frozen=True)
class Token:
    """One token of a prompt: its index from 0, its id, and its exact text, spaces included.

    A token that is part of a character has the character as its text, and which part it is:
    `🙂(1/2)`, `🙂(2/2)`.
    """

    index: int
    id: int
    text: str


class LanguageModel:
    """A causal language model and its tokenizer, as every function of this package takes them.

    `.model` and `.tokenizer` are the Hugging Face objects themselves. They are only read: every
    run uses a module tree of its own that shares their weights (`models/own_tree.py`).

    Attributes:
        name: the name that it was loaded by; of a folder, the last part of its path.
        model: the Hugging Face causal language model.
        tokenizer: its tokenizer.
        sites: its components and their modules (`print(model.sites)`).
        path: as it was given to `load`; None for models from elsewhere than a folder.
        recipe: source code of the call that loads the same model, `load("gpt2", device="cpu")`;
            None if the user wrapped a model.
        lock: held while a run uses the tree, so that a notebook cell and the explorer's worker
            take turns.
    """

    measure: ClassVar[Callable[[LanguageModel], Behaviour] | None] = None
    """How a model's behaviour is measured; set by `engine.behaviour`, which can run models."""

    def __init__(
        self,
        name: str,
        model: nn.Module,
        tokenizer: Any,
        recipe: str | None = None,
        path: str | None = None,
    ) -> None:
        self.name = name
        self.path = path
        self.recipe = recipe
        self.model = model
        self.tokenizer = tokenizer
        root = unwrapped(model)
        self.sites = Sites(root)
        self.lock = threading.RLock()
        self._tree = _make_tree(name, root, self.sites)
        self._pieces: dict[int, Piece] = {}
        self._index: TokenIndex | None = None

    @property
    def device(self) -> torch.device:
        """Device of the weights, and of every tensor of a run."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights; quantised models have one of their unquantised tensors'."""
        dtypes = (parameter.dtype for parameter in self.model.parameters())
        first = next(dtypes)
        if first.is_floating_point:
            return first
        return next((dtype for dtype in dtypes if dtype.is_floating_point), first)

    @property
    def tree(self) -> ModelTree:
        """The module tree that runs use, and the state of the model that it was made from."""
        return self._tree

    @property
    def net(self) -> nn.Module:
        """The module tree of the run in progress; the engine enters it with `own_model`."""
        return self._tree.net

    def block(self, layer: int) -> nn.Module:
        """The transformer block of `net` at a layer, from 0."""
        return module_at(self.net, f"{self.sites.architecture.blocks}.{layer}")

    @property
    def fingerprint(self) -> Fingerprint:
        """The state of the model now; it equals a later one if nothing has changed between."""
        return self._tree.fingerprint()

    def accept_hooks(self) -> None:
        """Make the hooks and replaced methods that the model carries now part of it.

        Runs that the user calls do so first. The explorer's background runs do not: hooks that come
        and go in other cells are no part of the model.
        """
        self._tree.accept_additions()

    @property
    def behaviour(self) -> Behaviour:
        """What a few short passes measured of this model: whether it is causal, and so on.

        It is measured once per state of the model.
        """
        if LanguageModel.measure is None:
            # By name: the engine knows models, and models know nothing of the engine.
            importlib.import_module("vene_widgets.engine.behaviour")
        assert LanguageModel.measure is not None  # noqa: S101  # the import has set it
        return LanguageModel.measure(self)

    @property
    def resume_blocker(self) -> str | None:
        """Reason why sweeps and cached runs use full forward passes; None if they may be resumed.

        A resumed pass starts at the first changed block. That is allowed only if every module runs
        transformers' own code of the family, without hooks, and if resumed passes were measured to
        agree with full ones.
        """
        self.accept_hooks()
        return self.behaviour.resume_blocker

    def without_weights(self) -> LanguageModel:
        """A copy that knows tokens and sites but has no weights and cannot run."""
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        new.model = without_weights(self.name)
        new._tree, new.lock = cast("ModelTree", new.model), threading.RLock()
        return new

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "lock": None, "_tree": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.lock = threading.RLock()
        if is_without_weights(self.model):
            self._tree = cast("ModelTree", self.model)
        else:
            self._tree = _make_tree(self.name, unwrapped(self.model), self.sites)

    def tokens(self, prompt: str) -> list[Token]:
        """Split a prompt into the tokens that the model reads, special tokens included.

        Raises:
            RequestError: not a str, no token at all, or more tokens than the model has positions.
        """
        _require_text(prompt)
        limit = self.sites.positions
        if limit and len(prompt) > limits.CHARACTERS_PER_POSITION * limit + 1000:
            # Tokenizing megabytes takes seconds.
            raise RequestError(
                f"prompt {shown(prompt, 40)} has {len(prompt)} characters; {self.name} takes at "
                f"most {limit} tokens."
            )
        ids = list(self.tokenizer(prompt)["input_ids"])
        if not ids:
            raise RequestError(f"prompt {prompt!r} has no tokens: expected at least one.")
        if limit and len(ids) > limit:
            raise RequestError(
                f"prompt {shown(prompt, 40)} has {len(ids)} tokens; {self.name} takes at most "
                f"{limit}."
            )
        self._require_id(max(ids), "token id")
        texts = texts_in_prompt([self._piece(id_) for id_ in ids])
        return [Token(i, id_, text) for i, (id_, text) in enumerate(zip(ids, texts, strict=True))]

    def token_text(self, token_id: int) -> str:
        """The text of one token, leading space included. Different ids may have the same text.

        Bytes that make no whole character are shown as `<0xF0>`.

        Raises:
            RequestError: an id outside the vocabulary.
        """
        return self._piece(self._require_id(token_id, "token id")).text

    def token_texts(self, token_ids: Sequence[int]) -> list[str]:
        """`token_text` of several ids."""
        return [self.token_text(token_id) for token_id in token_ids]

    def token_id(self, text: str) -> int:
        """The id of one token, by its text as it is shown.

        The text may be the exact one (`token_text`) or the visible one of tables and screen
        (`␣Rome`). If several ids are shown alike, the tokenizer's own encoding decides. A text
        that no id is shown as may still be one token to the tokenizer, for instance without the
        space that it puts before a word.

        Raises:
            RequestError: the text is no token or several; the message shows how it is split.
        """
        try:
            text = as_token_text(text)
        except RequestError as error:
            raise RequestError(f"token: {error}") from None
        ids = [int(id_) for id_ in self.tokenizer(text, add_special_tokens=False)["input_ids"]]
        if len(ids) == 1 and self.token_text(ids[0]) == text:
            return ids[0]
        if self._index is None:
            self._index = TokenIndex.of(self.sites.vocabulary, self.token_text)
        found = self._index.find(text)
        if len(found) == 1:
            return found[0]
        unknown = getattr(self.tokenizer, "unk_token_id", None)
        if len(ids) == 1 and (ids[0] in found or not found) and ids[0] != unknown:
            return ids[0]
        if found:
            raise RequestError(
                f"token {shown(text)} is the text of {len(found)} ids, {shown(found)}: give the id."
            )
        spaced = f" {text}"
        guess = f" Did you mean {shown(spaced)}?" if text and self._index.find(spaced) else ""
        parts = shown(self.token_texts(ids[:8]))
        raise RequestError(
            f"token {shown(text)} is {len(ids)} tokens, {parts}: expected exactly one (most words "
            f"begin with a space, as in ' Rome').{guess}"
        )

    def resolve_token(self, token: str | int, name: str = "token id") -> int:
        """The id of one token, given by its text as it is shown or by the id itself.

        Args:
            token: the user's input.
            name: the noun for error messages.

        Raises:
            RequestError: a text of no token or several, or an id outside the vocabulary.
        """
        return self.token_id(token) if isinstance(token, str) else self._require_id(token, name)

    def resolve_tokens(
        self, tokens: Iterable[str | int] | str | int, name: str = "token id"
    ) -> tuple[int, ...]:
        """The ids of one token or several.

        Args:
            tokens: texts and ids; a lone text is one token, not its letters.
            name: the noun for error messages.

        Raises:
            RequestError: a token that is none, too many, or something without an order.
        """
        if isinstance(tokens, Mapping):
            raise RequestError(
                f"{name}s must be one token each here, got the sets "
                f"{shown(cast('object', tokens))}: sets are "
                "followed by sweep, sweep_pairs and specification_curve."
            )
        if isinstance(tokens, (set, frozenset)):
            raise RequestError(
                f"{name}s {shown(tokens)} have no order: write a list, so that it is known which "
                "is the first."
            )
        is_one = isinstance(tokens, str) or getattr(tokens, "shape", None) == ()
        if is_one or not isinstance(tokens, Iterable):
            return (self.resolve_token(tokens, name),)  # pyright: ignore[reportArgumentType]
        several = limits.bounded(tokens, limits.TARGETS, f"{name}s")
        return tuple(self.resolve_token(token, name) for token in several)

    def _require_id(self, token: object, name: str) -> int:
        """A token id as a plain int.

        Raises:
            RequestError: no int, or outside the vocabulary.
        """
        try:
            token_id = as_int(token)
        except RequestError:
            raise RequestError(
                f"{name} {shown(token)} is neither a token's text nor its id."
            ) from None
        size = self.sites.vocabulary
        if not 0 <= token_id < size:
            raise RequestError(f"{name} {token_id} is out of range: ids go from 0 to {size - 1}.")
        return token_id

    def _piece(self, token_id: int) -> Piece:
        """A token of the vocabulary, read once."""
        if token_id not in self._pieces:
            self._pieces[token_id] = read_piece(self.tokenizer, token_id)
        return self._pieces[token_id]

    def __repr__(self) -> str:
        sites = self.sites
        if is_without_weights(self.model):
            return f"<LanguageModel {self.name!r}: {sites.architecture.name}, without weights>"
        size = sum(weight.numel() for weight in self.model.parameters())
        return (
            f"<LanguageModel {self.name!r}: {sites.architecture.name}, "
            f"{sites.layers} layers x {sites.d_model}, {size / 1e6:.1f} M parameters, "
            f"{sites.vocabulary} tokens, {self.device}, {self.dtype}>"
        )


def _make_tree(name: str, root: nn.Module, sites: Sites) -> ModelTree:
    """A model's tree. Imported here: to name the models must not load torch."""
    from vene_widgets.models.model_tree import ModelTree

    check = partial(require_runnable, name, root, sites)
    return ModelTree(root, sites.architecture.blocks, check)


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
    """Check that a prompt is a text of bounded length.

    Raises:
        RequestError: it is not.
    """
    if not isinstance(prompt, str):
        raise RequestError(f"prompt must be a str, got {shown(prompt)}.")
    try:
        as_prompt(prompt)
    except RequestError as error:
        raise RequestError(f"prompt: {error}.") from None
