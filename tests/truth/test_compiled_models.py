"""Models compiled by `torch.compile`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from by_hand import ITALY, PAIRS, SPAIN, check_everything, check_map, distance, plain_logits
from changed_models import code
from tree_testing import blocks

import vene_widgets as vw
from vene_widgets.models import wrap


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("compiled code ran")


def test_compiled_in_place(model: vw.LanguageModel) -> None:
    model.model.compile(backend=refuse)
    fresh = wrap(model.model, model.tokenizer)
    model.model._compiled_call_impl = None  # for the numbers by hand
    own = plain_logits(model, SPAIN)
    model.model.compile(backend=refuse)
    assert distance(vw.run(fresh, vw.Experiment(base=SPAIN)).logits, own) <= 1e-5
    assert model.model._compiled_call_impl is not None
    blocks(model)[1].compile(backend=refuse)
    assert vw.sweep(fresh, SPAIN, ITALY).logits.isfinite().all()


def test_compiled_around(model: vw.LanguageModel) -> None:
    compiled: Any = torch.compile(model.model, backend=refuse)
    wrapped = wrap(compiled, model.tokenizer)
    assert wrapped.model is compiled
    check_everything(wrapped)


def test_a_compiled_block(model: vw.LanguageModel) -> None:
    """`torch.compile` of one block puts a wrapper in its place, whose children have other paths."""
    found: Any = model.model.get_submodule(model.sites.architecture.blocks)
    own = plain_logits(model, SPAIN)
    found[1] = torch.compile(found[1], backend=refuse)
    wrapped = wrap(model.model, model.tokenizer)
    assert distance(vw.run(wrapped, vw.Experiment(base=SPAIN)).logits, own) <= 1e-5
    own_sweep = vw.sweep(wrapped, *PAIRS[1], "value_output").logits
    found[1] = found[1]._orig_mod
    expected = vw.sweep(wrap(model.model, model.tokenizer), *PAIRS[1], "value_output").logits
    assert distance(own_sweep, expected) <= 1e-5


# torch's own compiler scripts a module when it is imported.
@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
def test_a_submodule_that_has_run_compiled(llama: vw.LanguageModel) -> None:
    """Compiling puts functions of torch's into the family's file, while a result is in use too."""
    fresh = wrap(llama.model, llama.tokenizer)
    block: Any = blocks(llama)[1]
    own, state = plain_logits(llama, SPAIN), fresh.fingerprint
    mlp, names = block.mlp, set(vars(code(llama)))
    compiled: Any = torch.compile(mlp, backend="eager")
    block.mlp = compiled
    try:
        assert distance(plain_logits(llama, SPAIN), own) <= 1e-5
        assert set(vars(code(llama))) != names, "nothing was compiled"
        check_map(wrap(llama.model, llama.tokenizer), *PAIRS[1], "block_output")
        block.mlp = mlp
        assert fresh.fingerprint == state
        assert fresh.resume_blocker is None
        check_map(fresh, *PAIRS[1], "block_output")
    finally:
        block.mlp = mlp
        torch.compiler.reset()
        for name in set(vars(code(llama))) - names:
            delattr(code(llama), name)
