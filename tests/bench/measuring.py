"""Time several functions in turns, so that a busy moment of the machine affects all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

Work = Callable[[], object]


def seconds(work: Work, times: int = 1) -> float:
    """Median time of `times` calls, in seconds."""
    durations: list[float] = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        durations.append(time.perf_counter() - start)
    return statistics.median(durations)


def in_turns(
    repeats: int, works: Mapping[str, Work], slow: Sequence[str] = ()
) -> dict[str, list[float]]:
    """Seconds of each function in each repeat.

    Args:
        repeats: number of turns of every function.
        works: the functions by name.
        slow: names of functions that run once per turn, without warm-up. The others have one
            warm-up call. If any function is slow, they run three times per turn, and the median
            counts.
    """
    times = {name: 1 if name in slow or not slow else 3 for name in works}
    for name, work in works.items():
        if name not in slow:
            work()
    durations: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            durations[name].append(seconds(work, times[name]))
    return durations


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Ratios of two functions' times, repeat by repeat."""
    return [a / b for a, b in zip(above, below, strict=True)]
