"""What a benchmark found, as lines of one table and as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One line: a ratio, a time or a count, and what it is wished to be.

    Attributes:
        part: the part of the benchmarks that it belongs to.
        name: what was measured.
        unit: of the numbers, `×` for a ratio.
        median, low, high: median and quartiles of the repeats.
        repeats: how often it was measured.
        yardstick: what it is measured against.
        least, most: the wish, None where there is none on that side.
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
        """A row of some repeats' values."""
        median = statistics.median(values)
        low, _, high = (
            statistics.quantiles(values, n=4, method="inclusive")
            if len(values) > 1
            else [median] * 3
        )
        return cls(part, name, unit, median, low, high, len(values), **more)

    @property
    def missed(self) -> bool:
        """Whether the median is outside the wish."""
        below = self.least is not None and self.median < self.least
        return below or (self.most is not None and self.median > self.most)

    @property
    def wish(self) -> str:
        """The wish as text, with a word where it was missed."""
        bounds = [f"≥ {plain(self.least)}"] if self.least is not None else []
        bounds += [f"≤ {plain(self.most)}"] if self.most is not None else []
        return " and ".join(bounds) + (" MISSED" if self.missed else "")


def plain(value: float | None) -> str:
    """A number in three digits, or as many as stand before its point."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if value == 0 or abs(value) >= 0.001 else f"{value:.2g}"


def table(rows: Sequence[Row], earlier: Sequence[Row] | None = None) -> str:
    """All rows under one another; with an earlier run's, also its medians and the change."""
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
    """The lines that have a wish, as the README's table."""
    lines = ["| | measured | quartiles | wanted | against |", "|---|---|---|---|---|"]
    for row in rows:
        if row.wish:
            spread = f"{plain(row.low)} to {plain(row.high)}" if row.repeats > 1 else ""
            value = f"{plain(row.median)} {row.unit}".strip()
            name = f"{row.part}: {row.name}"
            lines.append(f"| {name} | {value} | {spread} | {row.wish} | {row.yardstick} |")
    return "\n".join(lines)


def missed(rows: Sequence[Row]) -> str:
    """One sentence on the wishes, for the table's end."""
    wished = [row for row in rows if row.wish]
    names = [f"{row.part}: {row.name}" for row in wished if row.missed]
    if not names:
        return f"All {len(wished)} wishes are met." if wished else "No line has a wish."
    return f"{len(names)} of {len(wished)} wishes are missed: {'; '.join(names)}."


def write(file: Path, machine: Mapping[str, str], rows: Sequence[Row]) -> None:
    """Everything that was found, as JSON."""
    found = {"machine": dict(machine), "rows": [asdict(row) for row in rows]}
    file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def read(file: Path) -> tuple[dict[str, str], list[Row]]:
    """What `write` wrote."""
    found = json.loads(file.read_text())
    return found["machine"], [Row(**row) for row in found["rows"]]
