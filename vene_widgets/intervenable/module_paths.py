"""Components by a module's path, as in pyvene: `transformer.h[0].mlp.output`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from vene_widgets.errors import RequestError, closest, listed, shown
from vene_widgets.experiments.components import ATTENTION_WEIGHT
from vene_widgets.models.module_site import ModuleSite, module_site
from vene_widgets.models.sites import module_at

if TYPE_CHECKING:
    from vene_widgets.models import LanguageModel
    from vene_widgets.models.architectures import Side
    from vene_widgets.models.sites import Sites

_SIDES = ("input", "output")
_INDEX = re.compile(r"\[(\d+)\]")


def is_path(component: str) -> bool:
    """Whether a component is a module's path with `.input` or `.output`."""
    return component.rpartition(".")[0] != "" and component.rpartition(".")[2] in _SIDES


def layer_and_component(path: str, sites: Sites) -> tuple[int, str] | None:
    """The layer and the component that a path means; None if the family has no name for it.

    Args:
        path: below the model as it was passed, with an output head or without.
        sites: of the model.
    """
    known = _paths(sites)
    module, _, side = _plain(path).rpartition(".")
    for prefix in ("", f"{_root(sites)}."):
        if (found := known.get(f"{prefix}{module}.{side}")) is not None:
            return found
    return None


def site_at(path: str, model: LanguageModel) -> ModuleSite:
    """The site of a path that is no component of the family.

    Args:
        path: below the model as it was passed, with an output head or without.
        model: the model.

    Raises:
        RequestError: there is no such module.
    """
    module, _, side = _plain(path).rpartition(".")
    root, sites = model.tree.root, model.sites
    for prefix in ("", f"{_root(sites)}.", "whole."):
        try:
            found = module_at(root, f"{prefix}{module}")
        except AttributeError:
            continue
        side_of: Literal["input", "output"] = "input" if side == "input" else "output"
        return module_site(path, f"{prefix}{module}", side_of, found)
    known = _paths(sites)
    short = [name.removeprefix(f"{_root(sites)}.") for name in known]
    close = closest(f"{module}.{side}", [*known, *short])
    guess = f" Did you mean {shown(close)}?" if close else ""
    first = [name for name, (layer, _) in known.items() if layer == 0]
    raise RequestError(
        f"no module is at {shown(path)}.{guess} Components of layer 0 are at {listed(first)}."
    )


def _plain(path: str) -> str:
    """A path with `h.0` for `h[0]`."""
    return _INDEX.sub(r".\1", path)


def _root(sites: Sites) -> str:
    return sites.architecture.blocks.rpartition(".")[0]


def _paths(sites: Sites) -> dict[str, tuple[int, str]]:
    """Path and side of every whole tensor -> its layer and component."""
    found: dict[str, tuple[int, str]] = {}
    for layer in range(sites.layers):
        for name in sites.components:
            spec = sites.architecture.components[name]
            if spec.part is None and spec.heads is None:
                found.setdefault(_path(sites, layer, spec.module, spec.side), (layer, name))
        # GPT-2 had its attention weights there before transformers computed them in a function.
        dropout = f"{sites.architecture.attention}.attn_dropout"
        found[_path(sites, layer, dropout, "input")] = layer, ATTENTION_WEIGHT
    return found


def _path(sites: Sites, layer: int, module: str, side: Side) -> str:
    below = f".{module}" if module else ""
    return f"{sites.architecture.blocks}.{layer}{below}.{side}"
