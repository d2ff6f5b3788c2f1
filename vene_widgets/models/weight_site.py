"""weight_site(): attention weights as a site, one head's row of them per query position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vene_widgets.errors import RequestError, shown
from vene_widgets.models.resume_blocker import attention_blocker
from vene_widgets.models.sites import Site
from vene_widgets.models.unwrapping import unwrapped

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.models import LanguageModel

ATTENTION_WEIGHT = "attention_weight"


@dataclass(frozen=True)
class WeightSite(Site):
    """Weights of one head, after the softmax: per query position one weight per key.

    No module has them as its input or output; the engine computes them with the model's own
    attention. The hooked tensor is `(batch, queries, heads, keys)`.
    """

    def read(self, tensor: Tensor) -> Tensor:
        return tensor[..., self._head, :]

    def write(self, tensor: Tensor, rows: Tensor, positions: Tensor, vectors: Tensor) -> None:
        if vectors.shape[-1] != tensor.shape[-1]:
            raise RequestError(
                f"{self}: the base has {tensor.shape[-1]} keys, the weights that go there are of "
                f"{vectors.shape[-1]}; expected a source of the base's length."
            )
        tensor[rows, positions, self._head] = vectors

    @property
    def _head(self) -> int:
        return self.head or 0


def weight_site(model: LanguageModel, layer: int, head: int | None) -> WeightSite:
    """The site of a head's attention weights.

    Args:
        model: the model.
        layer: index of the block; negative counts from the last.
        head: index of the head, negative from the last.

    Raises:
        RequestError: a layer or head that is out of range, no head, or a family whose attention
            cannot be reached.
    """
    sites = model.sites
    site, architecture = sites.site(layer, "attention_output"), sites.architecture
    if (reason := attention_blocker(unwrapped(model.model).config, architecture)) is not None:
        raise RequestError(
            f"component {ATTENTION_WEIGHT!r} cannot be reached: {reason}. The weights follow from "
            "'query_output' and 'key_output', and produce 'attention_value_output'."
        )
    if head is None or not -sites.heads <= head < sites.heads:
        raise RequestError(
            f"component {ATTENTION_WEIGHT!r} needs a head: 0 to {sites.heads - 1}, not "
            f"{shown(head)}."
        )
    path = f"{architecture.blocks}.{site.layer}.{architecture.attention}"
    order = list(architecture.components).index("attention_value_output")
    return WeightSite(
        site.layer, ATTENTION_WEIGHT, head % sites.heads, path, "weights", 0, 0, order
    )
