"""The user's own hooks, there for a moment or to stay."""

from __future__ import annotations

import copy

import torch
from explorer_testing import SilentPainter, ask
from model_changes_testing import EXPERIMENT, block, is_of, logits

import vene_widgets as vw
from vene_widgets.explorer import Explorer
from vene_widgets.models import wrap


def test_brief_hooks_of_other_cells_see_no_pass_and_change_no_answer(
    explorer: Explorer, own: vw.LanguageModel
) -> None:
    wanted, seen = logits(own, EXPERIMENT), []
    handles = [
        block(own, 1).register_forward_hook(lambda *_: seen.append(1)),
        block(own, 2).register_forward_hook(lambda _m, _a, out: out * 0),
    ]
    ask(explorer, kind="experiment", experiment=EXPERIMENT.model_dump())
    for handle in handles:
        handle.remove()
    assert seen == [] and is_of(explorer, wanted) and explorer.scene["model_since"] == 0


def test_hooks_that_stand_when_the_user_runs_are_part_of_the_model(
    explorer: Explorer, own: vw.LanguageModel
) -> None:
    without = logits(own, EXPERIMENT)
    handle = block(own, 2).register_forward_hook(lambda _m, _a, out: out.roll(1, -1))
    by_hand = vw.run(own, EXPERIMENT).logits[-1]
    assert not torch.allclose(by_hand, without, atol=1e-3)
    explorer.notice_changes()
    explorer.wait(60)
    assert is_of(explorer, by_hand)
    assert explorer.map["slow"] == "the model carries hooks of its own"
    # And no longer when they are gone, though nobody ran the model since.
    handle.remove()
    explorer.notice_changes()
    explorer.wait(60)
    assert is_of(explorer, without) and explorer.map["slow"] is None


def test_hooks_that_stood_when_it_was_wrapped_act_and_the_screen_says_so(
    tiny_gpt2: vw.LanguageModel, silent_painter: SilentPainter
) -> None:
    net = copy.deepcopy(tiny_gpt2.model)
    net.get_submodule("transformer.h.2").register_forward_hook(lambda _m, _a, out: out.roll(1, -1))
    own = wrap(net, tiny_gpt2.tokenizer)
    explorer = Explorer(own, EXPERIMENT).wait(60)
    assert is_of(explorer, logits(own, EXPERIMENT))
    assert "carries hooks or replaced methods of its own" in explorer.status["note"]
    explorer.close()
    plain = Explorer(tiny_gpt2, EXPERIMENT).wait(60)
    assert plain.status["note"] is None
    plain.close()
