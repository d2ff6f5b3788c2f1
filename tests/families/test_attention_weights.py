"""Every family: attention patterns, and slots on them, against attention by hand."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from by_hand import distance, plain_logits, token_ids
from families import CONFIGS, blocker_of
from families_testing import BASE, ITALY, LONGER, TOLERANCE, Models
from torch import Tensor

import vene_widgets as vw

LAYER = 1
REACHED = [name for name in CONFIGS if blocker_of(name) is None]

Change = Callable[[Tensor], Tensor]


def edited_logits(
    model: vw.LanguageModel, ids: Tensor, change: Change, patch: pytest.MonkeyPatch
) -> Tensor:
    """Logits of an eager model whose weights `(heads, queries, keys)` of one layer change."""
    architecture, root = model.sites.architecture, model.tree.root
    here = root.get_submodule(f"{architecture.blocks}.{LAYER}.{architecture.attention}")

    def attend(found: Any, value: Tensor) -> tuple[Tensor, Tensor]:
        weights = change(found[0].clone())[None]
        values = value.repeat_interleave(weights.shape[1] // value.shape[1], 1)
        return weights @ values, weights

    with patch.context() as patched:
        if method := architecture.attention_method:
            own = getattr(here, method)

            def by_method(query: Any, key: Any, value: Any, mask: Any = None) -> Any:
                return attend(own(query, key, value, mask)[1], value)

            patched.setattr(here, method, by_method)
        else:
            code = importlib.import_module(architecture.code)
            eager = vars(code)["eager_attention_forward"]

            def by_function(
                module: Any, query: Any, key: Any, value: Any, *a: Any, **k: Any
            ) -> Any:
                output, weights = eager(module, query, key, value, *a, **k)
                if module is not here:
                    return output, weights
                output, weights = attend(weights, value)
                return output.transpose(1, 2).contiguous(), weights

            patched.setattr(code, "eager_attention_forward", by_function)
        net: Any = root
        with torch.no_grad():
            return net(input_ids=ids).logits[0]


def weights_by_hand(model: vw.LanguageModel, prompt: str) -> Tensor:
    """What an eager model itself returns, `(layers, heads, queries, keys)`."""
    net: Any = model.tree.root
    with torch.no_grad():
        found = net(input_ids=token_ids(model, prompt), output_attentions=True).attentions
    return torch.stack([layer[0] for layer in found])


@pytest.mark.parametrize("name", REACHED)
def test_patterns_are_what_eager_attention_returns(name: str, models: Models):
    own = weights_by_hand(models(name, "eager"), LONGER)
    for attention in ("", "eager"):
        found = vw.attention(models(name, attention), LONGER)
        assert found.weights.shape == own.shape
        assert (found.weights - own.float().cpu()).abs().max() <= 1e-5


@pytest.mark.parametrize("name", REACHED)
def test_slots_are_what_attention_by_hand_gives(
    name: str, models: Models, monkeypatch: pytest.MonkeyPatch
):
    """An edge of all heads is cut, their last row copied, two rows of one head averaged."""
    eager, model = models(name, "eager"), models(name)
    plain, there = plain_logits(eager, BASE), weights_by_hand(eager, ITALY)[LAYER]
    last = model.sites.heads - 1

    def cut(weights: Tensor) -> Tensor:
        weights[:, 4, 3] = 0
        return weights

    def copied(weights: Tensor) -> Tensor:
        weights[:, 4] = there[:, 4]
        return weights

    def halfway(weights: Tensor) -> Tensor:
        weights[last, 3:] = (weights[last, 3:] + there[last, 3:]) / 2
        return weights

    slots: dict[Change, dict[str, Any]] = {
        cut: {"position": 4, "source_position": 3, "intervention": "zero"},
        copied: {"position": -1},
        halfway: {"head": -1, "position": slice(3, None), "strength": 0.5},
    }
    cache = vw.ActivationCache()
    changes: list[float] = []
    for change, fields in slots.items():
        slot = vw.Slot(layer=LAYER, component="attention_weight", **fields)
        experiment = vw.Experiment(base=BASE, sources=ITALY, slots=[slot])
        own = edited_logits(eager, token_ids(eager, BASE), change, monkeypatch)
        run = vw.run(model, experiment)
        assert distance(run.logits, own) <= TOLERANCE, fields
        cached = vw.run(model, experiment, cache=cache)
        assert distance(cached.logits, own) <= TOLERANCE, fields
        (report,) = run.record
        assert report.stats is not None and report.stats.others_equal
        changes.append(distance(own, plain))
    # A window of two tokens hides nothing of what is cut: the key is next to the query.
    assert min(changes) > 3 * TOLERANCE, changes


@pytest.mark.parametrize("name", REACHED)
def test_a_head_without_edges_writes_nothing(name: str, models: Models):
    model = models(name)
    where: dict[str, Any] = {"layer": LAYER, "head": 1, "position": "all", "intervention": "zero"}
    runs = [
        vw.run(model, vw.Experiment(base=BASE, slots=[vw.Slot(component=component, **where)]))
        for component in ("attention_weight", "head_attention_value_output")
    ]
    assert vw.compare(*runs).verdict == "bit-equal"


@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in REACHED])
def test_a_family_without_patterns_says_so(name: str, models: Models):
    model = models(name)
    slot = vw.Slot(layer=0, component="pattern", position=0, intervention="zero")
    for call in (
        lambda: vw.attention(model, BASE),
        lambda: vw.run(model, vw.Experiment(base=BASE, slots=[slot])),
    ):
        with pytest.raises(vw.RequestError, match="'attention_weight' cannot be reached") as error:
            call()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [name for name in REACHED if name.endswith("-window")])
def test_edges_of_a_text_in_a_sliding_window(
    name: str, models: Models, monkeypatch: pytest.MonkeyPatch
):
    """A cache of a window has the last keys only, so that a key's column is not its position."""
    window: dict[str, Any] = {"window_size" if name.startswith("gpt_neo") else "sliding_window": 4}
    if "layer_types" in CONFIGS[name][1]:
        window["layer_types"] = ["sliding_attention"] * 3
    eager, model = models(name, "eager", **window), models(name, **window)
    base, keys, on = "The capital of Spain is of Spain", [3, 6], [5, 7, 8, 9]
    fields: dict[str, Any] = {"layer": LAYER, "component": "pattern", "source_position": keys}
    zero = vw.Slot(**fields, position=-1, intervention="zero")

    def cut(weights: Tensor) -> Tensor:
        for query in (place for place in on if place < weights.shape[1]):
            weights[:, query, keys] = 0
        return weights

    for use_cache in (True, False):
        made = vw.generate(
            model, vw.Experiment(base=base, slots=[zero]), 5, on, use_cache=use_cache
        )
        text = torch.cat([token_ids(eager, base)[0], torch.tensor(made.tokens).to(model.device)])
        own = edited_logits(eager, text[None], cut, monkeypatch)[6:-1]
        assert distance(made.logits, own) <= TOLERANCE
    if name.startswith("gpt_neo"):  # its cache holds all keys
        return
    written = vw.Slot(**fields, position=-1, intervention="mean", prompts=base)
    with pytest.raises(vw.RequestError, match="position 8 would get a weight of key 3") as error:
        vw.generate(model, vw.Experiment(base=base, slots=[written]), 5, [8])
    assert "pass use_cache=False" in str(error.value) and "\n" not in str(error.value)
