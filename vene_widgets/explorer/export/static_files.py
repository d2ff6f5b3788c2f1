"""The browser half, as it was built."""

from __future__ import annotations

from pathlib import Path

from vene_widgets.errors import RequestError

STATIC = Path(__file__).parents[2] / "static"


def built(name: str) -> str:
    """Text of a built file; read rather than passed as a path, which would keep widgets alive."""
    path = STATIC / name
    if not path.exists():
        raise RequestError(
            f"{path} is missing: the browser half is not built. In a checkout, run `make js`; "
            "an installed package carries it."
        )
    return path.read_text(encoding="utf-8")
