"""The explorer: a widget to click in, one thread that owns the model, one figure process."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vene_widgets.explorer.widget import Explorer, explore

__all__ = ["Explorer", "explore"]


def __getattr__(name: str) -> Any:
    # Lazy, so that the figure process imports neither torch nor the widget.
    if name in __all__:
        from vene_widgets.explorer import widget

        return getattr(widget, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
