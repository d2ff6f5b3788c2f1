"""module_site(): the input or output of any module as a site, for components given by path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vene_widgets.errors import RequestError
from vene_widgets.models.sites import Site
from vene_widgets.models.sizes import feature_sizes

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class ModuleSite(Site):
    """The whole tensor that a module takes or returns, `(batch, positions, width)`."""

    def read(self, tensor: Tensor) -> Tensor:
        return tensor

    def write(self, tensor: Tensor, rows: Tensor, positions: Tensor, vectors: Tensor) -> None:
        tensor[rows, positions] = vectors

    def check(self, tensor: Tensor, examples: int) -> None:
        if tensor.ndim != 3 or len(tensor) < examples:
            raise RequestError(
                f"the {self.side} at {self.component!r} has shape {tuple(tensor.shape)}: expected "
                "(batch, positions, width)."
            )

    def __str__(self) -> str:
        return repr(self.component)


def module_site(
    component: str, path: str, side: Literal["input", "output"], module: nn.Module
) -> ModuleSite:
    """The site at a module's input or output.

    Args:
        component: the path as the caller wrote it, for messages.
        path: from the model's root.
        side: which of the two.
        module: the module there.

    Returns:
        A site of width 0 if the module does not tell its width.
    """
    return ModuleSite(0, component, None, path, side, 0, _width(module, side), 0)


def _width(module: nn.Module, side: Literal["input", "output"]) -> int:
    """Length of the vectors that a module takes or returns; 0 if it does not tell."""
    sizes = feature_sizes(module)
    if sizes is not None:
        return sizes[side == "output"]
    weight: Tensor | None = getattr(module, "weight", None)
    if weight is None:
        return 0
    if weight.ndim == 1:  # a norm
        return len(weight)
    is_embedding = weight.ndim == 2 and hasattr(module, "embedding_dim") and side == "output"
    return weight.shape[1] if is_embedding else 0
