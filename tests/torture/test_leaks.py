"""Explorers that are closed, run again or dropped leave nothing behind in a real kernel."""

from __future__ import annotations

import time
from typing import Any

import pytest
from real_kernel import Kernel

MAX_MB = 50
"""What the kernel's memory may have grown by in the end."""

FILES = 16
"""More file handles that ZeroMQ may have for threads that have just ended."""

SETTLE_SECONDS = 120
"""Idle threads end by themselves after ten seconds; a busy machine may be slow."""

PAIR = {"base": "The capital of Spain is", "sources": {"source": "The capital of Italy is"}}

HOOKS = "sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.model.modules())"

COUNTED = ("threads", "children", "comms", "widgets", "explorers", "workers", "hooks")


def counts(kernel: Kernel) -> dict[str, Any]:
    """What there is in the kernel, once IPython's `_`, `__` and `___` hold no explorer."""
    for number in range(3):
        kernel.run(str(number))
    return {**kernel.value("_counts()"), "hooks": kernel.value(HOOKS)}


def require_nothing_left(kernel: Kernel, before: dict[str, Any]) -> None:
    """Wait until no more is there than before, or fail in the end."""
    end = time.monotonic() + SETTLE_SECONDS
    while any((after := counts(kernel))[name] > before[name] for name in COUNTED):
        if time.monotonic() > end:
            break
        time.sleep(0.5)
    print(f"before: {before}\nafter:  {after}")
    assert {name: after[name] for name in COUNTED if after[name] > before[name]} == {}
    assert after["files"] <= before["files"] + FILES
    assert after["MB"] <= before["MB"] + MAX_MB


@pytest.mark.parametrize("times", [pytest.param(200, marks=pytest.mark.torture)])
def test_explorers_that_are_opened_clicked_and_closed_leave_nothing(
    kernel: Kernel, times: int
) -> None:
    """Each is displayed by a cell of its own, clicked twice and closed."""
    before = counts(kernel)
    start = time.monotonic()
    for n in range(times):
        kernel.run("explorer = vw.explore(model=model)\nexplorer", cell=f"cell {n}")
        kernel.run(f"click(explorer, {n})\nclick(explorer, {n + 1})\nexplorer.close()")
    print(f"{times} explorers in {time.monotonic() - start:.1f} s")
    kernel.run("del explorer")
    require_nothing_left(kernel, before)


@pytest.mark.parametrize("times", [5, pytest.param(200, marks=pytest.mark.torture)])
def test_a_cell_that_runs_again_leaves_nothing_of_its_earlier_explorers(
    kernel: Kernel, times: int
) -> None:
    """The usual way to work: the cell ends with the explorer, it is clicked, the cell runs again.

    That the last explorer stays is counted before.
    """
    replies = sum(map(len, kernel.replies.values()))
    kernel.run("explorer = vw.explore(model=model)\nexplorer", cell="cell")
    before = counts(kernel)
    start = time.monotonic()
    for n in range(times):
        kernel.run("explorer = vw.explore(model=model)\nexplorer", cell="cell")
        comm = kernel.value("explorer.comm.comm_id")
        slot = {"layer": n % 5, "position": 3}
        kernel.send(comm, id=f"r{n}", kind="experiment", experiment={**PAIR, "slots": [slot]})
        kernel.run("explorer.run")
    print(f"{times} executions in {time.monotonic() - start:.1f} s")
    require_nothing_left(kernel, before)
    assert sum(map(len, kernel.replies.values())) == replies + times


@pytest.mark.parametrize("times", [2, pytest.param(50, marks=pytest.mark.torture)])
def test_an_explorer_that_is_dropped_in_the_middle_of_its_sweep_leaves_nothing(
    kernel: Kernel, times: int
) -> None:
    """Its cell runs again while the map fills; the variable goes too."""
    kernel.run(
        "from vene_widgets.explorer import Explorer\n"
        "text = 'The capital of Spain is' + ' Madrid. The capital of Spain is' * 3\n"
        "pair = vw.Experiment(base=text, sources=text.replace('Spain', 'Italy'))\n"
        "busy = []"
    )
    before = counts(kernel)
    for _ in range(times):
        kernel.run(
            "explorer = Explorer(model, pair)\n"
            "display(explorer)\n"
            "busy.append(explorer.worker.is_busy('sweep'))\n"
            "del explorer",
            cell="cell",
        )
    kernel.run("explorer = None", cell="cell")
    require_nothing_left(kernel, before)
    assert any(kernel.value("busy"))
