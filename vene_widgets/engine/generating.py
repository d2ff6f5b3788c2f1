"""Changes at some places while a model generates a text, token by token.

A pass of generation may hold the whole text so far, or the newest token alone beside a cache of
keys and values. Positions here are absolute, so the same places change in both.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from vene_widgets.engine.forward import generate_inputs, last_logits, token_batch
from vene_widgets.engine.hooks import Edit, Place, apply_edit, rewrite_passes
from vene_widgets.errors import RequestError, is_out_of_memory
from vene_widgets.models.weight_site import WeightSite
from vene_widgets.tables.statistics import checked_distribution

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.models import LanguageModel
    from vene_widgets.models.sites import Site


@dataclass(frozen=True)
class TextEdit:
    """One change to a text that is being generated.

    Attributes:
        edit: the change. Generation may hold several rows per example, such as beams: it acts on
            all rows of its examples.
        positions: absolute positions at which it acts, one by one, whatever positions `edit` has.
            None for those of `edit`, which lie in the prompt and change together.
        on_acted: called with the positions that each pass changed.
    """

    edit: Edit
    positions: Container[int] | None = None
    on_acted: Callable[[Sequence[int]], None] | None = None

    def positions_in(self, start: int, end: int) -> list[int]:
        """The positions that it changes in a pass over a half-open range of the text."""
        if self.positions is not None:
            return [position for position in range(start, end) if position in self.positions]
        return [] if start else sorted({int(position) for position in self.edit.positions})

    def apply(self, tensor: Tensor, start: int, copies: int) -> None:
        """Apply it to the tensor of one pass, in place.

        Args:
            tensor: `(examples * copies, positions, size)`, a copy of our own.
            start: position of its first token.
            copies: rows per example, side by side.
        """
        found = self.positions_in(start, start + tensor.shape[1])
        for n in range(copies) if found else ():
            one = replace(self.edit, rows=self.edit.rows * copies + n)
            if self.positions is None:
                apply_edit(tensor, one)
                continue
            for position in found:
                at = torch.full_like(self.edit.positions, position - start)
                apply_edit(tensor, replace(one, positions=at))
        if found and self.on_acted:
            self.on_acted(found)


@contextmanager
def intervene_while_generating(
    model: LanguageModel,
    edits: Sequence[TextEdit],
    prompt: tuple[int, int],
    *,
    before_pass: Callable[[], None] | None = None,
    after_pass: Callable[[Any], None] | None = None,
) -> Generator[None, None, None]:
    """Change tensors at some sites while the model generates.

    Edits at one site act in list order, each seeing what the one before left.

    Args:
        model: the model about to generate.
        edits: the changes.
        prompt: examples and tokens of the prompt.
        before_pass: called when a pass begins.
        after_pass: called with the model's output of each pass.
    """
    device, (batch, length) = model.device, prompt
    passes = [-1]

    def count() -> None:
        passes[0] += 1
        if before_pass is not None:
            before_pass()

    def start_of(tensor: Tensor) -> int:
        tokens = tensor.shape[1]
        if tokens == length + passes[0]:
            return 0
        if tokens == 1:
            return length + passes[0] - 1
        raise RequestError(
            f"a pass of generation has {tokens} tokens after a prompt of {length}: expected the "
            "whole text, or one new token beside a cache. Choose another way of decoding."
        )

    def writer(here: Sequence[TextEdit]) -> Callable[[Tensor], Tensor | None]:
        def write(tensor: Tensor) -> Tensor | None:
            start = start_of(tensor)
            acting = [one for one in here if one.positions_in(start, start + tensor.shape[1])]
            if not acting:
                return None
            site, end = here[0].edit.site, start + tensor.shape[1]
            dropped = _dropped_keys(site, tensor, end)
            new = nn.functional.pad(tensor, (dropped, 0)) if dropped else tensor
            new = new.to(device, copy=True)
            for one in acting:
                one.apply(new, start, tensor.shape[0] // batch)
            if dropped:
                _require_no_weight(site, new[..., :dropped], end)
                new = new[..., dropped:]
            return new.to(tensor.device)

        return write

    places: dict[Place, list[TextEdit]] = {}
    for one in edits:
        places.setdefault(one.edit.site.place, []).append(one)
    functions = {place: writer(here) for place, here in places.items()}
    with rewrite_passes(model, functions, before=count, after=after_pass):
        yield


def _dropped_keys(site: Site, tensor: Tensor, end: int) -> int:
    """How many keys before the first of a pass's attention weights its cache no longer holds.

    A cache of a sliding window has the last keys only, so that a key's column is not its position.

    Args:
        site: where the tensor is from.
        tensor: of one pass.
        end: the position after its last token.
    """
    return max(0, end - tensor.shape[-1]) if isinstance(site, WeightSite) else 0


def _require_no_weight(site: Site, weights: Tensor, end: int) -> None:
    """Check that no edit gave weight to keys that are no longer in the cache.

    Args:
        site: where the weights are from.
        weights: of these keys, `(batch, queries, heads, keys)`.
        end: the position after the last query.

    Raises:
        RequestError: one did.
    """
    if weights.any():
        key = int(weights.flatten(0, -2).any(0).int().argmax())
        raise RequestError(
            f"{site}: the query at position {end - 1} would get a weight of key {key}, which the "
            "cache of a sliding window no longer holds: pass use_cache=False, or name later keys."
        )


@dataclass(frozen=True, eq=False)
class GeneratedText:
    """A text that a model generated after a prompt.

    Attributes:
        tokens: ids of the new tokens; an end of text is one of them.
        logits: `(new tokens, vocabulary)` that they were chosen from, on the CPU; None if they were
            not kept.
    """

    tokens: tuple[int, ...]
    logits: Tensor | None


def generate_text(
    model: LanguageModel,
    ids: Sequence[int],
    edits: Sequence[TextEdit],
    options: Mapping[str, Any],
    on_token: Callable[[int, int, Tensor], None],
    *,
    before_pass: Callable[[], None] | None = None,
    keeps_logits: bool = True,
) -> GeneratedText:
    """Generate from one prompt with changes at some sites, by transformers' own `generate`.

    Call it inside `own_model`.

    Args:
        model: the model to run.
        ids: token ids of the prompt.
        edits: the changes.
        options: more arguments of `generate`.
        on_token: called with each new token as it comes: its step from 0, its id, and the logits
            `(vocabulary,)` that it was chosen from.
        before_pass: called when a pass begins; it may raise, which ends the text.
        keeps_logits: whether to return the logits.

    Raises:
        RequestError: the model cannot generate, its logits have NaN, or it ran out of memory.
    """
    require_generates(model)
    pending: deque[Tensor] = deque()  # logits of tokens that have not been handed over
    kept: list[Tensor] = []
    tokens: list[int] = []

    def after_pass(output: Any) -> None:
        logits = last_logits(output)[0]
        if not bool(logits.max().isfinite()):
            checked_distribution(logits, f"logits of new token {len(tokens) + len(pending)}")
        pending.append(logits)

    class Streamer:
        """What `generate` hands each token to; the prompt comes first."""

        has_prompt = False

        def put(self, value: Tensor) -> None:
            if not self.has_prompt:
                self.has_prompt = True
                return
            logits, token = pending.popleft(), int(value[0])
            on_token(len(tokens), token, logits)
            tokens.append(token)
            if keeps_logits:
                kept.append(logits.cpu())

        def end(self) -> None: ...

    batch = token_batch(model, ids)
    try:
        with intervene_while_generating(
            model, edits, (1, len(ids)), before_pass=before_pass, after_pass=after_pass
        ):
            generate_inputs(
                model,
                input_ids=batch,
                attention_mask=torch.ones_like(batch),
                streamer=Streamer(),
                **options,
            )
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise RequestError(
            f"{model.name} ran out of memory after {len(tokens)} new tokens: ask for fewer with "
            "max_new_tokens, or free memory on its device."
        ) from None
    return GeneratedText(tuple(tokens), torch.stack(kept) if kept else None)


def require_generates(model: LanguageModel) -> None:
    """Check that a model's class can generate.

    Raises:
        RequestError: it cannot.
    """
    root: Any = model.tree.root
    if not callable(getattr(root, "generate", None)):
        raise RequestError(
            f"{model.name} cannot generate: {type(root).__name__} has no method generate. Wrap a "
            f"causal language model of transformers, for instance "
            f"{model.sites.architecture.causal_lm}."
        )
