"""Benchmarks in one table: `make bench`, or `python tests/bench --help`.

Ratios are measured in turns within one process, so that they carry over to other machines. Targets
are printed beside them; a missed target does not change the exit status.
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
"""Yields the rows of one part; the argument is `quick`: fewer repeats."""

PARTS = {
    name: f"bench_{name}" for name in ("sweep", "pairs", "answer", "screen", "figures", "import")
}
"""Part -> its module, which has a function `rows`; imported on demand."""


def main(arguments: Sequence[str] | None = None, parts: Mapping[str, Part] | None = None) -> None:
    """Run the benchmarks and print the table.

    Args:
        arguments: command-line arguments; None for `sys.argv`.
        parts: parts by name, instead of `PARTS`.
    """
    known = PARTS if parts is None else parts
    parser = argparse.ArgumentParser(prog="python tests/bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[*known], help="run only these parts")
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results as JSON")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare with such a file")
    parser.add_argument("--show", nargs="+", type=Path, metavar="FILE",
                        help="print such files without measuring")  # fmt: skip
    parser.add_argument(
        "--markdown", action="store_true", help="print the table of docs/benchmarks.md"
    )
    options = parser.parse_args(arguments)
    earlier = read(options.against) if options.against else None
    files = [read(file) for file in options.show or ()]
    here = files[0][0] if files else machine()
    print(described(here, earlier and earlier[0]), end="\n\n", flush=True)
    results = [row for _, rows in files for row in rows]
    for name in [n for n in known if not files and (not options.only or n in options.only)]:
        print(f"measuring: {name} …", file=sys.stderr, flush=True)
        part = parts[name] if parts is not None else import_module(PARTS[name]).rows
        results += part(options.quick)
        if options.json:  # after every part, so that an interrupted run keeps its results
            write(options.json, here, results)
    text = markdown(results) if options.markdown else table(results, earlier and earlier[1])
    print(text, missed(results), sep="\n\n")
