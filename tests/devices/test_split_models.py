"""Models with layers on several devices."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from by_hand import ITALY, SPAIN, distance
from devices_testing import CLOSE, FRANCE, of_operator
from torch import Tensor, nn

import vene_widgets as vw
from vene_widgets.experiments.operators import BUILT_IN
from vene_widgets.models import wrap


def moved_by_hooks(net: nn.Module, blocks: list[nn.Module], there: torch.device) -> nn.Module:
    """Some blocks on another device; each part moves its inputs to its own."""
    head: list[Any] = [net.get_submodule(name) for name in ("transformer.ln_f", "lm_head")]
    for n, part in enumerate([*blocks, *head]):
        own = there if n == 1 else torch.device("cpu")
        part.to(own)

        def move(
            _module: nn.Module, args: Any, named: Any, own: torch.device = own
        ) -> tuple[Any, Any]:
            def to_own(value: Any) -> Any:
                return value.to(own) if isinstance(value, Tensor) else value

            return tuple(map(to_own, args)), {k: to_own(v) for k, v in named.items()}

        part.register_forward_pre_hook(move, with_kwargs=True)
    return net


def moved_by_accelerate(net: nn.Module, blocks: list[nn.Module], there: torch.device) -> nn.Module:
    accelerate = pytest.importorskip("accelerate")
    names = ("transformer.wte", "transformer.wpe", "transformer.ln_f", "lm_head")
    places: dict[str, Any] = dict.fromkeys(names, "cpu")
    places |= {f"transformer.h.{n}": str(there) if n == 1 else "cpu" for n, _ in enumerate(blocks)}
    return accelerate.dispatch_model(net, places, main_device="cpu", force_hooks=True)


@pytest.mark.parametrize("how", [moved_by_hooks, moved_by_accelerate])
def test_layers_on_two_devices(
    tiny_gpt2: vw.LanguageModel, elsewhere: torch.device, how: Any
) -> None:
    """What `device_map` of transformers gives."""
    whole = wrap(copy.deepcopy(tiny_gpt2.model).to("cpu"), tiny_gpt2.tokenizer)
    net: Any = copy.deepcopy(whole.model)
    model = wrap(how(net, list(net.transformer.h), tiny_gpt2.device), tiny_gpt2.tokenizer)
    places = {p.device.type for p in model.model.parameters()}
    assert places == {"cpu", elsewhere.type} and model.resume_blocker is not None
    for name in BUILT_IN:
        found, expected = (vw.run(one, of_operator(name)).logits for one in (model, whole))
        assert distance(found, expected) <= CLOSE, name
    heads = vw.Experiment(
        base=SPAIN,
        sources=ITALY,
        slots=[
            vw.Slot(layer=layer, position=3, component="head_value_output", head=1, subspace=[0])
            for layer in (0, 1)
        ],
    )
    assert distance(vw.run(model, heads).logits, vw.run(whole, heads).logits) <= CLOSE
    for component in ("block_output", "mlp_output", "block_input"):
        found, expected = (vw.sweep(one, SPAIN, ITALY, component).logits for one in (model, whole))
        assert distance(found, expected) <= CLOSE, component
    pairs = [(SPAIN, ITALY), (ITALY, SPAIN), (FRANCE, ITALY)]
    fits = [
        vw.fit_subspace(one, pairs, layer=1, position=3, rank=1, steps=3, progress=False)
        for one in (model, whole)
    ]
    losses = [fit.history["held_out_loss"].tolist() for fit in fits]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
