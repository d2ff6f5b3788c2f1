# pyright: basic
# Basic: ipywidgets is untyped.
"""Text fields and menus of the controls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets

from vene_widgets.tables.frames import visible

if TYPE_CHECKING:
    from vene_widgets.models import Token


WIDE = {"description_width": "112px"}  # fits the longest label


def text_field(name: str, placeholder: str = "") -> ipywidgets.Text:
    """Make a text field; its value changes on Enter or when it loses focus."""
    return ipywidgets.Text(
        description=name, continuous_update=False, placeholder=placeholder, style=WIDE
    )


def menu_field(name: str) -> ipywidgets.Dropdown:
    """Make a menu; `set_menu` fills it."""
    return ipywidgets.Dropdown(description=name, style=WIDE)


def position_options(tokens: tuple[Token, ...]) -> list[tuple[str, Any]]:
    """A prompt's positions with their tokens, as a menu's options."""
    return [(f"{token.index} {visible(token.text)}", token.index) for token in tokens]


def set_menu(menu: ipywidgets.Dropdown, options: list[tuple[str, Any]], value: Any) -> None:
    """Set a menu's options and value; any other value, such as several positions, is added."""
    if all(value != known for _, known in options):
        several = isinstance(value, tuple)
        name = ", ".join(map(str, value)) if several else "" if value is None else str(value)
        options = [*options, (name, value)]
    if menu.options != tuple(options):
        menu.options = tuple(options)
    menu.value = value
