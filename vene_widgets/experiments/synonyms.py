"""Other libraries' names for components and interventions: accepted, and answered with ours.

Component names of TransformerLens (Nanda and Bloom 2022) and everyday names of interventions become
this package's names when a request is made, so that equal requests are equal however written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from vene_widgets.errors import RequestError, shown
from vene_widgets.experiments.components import COMPONENTS
from vene_widgets.experiments.operators import OPERATORS

COMPONENT_SYNONYMS: Mapping[str, str] = {
    "resid_pre": "block_input",
    "resid_post": "block_output",
    "attn_out": "attention_output",
    "mlp_out": "mlp_output",
    "post": "mlp_activation",
    "mlp_post": "mlp_activation",
    "pattern": "attention_weight",
}
"""TransformerLens' name -> ours. In a gated MLP, `mlp_activation` is the value before gating."""

HEAD_SYNONYMS: Mapping[str, str] = {
    "z": "attention_value_output",
    "q": "query_output",
    "k": "key_output",
    "v": "value_output",
}
"""TransformerLens' name -> ours; with a head, `head_` stands before it."""

FALSE_FRIENDS: Mapping[str, str] = {
    "mlp_in": "the residual stream before the MLP's norm, and 'mlp_input' is after it",
    "attn_in": "the residual stream before the norm, and 'attention_input' is after it",
    "resid_mid": "the residual stream between attention and MLP, which has no module here",
    "pre": "the MLP before its activation, and 'mlp_activation' is after it",
    "mlp_pre": "the MLP before its activation, and 'mlp_activation' is after it",
    "attn_scores": "attention before its softmax, which has no module here",
    "result": "a head's share of the attention output, which has no module here",
}
"""TransformerLens' names for tensors that are not among ours, and what they are."""

INTERVENTION_SYNONYMS: Mapping[str, str] = {
    "swap": "vanilla",
    "patch": "vanilla",
    "interchange": "vanilla",
    "ablate": "zero",
    "knockout": "zero",
    "zero_ablate": "zero",
    "zero_ablation": "zero",
    "mean_ablate": "mean",
    "mean_ablation": "mean",
    "add": "addition",
    "subtract": "subtraction",
}
"""Everyday name -> ours."""

_HOOK = re.compile(r"(?:blocks\.(\d{1,6})\.)?(?:attn\.|mlp\.)?hook_(\w{1,40})", re.ASCII)


def our_component(name: Any, head: object = None) -> Any:
    """Our name of a component; any other value as it is.

    Args:
        name: the user's input.
        head: the head beside it; None for the whole vector.

    Raises:
        RequestError: the name of a hook of TransformerLens, or of a tensor that has no component.
    """
    if not isinstance(name, str):
        return name
    if hook := _HOOK.fullmatch(name):
        layer = "" if hook[1] is None else f"layer={hook[1]}, "
        ours = our_component(hook[2], head)
        if ours in COMPONENTS:
            raise RequestError(
                f"component {shown(name)} is a hook of TransformerLens: write "
                f"{layer}component={ours!r}"
            )
    if name in FALSE_FRIENDS:
        raise RequestError(
            f"component {name!r} of TransformerLens is {FALSE_FRIENDS[name]}: choose another"
        )
    if name in HEAD_SYNONYMS:
        return HEAD_SYNONYMS[name] if head is None else f"head_{HEAD_SYNONYMS[name]}"
    return COMPONENT_SYNONYMS.get(name, name)


def our_intervention(name: Any) -> Any:
    """Our name of an intervention; names that are registered, and any other value, as they are."""
    if not isinstance(name, str) or name in OPERATORS:
        return name
    return INTERVENTION_SYNONYMS.get(name, name)


def with_our_names(fields: Any) -> Any:
    """A request's fields with our names in `component` and `intervention`; not a dict: as it is.

    Raises:
        RequestError: see `our_component`.
    """
    if not isinstance(fields, Mapping):
        return fields
    named = {**cast("Mapping[str, Any]", fields)}
    if "component" in named:
        named["component"] = our_component(named["component"], named.get("head"))
    if "intervention" in named:
        named["intervention"] = our_intervention(named["intervention"])
    return named
