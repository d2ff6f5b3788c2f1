"""Weights that are no plain tensors: packed by a class of their own, as torchao does, or sparse."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from by_hand import PAIRS, SPAIN, check_everything, distance, plain_logits
from torch import Tensor, nn
from tree_testing import blocks

import vene_widgets as vw
from vene_widgets.models import wrap


class Packed(Tensor):
    """Whole numbers of 8 bits with one scale; it takes part in `linear` and in nothing else."""

    numbers: Tensor
    scale: Tensor

    @staticmethod
    def __new__(cls, numbers: Tensor, scale: Tensor) -> Packed:
        make: Any = Tensor._make_wrapper_subclass  # pyright: ignore[reportPrivateUsage]
        packed = make(cls, numbers.shape, dtype=scale.dtype, device=numbers.device)
        packed.numbers, packed.scale = numbers, scale
        return packed

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["numbers", "scale"], None

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is nn.functional.linear:
            rows, weight, *bias = args
            return func(rows, weight.numbers * weight.scale, *bias, **(kwargs or {}))
        return super().__torch_function__(func, types, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.detach.default:
            return Packed(args[0].numbers, args[0].scale)
        raise NotImplementedError(f"{func} of packed numbers")


def packed(weight: Tensor) -> Tensor:
    scale = weight.abs().max() / 127
    return Packed((weight / scale).round().to(torch.int8), scale)


def sparse_rows(weight: Tensor) -> Tensor:
    return torch.where(weight.abs() > weight.std(), weight, 0).to_sparse_csr()


def sparse_columns(weight: Tensor) -> Tensor:
    return torch.where(weight.abs() > weight.std(), weight, 0).to_sparse_csc()


KINDS = {
    "a Packed tensor": (packed, lambda weight: weight.numbers),
    "a torch.sparse_csr tensor": (sparse_rows, lambda weight: weight.values()),
    "a torch.sparse_csc tensor": (sparse_columns, lambda weight: weight.values()),
}


@pytest.mark.filterwarnings("ignore:Sparse CS[RC] tensor support is in beta")
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_with_such_a_weight(llama: vw.LanguageModel, kind: str) -> None:
    change, numbers_of = KINDS[kind]
    layer: Any = blocks(llama)[1].get_submodule("mlp.down_proj")
    layer.weight = nn.Parameter(change(layer.weight.detach()), requires_grad=False)
    model = wrap(llama.model, llama.tokenizer)
    check_everything(model)
    assert kind in str(model.resume_blocker)

    state, (*_, checksum) = model.fingerprint, model.tree.checksum()
    assert model.fingerprint is state
    cache, plain = vw.ActivationCache(), vw.Experiment(base=SPAIN)
    before = vw.run(model, plain, cache=cache).logits
    numbers_of(layer.weight.data).zero_()  # through `.data`: no version counter moves
    assert model.fingerprint.difference(state) == "its weights"
    *_, now = model.tree.checksum()
    assert now != checksum
    own = plain_logits(model, SPAIN)
    assert distance(vw.run(model, plain, cache=cache).logits, own) <= 1e-5
    assert distance(own, before) > 1e-3
    vw.sweep(model, *PAIRS[1], cache=cache)


def test_a_packed_head(llama: vw.LanguageModel) -> None:
    head: Any = llama.model.get_submodule("lm_head")
    head.weight = nn.Parameter(packed(head.weight.detach()), requires_grad=False)
    check_everything(wrap(llama.model, llama.tokenizer))
