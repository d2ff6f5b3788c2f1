"""ManagedModel: devices, gradients, temperatures and counts under pyvene's names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from vene_widgets.errors import RequestError


class ManagedModel(nn.Module):
    """A torch module made of a model and the operators that act on it.

    Its parameters are the operators' weights that train. Runs hold the model's own weights constant
    and put every flag back, so nothing of the model has to be frozen first.

    Attributes:
        model: the model as it was passed.
        interventions: the operators that are modules, by key; linked slots share one.
    """

    model: nn.Module
    interventions: nn.ModuleDict

    # devices

    def get_device(self) -> torch.device:
        """Where the model's first parameter is."""
        return next(self.model.parameters()).device

    def set_device(self, device: torch.device | str | int, set_model: bool = True) -> None:
        """Move the operators, and the model with them.

        Args:
            device: as torch takes it.
            set_model: whether to move the model too. A run needs both in one place: it moves the
                operators to the model.
        """
        self.interventions.to(device)
        if set_model:
            self.model.to(device)

    # gradients

    def disable_model_gradients(self) -> None:
        """Do nothing: in every run the model's weights are constants, whatever their flags say."""

    def disable_intervention_gradients(self) -> None:
        """Do nothing, as in pyvene. `requires_grad_(False)` on an operator freezes it."""

    def enable_model_gradients(self) -> NoReturn:
        """Refuse: no gradient flows to the model's own weights.

        Raises:
            RequestError: always.
        """
        raise RequestError(
            "enable_model_gradients: runs hold the model's weights constant, so they cannot be "
            "trained through interventions. Valid: train the operators "
            "(get_trainable_parameters()), or the model by itself."
        )

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the operators' gradients; the model's stay as they are."""
        for parameter in self._operator_parameters():
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad = torch.zeros_like(parameter.grad)

    def set_zero_grad(self) -> None:
        """`zero_grad` under its other name."""
        self.zero_grad()

    # parameters

    def get_trainable_parameters(self) -> list[nn.Parameter]:
        """The operators' weights that require gradients, each once."""
        return [p for p in self._operator_parameters() if p.requires_grad]

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """`get_trainable_parameters` with names, as optimisers and trainers ask for them."""
        if not recurse:
            return
        found = self.interventions.named_parameters(prefix, remove_duplicate=remove_duplicate)
        yield from ((name, parameter) for name, parameter in found if parameter.requires_grad)

    def count_parameters(self, include_model: bool = False) -> int:
        """How many numbers train.

        Args:
            include_model: whether to add the model's weights that require gradients, although runs
                hold them constant.
        """
        counted = self.get_trainable_parameters()
        if include_model:
            counted += [p for p in self.model.parameters() if p.requires_grad]
        return sum(parameter.numel() for parameter in counted)

    def set_temperature(self, temp: Tensor | float) -> None:
        """Set the temperature of every operator that has one."""
        for module in self.interventions.values():
            one: Any = module
            if hasattr(one, "set_temperature"):
                one.set_temperature(temp)

    def _operator_parameters(self) -> list[nn.Parameter]:
        return list(self.interventions.parameters())

    # what no run keeps

    def get_cached_activations(self) -> NoReturn:
        """Refuse: no state is kept between calls.

        Raises:
            RequestError: always.
        """
        raise RequestError(
            "get_cached_activations: no state is kept between calls. Valid: a slot with a "
            "CollectIntervention, whose call returns what it reads."
        )

    get_cached_hot_activations = get_cached_activations
