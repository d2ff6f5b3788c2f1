"""resume_blocker(): reason why a model's forward pass cannot be resumed part-way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

CAPTURE_MODULE = "transformers.utils.output_capturing"
"""Module that defines the hooks which transformers registers at the first call with
`output_hidden_states=True` and never removes. They do nothing in other calls."""


def resume_blocker(model: nn.Module) -> str | None:
    """Reason why a Hugging Face model cannot be resumed, or None if it can.

    A resumed run calls norms, projections and MLPs on the rows of many cells at once, but never a
    block or an attention module as a whole. User-defined hooks would get unexpected inputs, and
    unusual attention would be computed wrongly.
    """
    config: Any = model.config
    if getattr(config, "add_cross_attention", False):
        return "the model has cross-attention"
    if getattr(config, "reorder_and_upcast_attn", False):
        return "the model upcasts its attention"
    if getattr(config, "sliding_window", None):
        return "the model attends through a sliding window"
    if getattr(config, "_attn_implementation", "eager") not in ("eager", "sdpa"):
        return f"attention is {config._attn_implementation!r}, not 'eager' or 'sdpa'"
    for module in model.modules():
        for kind in ("_forward_hooks", "_forward_pre_hooks"):
            hooks: dict[int, object] = getattr(module, kind)
            if any(getattr(hook, "__module__", "") != CAPTURE_MODULE for hook in hooks.values()):
                return "the model carries hooks of its own"
        if "forward" in vars(module):
            return f"the forward of a {type(module).__name__} in the model was replaced"
    return None
