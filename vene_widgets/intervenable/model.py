"""IntervenableModel: pyvene's call signature over this package's engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vene_widgets.engine.forward import forward_inputs, generate_inputs
from vene_widgets.engine.hooks import EditStats
from vene_widgets.engine.own_model import own_model
from vene_widgets.errors import RequestError, choose
from vene_widgets.intervenable import alignment
from vene_widgets.intervenable.headless import with_head_paths
from vene_widgets.intervenable.inputs import to_encoding, to_source_list
from vene_widgets.intervenable.runs import CallRunner
from vene_widgets.intervenable.savable import SavableModel
from vene_widgets.intervenable.slot_calls import Request, SlotCall, plan_slot_calls
from vene_widgets.intervenable.slots import build_slots
from vene_widgets.models import LanguageModel


@dataclass(frozen=True, eq=False)
class IntervenableModelOutput:
    """Result of a call with `return_dict=True`.

    Attributes:
        original_outputs: the model's output on the unchanged base; None unless requested.
        intervened_outputs: the model's output on the base with the slots in place.
        collected_activations: per collecting slot, `(batch, units, width)`, per head
            `(batch, heads, positions, width)`; a tuple of one tensor per example if those differ
            in their number of places. None if no slot collects.
        receipts: per index of a live slot, statistics of its edits, one `EditStats` per head.
    """

    original_outputs: Any
    intervened_outputs: Any
    collected_activations: list[Any] | None
    receipts: Mapping[int, tuple[EditStats, ...]]


class IntervenableModel(SavableModel):
    """A model with the slots of a config, called with base, sources and locations.

    The model's hooks, gradient flags, train/eval flags and weights are restored after every call.
    Runs are in evaluation mode. No state is kept between calls.

    Args:
        config: an `IntervenableConfig`; or its representations: one, a list of them, dicts or
            tuples in place of `RepresentationConfig`.
        model: a Hugging Face model of a known family (`docs/families.md`), with an output head or
            without.
        use_fast: accepted for compatibility with pyvene, and ignored.
        as_adaptor: whether user-defined operators with a parameter `args` get what the module at
            their site gets, at the same places; in parallel mode, and not while generating.

    Attributes:
        config: the config.
        mode: `parallel` or `serial`.
        sorted_keys: per slot, its key, as in pyvene.
        groups: slot indices per group, in the order of the sources.

    Raises:
        RequestError: a slot that the model has no site for, or an unknown argument; the message
            names it.
    """

    def __init__(
        self,
        config: Any,
        model: nn.Module,
        use_fast: bool = False,
        as_adaptor: bool = False,
        **unknown: object,
    ) -> None:
        super().__init__(config, model)
        for name in unknown:
            choose(
                name, ("config", "model", "use_fast", "as_adaptor"), "argument of IntervenableModel"
            )
        if not isinstance(model, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]  # user input
            raise RequestError(
                f"model is a {type(model).__name__}; expected a torch module such as GPT2Model. "
                "For a LanguageModel, pass its .model."
            )
        self.mode = self.config.mode
        self._as_adaptor = as_adaptor
        if as_adaptor and self.mode != "parallel":
            raise RequestError(
                f"as_adaptor=True needs mode 'parallel'; the config has {self.mode!r}."
            )
        self._model = LanguageModel(type(model).__name__, with_head_paths(model), None)
        self._slots = build_slots(self.config, self._model)
        self.sorted_keys = tuple(slot.key for slot in self._slots)
        self.groups = tuple(
            tuple(slot.index for slot in self._slots if slot.group == group)
            for group in dict.fromkeys(slot.group for slot in self._slots)
        )
        self.interventions = nn.ModuleDict(
            {slot.key: m for slot in self._slots if (m := slot.operator.module) is not None}
        )
        self._to_device()

    def _to_device(self) -> None:
        """Move the operators to the model's device, which may change between calls."""
        for module in self._distinct_modules().values():
            module.to(self._model.device)

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

    def forward(
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
        intervention_additional_kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the base with the slots in place.

        Args:
            base: a tokenizer's encoding: `input_ids` `(batch, tokens)`, attention mask and so on.
            sources: one encoding per group in order of first appearance, None to skip the group's
                slots; a single one serves every group. Equal encodings run once.
            unit_locations: where the slots read and act; see
                `vene_widgets.intervenable.locations`.
            source_representations: tensors instead of source runs: one, one per slot, or by key.
                Gradients flow to those that require them, as to floating-point inputs.
            subspaces: which coordinates may change: one, several, or nested lists,
                slots > examples > subspaces.
            labels: passed to the model, which then returns a loss.
            output_original_output: also run the unchanged base.
            return_dict: return an `IntervenableModelOutput`.
            use_cache: passed to the model.
            intervention_additional_kwargs: passed to user-defined operators, as far as they have
                parameters for them.

        Returns:
            `(original, counterfactual)`: the model's own outputs; original is None unless
            requested. With a collecting slot, `((original, collected), counterfactual)`.

        Raises:
            RequestError: an invalid argument; the message names the slot. Nothing has changed.
        """
        request = self._request(
            base,
            sources,
            unit_locations,
            source_representations,
            subspaces,
            keywords=intervention_additional_kwargs,
        )
        slot_calls = plan_slot_calls(self._slots, self.groups, request)
        options: dict[str, Any] = {"use_cache": use_cache}
        if labels is not None:
            options["labels"] = labels.to(self._model.device)
        trains = self.model_has_grad
        gradients = torch.is_grad_enabled() and (trains or _take_gradients(request, slot_calls))
        runner = CallRunner(self._model, request, slot_calls, return_dict, trains and gradients)
        original = None
        self._model.accept_hooks()
        grad_mode = torch.enable_grad() if gradients else torch.no_grad()
        with self._model.lock, grad_mode, own_model(self._model):
            if output_original_output:
                original = forward_inputs(
                    self._model, {**request.base, **options}, weights_train=trains and gradients
                )
            output = runner.run(options)
        collects = any(slot.operator.collects for slot in self._slots)
        if return_dict:
            return IntervenableModelOutput(
                original,
                output,
                runner.collected() if collects else None,
                {index: tuple(stats) for index, stats in runner.stats.items()},
            )
        return ((original, runner.collected()) if collects else original), output

    def generate(
        self,
        base: Mapping[str, Any],
        sources: Any = None,
        unit_locations: Mapping[str, Any] | None = None,
        source_representations: Any = None,
        intervene_on_prompt: bool = False,
        subspaces: Any = None,
        output_original_output: bool = False,
        intervention_additional_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> tuple[Any, Any]:
        """Generate from the base with the slots in place, by transformers' own `generate`.

        The same places change with a cache and without one.

        Args:
            base, sources, source_representations, subspaces, intervention_additional_kwargs: as
                for a call.
            unit_locations: as for a call; on new tokens the base's side is 0, or left out.
            intervene_on_prompt: whether the slots act on the prompt, or else on every new token.
            output_original_output: also generate from the unchanged base.
            options: what `generate` takes, such as `max_new_tokens`.

        Returns:
            `(original, generated)`, what `generate` returns; original is None unless requested.

        Raises:
            RequestError: as for a call; a model without an output head; a slot that collects.
        """
        if self._as_adaptor:
            raise RequestError(
                "as_adaptor=True is not available while a text is generated: call "
                "intervenable(base, ...), or write an operator that needs (base, source) alone."
            )
        if any(slot.operator.collects for slot in self._slots):
            raise RequestError(
                "a CollectIntervention returns nothing while a text is generated: collect in a "
                "call, intervenable(base, ...)."
            )
        request = self._request(
            base,
            sources,
            unit_locations,
            source_representations,
            subspaces,
            on_new_tokens=not intervene_on_prompt,
            keywords=intervention_additional_kwargs,
        )
        slot_calls = plan_slot_calls(self._slots, self.groups, request)
        runner = CallRunner(self._model, request, slot_calls, measures=False)
        original = None
        self._model.accept_hooks()
        with self._model.lock, torch.no_grad(), own_model(self._model):
            if output_original_output:
                original = generate_inputs(self._model, **request.base, **options)
            return original, runner.generate(options, on_prompt=intervene_on_prompt)

    def _request(
        self,
        base: object,
        sources: object,
        unit_locations: object,
        representations: object,
        subspaces: object,
        *,
        on_new_tokens: bool = False,
        keywords: Mapping[str, Any] | None = None,
    ) -> Request:
        """The arguments of a call, on the model's device, and the operators there too."""
        self._to_device()
        device = self._model.device
        return Request(
            mode=self.mode,
            base=to_encoding(base, "base", device),
            runs=to_source_list(sources, len(self.groups), device),
            has_sources=sources is not None,
            unit_locations=unit_locations,
            representations=representations,
            subspaces=subspaces,
            on_new_tokens=on_new_tokens,
            keywords=keywords or {},
            passes_inputs=self._as_adaptor,
        )

    def train_alignment(
        self,
        train_dataloader: Any,
        compute_loss: Any,
        compute_metrics: Any,
        inputs_collator: Any,
        **options: Any,
    ) -> None:
        """Train the operators, see `alignment.train_alignment`."""
        alignment.train_alignment(
            self, train_dataloader, compute_loss, compute_metrics, inputs_collator, **options
        )

    def eval_alignment(
        self, eval_dataloader: Any, compute_metrics: Any, inputs_collator: Any, **_: Any
    ) -> float:
        """The mean of a metric, see `alignment.eval_alignment`."""
        return alignment.eval_alignment(self, eval_dataloader, compute_metrics, inputs_collator)


def _take_gradients(request: Request, slot_calls: Sequence[SlotCall]) -> bool:
    """Whether an operator trains, or a constant or an input of the caller's wants gradients."""
    given: list[object] = [call.constant for call in slot_calls]
    for encoding in (request.base, *request.runs):
        given += (encoding or {}).values()
    return any(call.slot.operator.trainable for call in slot_calls) or any(
        isinstance(one, Tensor) and one.requires_grad for one in given
    )


def build_intervenable_model(config: Any, model: nn.Module, **options: Any) -> IntervenableModel:
    """`IntervenableModel` under pyvene's other name."""
    return IntervenableModel(config, model, **options)
