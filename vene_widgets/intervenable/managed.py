"""ManagedModel: devices, gradients, temperatures and counts under pyvene's names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from vene_widgets.errors import RequestError


class ManagedModel(nn.Module):
    """A torch module made of a model and the operators that act on it.

    Its parameters are the operators' weights that train, and the model's own after
    `enable_model_gradients`. Until then runs hold the model's weights constant, so nothing of it
    has to be frozen first.

    Attributes:
        model: the model as it was passed.
        interventions: the operators that are modules, by key; linked slots share one.
        model_has_grad: whether gradients of a call flow to the model's weights too.
    """

    model: nn.Module
    interventions: nn.ModuleDict

    def __init__(self) -> None:
        super().__init__()
        self.model_has_grad = False
        self._flags: dict[nn.Parameter, bool] = {}

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

    def enable_model_gradients(self) -> None:
        """Let gradients of later calls flow to the model's own weights, and have all require some.

        Unlike pyvene's, it leaves the model's mode alone: every run is in evaluation mode.
        """
        for parameter in self.model.parameters():
            if parameter.is_floating_point():
                self._flags.setdefault(parameter, parameter.requires_grad)
                parameter.requires_grad_(True)
        self.model_has_grad = True

    def disable_model_gradients(self) -> None:
        """Hold the model's weights constant in every run, which is so anyway.

        Flags that `enable_model_gradients` has set are put back.
        """
        for parameter, flag in self._flags.items():
            parameter.requires_grad_(flag)
        self._flags.clear()
        self.model_has_grad = False

    def disable_intervention_gradients(self) -> None:
        """Do nothing, as in pyvene. `requires_grad_(False)` on an operator freezes it."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of the weights that train; those of a constant model stay."""
        for parameter in {*self._operator_parameters(), *self.get_trainable_parameters()}:
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad = torch.zeros_like(parameter.grad)

    def set_zero_grad(self) -> None:
        """`zero_grad` under its other name."""
        self.zero_grad()

    # parameters

    def get_trainable_parameters(self) -> list[nn.Parameter]:
        """The weights that train, each once."""
        return [parameter for _, parameter in self.named_parameters()]

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """`get_trainable_parameters` with names, as optimisers and trainers ask for them."""
        if not recurse:
            return
        found = self.interventions.named_parameters(prefix, remove_duplicate=remove_duplicate)
        yield from ((name, parameter) for name, parameter in found if parameter.requires_grad)
        if self.model_has_grad:
            start = f"{prefix}.model" if prefix else "model"
            own = self.model.named_parameters(start, remove_duplicate=remove_duplicate)
            yield from ((name, parameter) for name, parameter in own if parameter.requires_grad)

    def count_parameters(self, include_model: bool = False) -> int:
        """How many numbers train.

        Args:
            include_model: whether to add the model's weights that require gradients, although runs
                hold them constant.
        """
        counted = [p for p in self._operator_parameters() if p.requires_grad]
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
