"""held_inputs(): what sublayers of a block read if the scales of the norms before them are held.

TransformerLens' `get_act_patch_direct_path` measures paths to queries, keys and values this way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vene_widgets.engine.behaviour import tolerance
from vene_widgets.engine.forward import last_position_logits, token_batch
from vene_widgets.engine.held_norms import HeldNorm
from vene_widgets.engine.hooks import Edit, record
from vene_widgets.engine.residual import ResidualRun, rows_edit
from vene_widgets.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.models import LanguageModel
    from vene_widgets.models.sites import Site


@dataclass(frozen=True, eq=False)
class HeldInput:
    """What one sublayer reads, and how much of a change reaches it through its norm.

    Attributes:
        site: the sublayer's input.
        base: its vectors in the base run, `(positions, d_model)`, float32.
        norm: the norm before it, with the scales of the base run, one per position.
    """

    site: Site
    base: Tensor
    norm: HeldNorm

    def edit(self, changes: Tensor) -> Edit:
        """Let the sublayer read the base's residual stream with `(rows, positions, d_model)`."""
        return rows_edit(self.site, self.base + self.norm(changes))


def held_inputs(
    model: LanguageModel, run: ResidualRun, layer: int, components: Iterable[str]
) -> list[HeldInput]:
    """The inputs of sublayers of one block, their norms held. Call it inside `own_model`.

    A sublayer that reads the residual stream itself has no norm to hold, and is left out.

    Args:
        model: the model.
        run: the plain run.
        layer: of the block.
        components: `attention_input`, `mlp_input`.

    Raises:
        RequestError: what a sublayer reads is not the output of a norm of a known kind.
    """
    architecture = model.sites.architecture
    tables = {name: architecture.components[name] for name in components}
    sites = {name: model.sites.site(layer, name) for name, one in tables.items() if one.norm_before}
    with record(model, sites.values()) as states:
        last_position_logits(model, token_batch(model, run.ids))
    found: list[HeldInput] = []
    for name, site in sites.items():
        stream = run.inputs[layer].float()
        if not tables[name].before_attention:
            stream = stream + run.added["attention"][layer]
        path = f"{architecture.blocks}.{layer}.{tables[name].norm_before}"
        norm = HeldNorm(model, path, stream.to(model.dtype))
        base = states[site][0].float()
        limit = tolerance(model) * base.abs().max()
        if not bool((norm.output - base).abs().max() <= limit):
            raise RequestError(
                f"{site} of {model.name} is not the output of {path!r} alone, so its scale cannot "
                "be held"
            )
        found.append(HeldInput(site, base, norm))
    return found
