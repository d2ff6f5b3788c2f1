"""Changes at some places while a model generates a text, token by token.

A pass of generation may hold the whole text so far, or the newest token alone beside a cache of
keys and values. Positions here are absolute, so the same places change in both.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from vene_widgets.engine.hooks import Edit, Place, apply_edit, rewrite_passes
from vene_widgets.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.models import LanguageModel


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
            new = tensor.to(device, copy=True)
            for one in acting:
                one.apply(new, start, tensor.shape[0] // batch)
            return new.to(tensor.device)

        return write

    places: dict[Place, list[TextEdit]] = {}
    for one in edits:
        places.setdefault(one.edit.site.place, []).append(one)
    functions = {place: writer(here) for place, here in places.items()}
    with rewrite_passes(model, functions, before=count, after=after_pass):
        yield
