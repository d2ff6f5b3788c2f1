"""Figures as the screen gets them: drawn by the warm figure process."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import torch
from measuring import seconds
from table import Row

from vene_widgets.explorer.painter.orders import Drawing, FigureOrder, Picture
from vene_widgets.explorer.painter.painter import Painter
from vene_widgets.tables import frames

WARM = "the explorer's own child process, order to PNG"
NAMES = ("base", "source", "ungrouped", "grouped")


def rows(quick: bool) -> Iterator[Row]:
    """New figures, each with its own key, and one that was already drawn."""
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
        # A fresh key per order defeats the painter's cache; the first round is warm-up.
        times: dict[str, list[float]] = {name: [] for name in cases}
        for repeat in range(1 + (4 if quick else 15)):
            for name, (kind, data, _) in cases.items():
                order = FigureOrder(str(next(numbers)), kind, data, {})
                took = 1000 * seconds(lambda order=order: draw(painter, order))
                if repeat:
                    times[name].append(took)
        for name, (_, _, most) in cases.items():
            yield Row.of("figures", name, times[name], "ms", yardstick=WARM, most=most)
        again = [1000 * seconds(lambda: draw(painter, order)) for _ in range(50)]
        yield Row.of(
            "figures", "the same figure again", again, "ms", yardstick="pictures kept", most=1
        )
    finally:
        painter.close()


def draw(painter: Painter, order: FigureOrder) -> Picture:
    """Order a figure and wait for it."""
    ready = threading.Event()
    results: list[tuple[Drawing | None, str | None]] = []

    def done(picture: Drawing | None, error: str | None) -> None:
        results.append((picture, error))
        ready.set()

    painter.draw("bench", order, done)
    ready.wait()
    picture, error = results[0]
    if not isinstance(picture, Picture):
        raise RuntimeError(error)
    return picture


def logits(seed: int) -> torch.Tensor:
    return 3 * torch.randn(50_257, generator=torch.Generator().manual_seed(seed))


def text(token_id: int) -> str:
    return f" word{token_id}"


def tokens(k: int) -> Any:
    """Frame of `k` tokens in four runs that mostly agree on the likely tokens, as real runs do."""
    shared = torch.zeros(50_257)
    shared[:k] = 40
    return frames.token_frame({n: logits(i) + shared for i, n in enumerate(NAMES)}, text, k=k)


def sweep(layers: int, positions: int) -> Any:
    from vene_widgets.models import Token

    grid = torch.stack([logits(i) for i in range(layers * positions)])
    columns = list(range(positions))
    return frames.sweep_frame(
        grid.unflatten(0, (layers, positions)), logits(-1), list(range(layers)),
        [Token(i, i, text(i)) for i in columns], columns, [1, 2], text,
    )  # fmt: skip
