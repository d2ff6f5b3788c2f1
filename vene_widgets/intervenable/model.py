"""IntervenableModel: pyvene's calls, carried out by this package's hooks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vene_widgets.engine.eval_mode import locked_eval_mode
from vene_widgets.engine.hooks import EditStats
from vene_widgets.errors import RequestError
from vene_widgets.intervenable import saving
from vene_widgets.intervenable.acting import Request, acts
from vene_widgets.intervenable.config import IntervenableConfig, as_config
from vene_widgets.intervenable.inputs import encoding, source_list
from vene_widgets.intervenable.rooted import rooted
from vene_widgets.intervenable.runs import Call
from vene_widgets.intervenable.slots import build_slots
from vene_widgets.models import LanguageModel


@dataclass(frozen=True, eq=False)
class IntervenableModelOutput:
    """What a call with `return_dict=True` gives.

    Attributes:
        original_outputs: the model's output on the base as it is, when it was asked for.
        intervened_outputs: the model's output on the base with the slots in place.
        collected_activations: per collecting slot, `(batch, units, width)`, per head
            `(batch, heads, positions, width)`; a tuple of one tensor per example when those differ
            in their number of places. None when no slot collects.
        receipts: per live slot's index, what its hooks reported, one `EditStats` per head.
    """

    original_outputs: Any
    intervened_outputs: Any
    collected_activations: list[Any] | None
    receipts: Mapping[int, tuple[EditStats, ...]]


class IntervenableModel:
    """A model with the slots of a config, called with base, sources and locations.

    The user's model stays as it is: its hooks, gradient flags, train/eval flags and weights. A run
    goes in evaluation mode. No call leaves anything behind that a later one could see.

    Args:
        config: an `IntervenableConfig`; or its representations: one, a list of them, dicts or
            tuples in place of `RepresentationConfig`.
        model: a GPT-2 or Llama of transformers, with an output head or without.
        use_fast: accepted for pyvene's sake; there is one way here, the exact one.

    Attributes:
        config: the config.
        mode: `parallel` or `serial`.
        model: the user's model.
        interventions: the operators that are modules, by key; linked slots hold the same one.
        sorted_keys: per slot, its key, as in pyvene.
        groups: slot indices per group, in the order in which sources are given.

    Raises:
        RequestError: a slot that does not fit the model; the message names it.
    """

    def __init__(self, config: Any, model: nn.Module, use_fast: bool = False) -> None:
        if not isinstance(model, nn.Module):
            raise RequestError(
                f"model is a {type(model).__name__}; a torch module is needed, for instance "
                "GPT2Model. Of a LanguageModel, take its .model."
            )
        self.config: IntervenableConfig = as_config(config)
        self.mode = self.config.mode
        self.model = model
        self._model = LanguageModel(type(model).__name__, rooted(model), None)
        self._slots = build_slots(self.config, self._model.sites)
        self.sorted_keys = tuple(slot.key for slot in self._slots)
        self.groups = tuple(
            tuple(slot.index for slot in self._slots if slot.group == group)
            for group in dict.fromkeys(slot.group for slot in self._slots)
        )
        self.interventions: dict[str, nn.Module] = {
            slot.key: slot.operator.core for slot in self._slots if slot.operator.is_module
        }
        self._to_device()

    def _modules(self) -> dict[int, nn.Module]:
        """Every distinct module, by the first slot that holds it."""
        found: dict[int, nn.Module] = {}
        for slot in self._slots:
            core = slot.operator.core
            if slot.operator.is_module and not any(core is known for known in found.values()):
                found[slot.index] = core
        return found

    def _to_device(self) -> None:
        for module in self._modules().values():
            module.to(self._model.device)

    def get_trainable_parameters(self) -> list[nn.Parameter]:
        """The operators' weights that ask for gradients; linked ones once."""
        modules = self._modules().values()
        return [p for module in modules for p in module.parameters() if p.requires_grad]

    def count_parameters(self) -> int:
        """How many numbers `get_trainable_parameters` holds."""
        return sum(parameter.numel() for parameter in self.get_trainable_parameters())

    def __repr__(self) -> str:
        lines = [
            f"IntervenableModel of {type(self.model).__name__}, {self.mode}: "
            f"{len(self._slots)} slots, {len(self.groups)} sources, "
            f"{self.count_parameters()} trainable numbers"
        ]
        for slot, rep in zip(self._slots, self.config.representations, strict=True):
            link = rep.intervention_link_key
            linked = "" if link is None else f", link {link!r}"
            lines.append(f"  {slot}: {slot.operator.name}, source {slot.group}{linked}")
        return "\n".join(lines)

    def __call__(
        self,
        base: Mapping[str, Any],
        sources: Any = None,
        unit_locations: Mapping[str, Any] | None = None,
        source_representations: Any = None,
        subspaces: Any = None,
        labels: Tensor | None = None,
        output_original_output: bool = False,
        return_dict: bool = False,
        use_cache: bool = False,
    ) -> Any:
        """Run the base with the slots in place.

        Args:
            base: a tokenizer's encoding, `input_ids` and what belongs to it, `(batch, tokens)`.
            sources: one encoding per group in order of first appearance, None to skip the group's
                slots; one alone serves every group. Equal encodings run once.
            unit_locations: where; see `vene_widgets.intervenable.locations`.
            source_representations: tensors instead of source runs: one, one per slot, or by key.
            subspaces: which coordinates: one, several, or per slot > example > subspaces.
            labels: handed to the model, which then returns a loss.
            output_original_output: run the base as it is, too.
            return_dict: give an `IntervenableModelOutput`.
            use_cache: handed to the model.

        Returns:
            `(original, counterfactual)`: the model's own outputs; original is None unless asked
            for. With a collecting slot, `((original, collected), counterfactual)`.

        Raises:
            RequestError: something does not fit; the message names the slot. Nothing has changed.
        """
        self._to_device()
        device = self._model.device
        request = Request(
            mode=self.mode,
            base=encoding(base, "base", device),
            runs=source_list(sources, len(self.groups), device),
            has_sources=sources is not None,
            unit_locations=unit_locations,
            representations=source_representations,
            subspaces=subspaces,
        )
        found = acts(self._slots, self.groups, request)
        options: dict[str, Any] = {"use_cache": use_cache}
        if labels is not None:
            options["labels"] = labels.to(device)
        gradients = torch.is_grad_enabled() and any(a.slot.operator.trainable for a in found)
        call = Call(self._model, request, found, measures=return_dict)
        original = None
        with locked_eval_mode(self._model, gradients=gradients):
            if output_original_output:
                original = self._model.model(**request.base, **options)
            output = call.run(options)
        collects = any(slot.operator.collects for slot in self._slots)
        if return_dict:
            return IntervenableModelOutput(
                original,
                output,
                call.collected() if collects else None,
                {index: tuple(stats) for index, stats in call.stats.items()},
            )
        return ((original, call.collected()) if collects else original), output

    forward = __call__

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the config and every operator's weights, as JSON and safetensors.

        Raises:
            RequestError: a plain function among the operators, which no file can hold.
        """
        operators = [slot.operator for slot in self._slots]
        saving.save(folder, self.config, operators, self._modules())

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        model: nn.Module,
        types: Mapping[str, type] | None = None,
    ) -> IntervenableModel:
        """Read what `save` wrote; results are bit-equal to before, on any device.

        Args:
            folder: where it was saved.
            model: the model that it is for.
            types: the user's own classes among the operators, by name.
        """
        config, weights = saving.load(folder, types or {})
        made = cls(config, model)
        saving.fill(made._modules(), weights, folder)
        return made
