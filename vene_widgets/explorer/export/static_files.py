"""Files of the built JavaScript bundle."""

from __future__ import annotations

from pathlib import Path

from vene_widgets.errors import RequestError

STATIC = Path(__file__).parents[2] / "static"


def built(name: str) -> str:
    """Read a file of the bundle.

    anywidget takes paths too, but a widget made from a path is never freed.

    Args:
        name: of the file, for instance `explorer.js`.

    Raises:
        RequestError: the bundle has not been built.
    """
    path = STATIC / name
    if not path.exists():
        raise RequestError(
            f"{path} is missing: the JavaScript bundle is not built. In a checkout, run `make js`; "
            "an installed package contains it."
        )
    return path.read_text(encoding="utf-8")
