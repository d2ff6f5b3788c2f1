"""Cells are hatched only where the model was measured to be causal."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from by_hand import ITALY, PAIRS, SPAIN, check_map, token_ids
from changed_models import Change, attention, hook_across_positions, not_causal
from torch import Tensor, nn

import vene_widgets as vw


def idle_cells(model: vw.LanguageModel, component: str = "block_output") -> set[str | None]:
    from vene_widgets.experiments.sweep_request import SweepRequest
    from vene_widgets.explorer.session.map_builder import idle_reason
    from vene_widgets.sweeps.planning import plan_sweep
    from vene_widgets.sweeps.preparing import prepare_sweep

    plan = plan_sweep(model, SPAIN, ITALY, SweepRequest(component=component))
    prepared = prepare_sweep(plan)
    return {
        idle_reason(prepared, layer, column)
        for layer in plan.layers
        for column in range(len(plan.positions))
    }


def test_a_causal_model_has_hatched_cells(model: vw.LanguageModel) -> None:
    assert idle_cells(model) == {"same", "causal", None}


@pytest.mark.parametrize("change", [not_causal, hook_across_positions])
def test_a_model_that_is_not_causal_has_no_hatched_cells(
    model: vw.LanguageModel, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(model, monkeypatch)
    model.accept_hooks()
    assert idle_cells(model) == {None}
    assert not model.behaviour.is_causal
    # Embeddings know no other token: block 0's input alone may be called the same.
    assert idle_cells(model, "block_input") == {"same", None}


def test_a_dependence_that_the_probes_do_not_meet(model: vw.LanguageModel) -> None:
    """Block 0 reads the last token of one prompt only: what was measured does not hold there."""
    italy = token_ids(model, ITALY)[0, 3]
    inputs: list[Tensor] = []

    def note(_module: nn.Module, args: Any, kwargs: Any) -> None:
        inputs[:] = [args[0] if args else kwargs["input_ids"]]

    def leak(_module: nn.Module, _args: Any, output: Any) -> Any:
        if not bool((inputs[0] == italy).any()):
            return None
        return (output[0] * 2, *output[1:])

    model.model.register_forward_pre_hook(note, with_kwargs=True)
    attention(model, 0).register_forward_hook(leak)
    model.accept_hooks()
    assert model.behaviour.is_causal
    check_map(model, SPAIN, ITALY, "block_output")


LONG = (PAIRS[1][0] + PAIRS[1][0][3:], PAIRS[1][1] + PAIRS[1][1][3:])
"""Prompts that are longer than the probes."""


def test_a_mask_function_that_looks_ahead_in_long_prompts_only(
    model: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands in transformers' registry, so no module and no config has changed."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS as MASKS

    config: Any = model.model.config
    kind: str = config._attn_implementation
    real, state = MASKS[kind], model.fingerprint

    def looking_ahead(*args: Any, **kwargs: Any) -> Any:
        mask = real(*args, **{**kwargs, "allow_is_causal_skip": False}).clone()
        mask[..., 6:, 6:] = True if mask.dtype is torch.bool else 0
        return mask

    vw.sweep(model, *LONG)
    monkeypatch.setitem(MASKS._global_mapping, kind, looking_ahead)
    assert model.fingerprint != state
    check_map(model, *LONG, "block_output")
    assert f"mask function {kind!r} was replaced" in str(model.resume_blocker)


def test_one_layer_with_an_attention_function_of_its_own(
    model: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    import copy

    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS as FUNCTIONS

    def looking_ahead(module: Any, query: Tensor, key: Tensor, value: Tensor, *_: Any, **kw: Any):
        count = key.shape[2]
        mask = torch.ones(count, count, dtype=torch.bool, device=key.device).tril()
        mask[7:, 7:] = True
        return FUNCTIONS["sdpa"](module, query, key, value, mask[None, None], **kw)

    monkeypatch.setitem(FUNCTIONS._global_mapping, "looking ahead", looking_ahead)
    own = attention(model, 1)
    own.config = copy.deepcopy(own.config)
    own.config._attn_implementation = "looking ahead"
    check_map(model, *LONG, "block_output")
    assert "asks for another attention" in str(model.resume_blocker)
    state = model.fingerprint
    monkeypatch.setitem(FUNCTIONS._global_mapping, "looking ahead", FUNCTIONS["sdpa"])
    assert model.fingerprint != state
