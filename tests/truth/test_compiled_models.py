"""Models compiled by `torch.compile`."""

from __future__ import annotations

from typing import Any

import torch
from by_hand import ITALY, PAIRS, SPAIN, check_everything, distance, plain_logits
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
