"""A living page: one file that shows an explorer without a kernel and without a network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from typing import Any

from vene_widgets.explorer.export.static_files import built

TRAITS = ("scene", "map", "answer", "past", "picture", "steps")
"""What a page keeps of an explorer; what it was busy with stays behind."""


def page(traits: Mapping[str, Any], sentence: str, title: str) -> str:
    """One self-contained HTML file.

    Its content security policy allows this one script and this one style sheet, by their hashes,
    pictures of its own, and nothing from anywhere else.

    Args:
        traits: the explorer's, by name; those of `TRAITS` are kept.
        sentence: the result in words, which stands there with the figure for readers that run no
            script.
        title: of the page.
    """
    script, style = (_inline(name) for name in ("page.js", "explorer.css"))
    style += "body { margin: 16px auto; max-width: 1400px; padding: 0 16px; }\n"
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "img-src data: blob:"
    )
    words = html.escape(sentence)
    figure = dict(traits["picture"])
    picture = ""
    if png := figure.pop("png", None):  # the script takes it from there
        source = base64.b64encode(png).decode()
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


def _state(traits: Mapping[str, Any]) -> str:
    """The traits as JSON that no browser takes for markup."""
    kept = {name: traits[name] for name in TRAITS}
    text = json.dumps(kept, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _inline(name: str) -> str:
    return built(name).replace("</script", "<\\/script")  # would end the script that it stands in


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
