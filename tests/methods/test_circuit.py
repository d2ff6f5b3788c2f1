"""Circuits against hooks by hand: only some heads, all but these, none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import torch
from by_hand import evaluation, logits_in, own_copy, token_ids
from families import CONFIGS
from torch import Tensor

import vene_widgets as vw

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"
HEADS = ("0.1", "1.0", "2.2")
TARGETS = (" Madrid", " Rome")


def by_hand(
    model: vw.LanguageModel,
    keeps: Callable[[int, int], bool],
    values: dict[int, Tensor] | None,
    prompt: str = BASE,
) -> tuple[Tensor, dict[int, Tensor]]:
    """Last logits with the heads that are not kept replaced, and what all heads attended to."""
    root, sites, found = model.tree.root, model.sites, {}
    handles = []

    def hook(layer: int) -> Any:
        def before(_module: Any, args: Any, kwargs: Any) -> Any:
            state = args[0] if args else kwargs["hidden_states"]
            found[layer] = state.clone()
            new = state.clone().reshape(*state.shape[:-1], sites.heads, sites.d_head)
            for head in range(sites.heads):
                if not keeps(layer, head):
                    other = 0.0
                    if values is not None:
                        other = values[layer].reshape(new.shape)[..., head, :]
                    new[..., head, :] = other
            new = new.reshape(state.shape)
            return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": new})

        return before

    for layer in range(sites.layers):
        module = root.get_submodule(sites.site(layer, "attention_value_output").path)
        handles.append(module.register_forward_pre_hook(hook(layer), with_kwargs=True))
    try:
        with evaluation(root):
            return logits_in(root(input_ids=token_ids(model, prompt)))[0, -1], found
    finally:
        for handle in handles:
            handle.remove()


def difference(model: vw.LanguageModel, logits: Tensor) -> float:
    one, other = (logits[model.token_id(text)].double().cpu() for text in TARGETS)
    return float(one - other)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("ablation", ["zero", "source", "mean"])
def test_only_these_and_all_but_these_are_what_hooks_by_hand_give(
    name: str, ablation: Any, models: Any
):
    model = models(name)
    heads = [h for h in HEADS if int(h[-1]) < model.sites.heads]
    second = "The capital of France is"
    values: Any = None
    if ablation != "zero":
        several = [SOURCE] if ablation == "source" else [SOURCE, second]
        runs = [by_hand(model, lambda *_: True, None, prompt)[1] for prompt in several]
        values = {n: sum(run[n] for run in runs) / len(runs) for n in runs[0]}
    prompts = [SOURCE, second] if ablation == "mean" else ()
    found = vw.circuit(
        model, BASE, SOURCE, heads=heads, ablation=ablation, prompts=prompts, targets=TARGETS
    )
    chosen = {tuple(map(int, head.split("."))) for head in heads}
    kept = (
        lambda *_: True,
        lambda *place: place in chosen,
        lambda *place: place not in chosen,
        lambda *_: False,
    )
    own = [difference(model, by_hand(model, keeps, values)[0]) for keeps in kept]
    assert found.frame["heads_kept"].tolist() == [
        *("all heads", "only these", "all but these", "no heads")
    ]
    scale = max(1.0, *map(abs, own))
    assert found.frame["value"].tolist() == pytest.approx(own, abs=2e-5 * scale)
    assert found.faithfulness == pytest.approx(own[1] / own[0], rel=1e-3, abs=1e-3)
    normalised = [(value - own[3]) / (own[0] - own[3]) for value in own]
    assert found.frame["faithfulness_normalised"].tolist() == pytest.approx(
        normalised, rel=1e-2, abs=1e-3
    )


def test_all_heads_are_the_whole_model_and_none_are_none(tiny_gpt2: vw.LanguageModel):
    sites = tiny_gpt2.sites
    every = [(layer, head) for layer in range(sites.layers) for head in range(sites.heads)]
    found = vw.circuit(tiny_gpt2, BASE, SOURCE, heads=every).frame["value"]
    assert found[0] == pytest.approx(found[1]) and found[2] == pytest.approx(found[3])
    none = vw.circuit(tiny_gpt2, BASE, SOURCE, heads=[]).frame["value"]
    assert none[0] == pytest.approx(none[2]) and none[1] == pytest.approx(none[3])
    same = vw.circuit(tiny_gpt2, BASE, BASE, heads=["0.0"], targets=TARGETS, ablation="source")
    assert same.frame["faithfulness"].tolist() == pytest.approx([1.0] * 4, abs=1e-4)


def test_values_are_means_over_pairs(tiny_gpt2: vw.LanguageModel):
    """Each pair by its own targets, of which a table names the source's answer first."""
    pairs = pd.DataFrame(
        {
            "base": [BASE, SOURCE],
            "source": [SOURCE, BASE],
            "target": [" Rome", " Madrid"],
            "contrast": [" Madrid", " Rome"],
        }
    )
    found = vw.circuit(tiny_gpt2, pairs, heads=["0.1"], ablation="source")
    alone = [
        vw.circuit(
            tiny_gpt2, base, source, heads=["0.1"], ablation="source", targets=targets
        ).frame["value"]
        for base, source, targets in ((BASE, SOURCE, TARGETS), (SOURCE, BASE, TARGETS[::-1]))
    ]
    assert found.frame["value"].tolist() == pytest.approx(((alone[0] + alone[1]) / 2).tolist())
    assert len(found.values) == 2
    one = vw.circuit(tiny_gpt2, pairs, heads=["0.1"], ablation="source", metric="logit")
    plain = vw.run(tiny_gpt2, vw.Experiment(base=BASE)).logits[-1]
    assert one.values[0][0] == pytest.approx(float(plain[tiny_gpt2.token_id(" Madrid")]), abs=1e-5)


def test_without_targets_the_bases_answer_is_followed(tiny_gpt2: vw.LanguageModel):
    found = vw.circuit(tiny_gpt2, BASE, SOURCE, heads=["0.1"])
    assert found.frame["value"][0] > 0
    assert "heads" in repr(found) and "n = 1" in found.setup


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"heads": ["9.0"]}, "layer 9 is out of range"),
        ({"heads": ["mlp1"]}, "head 'mlp1' is not known"),
        ({"heads": ["0.1", "0.1"]}, "'0.1' is named twice"),
        ({"heads": 3}, "expected a list of heads"),
        ({"ablation": "noise"}, "ablation 'noise' is not known"),
        ({"metric": "kl"}, "metric 'kl' is not known"),
        ({"source": None}, "source of pair 0 is missing, and ablation 'mean' reads its run"),
        ({"source": None, "ablation": "zero"}, "targets are not named"),
        ({"source": "The capital of Italy is Rome"}, "needs equally many"),
        ({"base": [BASE, BASE]}, "base has 2 prompts and source 1"),
        ({"base": 3, "source": None}, "pairs must be a DataFrame"),
        ({"targets": [" Rome"]}, "two tokens"),
        (
            {"ablation": "source", "prompts": [BASE]},
            "prompts are for ablation 'mean'; 'source' reads none",
        ),
    ],
)
def test_bad_input_is_one_sentence_before_any_run(
    given: dict[str, Any], said: str, tiny_gpt2: vw.LanguageModel, monkeypatch: Any
):
    def run(*_: Any) -> None:
        raise AssertionError("a model ran")

    monkeypatch.setattr("vene_widgets.methods.circuit.own_model", run)
    with pytest.raises(vw.RequestError, match=said):
        vw.circuit(tiny_gpt2, **{"base": BASE, "source": SOURCE, "heads": ["0.1"], **given})


def test_nan_is_refused_and_the_model_left_alone(request: pytest.FixtureRequest):
    model = own_copy("tiny_gpt2", request)
    model.model.train()
    with torch.no_grad():
        model.model.transformer.ln_f.weight[0] = float("nan")
    with pytest.raises(vw.RequestError, match="NaN or infinite"):
        vw.circuit(model, BASE, SOURCE, heads=["0.1"], targets=TARGETS)
    modules = list(model.model.modules())
    assert all(module.training for module in modules)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in modules)


def test_the_figure_has_a_bar_per_run(tiny_gpt2: vw.LanguageModel):
    plot: Any = vw.circuit(tiny_gpt2, BASE, SOURCE, heads=["0.1"]).plot("Heads", style="dark")
    assert len(plot.data) == 4
    assert vw.figures.png(plot, dpi=30)
