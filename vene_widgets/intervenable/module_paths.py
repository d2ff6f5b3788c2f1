"""Components by a module's path, as in pyvene: `transformer.h[0].mlp.output`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vene_widgets.errors import RequestError, closest, listed, shown

if TYPE_CHECKING:
    from vene_widgets.models.architectures import Side
    from vene_widgets.models.sites import Sites

_SIDES = ("input", "output")
_INDEX = re.compile(r"\[(\d+)\]")


def is_path(component: str) -> bool:
    """Whether a component is a module's path with `.input` or `.output`."""
    return component.rpartition(".")[0] != "" and component.rpartition(".")[2] in _SIDES


def layer_and_component(path: str, sites: Sites) -> tuple[int, str]:
    """The layer and the component that a path means.

    Args:
        path: below the model as it was passed, with an output head or without.
        sites: of the model.

    Raises:
        RequestError: a path at which the family has no component that is a whole tensor.
    """
    known = _paths(sites)
    module, _, side = _INDEX.sub(r".\1", path).rpartition(".")
    root = sites.architecture.blocks.rpartition(".")[0]
    for prefix in ("", f"{root}."):
        if (found := known.get(f"{prefix}{module}.{side}")) is not None:
            return found
    short = [name.removeprefix(f"{root}.") for name in known]
    close = closest(f"{module}.{side}", [*known, *short])
    guess = f" Did you mean {shown(close)}?" if close else ""
    first = [name for name, (layer, _) in known.items() if layer == 0]
    raise RequestError(f"no component is at {shown(path)}.{guess} In layer 0: {listed(first)}.")


def _paths(sites: Sites) -> dict[str, tuple[int, str]]:
    """Path and side of every whole tensor -> its layer and component."""
    found: dict[str, tuple[int, str]] = {}
    for layer in range(sites.layers):
        for name in sites.components:
            spec = sites.architecture.components[name]
            if spec.part is None and spec.heads is None:
                found.setdefault(_path(sites, layer, spec.module, spec.side), (layer, name))
    return found


def _path(sites: Sites, layer: int, module: str, side: Side) -> str:
    below = f".{module}" if module else ""
    return f"{sites.architecture.blocks}.{layer}{below}.{side}"
