"""Try the explorer in each front end; print a table. Arguments: names of front ends, else all.

python tests/frontends nbclassic voila
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "helpers"), str(Path(__file__).parents[2])]

from environments import FRONT_ENDS, make  # noqa: E402
from scenario import try_in  # noqa: E402


def main(names: list[str]) -> int:
    """Try the front ends of these names; return the number of failures."""
    unknown = set(names) - {front_end.name for front_end in FRONT_ENDS}
    if unknown:
        known = ", ".join(front_end.name for front_end in FRONT_ENDS)
        print(f"unknown front end {', '.join(sorted(unknown))}; choose from {known}")
        return 1
    rows: list[tuple[str, ...]] = [
        ("front end", "version", "ipywidgets", "anywidget", "ipykernel", "clicked and read", "")
    ]
    failures = 0
    for front_end in FRONT_ENDS:
        if names and front_end.name not in names:
            continue
        make(front_end)
        versions = [
            front_end.version(package)
            for package in (front_end.module, "ipywidgets", "anywidget", "ipykernel")
        ]
        read, problem = try_in(front_end)
        failures += bool(problem)
        rows.append((front_end.name, *versions, read, problem or "passed"))
        print(" | ".join(rows[-1]), flush=True)
    lines = [[(cell.splitlines() or [""])[0] for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print()
    for line in lines:
        print("  ".join(map(str.ljust, line, widths)))
    print(f"\n{len(rows) - 1 - failures} of {len(rows) - 1} front ends passed")
    return failures


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
