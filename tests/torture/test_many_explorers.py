"""Twenty explorers on one model, and two kernels at once: each gives its own answers."""

from __future__ import annotations

import time
from typing import Any

import pytest
from real_kernel import Kernel, open_kernel

pytestmark = pytest.mark.torture

PAIRS = [
    (f"The capital of {base} is", f"The capital of {source} is")
    for base in ("Spain", "Italy", "France", "Germany", "Japan")
    for source in ("Italy", "France", "Japan", "Spain")
]
EXPLORERS, ROUNDS = 20, 50
SECONDS = 300


def setting(n: int, layer: int, position: int) -> dict[str, Any]:
    base, source = PAIRS[n]
    slots = [{"layer": layer, "position": position}]
    return {"base": base, "sources": {"source": source}, "slots": slots}


def probabilities(kernel: Kernel, n: int, layer: int, position: int) -> list[float]:
    """What a run of its own gives in the kernel."""
    base, source = PAIRS[n]
    return kernel.value(
        f"vw.run(model, vw.Experiment(base={base!r}, sources={source!r}, slots=[vw.Slot("
        f"layer={layer}, position={position})])).logits[-1].softmax(-1).tolist()"
    )


def is_answered(kernel: Kernel, comm: str, request: str) -> bool:
    """Whether the answer to the experiment of a request has arrived."""
    states = kernel.states.get(comm, [])
    revisions = [
        s["scene"]["revision"] for s in states if "scene" in s and s["scene"]["request"] == request
    ]
    return any(s["answer"]["revision"] in revisions for s in states if "answer" in s)


def last_answer(kernel: Kernel, comm: str) -> dict[str, Any]:
    return [s["answer"] for s in kernel.states[comm] if "answer" in s][-1]


def cell(n: int, time: int) -> tuple[int, int]:
    return (n + time) % 6, 3 + (n + time) % 2


def test_twenty_explorers_on_one_model_share_a_figure_process_and_mix_nothing_up(
    kernel: Kernel,
) -> None:
    """All are clicked in turn without waiting; each ends at its own last click."""
    before = kernel.value("_counts()")
    kernel.run("explorers = []")
    start = time.monotonic()
    for n in range(EXPLORERS):
        base, source = PAIRS[n]
        kernel.run(
            f"explorers.append(vw.explore({base!r}, {source!r}, model=model))\nexplorers[-1]",
            cell=f"explorer {n}",
        )
    opened = time.monotonic() - start
    comms: list[str] = kernel.value("[one.comm.comm_id for one in explorers]")
    start = time.monotonic()
    for t in range(ROUNDS):
        for n, comm in enumerate(comms):
            content = setting(n, *cell(n, t))
            kernel.send(comm, id=f"{n} {t}", kind="experiment", experiment=content)
        kernel.listen(lambda: False, 0.05)
    last = ROUNDS - 1
    assert kernel.listen(
        lambda: all(is_answered(kernel, comm, f"{n} {last}") for n, comm in enumerate(comms)),
        SECONDS,
    )
    clicked = time.monotonic() - start
    kernel.run("for one in explorers: one.wait(600)")
    during = kernel.value("_counts()")
    print(
        f"{EXPLORERS} explorers in {opened:.1f} s, {EXPLORERS * ROUNDS} clicks in {clicked:.1f} s\n"
        f"before: {before}\nwith all: {during}"
    )
    for n, comm in enumerate(comms):
        right = probabilities(kernel, n, *cell(n, last))
        for row in last_answer(kernel, comm)["tokens"]:
            assert row["probabilities"][-1] == pytest.approx(right[row["token_id"]], abs=1e-5)
        errors = {s["status"]["error"] for s in kernel.states[comm] if "status" in s}
        assert errors <= {None}
        assert all(reply["ok"] for reply in kernel.replies[comm])
    assert during["children"] <= before["children"] + 1
    assert during["threads"] <= before["threads"] + EXPLORERS + 3
    assert during["MB"] <= before["MB"] + 300
    kernel.run("for one in explorers: one.close()\ndel explorers, one")


def test_two_kernels_at_once_do_not_know_of_each_other(kernel: Kernel) -> None:
    """Both are clicked in turn; both give what a run of their own gives."""
    with open_kernel() as other:
        other.run("import vene_widgets as vw\nmodel = vw.load()")
        comms: list[str] = []
        for one in (kernel, other):
            one.run("explorer = vw.explore(model=model).wait()\nexplorer", cell="one")
            comms.append(one.value("explorer.comm.comm_id"))
        for t in range(20):
            for n, (one, comm) in enumerate(zip((kernel, other), comms, strict=True)):
                content = setting(n, *cell(n, t))
                one.send(comm, id=f"{n} {t}", kind="experiment", experiment=content)
        for n, (one, comm) in enumerate(zip((kernel, other), comms, strict=True)):
            assert one.listen(
                lambda one=one, comm=comm, n=n: is_answered(one, comm, f"{n} 19"), SECONDS
            )
            right = probabilities(one, n, *cell(n, 19))
            for row in last_answer(one, comm)["tokens"]:
                assert row["probabilities"][-1] == pytest.approx(right[row["token_id"]], abs=1e-5)
        kernel.run("explorer.close()")
        other.run("explorer.close()")
