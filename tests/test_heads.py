"""A sweep over heads: each cell is a run with one head changed."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

import vene_widgets as vw
from vene_widgets.sweeps.results import HeadSweep, Sweep

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"


@pytest.mark.parametrize(
    ("family", "component", "heads"),
    [
        ("tiny_gpt2", "head_attention_value_output", 3),
        ("tiny_llama", "head_query_output", 4),
        ("tiny_llama", "head_key_output", 2),  # grouped: fewer key heads
    ],
)
def test_every_head_at_every_layer_and_position(
    family: str, component: str, heads: int, request: pytest.FixtureRequest
) -> None:
    model: vw.LanguageModel = request.getfixturevalue(family)
    swept = vw.sweep(model, BASE, SOURCE, component, head="all")
    assert isinstance(swept, HeadSweep) and swept.heads == tuple(range(heads))
    assert swept.logits.shape == (3, heads, 5, model.sites.vocabulary)
    frame = swept.frame
    assert len(frame) == 3 * heads * 5 * len(swept.targets)
    assert sorted(frame["head"].unique()) == list(range(heads))
    for layer, head, position in ((0, 1, 3), (1, heads - 1, 4), (2, 0, 4)):
        slot = vw.Slot(layer=layer, position=position, component=component, head=head)
        run = vw.run(model, vw.Experiment(base=BASE, sources=SOURCE, slots=[slot]))
        assert torch.allclose(swept.logits[layer, head, position], run.logits[-1].cpu(), atol=1e-4)
        row = frame.query(
            f"layer == {layer} and head == {head} and position == {position} "
            f"and target_id == {swept.targets[0]}"
        ).iloc[0]
        wanted = float(run.logits[-1].double().softmax(-1)[swept.targets[0]])
        assert row.probability == pytest.approx(wanted, abs=1e-5)


def test_some_heads_and_one(tiny_gpt2: vw.LanguageModel) -> None:
    component = "head_value_output"
    some = vw.sweep(tiny_gpt2, BASE, SOURCE, component, head=[2, 0])
    one = vw.sweep(tiny_gpt2, BASE, SOURCE, component, head=2)
    assert isinstance(one, Sweep) and some.heads == (2, 0)
    assert torch.allclose(some.logits[:, 0], one.logits, atol=1e-5)
    assert "2 heads x 3 layers x 5 positions" in repr(some)


def test_progress_counts_the_cells_of_all_heads(tiny_gpt2: vw.LanguageModel) -> None:
    seen: list[tuple[int, int]] = []
    vw.sweep(
        tiny_gpt2,
        BASE,
        SOURCE,
        "head_value_output",
        head="all",
        progress=lambda *counts: seen.append(counts),
    )
    assert seen[0] == (5, 45) and seen[-1] == (45, 45)


@pytest.mark.parametrize("head", [[], [0, 0], [0, -3], [7], "some", [0.5], [True]])
def test_heads_that_are_none(tiny_gpt2: vw.LanguageModel, head: object) -> None:
    with pytest.raises(vw.RequestError):
        vw.sweep(tiny_gpt2, BASE, SOURCE, "head_value_output", head=head)  # type: ignore[call-overload]


def test_a_component_without_heads(tiny_gpt2: vw.LanguageModel) -> None:
    with pytest.raises(vw.RequestError, match="Per-head components: head_attention_value_output"):
        vw.sweep(tiny_gpt2, BASE, SOURCE, "mlp_output", head="all")


def test_the_figure_is_a_map_of_layer_and_head(tiny_gpt2: vw.LanguageModel) -> None:
    swept = vw.sweep(tiny_gpt2, BASE, SOURCE, "head_value_output", head="all", positions=[3, 4])
    plot = swept.plot()
    data: Any = plot.data
    assert set(data["column"]) == {0, 1, 2} and set(data["position"]) == {3, 4}
    assert len(vw.figures.png(plot)) > 1000
    single = vw.sweep(tiny_gpt2, BASE, SOURCE, "mlp_output")
    with pytest.raises(vw.RequestError, match="needs a frame with heads"):
        vw.figures.head_map(single.frame)


def test_the_message_names_a_size_that_is_enough_for_all_heads(tiny_gpt2: vw.LanguageModel):
    pair = ("The capital of Spain is", "The capital of Italy is", "head_value_output")
    lean = vw.sweep(tiny_gpt2, *pair, head="all", keep_bytes=1)
    with pytest.raises(vw.RequestError, match=r"keep_bytes=\d+") as caught:
        _ = lean.logits
    found = re.search(r"keep_bytes=(\d+)", str(caught.value))
    assert found is not None
    whole = vw.sweep(tiny_gpt2, *pair, head="all", keep_bytes=int(found[1]))
    assert whole.logits.shape[:3] == (3, 3, 5)


def test_totals_add_the_heads_of_each_layer(tiny_gpt2: vw.LanguageModel) -> None:
    found = vw.sweep(
        tiny_gpt2, "The capital of Spain is", "The capital of Italy is",
        "head_attention_value_output", head="all", targets=[" Rome", " Madrid"],
    )  # fmt: skip
    totals = found.totals
    assert len(totals) == 3 * 2
    for _, row in totals.iterrows():
        own = found.frame[
            (found.frame["layer"] == row["layer"]) & (found.frame["target"] == row["target"])
        ]
        for name in ("delta", "log_ratio", "recovery"):
            assert row[name] == pytest.approx(own[name].sum(), abs=1e-9)
    alone = vw.sweep(
        tiny_gpt2, "The capital of Spain is", component="head_value_output", head="all",
        intervention="zero",
    )  # fmt: skip
    assert alone.totals["recovery"].isna().all() and alone.totals["delta"].notna().all()


def test_all_heads_at_once_are_the_whole_component(tiny_gpt2: vw.LanguageModel) -> None:
    base, source = "The capital of Spain is", "The capital of Italy is"
    whole = vw.sweep(tiny_gpt2, base, source, "attention_value_output")
    count = tiny_gpt2.sites.head_count("head_attention_value_output") or 0
    slots = [
        vw.Slot(layer=1, component="head_attention_value_output", head=head, position=3)
        for head in range(count)
    ]
    together = vw.run(tiny_gpt2, vw.Experiment(base=base, sources=source, slots=slots))
    assert torch.allclose(together.logits[-1].cpu(), whole.logits[1, 3], atol=2e-5)
