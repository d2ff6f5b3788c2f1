"""What the experiment of a classic returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from plotnine import ggplot

Value: TypeAlias = float | str
"""A number, or a name: of a token, of a head as `layer.head`."""

Reading: TypeAlias = "tuple[Mapping[str, Any], Callable[[str], ggplot]]"
"""Measured values by name, and the picture in a style, `light` or `dark`."""
