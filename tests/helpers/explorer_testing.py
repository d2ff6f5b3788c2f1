"""Shared by tests of the explorer: a painter that draws nothing, requests, counted calls."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

import vene_widgets as vw
from vene_widgets.explorer.painter.orders import FigureOrder
from vene_widgets.explorer.painter.painter import OnDrawn

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"

Make = Callable[..., vw.Explorer]
"""The fixture `make` of `tests/explorer`: prompts and options of `explore` -> an explorer."""


class SilentPainter:
    """Stands in for the painter: keeps orders and draws nothing."""

    def __init__(self) -> None:
        self.orders: list[tuple[FigureOrder, OnDrawn]] = []

    def draw(self, _client: object, order: FigureOrder, on_drawn: OnDrawn) -> None:
        self.orders.append((order, on_drawn))


def ask(explorer: vw.Explorer, **request: Any) -> dict[str, Any]:
    """Send a request as the browser does, wait for what it starts, and return the reply."""
    replies: list[dict[str, Any]] = []
    explorer.send = lambda content, buffers=None: replies.append(content)
    explorer.receive({"id": "r1", **request})
    explorer.wait(30)
    explorer.worker.wait("follow", 30)
    assert len(replies) == 1
    return replies[0]


def count_calls(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> tuple[list[tuple[Any, ...]], set[str]]:
    """Record the calls of a function of the package, wherever it has been imported.

    Returns:
        The positional arguments of every call, in a list that grows, and the modules (their path
        below the package) in which the function was found.
    """
    calls: list[tuple[Any, ...]] = []
    found: set[str] = set()
    for path, module in list(sys.modules.items()):
        root, _, rest = path.partition(".")
        if root != "vene_widgets" or name not in vars(module):
            continue
        original = vars(module)[name]

        def counted(*args: Any, original: Any = original, **named: Any) -> Any:
            calls.append(args)
            return original(*args, **named)

        monkeypatch.setattr(module, name, counted)
        found.add(rest)
    return calls, found


def slot(layer: int = 0, position: int | list[int] = 3, **more: Any) -> dict[str, Any]:
    return {"layer": layer, "position": position, **more}


def setting(*slots: dict[str, Any], base: str = BASE, source: str = SOURCE) -> dict[str, Any]:
    experiment = {"base": base, "sources": {"source": source}, "slots": list(slots)}
    return {"kind": "experiment", "experiment": experiment}
