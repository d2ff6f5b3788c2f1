"""Which sites of a model pyvene 0.1.8 cannot reach, or would reach in part only."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vene_widgets.engine.planning import PlannedSlot
    from vene_widgets.models import LanguageModel

_QUERIES_KEYS_VALUES = frozenset(
    {
        *("query_output", "key_output", "value_output"),
        *("head_query_output", "head_key_output", "head_value_output"),
    }
)
_ATTENDED = frozenset({"attention_value_output", "head_attention_value_output"})

UNREACHED = {
    "gemma": frozenset({"head_value_output"}),
    "gpt_neo": _QUERIES_KEYS_VALUES | _ATTENDED,
    "gpt_neox": _QUERIES_KEYS_VALUES,
}
"""Family -> components whose entries name modules or settings that do not exist."""

HEADS_BY_CONFIG = ("gemma", "gemma2", "qwen2")
"""Families whose heads pyvene takes to be as wide as the config's `head_dim`.

In the others a head is d_model / heads wide to it, and all heads together d_model everywhere.
"""


def pyvene_gap(model: LanguageModel, planned: PlannedSlot) -> str | None:
    """Why pyvene cannot run a slot, as a clause; None if it can.

    A vector that is wider than pyvene takes it to be would be changed in its first part only.
    """
    sites, site = model.sites, planned.site
    family = sites.architecture.name
    if site.component in UNREACHED.get(family, ()):
        return f"its table of {family} models has no module for {site.component!r}"
    if site.component not in _QUERIES_KEYS_VALUES | _ATTENDED:
        return None
    width = sites.d_model
    if site.head is not None:
        width //= sites.heads
        if family in HEADS_BY_CONFIG:
            if getattr(getattr(model.model, "config", None), "head_dim", None) is not None:
                return None
            return "it reads the width of a head from the config's head_dim, which is not set"
    if site.width <= width:
        return None
    return f"it takes {site.component!r} to be {width} wide, but it is {site.width} wide"
