"""Benchmark results: rows of one table, as text, markdown and JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One row: a ratio, a time or a count, and its target.

    Attributes:
        part: the part of the benchmarks that it belongs to.
        name: what was measured.
        unit: unit of the numbers, `×` for a ratio.
        median, low, high: median and quartiles of the repeats.
        repeats: number of measurements.
        yardstick: what it is compared with.
        least, most: target bounds; None if there is no bound on that side.
    """

    part: str
    name: str
    unit: str
    median: float
    low: float
    high: float
    repeats: int
    yardstick: str = ""
    least: float | None = None
    most: float | None = None

    @classmethod
    def of(cls, part: str, name: str, values: Sequence[float], unit: str, **more: Any) -> Row:
        """Make a row from the values of all repeats."""
        median = statistics.median(values)
        low, _, high = (
            statistics.quantiles(values, n=4, method="inclusive")
            if len(values) > 1
            else [median] * 3
        )
        return cls(part, name, unit, median, low, high, len(values), **more)

    @property
    def missed(self) -> bool:
        """Whether the median is outside the target."""
        below = self.least is not None and self.median < self.least
        return below or (self.most is not None and self.median > self.most)

    @property
    def wish(self) -> str:
        """The target as text, with `MISSED` if it was missed; empty if there is none."""
        bounds = [f"≥ {plain(self.least)}"] if self.least is not None else []
        bounds += [f"≤ {plain(self.most)}"] if self.most is not None else []
        return " and ".join(bounds) + (" MISSED" if self.missed else "")


def plain(value: float | None) -> str:
    """A number with three significant digits, or all digits before the decimal point."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if value == 0 or abs(value) >= 0.001 else f"{value:.2g}"


def table(rows: Sequence[Row], earlier: Sequence[Row] | None = None) -> str:
    """All rows as an aligned text table; with an earlier run, also its medians and the change."""
    head = ["part", "line", "median", "unit", "quartiles", "n", "wanted"]
    old = {(row.part, row.name): row.median for row in earlier or ()}
    lines = [[*head, *(["earlier", "change"] if earlier is not None else []), "yardstick"]]
    for row in rows:
        spread = f"{plain(row.low)} to {plain(row.high)}" if row.repeats > 1 else ""
        line = [row.part, row.name, plain(row.median), row.unit, spread]
        line += [str(row.repeats), row.wish]
        if earlier is not None:
            before = old.get((row.part, row.name))
            line += [plain(before), f"{row.median / before - 1:+.0%}" if before else ""]
        lines.append([*line, row.yardstick])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    numbers = {"median", "n", "earlier", "change"}
    right = [title in numbers for title in lines[0]]
    text = [
        "  ".join(
            cell.rjust(width) if flush else cell.ljust(width)
            for cell, width, flush in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    ]
    return "\n".join([text[0], "-" * max(map(len, text)), *text[1:]])


def markdown(rows: Sequence[Row]) -> str:
    """The rows that have a target, as the table of docs/benchmarks.md."""
    lines = ["| | measured | quartiles | wanted | against |", "|---|---|---|---|---|"]
    for row in rows:
        if row.wish:
            spread = f"{plain(row.low)} to {plain(row.high)}" if row.repeats > 1 else ""
            value = f"{plain(row.median)} {row.unit}".strip()
            name = f"{row.part}: {row.name}"
            lines.append(f"| {name} | {value} | {spread} | {row.wish} | {row.yardstick} |")
    return "\n".join(lines)


def missed(rows: Sequence[Row]) -> str:
    """One sentence about missed targets, printed below the table."""
    wished = [row for row in rows if row.wish]
    names = [f"{row.part}: {row.name}" for row in wished if row.missed]
    if not names:
        return f"All {len(wished)} wishes are met." if wished else "No line has a wish."
    return f"{len(names)} of {len(wished)} wishes are missed: {'; '.join(names)}."


def write(file: Path, machine: Mapping[str, str], rows: Sequence[Row]) -> None:
    """Write machine and rows as JSON."""
    content = {"machine": dict(machine), "rows": [asdict(row) for row in rows]}
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read(file: Path) -> tuple[dict[str, str], list[Row]]:
    """Read machine and rows from a file of `write`."""
    content = json.loads(file.read_text())
    return content["machine"], [Row(**row) for row in content["rows"]]
