"""One file per model family: its module names, its sizes, its components.

To add a family, add a file with one `Architecture` and list it here.
"""

from __future__ import annotations

from vene_widgets.models.architectures.architecture import Architecture, Component, Side
from vene_widgets.models.architectures.gpt2 import GPT2
from vene_widgets.models.architectures.llama import LLAMA

__all__ = ["ARCHITECTURES", "GPT2", "LLAMA", "Architecture", "Component", "Side"]

ARCHITECTURES: dict[str, Architecture] = {a.name: a for a in (GPT2, LLAMA)}
"""`model_type` of the Hugging Face config -> family."""
