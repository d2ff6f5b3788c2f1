"""A cell draws with pyplot and plotnine while the explorer is clicked: both are right."""

from __future__ import annotations

import time
from typing import Any

import pytest
from real_kernel import Kernel

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"
CELLS = [(0, 3), (2, 3), (3, 4), (5, 4)]
ANSWER_SECONDS = 300

DRAW = """
import hashlib, io, warnings
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import plotnine as p9

frame = pd.DataFrame({"x": range(20), "y": np.sin(np.arange(20)), "kind": list("ab") * 10})

def drawn(n):
    found = []
    plt.rcParams["lines.linewidth"] = 1 + n % 3
    figure = plt.figure(figsize=(3, 2), dpi=60)
    plt.plot(np.cos(np.arange(30) * (1 + n % 3)))
    plt.title(f"figure {n % 3}")
    buffer = io.BytesIO()
    plt.savefig(buffer, format="raw")
    found.append(buffer.getvalue())
    plt.close()
    plot = p9.ggplot(frame, p9.aes("x", "y", colour="kind")) + p9.geom_line(size=1 + n % 3)
    buffer = io.BytesIO()
    (plot + p9.theme(figure_size=(3, 2))).save(buffer, format="raw", dpi=60, verbose=False)
    found.append(buffer.getvalue())
    return [hashlib.sha256(one).hexdigest() for one in found]

alone = [drawn(n) for n in range(3)]
assert len({tuple(one) for one in alone}) == 3
assert alone == [drawn(n) for n in range(3)]

import threading
elsewhere = []  # IPython's events on other threads than the cell's

def note():
    if threading.current_thread() is not threading.main_thread():
        elsewhere.append(threading.current_thread().name)

get_ipython().events.register("post_execute", note)
"""

BESIDE = """
import time
wrong, count, end = [], 0, time.monotonic() + {seconds}
while time.monotonic() < end or count < 6:
    if drawn(count) != alone[count % 3]:
        wrong.append(count)
    count += 1
assert plt.get_fignums() == []
"""


def setting(layer: int, position: int) -> dict[str, Any]:
    slots = [{"layer": layer, "position": position}]
    return {"base": BASE, "sources": {"source": SOURCE}, "slots": slots}


def require_right(kernel: Kernel, answer: dict[str, Any], scene: dict[str, Any]) -> None:
    """The numbers of an answer are those of the scene with its revision."""
    one = scene["experiment"]["slots"][0]
    right = kernel.value(
        f"vw.run(model, vw.Experiment(base={BASE!r}, sources={SOURCE!r}, slots=[vw.Slot("
        f"layer={one['layer']}, position={one['position']})])).logits[-1].softmax(-1).tolist()"
    )
    for row in answer["tokens"]:
        assert row["probabilities"][-1] == pytest.approx(right[row["token_id"]], abs=1e-5)


@pytest.mark.parametrize(
    ("subshells", "seconds"),
    [
        (True, 2),
        pytest.param(True, 60, marks=pytest.mark.torture),
        pytest.param(False, 60, marks=pytest.mark.torture),
    ],
)
def test_figures_of_a_cell_are_those_drawn_alone_and_answers_are_right(
    kernel: Kernel, subshells: bool, seconds: int
) -> None:
    """With subshells clicks are answered while the cell runs, without them after it."""
    kernel.run(DRAW)
    kernel.run("explorer = vw.explore(model=model).wait()\nexplorer", cell="explorer")
    comm = kernel.value("explorer.comm.comm_id")
    states = kernel.states.setdefault(comm, [])
    subshell = kernel.subshell() if subshells else None
    first = len(states)
    finished = kernel.start(BESIDE.format(seconds=seconds))
    clicks, answered_beside, end = 0, 0, time.monotonic() + seconds
    while time.monotonic() < end or clicks < 4:
        kernel.send(
            comm,
            subshell,
            id=f"r{clicks}",
            kind="experiment",
            experiment=setting(*CELLS[clicks % len(CELLS)]),
        )
        clicks += 1
        if subshells:
            before = len(states)
            assert kernel.listen(
                lambda before=before: any("answer" in one for one in states[before:]),
                ANSWER_SECONDS,
            )
            answered_beside += 1
        else:
            kernel.listen(lambda: False, 0.2)
    finished()
    kernel.run("explorer.wait(600)")
    assert kernel.listen(lambda: states[-1].get("status", {}).get("busy") is None, ANSWER_SECONDS)
    count, wrong, elsewhere = kernel.value("[count, wrong, elsewhere]")
    scenes = {one["scene"]["revision"]: one["scene"] for one in states if "scene" in one}
    answers = [one["answer"] for one in states[first:] if "answer" in one]
    errors = {one["status"]["error"] for one in states[first:] if "status" in one} - {None}
    print(
        f"subshells {subshells}: {count} x 2 figures, {clicks} clicks, {answered_beside} answered "
        f"during the cell, {len(answers)} answers in all"
    )
    assert wrong == []
    assert elsewhere == []
    assert errors == set()
    assert answers[-1]["revision"] == max(scenes)
    for answer in answers[-4:]:
        require_right(kernel, answer, scenes[answer["revision"]])
    kernel.run("explorer.close()")
