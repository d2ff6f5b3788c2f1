"""Placebo: a sweep beside controls, each cell by hooks on the user's own model or on a twin."""

from __future__ import annotations

import copy
from dataclasses import replace
from threading import Event
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from by_hand import ITALY, PAIRS, SPAIN, own_copy
from torch import Tensor

import vene_widgets as vw
from vene_widgets.methods.placebo import PLACEBOS, control_plan_steps, control_plans
from vene_widgets.sweeps.changes import window_changes
from vene_widgets.sweeps.pairs import controls as of_pairs
from vene_widgets.sweeps.pairs.controls import shuffled_twin
from vene_widgets.sweeps.planning import plan_sweep
from vene_widgets.sweeps.preparing import prepare_sweep
from vene_widgets.sweeps.sweep import Cancelled
from vene_widgets.tables.placebo import placebo_frame

LAYER, POSITION = 1, 3


def patched_by_hand(model: vw.LanguageModel, base: list[int], source: list[int]) -> Tensor:
    """Ln P at the last position, with the source's state after a block at one position."""
    net: Any = model.model
    block = net.transformer.h[LAYER] if hasattr(net, "transformer") else net.model.layers[LAYER]
    kept: list[Tensor] = []

    def state(output: Any) -> Tensor:
        return output[0] if isinstance(output, tuple) else output

    def keep(_module: Any, _inputs: Any, output: Any) -> None:
        kept.append(state(output).clone())

    def put(_module: Any, _inputs: Any, output: Any) -> None:
        state(output)[:, POSITION] = kept[0][:, POSITION]

    with torch.no_grad():
        for ids, hook in ((source, keep), (base, put)):
            handle = block.register_forward_hook(hook)
            logits = net(input_ids=torch.tensor([ids], device=model.device)).logits[0, -1]
            handle.remove()
    return logits.double().log_softmax(-1).cpu()


def plain_by_hand(model: vw.LanguageModel, ids: list[int]) -> Tensor:
    net: Any = model.model
    with torch.no_grad():
        logits = net(input_ids=torch.tensor([ids], device=model.device)).logits[0, -1]
    return logits.double().log_softmax(-1).cpu()


def ids_of(tokens: Any) -> list[int]:
    return [token.id for token in tokens]


@pytest.mark.parametrize("family", ["tiny_gpt2", "tiny_llama"])
def test_each_control_is_the_sweep_with_one_thing_replaced(
    family: str, request: pytest.FixtureRequest
) -> None:
    model = own_copy(family, request)
    swept = vw.sweep(model, SPAIN, ITALY)
    found = vw.placebo(swept, draws=2, seed=4)
    base, source = ids_of(model.tokens(SPAIN)), ids_of(model.tokens(ITALY))
    target, other = swept.targets
    real = {ids: plain_by_hand(model, list(ids)) for ids in (tuple(base), tuple(source))}

    def odds(log_p: Tensor) -> float:
        return float(log_p[target] - log_p[other])

    whole = odds(real[tuple(source)]) - odds(real[tuple(base)])
    by_hand: dict[str, list[dict[str, float]]] = {}
    for name in ("random_source", "shuffled_weights"):
        for draw in range(2):
            net, ids = model, source
            if name == "shuffled_weights":
                net = shuffled_twin(model, 4 + draw)
            else:
                ids = ids_of(found.controls[name][draw].plan.source)
            before, after = plain_by_hand(net, base), patched_by_hand(net, base, ids)
            by_hand.setdefault(name, []).append(
                {
                    "delta": float(after[target].exp() - before[target].exp()),
                    "log_ratio": float(after[target] - before[target]),
                    "logit_difference": odds(after) - odds(before),
                    "recovery": (odds(after) - odds(before)) / whole,
                    "kl": float((after.exp() * (after - before)).sum()),
                    "kl_source": float(
                        (after.exp() * (after - real[tuple(source)])).sum()
                        - (before.exp() * (before - real[tuple(source)])).sum()
                    ),
                }
            )
    for metric in by_hand["random_source"][0]:
        rows = found.summarize(metric)
        rows = rows[rows["target_id"].eq(target) & rows["layer"].eq(LAYER)]
        rows = rows[rows["position"].eq(POSITION)].set_index("control")
        for name, draws in by_hand.items():
            values = [one[metric] for one in draws]
            scale = max(1.0, *map(abs, values))
            assert rows.loc[name, "least"] == pytest.approx(min(values), abs=2e-5 * scale)
            assert rows.loc[name, "most"] == pytest.approx(max(values), abs=2e-5 * scale)
            assert rows.loc[name, "draws"] == 2


def test_the_exact_changes_are_the_sweeps_own(tiny_gpt2: vw.LanguageModel) -> None:
    swept = vw.sweep(tiny_gpt2, SPAIN, ITALY)
    found = vw.placebo(swept, draws=1)
    for metric in ("delta", "log_ratio", "recovery", "kl"):
        rows = found.summarize(metric)
        for _, part in rows.groupby("control"):
            assert np.allclose(part["exact"], swept.frame[metric], atol=1e-9)
    levels = found.summarize("probability")
    assert np.allclose(levels["exact"], found.frame["exact"], atol=1e-12)
    assert found.frame["effect_possible"].tolist() == 2 * swept.frame["effect_possible"].tolist()


def levels(changes: list[float], base: float = 0.25) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A frame of one target over cells, and its base run."""
    columns = {
        "component": "block_output", "head": None, "layer": range(len(changes)), "position": 0,
        "token": "x", "token_id": 0, "label": "x", "target_id": 7, "target": "y",
        "target_label": "y", "effect_possible": True,
    }  # fmt: skip
    cells = pd.DataFrame({**columns, "delta": np.add(changes, base)})
    return cells, cells.assign(delta=base)


@pytest.mark.parametrize(
    ("draws", "within"),
    [
        # Changes of the map: +0.5, +0.2, −0.1, 0. The range is the map's, and reaches to 0.
        ([[0.1, 0.0, 0.0, 0.0]], [False, False, False, True]),
        ([[0.0, 0.0, 0.0, 0.3]], [False, True, False, True]),
        ([[0.0, 0.0, 0.0, -0.3]], [False, False, True, True]),
        ([[0.3, 0.0, 0.0, 0.0], [0.0, 0.0, -0.2, 0.0]], [False, True, True, True]),
        ([[0.6, 0.4, 0.3, 0.35]], [True, True, False, True]),
        ([[-0.6, -0.4, -0.3, -0.35]], [False, False, True, True]),
        ([[0.5, np.nan, np.nan, np.nan]], [True, True, False, True]),
    ],
)
def test_within_is_no_larger_than_the_controls_largest_in_the_same_direction(
    draws: list[list[float]], within: list[bool]
) -> None:
    exact = levels([0.5, 0.2, -0.1, 0.0])
    # The control's own base run is at another level: only changes count.
    found = placebo_frame(exact, {"c": [levels(one, base=0.9) for one in draws]}, "delta")
    assert found["within"].tolist() == within
    assert found["exact"].tolist() == pytest.approx([0.5, 0.2, -0.1, 0.0])


def test_a_random_source_has_other_tokens_where_the_prompts_differ(
    tiny_gpt2: vw.LanguageModel,
) -> None:
    special = set(tiny_gpt2.tokenizer.all_special_ids)
    for base, source in PAIRS:
        plan = plan_sweep(tiny_gpt2, base, source)
        own, drawn = ids_of(plan.source), set[tuple[int, ...]]()
        for seed in range(20):
            (control,) = control_plans([plan], "random_source", seed)
            ids = ids_of(control.source)
            both = enumerate(zip(ids, own, strict=True))
            changed = [n for n, (one, other) in both if one != other]
            assert changed == ([3] if source == ITALY else [0, 1, 2, 3, 4])
            assert not {ids[n] for n in changed} & special
            assert all(ids[n] != plan.base[n].id for n in changed if n < len(plan.base))
            assert replace(
                control, source=plan.source, source_prompt=plan.source_prompt,
                first_difference=plan.first_difference,
            ) == plan  # fmt: skip
            drawn.add(tuple(ids))
        assert len(drawn) > 15
        (again,) = control_plans([plan], "random_source", 0)
        assert ids_of(again.source) == ids_of(control_plans([plan], "random_source", 0)[0].source)


def test_of_a_source_that_is_the_base_all_tokens_are_random(tiny_gpt2: vw.LanguageModel) -> None:
    noise = vw.Slot(layer=0, component="block_input", position=3, intervention="noise")
    swept = vw.sweep(tiny_gpt2, SPAIN, fixed=[noise], seeds=[0, 1], targets=[3, 4])
    found = vw.placebo(swept, draws=1)
    control = found.controls["random_source"][0]
    assert all(
        one.id != other.id
        for one, other in zip(control.plan.source, swept.plan.source, strict=True)
    )
    assert control.plan.seeds == (0, 1)
    # The base of a random source is that of the sweep: the run with the fixed noise.
    assert torch.allclose(control.base_logits, swept.base_logits, atol=1e-6)
    assert found.controls["shuffled_weights"][0].plan.fixed is not None


def test_the_users_model_and_random_streams_are_as_before(
    request: pytest.FixtureRequest,
) -> None:
    model = own_copy("tiny_gpt2", request)
    before = copy.deepcopy(model.model.state_dict())
    torch.manual_seed(3)
    np.random.seed(3)  # the user's stream
    state = torch.get_rng_state()
    of_numpy: Any = np.random.get_state()
    vw.placebo(vw.sweep(model, SPAIN, ITALY), draws=2, controls=PLACEBOS)
    assert torch.equal(torch.get_rng_state(), state)
    now: Any = np.random.get_state()
    assert np.array_equal(now[1], of_numpy[1]) and now[2] == of_numpy[2]
    after = model.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_heads_are_controlled_together(tiny_gpt2: vw.LanguageModel) -> None:
    swept = vw.sweep(tiny_gpt2, SPAIN, ITALY, "z", head="all", positions=[3, 4])
    found = vw.placebo(swept, draws=2)
    assert [len(one) for one in found.controls.values()] == [2, 2]
    assert len(found.frame) == 2 * len(swept.frame)
    sources = {one.plan.source_prompt for one in found.controls["random_source"][0].sweeps}
    assert len(sources) == 1
    assert found.plot().facet is not None


def test_an_ablation_has_noise_instead_of_a_random_source(tiny_gpt2: vw.LanguageModel) -> None:
    swept = vw.sweep(tiny_gpt2, SPAIN, intervention="zero")
    assert list(vw.placebo(swept, draws=1).controls) == ["matched_noise", "shuffled_weights"]
    with pytest.raises(vw.RequestError, match="'zero' does not read"):
        vw.placebo(swept, controls="random_source")


def test_noise_takes_the_place_of_a_source_in_every_layer_of_a_window(
    tiny_gpt2: vw.LanguageModel,
) -> None:
    # All layers of the last position: the real sweep is the source run.
    swept = vw.sweep(tiny_gpt2, SPAIN, ITALY, positions=[-1], window=10)
    (control,) = vw.placebo(swept, controls="matched_noise", draws=1).controls["matched_noise"]
    source = swept.source_logits
    assert torch.allclose(swept.logits, source.expand_as(swept.logits), atol=2e-5)
    assert (control.logits - source).abs().amax(-1).min() > 0.01


@pytest.mark.parametrize("intervention", ["vanilla", "addition"])
@pytest.mark.parametrize("head", [None, 1])
def test_noise_of_a_window_has_the_norm_of_each_change(
    tiny_gpt2: vw.LanguageModel, intervention: str, head: int | None
) -> None:
    component = "block_output" if head is None else "head_attention_value_output"
    blocks: Any = tiny_gpt2.model.transformer.h
    states: dict[tuple[int, str], Tensor] = {}
    for layer, block in enumerate(blocks):
        for name, prompt in (("base", SPAIN), ("source", ITALY)):
            module = block if head is None else block.attn.c_proj
            seen: list[Tensor] = []

            def keep(_module: Any, inputs: Any, output: Any, to: list[Tensor] = seen) -> None:
                to.append((output if head is None else inputs[0])[0].detach())

            handle = module.register_forward_hook(keep)
            plain_by_hand(tiny_gpt2, ids_of(tiny_gpt2.tokens(prompt)))
            handle.remove()
            heads = 1 if head is None else tiny_gpt2.sites.heads
            states[layer, name] = seen[0].view(len(seen[0]), heads, -1)[:, head or 0]
    swept = vw.sweep(
        tiny_gpt2, SPAIN, ITALY, component, head=head, window=3, intervention=intervention
    )
    (plan,) = control_plans([swept.plan], "matched_noise", 7)
    cells = prepare_sweep(plan).live_cells()
    later = window_changes(cells)
    assert {change.site.layer for change in later} == {*range(1, len(blocks))}
    for change in later:
        base, source = (
            states[change.site.layer, name][change.positions] for name in ("base", "source")
        )
        now = base + torch.randn_like(base)
        new = change.change(now, torch.arange(len(now), device=now.device))
        # Copying overwrites what noise in earlier layers did; adding adds to it.
        start, wanted = (base, source - base) if intervention == "vanilla" else (now, source)
        assert torch.allclose((new - start).norm(dim=-1), wanted.norm(dim=-1), rtol=1e-4, atol=1e-5)
        differ = wanted.norm(dim=-1) > 1e-3
        apart = torch.cosine_similarity(new - start, wanted, -1)[differ].abs()
        assert apart.mean() < 0.8
    # Some of the cells get what they get among all.
    which = torch.tensor([2, 0], device=now.device)
    assert torch.allclose(change.change(now[which], which), new[which], atol=1e-6)


def test_steps_leave_the_model_free_and_give_the_same_twin(tiny_gpt2: vw.LanguageModel) -> None:
    plans = [vw.sweep(tiny_gpt2, SPAIN, ITALY).plan]
    steps, count = control_plan_steps(plans, "shuffled_weights", 5), 0
    while True:
        try:
            next(steps)
            count += 1
        except StopIteration as end:
            (plan,) = end.value
            break
    assert count > 3
    whole = shuffled_twin(tiny_gpt2, 5).model.state_dict()
    assert all(torch.equal(w, whole[n]) for n, w in plan.model.model.state_dict().items())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"controls": "shuffled_pairs"}, "control 'shuffled_pairs'.*'random_source'"),
        ({"controls": []}, "at least one of 'random_source'"),
        ({"draws": 0}, "draws 0 must be an int from 1 to 1000"),
        ({"draws": True}, "draws True must be"),
        ({"seed": -1}, "seed -1 must be an int from 0"),
    ],
)
def test_bad_arguments_are_refused(
    options: dict[str, Any], words: str, tiny_gpt2: vw.LanguageModel
) -> None:
    with pytest.raises(vw.RequestError, match=words):
        vw.placebo(vw.sweep(tiny_gpt2, SPAIN, ITALY), **options)


def test_only_a_sweep_of_the_model_as_it_is_has_one(request: pytest.FixtureRequest) -> None:
    model = own_copy("tiny_gpt2", request)
    with pytest.raises(vw.RequestError, match=r"takes the result of vw\.sweep, got a str"):
        vw.placebo(SPAIN)  # pyright: ignore[reportArgumentType]
    swept = vw.sweep(model, SPAIN, ITALY)
    with torch.no_grad():
        model.model.transformer.h[0].mlp.c_fc.weight.mul_(2)
    with pytest.raises(vw.RequestError, match="which has changed since"):
        vw.placebo(swept, draws=1)


def test_no_copy_is_made_without_the_memory(
    tiny_gpt2: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_pairs, "_free_bytes", lambda _device: 2**10)
    monkeypatch.setattr(copy, "deepcopy", lambda _model: pytest.fail("copied"))
    swept = vw.sweep(tiny_gpt2, SPAIN, ITALY)
    with pytest.raises(vw.RequestError, match=r"takes .* MB, and cpu has 0.000977 MB free"):
        vw.placebo(swept, controls="shuffled_weights")
    assert vw.placebo(swept, controls="random_source", draws=1).frame["draws"].eq(1).all()
    monkeypatch.setattr(of_pairs, "_free_bytes", lambda _device: None)
    with pytest.raises(pytest.fail.Exception):
        vw.placebo(swept, controls="shuffled_weights")


def test_progress_is_told_and_a_run_can_be_stopped(tiny_gpt2: vw.LanguageModel) -> None:
    swept, said, stop = vw.sweep(tiny_gpt2, SPAIN, ITALY), [], Event()

    def progress(done: int, total: int) -> None:
        said.append((done, total))
        if done == 3:
            stop.set()

    with pytest.raises(Cancelled, match="draw 1 of 'shuffled_weights'"):
        vw.placebo(swept, draws=2, progress=progress, cancel=stop)
    assert said == [(1, 4), (2, 4), (3, 4)]


def test_the_figure_has_a_panel_each_and_mutes_what_is_within(capitals: vw.LanguageModel) -> None:
    swept = vw.sweep(capitals, SPAIN, ITALY)
    found = vw.placebo(swept, draws=2)
    plot = found.plot("recovery")
    tiles: Any = plot.data
    assert [str(one) for one in tiles["panel"].cat.categories] == [
        "a   real map", "b   random source, largest of 2", "c   shuffled weights, largest of 2",
    ]  # fmt: skip
    real = tiles[tiles["panel_number"].eq(0)].set_index(["layer", "position"])
    rows: Any = found.summarize("recovery")
    rows = rows[rows["target_id"].eq(swept.target) & rows["effect_possible"]]
    for (layer, position), part in rows.groupby(["layer", "position"]):
        assert bool(real.loc[(layer, position), "muted"]) == bool(part["within"].any())
    assert real["muted"].any() and not real["muted"].all()
    assert not tiles[tiles["panel_number"].gt(0)]["muted"].any()
    # The second control counts as much as the first.
    second = rows.assign(within=rows["control"].eq("shuffled_weights"))
    drawn: Any = vw.figures.placebo_map(second).data
    muted = drawn.query("panel_number == 0 and effect_possible")
    assert len(muted) and muted["muted"].all()
    with pytest.raises(vw.RequestError, match="the frame lacks the columns"):
        vw.figures.placebo_map(swept.frame)
    with pytest.raises(vw.RequestError, match="got a NoneType"):
        vw.figures.placebo_map(None)  # pyright: ignore[reportArgumentType]
