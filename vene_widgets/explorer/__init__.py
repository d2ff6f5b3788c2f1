"""The explorer: the notebook widget, its worker thread and its figure process."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vene_widgets.explorer.data_sets import explore_pairs
    from vene_widgets.explorer.opening import explore, from_state
    from vene_widgets.explorer.widget import Explorer

_HOMES = {
    "Explorer": "widget",
    "explore": "opening",
    "explore_pairs": "data_sets",
    "from_state": "opening",
}

__all__ = ["Explorer", "explore", "explore_pairs", "from_state"]


def __getattr__(name: str) -> Any:
    # Lazy, so that the figure process imports neither torch nor the widget.
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
