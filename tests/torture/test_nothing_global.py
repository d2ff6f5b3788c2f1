"""An explorer's whole life leaves the process's global state as it was."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch
from census import census
from explorer_testing import BASE, SOURCE, setting, slot

import vene_widgets as vw
from vene_widgets.explorer.painter import shared

WAIT = 300


def live(model: vw.LanguageModel, folder: Path) -> None:
    """Open, click, sweep, compare, follow, draw, save, share, restore, close."""
    explorer = vw.explore(BASE, SOURCE, model=model).wait(WAIT)
    replies: list[dict[str, Any]] = []
    arrived = threading.Condition()

    def send(content: dict[str, Any], buffers: Any = None) -> None:
        with arrived:
            replies.append(content)
            arrived.notify_all()

    explorer.send = send
    random = {"intervention": "low_rank_rotated_space", "rank": 2}
    experiment = setting(slot(1, 3))["experiment"]
    side = {"title": "left", "experiment": experiment}
    requests: list[dict[str, Any]] = [
        setting(slot(0, 3)),
        setting(slot(1, 3, **random), slot(1, 4, **random)),
        setting(slot(0, 3, group="0"), slot(1, 4, group="0")),
        {"kind": "sweep", "component": "mlp_output"},
        {"kind": "sweep", "component": "head_attention_value_output", "head": "all", "layer": 1},
        {"kind": "follow", "token": " Madrid"},
        {"kind": "compare", "left": side, "right": side},
        {"kind": "figure", "figure": "sweep_map", "style": "dark"},
        {"kind": "take", "figure": "result", "format": "zip"},
        {"kind": "share"},
        {"kind": "tokens", "text": BASE},
        {"kind": "experiment", "experiment": {"base": 3}},
        {"kind": "cancel"},
        setting(slot(2, 4)),
    ]
    for n, request in enumerate(requests):
        explorer.receive({"id": f"r{n}", **request})
        explorer.wait(WAIT)
    with arrived:
        assert arrived.wait_for(lambda: len(replies) == len(requests), WAIT)
    assert [reply["id"] for reply in replies if not reply["ok"]] == ["r11"]
    for name in ("figure.png", "figure.zip"):
        explorer.save_figure(folder / name)
    explorer.save_tables(folder / "tables")
    explorer.to_html(folder / "page.html")
    explorer.figure()
    explorer.code()
    explorer._repr_mimebundle_()
    vw.from_state(explorer.state(), model=model).wait(WAIT).close()
    explorer.compare("base")
    explorer.close()
    assert shared._shared.painter is None


def test_the_life_of_an_explorer_changes_nothing_global(
    own: vw.LanguageModel, tmp_path: Path
) -> None:
    """The user's settings are unusual ones, so that a reset to a default shows."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    live(own, tmp_path / "first")  # imports happen here
    threads = torch.get_num_threads()
    with mpl.rc_context({"axes.grid": True, "figure.dpi": 53.0, "font.size": 5.0}):
        torch.manual_seed(5)
        np.random.seed(5)
        torch.set_printoptions(precision=7)
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        figure = plt.figure()
        try:
            with np.errstate(divide="raise"), torch.inference_mode(False), torch.enable_grad():
                gc.collect()
                before = census()
                live(own, tmp_path / "second")
                gc.collect()
                after = census()
        finally:
            plt.close(figure)
            torch.use_deterministic_algorithms(False)
            torch.set_num_threads(threads)
            torch.set_printoptions(profile="default")
    assert {n: (before[n], after[n]) for n in before if before[n] != after[n]} == {}
