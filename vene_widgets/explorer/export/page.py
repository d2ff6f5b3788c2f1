"""A saved page: one HTML file that shows an explorer without a kernel or a network."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
from collections.abc import Mapping
from typing import Any, cast

from vene_widgets.explorer.export.static_files import built


def without_path(value: Any, path: str, name: str) -> Any:
    """The same traits, with a model's name instead of its path in code that loads it."""
    if isinstance(value, str):
        return value.replace(f"load({json.dumps(path)}", f"load({json.dumps(name)}")
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        return {key: without_path(item, path, name) for key, item in items}
    if isinstance(value, (list, tuple)):
        return [without_path(item, path, name) for item in cast("list[Any]", value)]
    return value


def page(traits: Mapping[str, Any], sentence: str, title: str) -> str:
    """Build one self-contained HTML file.

    Its content security policy allows only this script and this style sheet, by their hashes, and
    embedded pictures; nothing is loaded from elsewhere.

    Args:
        traits: the explorer's that have the tag `page`, by name; `picture` among them.
        sentence: the result in words, shown with the figure if scripts are off.
        title: of the page.
    """
    script, style = (_inline(name) for name in ("page.js", "explorer.css"))
    style += ":root { color-scheme: light dark; }\n"
    style += "body { margin: 16px auto; max-width: 1400px; padding: 0 16px; }\n"
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    words = html.escape(sentence)
    figure = dict(traits["picture"])
    picture = ""
    # The picture is embedded once, in the <img>; the script reads it from there.
    if png := figure.pop("png", None):
        source = base64.b64encode(_smaller(png)).decode()
        alt = html.escape(figure["alt"])
        picture = f'<img alt="{alt}" src="data:image/png;base64,{source}">'
    state = _state({**traits, "picture": figure})
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{style}</style>
</head>
<body>
<div>
<p>{words}</p>
{picture}
</div>
<script type="application/json" data-vene-state="kept">{state}</script>
<script>{script}</script>
</body>
</html>
"""


def _smaller(png: bytes) -> bytes:
    """The same picture in fewer bytes: compressed hardest, and without an alpha channel.

    The channel stays where something is transparent. Pillow comes with matplotlib.
    """
    from PIL import Image

    image = Image.open(io.BytesIO(png))
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255):
        image = image.convert("RGB")
    file = io.BytesIO()
    image.save(file, "png", optimize=True)
    return min(file.getvalue(), png, key=len)


def _state(traits: Mapping[str, Any]) -> str:
    """The traits as JSON inside a script element, where no `<` may start markup."""
    text = json.dumps(traits, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _inline(name: str) -> str:
    """Text of a built file; a literal `</script` in it would end the element around it."""
    return built(name).replace("</script", "<\\/script")


def _hash(text: str) -> str:
    """Hash of an inline script or style, as a content security policy writes it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
