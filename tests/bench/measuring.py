"""Times of several works, taken in turns, so that a busy moment of the machine meets them all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

Work = Callable[[], object]


def seconds(work: Work, times: int = 1) -> float:
    """Median of some runs."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def in_turns(
    repeats: int, works: Mapping[str, Work], slow: Sequence[str] = ()
) -> dict[str, list[float]]:
    """Seconds of each work in each repeat.

    Args:
        repeats: how often every work has its turn.
        works: by name.
        slow: those that run once per turn and not at all beforehand; the others run once without
            being counted, and where there are slow ones three times per turn, of which the median
            counts.
    """
    times = {name: 1 if name in slow or not slow else 3 for name in works}
    for name, work in works.items():
        if name not in slow:
            work()
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            found[name].append(seconds(work, times[name]))
    return found


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Quotients of two works' times, repeat by repeat."""
    return [a / b for a, b in zip(above, below, strict=True)]
