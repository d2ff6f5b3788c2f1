"""Hooks that treat the rows of a batch differently, where the short probes do not meet it."""

from __future__ import annotations

from typing import Any

import pytest
from by_hand import ITALY, PAIRS, SPAIN, check_map
from changed_models import attention
from tree_testing import blocks

import vene_widgets as vw

LONG = (PAIRS[1][0] + PAIRS[1][0][3:], PAIRS[1][1] + PAIRS[1][1][3:])
"""Prompts that are longer than the probes."""


def steered(output: Any, row: int, position: int) -> Any:
    states = output[0].clone()
    states[row, position] *= 3
    return (states, *output[1:])


def first_row_of_long_prompts(_module: Any, _args: Any, output: Any) -> Any:
    return steered(output, 0, 6) if output[0].shape[1] > 6 else None


def last_row_of_long_prompts(_module: Any, _args: Any, output: Any) -> Any:
    return steered(output, -1, 6) if output[0].shape[1] > 6 else None


def many_rows(_module: Any, _args: Any, output: Any) -> Any:
    return (output[0] * 2, *output[1:]) if len(output[0]) > 9 else None


@pytest.mark.parametrize(
    "hook",
    [first_row_of_long_prompts, last_row_of_long_prompts, many_rows],
    ids=lambda h: h.__name__,
)
def test_what_the_probes_do_not_meet(model: vw.LanguageModel, hook: Any) -> None:
    attention(model, 1).register_forward_hook(hook)
    model.accept_hooks()
    assert model.behaviour.batches
    check_map(model, *LONG, "block_output")
    assert not model.behaviour.batches


def test_a_hook_that_is_switched_on_by_a_variable(model: vw.LanguageModel) -> None:
    """No fingerprint sees the variable."""
    is_on = False

    def hook(_module: Any, _args: Any, output: Any) -> Any:
        return steered(output, 0, 3) if is_on else None

    attention(model, 1).register_forward_hook(hook)
    check_map(model, SPAIN, ITALY, "block_output")
    is_on = True
    check_map(model, SPAIN, ITALY, "block_output")


def test_a_hook_that_treats_rows_alike_keeps_its_batches(model: vw.LanguageModel) -> None:
    sizes: list[int] = []
    attention(model, 1).register_forward_hook(lambda *_: None)
    blocks(model)[0].register_forward_pre_hook(lambda _module, args: sizes.append(len(args[0])))
    sweep = vw.sweep(model, *LONG)
    cells = len(sweep.plan.layers) * len(sweep.plan.positions)
    assert max(sizes) > cells // 2
    assert model.behaviour.batches and not model.behaviour.is_family_code
    sizes.clear()
    again = vw.sweep(model, *LONG)
    assert len(sizes) <= 4, "two plain runs, and the cells in batches"
    assert (again.logits == sweep.logits).all()
