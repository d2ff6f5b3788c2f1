"""The component names that a slot may give: pyvene's vocabulary.

Wu et al. 2024, "pyvene: A Library for Understanding and Improving PyTorch Models via
Interventions". Each model family maps the names to its own tensors (`models/architectures`).
"""

from __future__ import annotations

COMPONENTS: tuple[str, ...] = (
    "block_input",
    "block_output",
    "mlp_input",
    "mlp_activation",
    "mlp_output",
    "attention_input",
    "attention_output",
    "attention_value_output",
    "attention_weight",
    "query_output",
    "key_output",
    "value_output",
    "head_attention_value_output",
    "head_query_output",
    "head_key_output",
    "head_value_output",
)
