"""Time of `import vene_widgets`, and the heavy packages that it loads."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

from table import Row

HEAVY = ("torch", "transformers", "plotnine")
SCRIPT = f"""
import json, sys, time
start = time.perf_counter()
import vene_widgets
milliseconds = 1000 * (time.perf_counter() - start)
print(json.dumps([milliseconds, [name for name in {HEAVY!r} if name in sys.modules]]))
"""


def rows(quick: bool) -> Iterator[Row]:
    """Import in fresh processes; the first one is warm-up and is not counted."""
    times: list[float] = []
    loaded: list[float] = []
    for _ in range(1 + (3 if quick else 15)):
        answer = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True)
        milliseconds, heavy = json.loads(answer.stdout)
        times.append(milliseconds)
        loaded.append(len(heavy))
    yield Row.of(
        "import", "import vene_widgets", times[1:], "ms", yardstick="a fresh process", most=300
    )
    yield Row.of(
        "import", f"of {', '.join(HEAVY)} loaded by it", loaded[1:], "", yardstick="none", most=0
    )
