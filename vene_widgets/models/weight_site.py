"""weight_site(): attention weights as a site, rows of them per query position."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vene_widgets.errors import RequestError, shown
from vene_widgets.experiments.components import ATTENTION_WEIGHT
from vene_widgets.models.resume_blocker import attention_blocker
from vene_widgets.models.sites import Site
from vene_widgets.models.unwrapping import unwrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from vene_widgets.models import LanguageModel


@dataclass(frozen=True)
class WeightSite(Site):
    """Attention weights after the softmax: per query position, one weight per key and head.

    No module has them as its input or output; the engine computes them with the model's own
    attention. The hooked tensor is `(batch, queries, heads, keys)`. Vectors of one head have one
    weight per key; those of all heads (`head` None) have the heads' weights side by side.

    Attributes:
        keys: the keys that the site covers, in order; None for all, however many there are.
    """

    keys: tuple[int, ...] | None = None

    def read(self, tensor: Tensor) -> Tensor:
        part = self._rows_of(tensor)
        return part.flatten(-2) if self.head is None else part

    def write(self, tensor: Tensor, rows: Tensor, positions: Tensor, vectors: Tensor) -> None:
        here = tensor[rows, positions]
        part = self._rows_of(here)
        if vectors.shape[-1] != self.read(here).shape[-1]:
            raise RequestError(
                f"{self}: the base has {tensor.shape[-1]} keys, the weights that go there are of "
                f"{vectors.shape[-1]}; expected a source of the base's length."
            )
        new, of = vectors.view(part.shape), slice(None) if self.head is None else self.head
        if self.keys is None:
            here[..., of, :] = new
        else:
            here[..., of, list(self.keys)] = new
        tensor[rows, positions] = here

    def all_keys(self) -> WeightSite:
        """The whole rows that the site is a part of."""
        return replace(self, start=0, stop=0, keys=None)

    def _rows_of(self, tensor: Tensor) -> Tensor:
        """The site's part `(…, heads, keys)`, of one head `(…, keys)`."""
        part = tensor if self.head is None else tensor[..., self.head, :]
        return part if self.keys is None else part[..., list(self.keys)]


def weight_site(
    model: LanguageModel, layer: int, head: int | None, keys: Sequence[int] | None = None
) -> WeightSite:
    """The site of attention weights.

    Args:
        model: the model.
        layer: index of the block; negative counts from the last.
        head: index of the head, negative from the last; None for all of them.
        keys: the keys that it covers, from 0; None for all.

    Returns:
        A site whose width is heads × keys; 0 where `keys` is None, as it depends on the prompt.

    Raises:
        RequestError: a layer or head that is out of range, or a family whose attention cannot be
            reached.
    """
    sites = model.sites
    site, architecture = sites.site(layer, "attention_output"), sites.architecture
    if (reason := attention_blocker(unwrapped(model.model).config, architecture)) is not None:
        raise RequestError(
            f"component {ATTENTION_WEIGHT!r} cannot be reached: {reason}. The weights follow from "
            "'query_output' and 'key_output', and produce 'attention_value_output'."
        )
    if head is not None and not -sites.heads <= head < sites.heads:
        raise RequestError(
            f"component {ATTENTION_WEIGHT!r} has heads 0 to {sites.heads - 1}, not {shown(head)}; "
            "None stands for all of them."
        )
    return WeightSite(
        layer=site.layer,
        component=ATTENTION_WEIGHT,
        head=None if head is None else head % sites.heads,
        path=f"{architecture.blocks}.{site.layer}.{architecture.attention}",
        side="weights",
        start=0,
        stop=len(keys or ()),
        order=list(architecture.components).index("attention_value_output"),
        shares=sites.heads if head is None else 1,
        keys=None if keys is None else tuple(keys),
    )
