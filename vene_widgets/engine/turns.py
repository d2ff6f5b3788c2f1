"""Computations in steps, between which the model is free."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from vene_widgets.engine.own_model import own_model, require_unchanged

if TYPE_CHECKING:
    from vene_widgets.models import LanguageModel
    from vene_widgets.models.fingerprint import Fingerprint

T = TypeVar("T")


def finish(steps: Generator[Any, None, T]) -> T:
    """Take every step and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def in_turns(model: LanguageModel, steps: Generator[None, None, T]) -> Generator[None, None, T]:
    """Take each step inside `own_model`, and leave the model free after it.

    Args:
        model: what the steps run.
        steps: of a computation that enters no context which a `yield` would leave open.

    Raises:
        ModelChanged: the model changed between two steps.
    """
    began: Fingerprint | None = None
    try:
        while True:
            with model.lock, torch.no_grad(), own_model(model):
                began = began or model.tree.state
                require_unchanged(model, began, model.tree.state)
                try:
                    next(steps)
                except StopIteration as end:
                    return end.value
            yield
    finally:
        steps.close()
