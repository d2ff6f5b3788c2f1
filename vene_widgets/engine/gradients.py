"""Gradients of a number of a run's answer to the states at some sites, by one backward pass.

The model's weights are constants of the engine's tree (`models.own_tree`), so the graph begins at
the first site, and no tensor of the model gets a gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from vene_widgets.engine.forward import forward_with_graph
from vene_widgets.engine.hooks import Edit
from vene_widgets.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.models import LanguageModel
    from vene_widgets.models.sites import Site

Value = Callable[["Tensor"], "tuple[Tensor, float]"]
"""Next-token logits `(vocabulary,)` -> a number whose gradient is wanted, and a factor for the
gradient. The factor keeps small gradients out of the model's dtype: that of a probability is the
probability times that of its logarithm."""


_OF_AUTOGRAD = ("Inference tensors", "derivative for", "inplace operation", "in-place")
"""Words by which torch refuses to record or to follow a graph."""


@dataclass(frozen=True, eq=False)
class GradientPass:
    """What one forward and one backward pass over a prompt gave.

    Attributes:
        logits: of the next token, `(vocabulary,)`, in the model's dtype.
        states: `(sites, positions, width)`, as the model computed them.
        gradients: of the value to each of them, float32, same shape and device.
    """

    logits: Tensor
    states: Tensor
    gradients: Tensor


def gradient_pass(
    model: LanguageModel,
    ids: Sequence[int],
    sites: Sequence[Site],
    value: Value,
    edits: Sequence[Edit] = (),
) -> GradientPass:
    """Run a prompt forward, and a number of its answer backward to some sites.

    Call it inside `own_model`. All sites must have one width.

    Args:
        model: the model to run.
        ids: the prompt's token ids.
        sites: where gradients are wanted.
        value: the number.
        edits: changes to the run, made before the graph begins.

    Raises:
        RequestError: a site that the pass never reaches or reaches twice, code or weights
            without gradients, or a gradient that is not finite.
    """
    try:
        with torch.inference_mode(mode=False), torch.enable_grad():
            logits, nodes = forward_with_graph(model, ids, sites, edits)
            number, factor = value(logits)
            found: Sequence[Tensor | None] = [None] * len(sites)
            if number.requires_grad:
                tensors = [nodes[site] for site in sites]
                found = torch.autograd.grad(number, tensors, allow_unused=True)
    except RuntimeError as error:
        if not any(words in str(error) for words in _OF_AUTOGRAD):
            raise
        said = str(error).strip().splitlines()[0].partition(". ")[0].rstrip(".")
        raise RequestError(
            f"{model.name} cannot be run with gradients: torch says {said!r}. Sweep the component "
            "instead."
        ) from error
    gradients: list[Tensor] = []
    for site, gradient in zip(sites, found, strict=True):
        if gradient is None:
            raise RequestError(
                f"no gradient reaches the {site} of {model.name}: code on the way to the logits "
                "computes without gradients (torch.no_grad, detach), or does not read it. Sweep "
                "the component instead."
            )
        gradients.append(site.read(gradient[0]).to(model.device).float() * factor)
    states = [site.read(nodes[site].detach()[0]).to(model.device) for site in sites]
    result = GradientPass(logits.detach(), torch.stack(states), torch.stack(gradients))
    if not bool(result.gradients.isfinite().all()):
        raise RequestError(
            f"the gradient of the metric is not finite in {model.dtype}: it overflows on its way "
            f"through {model.name}. Load the model in float32 or bfloat16."
        )
    return result
