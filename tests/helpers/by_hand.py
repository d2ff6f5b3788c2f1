"""Activation patching written out with hooks on the user's own model: what results must equal."""

from __future__ import annotations

import copy
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vene_widgets as vw
from vene_widgets.models import wrap

SPAIN, ITALY = "The capital of Spain is", "The capital of Italy is"
PAIRS = ((SPAIN, ITALY), (SPAIN, " Madrid capital capital of Italy is"))
"""Prompts that differ in one token, and prompts that differ everywhere, in length too."""

FAMILIES = ("tiny_gpt2", "tiny_llama")

NORMS = {
    "gpt2": {"attention_norm": "ln_1", "mlp_norm": "ln_2"},
    "llama": {"attention_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm"},
}
"""Per family: the norms before attention and before the MLP, by their paths below a block."""


def own_copy(name: str, request: pytest.FixtureRequest) -> vw.LanguageModel:
    """A copy of a fixture's model, wrapped, to be changed at will."""
    shared: vw.LanguageModel = request.getfixturevalue(name)
    return wrap(copy.deepcopy(shared.model), shared.tokenizer, name)


def token_ids(model: vw.LanguageModel, prompt: str) -> Tensor:
    """Token ids of a prompt, `(1, positions)`."""
    found = [token.id for token in model.tokens(prompt)]
    return torch.tensor([found], dtype=torch.long, device=model.device)


@contextmanager
def evaluation(module: nn.Module) -> Generator[None, None, None]:
    """The user's model in evaluation mode for a moment, without gradients."""
    modes = {id(part): part.training for part in module.modules()}
    for part in module.modules():
        part.training = False
    try:
        with torch.no_grad():
            yield
    finally:
        for part in module.modules():
            part.training = modes[id(part)]


def logits_in(output: Any) -> Tensor:
    """The logits of a model's output."""
    if isinstance(output, Tensor):
        return output
    return output[0] if isinstance(output, tuple) else output.logits


def plain_logits(model: vw.LanguageModel, prompt: str, root: nn.Module | None = None) -> Tensor:
    """The user's own call, `(positions, vocabulary)`."""
    root = root or model.tree.root
    with evaluation(root):
        return logits_in(root(input_ids=token_ids(model, prompt)))[0]


class ByHand:
    """Copies one component from a source run into a base run, on the user's own modules."""

    def __init__(self, model: vw.LanguageModel, base: str, source: str, component: str) -> None:
        self.model, self.component = model, component
        self.root = model.tree.root
        self.base, self.source = (token_ids(model, prompt) for prompt in (base, source))
        self.recorded = {
            layer: self._record(model.sites.site(layer, component))
            for layer in range(model.sites.layers)
        }

    def _record(self, site: Any) -> Tensor:
        found: list[Tensor] = []
        self._call(site, lambda tensor: found.append(tensor.clone()), self.source)
        return found[-1]

    def _call(self, site: Any, use: Any, ids: Tensor) -> Tensor:
        """Run the user's model with a function at a site; what it returns takes its place."""
        module = self.root.get_submodule(site.path)

        def before(_module: Any, args: Any, kwargs: Any) -> Any:
            name = "x" if "x" in kwargs else "hidden_states"
            new = use(args[0] if args else kwargs[name])
            if new is None:
                return None
            if args:
                return (new, *args[1:]), kwargs
            return args, {**kwargs, name: new}

        def after(_module: Any, _args: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                new = use(output[0])
                return None if new is None else (new, *output[1:])
            return use(output)

        if site.side == "input":
            handle = module.register_forward_pre_hook(before, with_kwargs=True)
        else:
            handle = module.register_forward_hook(after)
        try:
            with evaluation(self.root):
                return logits_in(self.root(input_ids=ids))[0]
        finally:
            handle.remove()

    def logits(self, layer: int, position: int, source_position: int) -> Tensor:
        """Logits `(positions, vocabulary)` of one cell."""
        site = self.model.sites.site(layer, self.component)
        state = self.recorded[layer][0, source_position, site.start : site.stop]

        def put(tensor: Tensor) -> Tensor:
            new = tensor.clone()
            new[0, position, site.start : site.stop] = state
            return new

        return self._call(site, put, self.base)


def distance(one: Tensor, other: Tensor, scale: Tensor | None = None) -> float:
    """Largest difference, as a fraction of the range of logits where that is above 1."""
    reference = (other if scale is None else scale).cpu().double()
    size = max(1.0, float(reference.max() - reference.min()))
    return float((one.cpu().double() - other.cpu().double()).abs().max()) / size


def check_everything(
    model: vw.LanguageModel,
    tolerance: float = 1e-5,
    components: tuple[str, ...] = ("block_output", "value_output", "mlp_input"),
) -> None:
    """Plain runs, single runs, maps and the last position alone equal the user's own numbers."""
    for prompt in PAIRS[1]:
        own = plain_logits(model, prompt)
        experiment = vw.Experiment(base=prompt)
        assert distance(vw.run(model, experiment).logits, own) <= tolerance, "plain run"
        last = vw.run(model, experiment, logits_to_keep=1).logits
        assert last.shape == (1, own.shape[-1])
        assert distance(last[0], own[-1]) <= tolerance, "logits_to_keep=1"
    for (base, source), component in zip((*PAIRS, PAIRS[1]), components, strict=False):
        check_map(model, base, source, component, tolerance)


def check_map(
    model: vw.LanguageModel, base: str, source: str, component: str, tolerance: float = 1e-5
) -> None:
    """Every cell of a map, and single runs, cached or not, are what hooks by hand give.

    A third of the cells run by themselves too, spread over layers and positions.
    """
    swept = vw.sweep(model, base, source, component)
    hand, plan = ByHand(model, base, source, component), swept.plan
    cache = vw.ActivationCache()
    for row, layer in enumerate(plan.layers):
        for column, position in enumerate(plan.positions):
            partner = plan.source_positions[column]
            own = hand.logits(layer, position, partner)
            where = f"{component}, layer {layer}, position {position}"
            cell = swept.logits[row, column]
            assert distance(cell, own[-1], own) <= tolerance, f"map, {where}"
            if (row + column) % 3:
                continue
            slot = vw.Slot(
                layer=layer, component=component, position=position, source_position=partner
            )
            experiment = vw.Experiment(base=base, sources=source, slots=[slot])
            assert distance(vw.run(model, experiment).logits, own) <= tolerance, where
            kept = vw.run(model, experiment, cache=cache, logits_to_keep=1).logits[-1]
            assert distance(kept, own[-1], own) <= tolerance, f"cached, {where}"
