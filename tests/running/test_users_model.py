"""Runs of models that came with hooks, written tensors, settings and dtypes."""

from __future__ import annotations

import copy
from typing import Any

import torch
from running_testing import EVERYWHERE, ITALY, SPAIN, everywhere, ids_of, plain, swap, swapped
from torch import Tensor, nn

from vene_widgets.engine.running import run
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.models import LanguageModel


def test_runs_see_what_the_users_own_hooks_do(tiny: LanguageModel):
    """The user steers block 1; our slot there acts on the steered model, base and source alike."""
    model = LanguageModel("steered", copy.deepcopy(tiny.model), tiny.tokenizer)
    block = model.model.get_submodule(f"{model.sites.architecture.blocks}.1")

    def doubled(_module: nn.Module, _args: Any, output: Any) -> Any:
        return (2 * output[0], *output[1:]) if isinstance(output, tuple) else 2 * output

    block.register_forward_hook(doubled)
    assert torch.equal(run(model, Experiment(base=SPAIN)).logits, plain(model, SPAIN))
    result = run(model, swapped(swap(1, 3)))
    source = run(tiny, Experiment(base=ITALY)).states[1]
    base = run(tiny, Experiment(base=SPAIN)).states[1]
    expected = 2 * base
    expected[3] = 2 * source[3]
    assert torch.equal(result.states[1], expected)
    everything = run(model, swapped(swap(0, EVERYWHERE, "block_input")))
    assert torch.equal(everything.logits, plain(model, ITALY))


def test_a_slot_writes_on_a_copy_of_what_others_hold(tiny: LanguageModel):
    """One tensor is block 0's output and block 1's input: only the latter is swapped."""
    model = LanguageModel("watched", copy.deepcopy(tiny.model), tiny.tokenizer)
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _args: Any, output: Any) -> None:
        kept.append(output[0] if isinstance(output, tuple) else output)

    block = model.model.get_submodule(f"{model.sites.architecture.blocks}.0")
    block.register_forward_hook(keep)
    result = run(model, swapped(swap(1, 3, "block_input")))
    base = run(tiny, Experiment(base=SPAIN))
    assert torch.equal(kept[-1][0], base.states[0])
    assert torch.equal(result.states[0], base.states[0])
    assert not torch.equal(result.states[1], base.states[1])


def test_a_run_agrees_with_hooks_written_by_hand(tiny: LanguageModel):
    """The interchange once more, with nothing of the package in it but the module's name."""
    path = f"{tiny.sites.architecture.blocks}.1.mlp"
    model: Any = copy.deepcopy(tiny.model)
    mlp, kept = model.get_submodule(path), {}
    handle = mlp.register_forward_hook(lambda _m, _a, output: kept.update(source=output.clone()))
    with torch.no_grad():
        model(input_ids=ids_of(tiny, ITALY))
    handle.remove()

    def put(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
        output[0, 4] = kept["source"][0, 3]
        return output

    mlp.register_forward_hook(put)
    with torch.no_grad():
        expected = model(input_ids=ids_of(tiny, SPAIN)).logits[0]
    result = run(tiny, swapped(swap(1, 4, "mlp_output", source_position=3)))
    assert torch.equal(result.logits, expected)


def test_a_model_set_to_keep_everything_runs_all_the_same(tiny: LanguageModel):
    model = LanguageModel("keeper", copy.deepcopy(tiny.model), tiny.tokenizer)
    config: Any = model.model.config
    config.use_cache, config.output_hidden_states = True, True
    experiment = swapped(swap(1, 3))
    assert torch.equal(run(model, experiment).logits, run(tiny, experiment).logits)


def test_half_precision_models_obey_the_same_identities(tiny: LanguageModel):
    model = LanguageModel("half", copy.deepcopy(tiny.model).bfloat16(), tiny.tokenizer)
    result = run(model, swapped(swap(0, EVERYWHERE, "block_input")))
    assert result.logits.dtype == torch.bfloat16
    assert torch.equal(result.logits, plain(model, ITALY))
    itself = run(model, swapped(*everywhere(model, 1), source=SPAIN))
    assert torch.equal(itself.logits, plain(model, SPAIN))
