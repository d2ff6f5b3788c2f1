"""Devices and dtypes that models are loaded to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from loading_testing import PROMPT

import vene_widgets as vw
from vene_widgets.models.placement import choose_device, choose_dtype, devices


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", "cpu:7", ""])
def test_a_bad_device_names_the_ones_of_this_machine(device: str) -> None:
    with pytest.raises(vw.RequestError) as caught:
        vw.load("capitals", device=device)
    assert repr(device) in str(caught.value)
    assert all(repr(valid) in str(caught.value) for valid in ("auto", *devices()))


def test_auto_takes_the_best_device() -> None:
    assert str(choose_device("auto")) == devices()[0]
    assert choose_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize("dtype", ["float8", "int64", torch.int8, "Float32"])
def test_a_bad_dtype_names_the_valid_ones(dtype: Any) -> None:
    with pytest.raises(vw.RequestError, match="'float32', 'bfloat16', 'float16'"):
        choose_dtype(dtype, torch.device("cpu"))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_cuda_is_taken_and_agrees_with_the_cpu(saved: Path) -> None:
    on_cuda, on_cpu = vw.load(saved), vw.load(saved, device="cpu")
    assert on_cuda.device.type == "cuda" and vw.load(saved, device="cuda:0").device.index == 0
    ids = torch.tensor([[token.id for token in on_cuda.tokens(PROMPT)]])
    with torch.no_grad():
        there = on_cuda.model(ids.to(on_cuda.device)).logits.cpu()
        torch.testing.assert_close(there, on_cpu.model(ids).logits, atol=1e-4, rtol=1e-4)
