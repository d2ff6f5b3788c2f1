"""Models whose numbers are NaN or infinite: said in words, and never NaN on the wire."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
import torch
from bad_values import check_wire
from explorer_testing import BASE, SOURCE, Make, ask

import vene_widgets as vw
from vene_widgets.engine.comparing import compare
from vene_widgets.explorer.export.page import page
from vene_widgets.interventions import register

PAGE = ("scene", "map", "answer", "past", "steps")


def poison_block(model: vw.LanguageModel, value: float) -> None:
    net: Any = model.model
    with torch.no_grad():
        net.transformer.h[1].mlp.c_proj.bias[0] = value


def check_screen(explorer: vw.Explorer) -> None:
    for name in (*PAGE, "contrast", "status"):
        check_wire(getattr(explorer, name))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_model_without_a_distribution_says_so(
    make: Make, own: vw.LanguageModel, value: float
) -> None:
    poison_block(own, value)
    explorer = make(model=own, slots=[vw.Slot(layer=0, position=3)])
    assert "values are NaN or infinite, so there is no distribution" in explorer.status["error"]
    assert "Half precision" not in explorer.status["error"]  # the model is in float32
    assert not explorer.map.get("cells") and not explorer.answer
    check_screen(explorer)
    run = vw.run(own, explorer.experiment)
    assert "no distribution: logits are NaN or infinite" in repr(run)
    again = compare(run, vw.run(own, explorer.experiment))
    assert again.verdict == "different" and "nan" in again.words
    for read in (lambda: run.frame, lambda: vw.sweep(own, BASE, SOURCE), explorer.figure):
        with pytest.raises(vw.RequestError, match="NaN or infinite"):
            read()


def test_a_source_without_a_distribution_gives_no_map(make: Make, own: vw.LanguageModel) -> None:
    net: Any = own.model
    italy = own.tokens(SOURCE)[3].id
    with torch.no_grad():
        net.transformer.wte.weight[italy] = math.nan
    net.lm_head.weight = torch.nn.Parameter(net.lm_head.weight.nan_to_num(0.0))
    explorer = make(model=own)
    assert "NaN or infinite" in explorer.status["error"] and not explorer.map.get("cells")
    check_screen(explorer)


@pytest.mark.usefixtures("restored_registry")
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_tiles_without_a_distribution_are_empty_and_say_so(
    make: Make, own: vw.LanguageModel, value: float
) -> None:
    register("broken", lambda base, source: base * 0 + value, needs_source=False)
    explorer = make(model=own)
    assert ask(explorer, kind="sweep", component="block_output", intervention="broken")["ok"]
    cells = explorer.map["cells"]
    assert len(cells) == explorer.map["total"] and not explorer.status["error"]
    check_screen(explorer)
    live = [cell for cell in cells if cell["idle"] is None]
    assert live
    for cell in live:
        assert cell["top"] == cell["probabilities"] == cell["ranks"] == []
        assert cell["kl"] is None and "no prediction" in cell["sentence"]
    text = page({**{name: getattr(explorer, name) for name in PAGE}, "picture": {}}, "", "")
    [state] = re.findall(r'data-vene-state="kept">(.*?)</script>', text, re.S)
    json.loads(state, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    explorer.experiment = explorer.experiment.replace(
        slots=[vw.Slot(layer=0, position=3, intervention="broken")]
    )
    explorer.wait(60)
    assert "NaN or infinite" in explorer.status["error"]
    check_screen(explorer)


@pytest.mark.usefixtures("restored_registry")
def test_a_change_that_is_not_finite_and_is_not_read(make: Make, own: vw.LanguageModel) -> None:
    """Nothing after the last block reads this position, so that there is a prediction."""
    register("broken", lambda base, source: base * math.nan, needs_source=False)
    explorer = make(model=own, slots=[vw.Slot(layer=2, position=1, intervention="broken")])
    [receipt] = explorer.answer["receipts"]
    assert receipt["size"] is None and "‖Δ‖ = nan" in receipt["words"]
    check_screen(explorer)


def test_a_masked_vocabulary_has_no_nan_on_the_wire(make: Make, own: vw.LanguageModel) -> None:
    """Logits of -inf are probabilities of 0: differences of the two are 0, not NaN."""
    net: Any = own.model
    mask = torch.zeros(net.config.vocab_size, device=own.device)
    mask[5:] = -math.inf
    net.lm_head.register_forward_hook(lambda _module, _inputs, output: output + mask)
    explorer = make(model=own, slots=[vw.Slot(layer=0, position=3)])
    assert explorer.answer and explorer.map["cells"]
    assert None in [c["logit"] for c in explorer.answer["runs"][0]["top"]]
    check_screen(explorer)
    run = vw.run(own, explorer.experiment)
    same = compare(run, vw.run(own, explorer.experiment))
    assert (same.verdict, same.max_abs) == ("bit-equal", 0.0)
    assert all(math.isfinite(p) for p in run.frame["probability"])
