# pyright: basic
# Basic: IPython is untyped.
"""The static copy of a displayed explorer, for pages that cannot run widgets.

`jupyter nbconvert --to html` prefers a widget's view over every other format of the same output,
and without a network that view stays empty. So each cell that displays an explorer gets a second
output: a picture of the map and the answer, the result in words, and a link to the page written by
`to_html`. It is hidden wherever the explorer itself appears, and is updated after every cell of the
notebook, so that a saved notebook shows the last result.
"""

from __future__ import annotations

import base64
import contextlib
import html
import os
import sys
import weakref
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from vene_widgets.explorer.export import preview_png
from vene_widgets.explorer.session.answer import AnswerFeature

Explorer: TypeAlias = Any
"""A `widget.Explorer`, whose module imports this one."""

ANSWER_WAIT = 1.0
"""Seconds that the end of a cell waits for an answer; a later one is shown after the next cell."""

STYLE = (
    ".jp-OutputArea:has(.vene-root) .jp-OutputArea-child:has(> * .vene-static),"
    " body:not([data-jp-theme-name]):has(.vene-root) .vene-static { display: none; }"
    " .vene-static img { max-width: 100%; }"
)
"""Hides the copy while the explorer is alive: in the same cell, or in hosts without JupyterLab's
classes, anywhere on the page."""

_displayed: list[tuple[weakref.ref[Explorer], object]] = []
"""Explorers that the running cell has displayed, each with the publisher that was active."""

_published: weakref.WeakKeyDictionary[Explorer, tuple[object, ...]] = weakref.WeakKeyDictionary()
"""The state that each explorer's static copy shows."""

_watched: weakref.WeakSet[Any] = weakref.WeakSet()
"""IPython shells that call `_after_cell`."""


def note_display(explorer: Explorer) -> bool:
    """Publish a static copy of an explorer at the end of the running cell.

    Returns:
        Whether there will be one; False outside a Jupyter kernel.
    """
    shell = _kernel_shell()
    if shell is None:
        return False
    if shell not in _watched:
        shell.events.register("post_run_cell", _after_cell)
        _watched.add(shell)
    _displayed.append((weakref.ref(explorer), shell.display_pub))
    return True


def static_html(explorer: Explorer) -> str:
    """Picture, sentence and link of an explorer's current state, as HTML."""
    sentence = explorer.feature(AnswerFeature).sentence()
    parts = [f"<p>{html.escape(sentence)}</p>"]
    if explorer.map.get("cells"):
        drawn = preview_png.draw_screen(explorer.map, explorer.scene, explorer.answer, "")
        png = base64.b64encode(drawn).decode()
        parts.insert(0, f'<img alt="Map and answer" src="data:image/png;base64,{png}">')
    if explorer.saved_page is not None:
        parts.append(f'<p><a href="{_address(explorer.saved_page)}">Interactive page</a></p>')
    return f'<div class="vene-static"><style>{STYLE}</style>{"".join(parts)}</div>'


def _after_cell(*_: object) -> None:
    """Publish the copies of explorers that the cell displayed, and update those that changed."""
    shell = _kernel_shell()
    displayed, _displayed[:] = list(_displayed), []
    if shell is None:
        return
    new = [
        explorer
        for reference, publisher in displayed
        # Another publisher: the output was captured.
        if (explorer := reference()) is not None and publisher is shell.display_pub
    ]
    for explorer in new:
        with contextlib.suppress(Exception):  # a cell must not fail for its static copy
            _publish(shell, explorer, update=False)
    for explorer in list(_published):
        if all(explorer is not other for other in new):
            with contextlib.suppress(Exception):
                _publish(shell, explorer, update=True)


def _publish(shell: Any, explorer: Explorer, *, update: bool) -> None:
    if not explorer.is_open:
        return
    explorer.worker.wait("answer", ANSWER_WAIT)
    if update and explorer.worker.is_busy("answer"):
        return
    state = _state(explorer)
    if update and _published[explorer] == state:
        return
    shell.display_pub.publish(
        data={
            "text/html": static_html(explorer),
            "text/plain": explorer.feature(AnswerFeature).sentence(),
        },
        metadata={},
        transient={"display_id": f"vene-{explorer.model_id}"},
        update=update,
    )
    _published[explorer] = state


def _state(explorer: Explorer) -> tuple[object, ...]:
    """Equal for two moments whose static copies would be equal."""
    map_ = explorer.map
    return (
        explorer.feature(AnswerFeature).sentence(),
        explorer.revision,
        *(map_.get(key) for key in ("component", "operator", "head", "target", "done")),
        explorer.saved_page,
    )


def _address(page: Path) -> str:
    """Link to a page: relative if it lies in the notebook's folder or below it."""
    with contextlib.suppress(ValueError):
        return quote(page.relative_to(os.path.realpath(".")).as_posix())
    return page.as_uri()


def _kernel_shell() -> Any:
    """IPython's shell, if it is a kernel's; None otherwise."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell if hasattr(shell, "kernel") else None
