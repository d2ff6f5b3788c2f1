"""Path patching against hooks by hand, in every family, and what paths add up to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import families
import pytest
import torch
from by_hand import evaluation, logits_in, own_copy, plain_logits, token_ids
from families import CONFIGS, part
from torch import Tensor, nn

import vene_widgets as vw
from vene_widgets.models import wrap

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"
NO_SUM = ("opt-norms-after",)
"""Models that normalise the residual stream itself."""

ADDITIVE = [name for name in CONFIGS if name not in NO_SUM]

Use = Callable[[Tensor], "Tensor | None"]


@pytest.fixture(scope="module")
def models(tiny_tokenizer: Any, device: torch.device) -> Callable[[str], vw.LanguageModel]:
    known: dict[str, vw.LanguageModel] = {}

    def get(name: str) -> vw.LanguageModel:
        if name not in known:
            built = families.build(name, len(tiny_tokenizer)).to(device)
            known[name] = wrap(built, tiny_tokenizer, name)
        return known[name]

    return get


class Hand:
    """Runs of the user's own model with plain hooks."""

    def __init__(self, model: vw.LanguageModel, prompt: str = BASE, other: str = SOURCE) -> None:
        self.model, self.root = model, model.tree.root
        self.layers = range(model.sites.layers)
        self.ids = token_ids(model, prompt)
        names = ("head_attention_value_output", "attention_output", "mlp_output", "block_input")
        sites = [model.sites.site(n, c, 0 if "head" in c else None) for n in self.layers for c in names]
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
            part(self.model, component, head, new)[:] = part(self.model, component, head, found[place])
            return new

        return self.run({place: put})


def hook(module: nn.Module, side: str, use: Use) -> Any:
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


def close(found: float, own: float, model: vw.LanguageModel) -> bool:
    spread = plain_logits(model, BASE)[-1].float()
    return abs(found - own) <= 2e-5 * max(1.0, float(spread.max() - spread.min()))


@pytest.mark.parametrize("name", ADDITIVE)
def test_direct_effects_on_logits_are_what_hooks_by_hand_give(name: str, models: Any):
    model = models(name)
    hand = Hand(model)
    found = vw.paths(model, BASE, SOURCE, senders="all")
    ids = found.metric.tokens
    assert len(found.frame) == 1 + model.sites.layers * (model.sites.heads + 1)
    frame = found.frame.set_index("sender_name")
    plain = difference(hand.run({}), ids)
    assert close(found.base_metric, plain, model)
    for sender in ("embedding", "0.0", "1.1", f"2.{model.sites.heads - 1}", "mlp0", "mlp2"):
        own = difference(hand.to_logits(sender), ids) - plain
        assert close(frame.loc[sender, "effect"], own, model), sender
    assert frame["effect"].abs().max() > 1e-2
