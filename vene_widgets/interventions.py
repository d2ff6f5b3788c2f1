"""The operators that a slot may put at a site: pure functions of tensors.

Each takes the base's vectors and, where it needs them, the source's, both of shape
`(..., width of the site)`, and returns the new vectors of the same shape. They know nothing of
models, layers or positions. Names are pyvene's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Intervention:
    """One operator.

    Attributes:
        name: what a slot calls it.
        apply: `(base, source) -> new`, all of shape `(..., width)`.
        needs_source: whether it reads a source run.
        formula: for menus and captions.
        about: one sentence, with the method's source.
    """

    name: str
    apply: Callable[[Tensor, Tensor | None], Tensor]
    needs_source: bool
    formula: str
    about: str


def interchange(base: Tensor, source: Tensor | None) -> Tensor:
    """Replace the base's vectors by the source's: the interchange of Geiger et al. 2021.

    Args:
        base: the vectors to be replaced, `(..., width)`.
        source: the vectors that take their place, `(..., width)`.
    """
    if source is None:
        raise AssertionError("an interchange was planned without a source")
    return source.to(device=base.device, dtype=base.dtype)


INTERVENTIONS: dict[str, Intervention] = {
    i.name: i
    for i in (
        Intervention(
            "vanilla",
            interchange,
            needs_source=True,
            formula="new = source",
            about="Interchange: copy the source's state "
            "(Geiger et al. 2021, Causal Abstractions of Neural Networks).",
        ),
    )
}
