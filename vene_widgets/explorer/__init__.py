"""The explorer: a widget to click in, one thread that owns the model, one figure process."""

from vene_widgets.explorer.widget import Explorer, explore

__all__ = ["Explorer", "explore"]
