"""How fast it is, in one table: `make bench`, or `python tests/bench --help`.

Ratios are measured in turns within one process, so that they carry over to other machines; wishes
stand beside them and decide nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path

from machine import described, machine
from table import Row, markdown, missed, read, table, write

Part = Callable[[bool], Iterator[Row]]
"""Yields a part's rows; with True it takes fewer repeats."""

PARTS = {name: f"bench_{name}" for name in ("sweep", "answer", "screen", "figures", "import")}
"""Each part's module, which has a function `rows`; loaded when it is asked for."""


def main(arguments: Sequence[str] | None = None, parts: Mapping[str, Part] | None = None) -> None:
    """Measure and print.

    Args:
        arguments: those of the command line.
        parts: other parts than `PARTS`, by name.
    """
    known = PARTS if parts is None else parts
    parser = argparse.ArgumentParser(prog="python tests/bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[*known], help="these parts alone")
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all that was found")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare with such a file")
    parser.add_argument("--show", nargs="+", type=Path, metavar="FILE",
                        help="measure nothing, print what such files hold")  # fmt: skip
    parser.add_argument("--markdown", action="store_true", help="the README's table")
    asked = parser.parse_args(arguments)
    earlier = read(asked.against) if asked.against else None
    shown = [read(file) for file in asked.show or ()]
    here = shown[0][0] if shown else machine()
    print(described(here, earlier and earlier[0]), end="\n\n", flush=True)
    found = [row for _, rows in shown for row in rows]
    for name in [name for name in known if not shown and (not asked.only or name in asked.only)]:
        print(f"measuring: {name} …", file=sys.stderr, flush=True)
        part = parts[name] if parts is not None else import_module(PARTS[name]).rows
        found += part(asked.quick)
        if asked.json:  # after every part: a run that is stopped has kept what it found
            write(asked.json, here, found)
    text = markdown(found) if asked.markdown else table(found, earlier and earlier[1])
    print(text, missed(found), sep="\n\n")
