"""The component names that a slot may give: pyvene's vocabulary.

Wu et al. 2024, "pyvene: A Library for Understanding and Improving PyTorch Models via
Interventions". Each model family maps the names to its own tensors (`models/architectures`).
"""

from __future__ import annotations

_WORDS = {
    "block_input": "residual stream, before block",
    "block_output": "residual stream, after block",
    "mlp_input": "MLP input",
    "mlp_activation": "MLP activation",
    "mlp_output": "MLP output",
    "attention_input": "attention input",
    "attention_output": "attention output",
    "attention_value_output": "heads’ outputs, joined (z)",
    "attention_weight": "attention pattern",
    "query_output": "queries, all heads",
    "key_output": "keys, all heads",
    "value_output": "values, all heads",
    "head_attention_value_output": "head output (z)",
    "head_query_output": "head query",
    "head_key_output": "head key",
    "head_value_output": "head value",
}

COMPONENTS: tuple[str, ...] = tuple(_WORDS)

ATTENTION_WEIGHT = "attention_weight"
"""The component with one weight per query and key; all others have one vector per position."""

# Within a sentence, where that differs.
_SENTENCE_WORDS = {
    "attention_value_output": "heads’ outputs",
    "query_output": "queries",
    "key_output": "keys",
    "value_output": "values",
    "head_attention_value_output": "attention output",
    "head_query_output": "query",
    "head_key_output": "key",
    "head_value_output": "value",
}


def component_words(name: str) -> str:
    """A component in words, for menus: `MLP output`, `residual stream, after block`."""
    return _WORDS.get(name, name.replace("_", " "))


def site_words(component: str, layer: int, head: int | None = None) -> str:
    """A site within a sentence: `after block 0`, `at the MLP output of layer 3`."""
    if component == "block_input":
        return f"before block {layer}"
    if component == "block_output":
        return f"after block {layer}"
    words = _SENTENCE_WORDS.get(component) or component_words(component)
    if head is None:
        return f"at the {words} of layer {layer}"
    return f"in head {head} of layer {layer} ({words})"
