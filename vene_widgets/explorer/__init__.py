"""The explorer: a widget to click in, with one thread that owns the model and one figure process."""

from vene_widgets.explorer.widget import Explorer, explore

__all__ = ["Explorer", "explore"]
