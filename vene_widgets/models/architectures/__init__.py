"""One file per model family: its module names, its sizes, its components.

To add a family, add a file with one `Architecture` and list it here (`docs/families.md`).
"""

from __future__ import annotations

from vene_widgets.models.architectures.architecture import (
    Architecture,
    Component,
    Part,
    Side,
    Variant,
    Width,
)
from vene_widgets.models.architectures.bloom import BLOOM
from vene_widgets.models.architectures.cohere import COHERE
from vene_widgets.models.architectures.cohere2 import COHERE2
from vene_widgets.models.architectures.gemma import GEMMA
from vene_widgets.models.architectures.gemma2 import GEMMA2
from vene_widgets.models.architectures.gemma3_text import GEMMA3_TEXT
from vene_widgets.models.architectures.gpt2 import GPT2
from vene_widgets.models.architectures.gpt_neo import GPT_NEO
from vene_widgets.models.architectures.gpt_neox import GPT_NEOX
from vene_widgets.models.architectures.gptj import GPTJ
from vene_widgets.models.architectures.granite import GRANITE
from vene_widgets.models.architectures.llama import LLAMA
from vene_widgets.models.architectures.mistral import MISTRAL
from vene_widgets.models.architectures.olmo import OLMO
from vene_widgets.models.architectures.olmo2 import OLMO2
from vene_widgets.models.architectures.olmo3 import OLMO3
from vene_widgets.models.architectures.opt import OPT
from vene_widgets.models.architectures.phi import PHI
from vene_widgets.models.architectures.phi3 import PHI3
from vene_widgets.models.architectures.qwen2 import QWEN2
from vene_widgets.models.architectures.qwen3 import QWEN3
from vene_widgets.models.architectures.smollm3 import SMOLLM3
from vene_widgets.models.architectures.stablelm import STABLELM
from vene_widgets.models.architectures.starcoder2 import STARCODER2

__all__ = [
    "ARCHITECTURES",
    "GPT2",
    "LLAMA",
    "LOAD_INSTEAD",
    "Architecture",
    "Component",
    "Part",
    "Side",
    "Variant",
    "Width",
]

ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        GPT2,
        LLAMA,
        BLOOM,
        COHERE,
        COHERE2,
        GEMMA,
        GEMMA2,
        GEMMA3_TEXT,
        GPT_NEO,
        GPT_NEOX,
        GPTJ,
        GRANITE,
        MISTRAL,
        OLMO,
        OLMO2,
        OLMO3,
        OPT,
        PHI,
        PHI3,
        QWEN2,
        QWEN3,
        SMOLLM3,
        STABLELM,
        STARCODER2,
    )
}
"""`model_type` of the Hugging Face config -> family."""

LOAD_INSTEAD: dict[str, str] = {
    "gemma3": (
        "is Gemma 3 with its vision tower. Load a text-only model, of the family 'gemma3_text' "
        "(for instance google/gemma-3-1b-it), or take the language model out of this one, as "
        "docs/families.md shows."
    ),
}
"""`model_type` -> what to load in place of a model that has such a family's model inside."""
