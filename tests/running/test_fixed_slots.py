"""Fixed slots, windows and seeds of a sweep: every cell is the run of an experiment of its own."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

import vene_widgets as vw
from vene_widgets import frames

BASE, SOURCE, THIRD = (
    "The capital of Spain is",
    "The capital of Italy is",
    "The capital of France is",
)
CLOSE = 2e-5
NOISE = vw.Slot(layer=0, component="block_input", position=[2, 3], intervention="noise", seed=3)

FIXED: dict[str, list[vw.Slot]] = {
    "noise at the embeddings": [NOISE],
    "a head is out": [
        vw.Slot(layer=1, component="head_attention_value_output", head=1, position="all",
                intervention="zero")
    ],
    "inside a block": [
        vw.Slot(layer=1, component="mlp_activation", position=[1, 4], source="third"),
        vw.Slot(layer=1, component="mlp_output", position=3, intervention="zero"),
    ],
    "after the last block": [vw.Slot(layer=-1, position=[3, -1], source="third", strength=0.5)],
    "one after the other at one site": [
        vw.Slot(layer=1, position=3, source="third", intervention="addition"),
        vw.Slot(layer=1, position=[3, 4], source="third", subspace="0:3"),
        vw.Slot(layer=1, position=2, intervention="mean", prompts=[BASE, THIRD]),
    ],
    "keys and a skipped one": [
        vw.Slot(layer=2, component="key_output", position=[0, 2], source="third"),
        vw.Slot(layer=0, position=1, intervention="zero", skip=True),
        vw.Slot(layer=2, component="head_value_output", head=0, position=-1, source="third"),
    ],
    "an edge of attention is cut": [
        vw.Slot(layer=1, component="attention_weight", head=0, position=4, source_position=3,
                intervention="zero")
    ],
    "rotated": [
        vw.Slot(layer=0, position=3, source="third", intervention="low_rank_rotated_space", rank=2)
    ],
}  # fmt: skip
MOVING: list[dict[str, Any]] = [
    {},
    {"component": "block_input"},
    {"component": "mlp_output"},
    {"component": "mlp_activation", "intervention": "zero"},
    {"component": "head_attention_value_output", "head": 1},
    {"component": "attention_output", "intervention": "addition"},
]


def cell_run(
    model: vw.LanguageModel,
    fixed: list[vw.Slot],
    moving: dict[str, Any],
    layers: list[int],
    position: int,
    base: str = BASE,
    source: str = SOURCE,
) -> torch.Tensor:
    """The last position's logits of a run with the fixed slots and the moving one."""
    own: dict[str, Any] = {"source": "source"} if moving.get("intervention") != "zero" else {}
    slots = [vw.Slot(layer=layer, position=position, **moving, **own) for layer in layers]
    experiment = vw.Experiment(
        base=base, sources={"source": source, "third": THIRD}, slots=[*fixed, *slots]
    )
    return vw.run(model, experiment).logits[-1].cpu()


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("moving", MOVING, ids=str)
def test_every_cell_is_a_run_with_the_fixed_slots(
    tiny_gpt2: vw.LanguageModel, name: str, moving: dict[str, Any]
) -> None:
    fixed = FIXED[name]
    found = vw.sweep(tiny_gpt2, BASE, SOURCE, fixed=fixed, sources={"third": THIRD}, **moving)
    alone = vw.Experiment(base=BASE, sources={"source": SOURCE, "third": THIRD}, slots=fixed)
    assert torch.allclose(
        found.base_logits, vw.run(tiny_gpt2, alone).logits[-1].cpu(), atol=CLOSE, rtol=0
    )
    for layer in found.plan.layers:
        for position in found.plan.positions:
            wanted = cell_run(tiny_gpt2, fixed, moving, [layer], position)
            cell = found.logits[layer, position]
            assert torch.allclose(cell, wanted, atol=CLOSE, rtol=0), (layer, position)


def test_without_fixed_slots_it_is_the_same_sweep_bit_for_bit(tiny_gpt2: vw.LanguageModel) -> None:
    plain = vw.sweep(tiny_gpt2, BASE, SOURCE)
    several: list[dict[str, Any]] = [
        {"fixed": []},
        {"fixed": [NOISE.replace(skip=True)]},
        {"window": 1},
    ]
    for more in several:
        again = vw.sweep(tiny_gpt2, BASE, SOURCE, **more)
        assert torch.equal(plain.logits, again.logits)
        assert plain.frame.equals(again.frame)


def test_a_fixed_zero_that_is_restored_at_its_own_site_is_the_base(
    tiny_gpt2: vw.LanguageModel,
) -> None:
    zero = vw.Slot(layer=1, position=3, intervention="zero")
    found = vw.sweep(tiny_gpt2, BASE, fixed=zero)
    clean = vw.sweep(tiny_gpt2, BASE, SOURCE).base_logits
    assert torch.allclose(found.logits[1, 3], clean, atol=CLOSE, rtol=0)
    assert not torch.allclose(found.base_logits, clean, atol=1e-3)
    assert torch.allclose(found.source_logits, clean, atol=CLOSE, rtol=0)
    # Recovery: nothing where nothing is restored, everything at the slot's own site.
    frame: Any = found.frame.set_index(["layer", "position"])
    assert frame.loc[(1, 3), "recovery"].tolist() == pytest.approx([1, 1], abs=1e-3)
    assert frame.loc[(0, 0), "recovery"].tolist() == pytest.approx([0, 0], abs=1e-3)
    assert not frame.loc[(0, 1), "effect_possible"].any()


@pytest.mark.parametrize("window", [2, 3, 10])
@pytest.mark.parametrize("fixed", [[], FIXED["inside a block"]], ids=["plain", "fixed"])
@pytest.mark.parametrize("moving", MOVING, ids=str)
def test_a_window_changes_its_layers_together(
    tiny_gpt2: vw.LanguageModel, window: int, fixed: list[vw.Slot], moving: dict[str, Any]
) -> None:
    found = vw.sweep(
        tiny_gpt2, BASE, SOURCE, window=window, fixed=fixed, sources={"third": THIRD}, **moving
    )
    count = len(found.plan.layers)
    for layer in found.plan.layers:
        first, stop = max(0, layer - window // 2), min(count, layer - window // 2 + window)
        for position in (3, 4):
            wanted = cell_run(tiny_gpt2, fixed, moving, [*range(first, stop)], position)
            cell = found.logits[layer, position]
            assert torch.allclose(cell, wanted, atol=CLOSE, rtol=0), (layer, position)


def test_noise_over_several_seeds_is_a_mean_of_distributions(tiny_gpt2: vw.LanguageModel) -> None:
    seeds = (1, 5, 8)
    found = vw.sweep(tiny_gpt2, BASE, fixed=[NOISE], seeds=seeds, targets=[" Madrid", " Rome"])
    assert repr(found).endswith(f"1 fixed slot, mean over {len(seeds)} seeds>")
    alone = [
        vw.sweep(tiny_gpt2, BASE, fixed=[NOISE.replace(seed=seed)], targets=[" Madrid", " Rome"])
        for seed in seeds
    ]
    mean = sum(one.frame["probability"] for one in alone) / 3
    assert found.frame["probability"].tolist() == pytest.approx(mean.tolist(), abs=1e-6)
    base = sum(one.frame["base_probability"] for one in alone) / 3
    assert found.frame["base_probability"].tolist() == pytest.approx(base.tolist(), abs=1e-6)
    assert found.frame["delta"].tolist() == pytest.approx((mean - base).tolist(), abs=1e-6)
    heads = vw.sweep(
        tiny_gpt2, BASE, component="head_attention_value_output", head="all", fixed=[NOISE],
        seeds=seeds, positions=[3],
    )  # fmt: skip
    one = [
        vw.sweep(
            tiny_gpt2, BASE, component="head_attention_value_output", head=1, positions=[3],
            fixed=[NOISE.replace(seed=seed)],
        ).logits.softmax(-1)
        for seed in seeds
    ]  # fmt: skip
    wanted = torch.stack(one).mean(0)
    assert torch.allclose(heads.sweeps[1].logits.softmax(-1), wanted, atol=1e-6)


def test_means_over_seeds_are_as_exact_as_the_model(tiny_gpt2: vw.LanguageModel) -> None:
    double = vw.wrap(copy.deepcopy(tiny_gpt2.model).double(), tiny_gpt2.tokenizer)
    seeds = (1, 5)
    found = vw.sweep(double, BASE, fixed=[NOISE], seeds=seeds, targets=[" Madrid", " Rome"])
    alone = [
        vw.sweep(double, BASE, fixed=[NOISE.replace(seed=seed)]).logits.softmax(-1)
        for seed in seeds
    ]
    mean = torch.stack(alone).mean(0)[..., double.token_id(" Madrid")].flatten()
    own = found.frame["probability"][::2]
    assert own.tolist() == pytest.approx(mean.tolist(), rel=1e-12)


def test_heads_have_the_fixed_slots_too(tiny_gpt2: vw.LanguageModel) -> None:
    moving: dict[str, Any] = {"component": "head_attention_value_output"}
    found = vw.sweep(
        tiny_gpt2, BASE, SOURCE, **moving, head="all", fixed=FIXED["a head is out"], window=2
    )
    for head in found.heads:
        wanted = cell_run(tiny_gpt2, FIXED["a head is out"], {**moving, "head": head}, [0, 1], 3)
        assert torch.allclose(found.logits[1, head, 3], wanted, atol=CLOSE, rtol=0)


def test_full_passes_give_the_same(tiny_gpt2: vw.LanguageModel) -> None:
    other = vw.wrap(tiny_gpt2.model, tiny_gpt2.tokenizer)
    handle = other.model.transformer.h[1].register_forward_hook(lambda *_: None)
    try:
        other.accept_hooks()
        assert other.resume_blocker
        for name, fixed in FIXED.items():
            options: dict[str, Any] = {"fixed": fixed, "sources": {"third": THIRD}, "window": 3}
            slow, fast = (
                vw.sweep(model, BASE, SOURCE, "mlp_output", **options)
                for model in (other, tiny_gpt2)
            )
            assert torch.allclose(slow.logits, fast.logits, atol=CLOSE, rtol=0), name
    finally:
        handle.remove()


def test_a_fixed_slot_that_no_pass_comes_by_is_named(
    tiny_gpt2: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = vw.wrap(copy.deepcopy(tiny_gpt2.model), tiny_gpt2.tokenizer)
    mlp = other.model.transformer.h[1].mlp
    monkeypatch.setattr(mlp, "forward", lambda x: mlp.c_proj(mlp.c_fc(x)))
    other.accept_hooks()
    fixed = [NOISE, vw.Slot(layer=1, component="mlp_activation", position=2, intervention="zero")]
    with pytest.raises(vw.RequestError, match=r"fixed\[1\] never acted: .*Choose another"):
        vw.sweep(other, BASE, SOURCE, fixed=fixed)


@pytest.mark.parametrize("form", ["class", "function"])
@pytest.mark.parametrize("layer", [1, -1])
def test_a_users_operator_takes_all_of_its_positions_at_once(
    tiny_gpt2: vw.LanguageModel, form: str, layer: int
) -> None:
    from vene_widgets.interventions import INTERVENTIONS, Intervention

    class Rolled(Intervention):
        """Each position gets the state of the one before."""

        needs_source = False

        def forward(self, base: Any, source: Any, mask: Any = None) -> Any:
            return base.roll(1, -2)

    if form == "class":
        vw.register("rolled", Rolled)
    else:
        vw.register("rolled", lambda base, _: base.roll(1, -2), needs_source=False)
    try:
        fixed = [vw.Slot(layer=layer, position=[1, 3, 4], intervention="rolled")]
        several: list[dict[str, Any]] = [{}, {"component": "mlp_output"}]
        for moving in several:
            found = vw.sweep(tiny_gpt2, BASE, SOURCE, fixed=fixed, **moving)
            for row in found.plan.layers:
                for position in found.plan.positions:
                    wanted = cell_run(tiny_gpt2, fixed, moving, [row], position)
                    cell = found.logits[row, position]
                    assert torch.allclose(cell, wanted, atol=CLOSE, rtol=0), (row, position)
    finally:
        del INTERVENTIONS["rolled"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fixed": [vw.Slot(layer=9, position=0)]}, r"fixed\[0\]: layer 9"),
        ({"fixed": [vw.Slot(layer=0, position=7)]}, r"fixed\[0\].position 7"),
        ({"fixed": "zero"}, "expected a Slot or a list of Slots"),
        ({"fixed": [vw.Slot(layer=0, position=0, source="nobody")]}, "nobody"),
        ({"window": 0}, "window must be a number of layers from 1"),
        ({"seeds": 3}, "seeds are those of fixed noise"),
        ({"seeds": [1, 1], "fixed": [NOISE]}, "distinct"),
        ({"seeds": "x", "fixed": [NOISE]}, "seeds must be"),
        ({"seeds": [0, 1], "fixed": [NOISE], "keep_bytes": 8}, "seeds average whole"),
        ({"metric": "loss"}, "metric"),
    ],
)
def test_bad_input(tiny_gpt2: vw.LanguageModel, options: Any, words: str) -> None:
    with pytest.raises(vw.RequestError, match=words):
        vw.sweep(tiny_gpt2, BASE, SOURCE, **options)


def test_targets_may_be_sets(tiny_gpt2: vw.LanguageModel) -> None:
    sets = {"right": [" Rome", " Paris"], "wrong": [" Madrid"]}
    found = vw.sweep(tiny_gpt2, BASE, SOURCE, targets=sets)
    tokens = vw.sweep(tiny_gpt2, BASE, SOURCE, targets=[" Rome", " Paris", " Madrid"]).frame
    by_token = {str(name): part.reset_index() for name, part in tokens.groupby("target")}
    right = found.frame[found.frame["target"] == "right"].reset_index()
    added = by_token[" Rome"]["probability"] + by_token[" Paris"]["probability"]
    assert right["probability"].tolist() == pytest.approx(added.tolist())
    ranks = [by_token[name]["rank"].astype(int) for name in (" Rome", " Paris")]
    assert right["rank"].tolist() == [min(pair) for pair in zip(*ranks, strict=True)]
    assert found.targets == (-1, -2) == tuple(found.frame["target_id"][:2])
    wanted = (
        (right["probability"] / by_token[" Madrid"]["probability"])
        .map(torch.tensor)
        .map(lambda value: float(value.log()))
    )
    assert right["logit_difference"].tolist() == pytest.approx(wanted.tolist(), abs=1e-6)
    assert found.plot("recovery") is not None
    # A token counts once.
    twice = vw.sweep(tiny_gpt2, BASE, SOURCE, targets={**sets, "wrong": [" Madrid"] * 2})
    assert twice.frame.equals(found.frame)
    # Also where only numbers are kept.
    small = vw.sweep(tiny_gpt2, BASE, SOURCE, targets=sets, keep_bytes=0)
    assert small.frame["probability"].tolist() == pytest.approx(found.frame["probability"].tolist())


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ({}, "at least one set"),
        ({"right": []}, "must name at least one token"),
        ({"right": [" Rome"], "wrong": [" Rome"]}, "a token belongs to one set"),
        ({3: [" Rome"]}, "must be a text"),
        ({"right": ["no such token"]}, "targets\\['right'\\]"),
    ],
)
def test_bad_sets(tiny_gpt2: vw.LanguageModel, targets: Any, words: str) -> None:
    with pytest.raises(vw.RequestError, match=words):
        vw.sweep(tiny_gpt2, BASE, SOURCE, targets=targets)


@pytest.mark.parametrize("metric", frames.RECOVERED)
def test_recovery_is_0_in_the_base_and_1_in_the_source(
    tiny_gpt2: vw.LanguageModel, metric: str
) -> None:
    found = vw.sweep(
        tiny_gpt2, BASE, SOURCE, "block_input", metric=metric, targets=[" Rome", " Madrid"]
    )
    frame = found.frame
    assert frame[~frame["effect_possible"]]["recovery"].tolist() == pytest.approx(
        [0] * (~frame["effect_possible"]).sum()
    )
    # The one token that differs, before the first block: everything of the source.
    there = frame[(frame["layer"] == 0) & (frame["position"] == 3)]
    assert there["recovery"].tolist() == pytest.approx([1, 1], abs=1e-3)
    assert there["kl_source"].tolist() == pytest.approx([0, 0], abs=1e-9)
    assert frame["kl_source"].iloc[0] > 0


def test_recovery_needs_plain_runs_that_differ(tiny_gpt2: vw.LanguageModel) -> None:
    found = vw.sweep(tiny_gpt2, BASE, intervention="zero")
    assert found.frame["recovery"].isna().all()
    with pytest.raises(vw.RequestError, match="needs a source whose answer"):
        found.plot("recovery")
