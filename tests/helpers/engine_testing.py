"""What tests of the engine share: a model in use, and sweeps made to take full passes."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pandas as pd
import torch

from vene_widgets.engine.own_model import own_model

if TYPE_CHECKING:
    from vene_widgets.models import LanguageModel


def check_same_frame(found: pd.DataFrame, expected: pd.DataFrame, device: torch.device) -> None:
    """Two tables of a map are equal; a device may have summed one of them in another order."""
    is_exact = device.type == "cpu"
    pd.testing.assert_frame_equal(found, expected, check_exact=is_exact, rtol=1e-9, atol=1e-12)


@contextmanager
def in_use(model: LanguageModel) -> Generator[None, None, None]:
    """Hold a model's tree for the length of a run, without gradients."""
    with model.lock, torch.no_grad(), own_model(model):
        yield


@contextmanager
def full_passes(model: LanguageModel) -> Generator[None, None, None]:
    """Let a model carry a hook that does nothing, so that no pass through it is resumed."""
    handle = model.model.register_forward_hook(lambda *_: None)
    model.accept_hooks()
    try:
        yield
    finally:
        handle.remove()
        model.accept_hooks()
