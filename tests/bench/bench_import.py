"""What `import vene_widgets` costs before anything is used."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

from table import Row

HEAVY = ("torch", "transformers", "plotnine")
ASK = f"""
import json, sys, time
start = time.perf_counter()
import vene_widgets
found = 1000 * (time.perf_counter() - start)
print(json.dumps([found, [name for name in {HEAVY!r} if name in sys.modules]]))
"""


def rows(quick: bool) -> Iterator[Row]:
    """Fresh processes, the first not counted."""
    times: list[float] = []
    loaded: list[float] = []
    for _ in range(1 + (3 if quick else 15)):
        answer = subprocess.run([sys.executable, "-c", ASK], check=True, capture_output=True)
        found, heavy = json.loads(answer.stdout)
        times.append(found)
        loaded.append(len(heavy))
    yield Row.of(
        "import", "import vene_widgets", times[1:], "ms", yardstick="a fresh process", most=300
    )
    yield Row.of(
        "import", f"of {', '.join(HEAVY)} loaded by it", loaded[1:], "", yardstick="none", most=0
    )
