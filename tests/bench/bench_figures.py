"""Figures as the screen gets them: from the warm figure process."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import torch
from measuring import seconds
from table import Row

from vene_widgets.explorer.painter.painter import Order, Painter, Picture
from vene_widgets.tables import frames

WARM = "the explorer's own child process, order to PNG"
NAMES = ("base", "source", "ungrouped", "grouped")


def rows(quick: bool) -> Iterator[Row]:
    """New figures, each with a key of its own, and one that was drawn before."""
    ten, difference = tokens(10), frames.difference_frame(logits(1), logits(2), text, k=10)
    cases: dict[str, tuple[str, dict[str, Any], float | None]] = {
        "token heatmap, 10 × 4": ("token_heatmap", {"token_heatmap": ten}, 250),
        "result: heatmap and differences": (
            "result", {"token_heatmap": ten, "difference_panel": difference}, None,
        ),
        "map, 12 layers × 16 tokens × 2": ("sweep_map", {"sweep_map": sweep(12, 16)}, None),
    }  # fmt: skip
    painter, numbers = Painter(), itertools.count()
    try:
        times: dict[str, list[float]] = {name: [] for name in cases}
        for repeat in range(1 + (4 if quick else 15)):
            for name, (kind, data, _) in cases.items():
                order = Order(str(next(numbers)), kind, data, {})
                took = 1000 * seconds(lambda order=order: drawn(painter, order))
                if repeat:
                    times[name].append(took)
        for name, (_, _, most) in cases.items():
            yield Row.of("figures", name, times[name], "ms", yardstick=WARM, most=most)
        again = [1000 * seconds(lambda: drawn(painter, order)) for _ in range(50)]
        yield Row.of(
            "figures", "the same figure again", again, "ms", yardstick="pictures kept", most=1
        )
    finally:
        painter.close()


def drawn(painter: Painter, order: Order) -> Picture:
    """Order a figure and wait for it."""
    ready, found = threading.Event(), []

    def done(picture: Picture | None, error: str | None) -> None:
        found.append((picture, error))
        ready.set()

    painter.draw("bench", order, done)
    ready.wait()
    picture, error = found[0]
    if picture is None:
        raise RuntimeError(error)
    return picture


def logits(seed: int) -> torch.Tensor:
    return 3 * torch.randn(50_257, generator=torch.Generator().manual_seed(seed))


def text(token_id: int) -> str:
    return f" word{token_id}"


def tokens(k: int) -> Any:
    """`k` tokens in four runs: they agree on which are likely, as real runs mostly do."""
    shared = torch.zeros(50_257)
    shared[:k] = 40
    return frames.token_frame({n: logits(i) + shared for i, n in enumerate(NAMES)}, text, k=k)


def sweep(layers: int, positions: int) -> Any:
    from vene_widgets.models import Token

    grid = torch.stack([logits(i) for i in range(layers * positions)])
    where = list(range(positions))
    return frames.sweep_frame(
        grid.unflatten(0, (layers, positions)), logits(-1), list(range(layers)),
        [Token(i, i, text(i)) for i in where], where, [1, 2], text,
    )  # fmt: skip
