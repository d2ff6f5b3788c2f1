"""How long a figure takes and how large its files are: `python tests/bench/bench_figures.py`.

Figures are drawn again and again in one warm process, as the explorer's child does; the first draw
is not counted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import torch

mpl.use("Agg")

from vene_widgets import figures, frames  # after the backend is chosen

REPEATS = 15


@dataclass(frozen=True)
class Token:
    index: int
    id: int
    text: str


def logits(seed: int) -> torch.Tensor:
    return 3 * torch.randn(50_257, generator=torch.Generator().manual_seed(seed))


def text(token_id: int) -> str:
    return f" word{token_id}"


def tokens(k: int, runs: int) -> Any:
    """About `k` tokens in `runs` runs: they agree on which are likely, as real runs mostly do."""
    shared = torch.zeros(50_257)
    shared[:k] = 40
    made = {f"run {i}": logits(i) + shared for i in range(runs)}
    return frames.token_frame(made, text, k=k)


def sweep(layers: int, positions: int) -> Any:
    grid = torch.stack([logits(i) for i in range(layers * positions)])
    where = list(range(positions))
    prompt = [Token(i, i, text(i)) for i in where]
    return frames.sweep_frame(
        grid.unflatten(0, (layers, positions)), logits(-1), list(range(layers)), prompt, where,
        [1, 2], text,
    )  # fmt: skip


def milliseconds(work: Callable[[], object]) -> tuple[float, float]:
    """Median wall time and median CPU time of a warm call."""
    work()
    walls, cpus = [], []
    for _ in range(REPEATS):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(1000 * (time.perf_counter() - wall))
        cpus.append(1000 * (time.process_time() - cpu))
    return statistics.median(walls), statistics.median(cpus)


def main() -> None:
    difference = frames.difference_frame(logits(1), logits(2), text, k=10)
    ten, forty = tokens(10, 4), tokens(40, 4)
    cases: dict[str, Callable[[], Any]] = {
        "token_heatmap 10 x 4": lambda: figures.token_heatmap(ten),
        "token_heatmap 40 x 4": lambda: figures.token_heatmap(forty),
        "difference_panel 10": lambda: figures.difference_panel(difference),
        "result (both)": lambda: figures.beside(
            figures.token_heatmap(ten), figures.difference_panel(difference)
        ),
        "distribution_dots 10 x 4": lambda: figures.distribution_dots(ten),
    }
    for layers, positions in ((6, 5), (12, 16), (30, 40)):
        frame = sweep(layers, positions)
        cases[f"sweep_map {layers} x {positions} x 2"] = lambda frame=frame: figures.sweep_map(
            frame
        )
    print(f"{'figure':28} {'PNG ms':>7} {'CPU ms':>7} {'KB':>5} {'SVG ms':>7} {'KB':>5}")
    for name, make in cases.items():
        wall, cpu = milliseconds(lambda make=make: figures.png(make()))
        svg_wall, _ = milliseconds(lambda make=make: figures.svg(make()))
        png_size, svg_size = len(figures.png(make())), len(figures.svg(make()).encode())
        print(
            f"{name:28} {wall:7.0f} {cpu:7.0f} {png_size / 1000:5.0f} {svg_wall:7.0f} "
            f"{svg_size / 1000:5.0f}"
        )


if __name__ == "__main__":
    main()
