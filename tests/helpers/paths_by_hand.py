"""Path patching by plain hooks, for the tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from by_hand import evaluation, logits_in, plain_logits, token_ids
from families import CONFIGS, part
from torch import Tensor, nn

import vene_widgets as vw

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"
NO_SUM = ("opt-norms-after",)
"""Models that normalise the residual stream itself."""

ADDITIVE = [name for name in CONFIGS if name not in NO_SUM]

Use = Callable[[Tensor], "Tensor | None"]

RECEIVERS = (
    ("q", "head_query_output", 2, 0),
    ("k", "head_key_output", 2, 1),
    ("v", "head_value_output", 1, 1),
    ("mlp", "mlp_output", 2, None),
)


class Hand:
    """Runs of the wrapped model with plain hooks."""

    def __init__(self, model: vw.LanguageModel, prompt: str = BASE, other: str = SOURCE) -> None:
        self.model, self.root = model, model.tree.root
        self.layers = range(model.sites.layers)
        self.ids = token_ids(model, prompt)
        names = ("head_attention_value_output", "attention_output", "mlp_output", "block_input")
        sites = [
            model.sites.site(n, c, 0 if "head" in c else None) for n in self.layers for c in names
        ]
        self.base, self.source = ({}, {})
        for found, ids in ((self.base, self.ids), (self.source, token_ids(model, other))):
            uses = {s.place: self._note(found, s.place) for s in sites}
            self.run(uses, ids)

    @staticmethod
    def _note(found: dict[Any, Tensor], place: Any) -> Use:
        def note(tensor: Tensor) -> None:
            found[place] = tensor.clone()

        return note

    def place(self, layer: int, component: str, head: int | None = None) -> tuple[str, str]:
        return self.model.sites.site(layer, component, head).place

    def run(self, uses: Mapping[Any, Use], ids: Tensor | None = None) -> Tensor:
        """Last position's logits, with a function at some places."""
        with ExitStack() as stack:
            for (path, side), use in uses.items():
                stack.callback(hook(self.root.get_submodule(path), side, use).remove)
            with evaluation(self.root):
                return logits_in(self.root(input_ids=self.ids if ids is None else ids))[0, -1]

    def patch(self, name: str) -> tuple[int, dict[Any, Use]]:
        """The place and the change of a sender, and its layer."""
        if name == "embedding":
            place = self.place(0, "block_input")
            return -1, {place: lambda _tensor: self.source[place].clone()}
        if name.startswith("mlp"):
            layer = int(name[3:])
            place = self.place(layer, "mlp_output")
            return layer, {place: lambda _tensor: self.source[place].clone()}
        layer, head = map(int, name.split("."))
        place = self.place(layer, "head_attention_value_output", head)

        def put(tensor: Tensor) -> Tensor:
            new = tensor.clone()
            component = "head_attention_value_output"
            part(self.model, component, head, new)[:] = part(
                self.model, component, head, self.source[place]
            )
            return new

        return layer, {place: put}

    def held(self, sender: str) -> dict[Any, Use]:
        """The sender patched, every later head and MLP as in the base."""
        layer, uses = self.patch(sender)
        is_head = "." in sender
        for later in range(max(layer, 0), len(self.layers)):
            if later > layer:
                uses[self.place(later, "attention_output")] = self._base(later, "attention_output")
            if later > layer or is_head:
                uses[self.place(later, "mlp_output")] = self._base(later, "mlp_output")
        return uses

    def _base(self, layer: int, component: str) -> Use:
        place = self.place(layer, component)
        return lambda _tensor: self.base[place].clone()

    def to_logits(self, sender: str) -> Tensor:
        return self.run(self.held(sender))

    def to(self, sender: str, layer: int, component: str, head: int | None) -> Tensor:
        """Logits with a receiver's value from a run in which only the direct path changes it."""
        uses, place = self.held(sender), self.place(layer, component, head)
        found: dict[Any, Tensor] = {}
        if component == "mlp_output":
            uses[self.place(layer, "mlp_output")] = self._note(found, place)
        else:
            uses[place] = self._note(found, place)
        self.run(uses)

        def put(tensor: Tensor) -> Tensor:
            new = tensor.clone()
            part(self.model, component, head, new)[:] = part(
                self.model, component, head, found[place]
            )
            return new

        return self.run({place: put})


def hook(module: nn.Module, side: str, use: Any) -> Any:
    """Register a function on a module's input or output."""

    def before(_module: Any, args: Any, kwargs: Any) -> Any:
        name = next((n for n in ("hidden_states", "x") if n in kwargs), "")
        new = use(args[0] if args else kwargs[name])
        if new is None:
            return None
        return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, name: new})

    def after(_module: Any, _args: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            new = use(output[0])
            return None if new is None else (new, *output[1:])
        return use(output)

    if side == "input":
        return module.register_forward_pre_hook(before, with_kwargs=True)
    return module.register_forward_hook(after)


def difference(logits: Tensor, ids: tuple[int, ...]) -> float:
    return float(logits[ids[0]].double().cpu() - logits[ids[1]].double().cpu())


def close(found: Any, own: float, model: vw.LanguageModel) -> bool:
    spread = plain_logits(model, BASE)[-1].float()
    return abs(found - own) <= 2e-5 * max(1.0, float(spread.max() - spread.min()))


def held(norm: nn.Module, at: Tensor, change: Tensor) -> Tensor:
    """A change of a norm's input as a change of its output, at the scale that it has for `at`."""
    weight = getattr(norm, "weight", None)
    gain = torch.ones_like(at) if weight is None else weight.detach().double()
    if "Gemma" in type(norm).__name__:
        gain = 1 + gain
    if "RMS" not in type(norm).__name__:
        change, at = change - change.mean(), at - at.mean()
    names = ("eps", "variance_epsilon")
    eps = next((getattr(norm, n) for n in names if hasattr(norm, n)), 1e-5)  # OLMo's is in its code
    return gain * change / (at.square().mean() + eps).sqrt()
