"""Use the installed package as its README does, in an environment that has nothing else.

`python -W error -P try_wheel.py`: every warning is an error. Exits with an error if a number is not
the README's.
"""

from __future__ import annotations

import importlib.util
import tempfile
import time
from pathlib import Path

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"


def main() -> None:
    """Run, sweep, plot, explore, and export a page."""
    start = time.perf_counter()
    import vene_widgets as vw

    installed = Path(vw.__file__).parent
    if "site-packages" not in installed.parts:
        raise SystemExit(f"expected the installed package, got {installed}")
    for name in ("tests", "scripts", "capitals"):
        if importlib.util.find_spec(name) is not None:
            raise SystemExit(f"the package installs a module {name!r}, which is not its own")

    model = vw.load()
    slot = vw.Slot(layer=0, position=" Spain", source_position=" Italy")
    top = vw.run(model, vw.Experiment(base=BASE, sources=SOURCE, slots=[slot])).top(1).iloc[0]
    if (top["token"], round(top["probability"], 2)) != (" Rome", 0.94):
        raise SystemExit(f"expected ' Rome' with 94 %, got {top['token']!r}: {top['probability']}")
    print(f"first result after {time.perf_counter() - start:.1f} s")

    sweep = vw.sweep(model, BASE, SOURCE)
    with tempfile.TemporaryDirectory() as folder:
        sweep.plot().save(Path(folder, "map.pdf"), verbose=False)
        explorer = vw.explore(BASE, SOURCE, model)
        page = explorer.to_html(Path(folder, "page.html"))
        print(f"the page has {page.stat().st_size / 1000:.0f} kB")
        explorer.close()
    print(f"all after {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
