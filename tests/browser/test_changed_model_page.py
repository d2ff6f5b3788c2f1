"""In JupyterLab: a cell changes the model, and the screen says so and computes anew by itself."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.browser

OPEN = """
import copy
import vene_widgets as vw
loaded = vw.load(device="cpu")
model = vw.wrap(copy.deepcopy(loaded.model), loaded.tokenizer)
explorer = vw.explore("The capital of Spain is", "The capital of Italy is", model=model)
explorer
"""
CLICK = """
explorer.experiment = explorer.experiment.replace(slots=[vw.Slot(layer=0, position=" Spain")])
explorer.wait()
"""
CHANGE = """
import torch
with torch.no_grad():
    model.model.transformer.h[2].mlp.c_proj.weight.mul_(-3)
"""
READ = """
explorer.wait()
exact = vw.run(model, explorer.experiment)
shown = explorer.answer["tokens"][0]
wanted = float(exact.logits[-1].double().softmax(-1)[shown["token_id"]])
print(explorer.scene["model_since"] > 0, abs(shown["probabilities"][-1] - wanted) < 1e-6)
"""


@pytest.mark.parametrize("theme", [None, "JupyterLab Dark"])
def test_a_changed_model_is_noticed_after_the_cell(lab: Any, theme: str | None) -> None:
    if theme:
        lab.use_theme(theme)
    lab.open([OPEN, CLICK, CHANGE, READ])
    lab.run_cell(0)
    root = lab.output(0).locator(".vene-root")
    root.locator("[role=gridcell]").first.wait_for()
    lab.run_cell(1)
    root.locator('.vene-status[data-label="exact"]').wait_for()
    assert root.locator(".vene-alert-note").count() == 0
    lab.run_cell(2)
    note = root.locator(".vene-alert-note")
    note.wait_for()
    assert "The model has changed (its weights)" in note.inner_text()
    root.locator('.vene-status[data-label="exact"]').wait_for()
    assert root.locator(".vene-past[data-old]").count() >= 1
    root.locator(".vene-map:not([data-old])").wait_for()  # it is filled anew
    lab.shot(f"changed-model{'-dark' if theme else ''}", of=root)
    lab.run_cell(3)
    assert lab.text(3) == "True True"
    note.get_by_role("button").click()
    note.wait_for(state="detached")
