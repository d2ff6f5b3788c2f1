"""SweepRequest: frozen, JSON both ways, and the same request however its ints are written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import vene_widgets as vw
from vene_widgets.experiments import SweepRequest
from vene_widgets.sweeps import cells
from vene_widgets.sweeps.planning import plan_sweep, plan_sweeps
from vene_widgets.sweeps.preparing import prepare_sweeps

SPAIN, ITALY = "The capital of Spain is", "The capital of Italy is"


def test_it_travels_as_json_and_comes_back_equal():
    request = SweepRequest(
        component="head_value_output", head=1, source="italy", layers=[0, 2], positions=" Spain"
    )
    assert SweepRequest.model_validate_json(request.model_dump_json()) == request
    assert hash(request) == hash(request.replace(head=1))
    mean = request.replace(head="all", intervention="mean", prompts=[SPAIN, ITALY])
    assert SweepRequest.model_validate_json(mean.model_dump_json()) == mean
    assert (mean.head, mean.prompts) == ("all", (SPAIN, ITALY))


def test_ints_of_any_kind_make_one_request():
    written = (
        SweepRequest(layers=range(2), positions=np.arange(3), source_positions=torch.arange(3)),  # pyright: ignore[reportArgumentType]
        SweepRequest(layers=(0, 1), positions=[0, 1, 2], source_positions=(0, 1, 2)),
    )
    assert written[0] == written[1]
    assert written[0].layers == (0, 1) and written[0].positions == (0, 1, 2)


def test_it_is_frozen_and_every_change_is_validated():
    request = SweepRequest(layers=[0])
    with pytest.raises(vw.RequestError):
        request.layers = (1,)
    assert request.replace(layers=None).layers is None and request.layers == (0,)
    with pytest.raises(vw.RequestError, match="layer"):
        request.replace(layers="all")
    with pytest.raises(vw.RequestError, match=r"'postions' is not known.*'positions'"):
        SweepRequest(postions=[1])  # pyright: ignore[reportCallIssue]


def test_one_request_serves_many_pairs_of_prompts(tiny_gpt2: vw.LanguageModel):
    request = SweepRequest(component="mlp_output", layers=1, positions=[-1])
    for base, source in ((SPAIN, ITALY), ("The capital", " Rome is")):
        plan = plan_sweep(tiny_gpt2, base, source, request)
        assert plan.request is request and plan.layers == (1,)
        assert plan.positions == (len(plan.base) - 1,)


@pytest.mark.parametrize("field", ["layers", "positions", "source_positions", "head"])
def test_the_public_sweep_names_a_value_that_is_no_int(tiny_gpt2: vw.LanguageModel, field: str):
    given: dict[str, Any] = {field: True if field == "head" else [True]}
    with pytest.raises(vw.RequestError, match=rf"{field}.*True is a bool"):
        vw.sweep(tiny_gpt2, SPAIN, ITALY, **given)


def test_all_heads_are_one_plan_each(tiny_gpt2: vw.LanguageModel):
    request = SweepRequest(component="head_value_output", head="all", layers=1)
    plans = plan_sweeps(tiny_gpt2, SPAIN, ITALY, request)
    assert [plan.head for plan in plans] == list(range(tiny_gpt2.sites.heads))
    assert all(plan.request is request and plan.layers == (1,) for plan in plans)
    with pytest.raises(vw.RequestError, match="'all' is invalid for component 'mlp_output'"):
        plan_sweeps(tiny_gpt2, SPAIN, ITALY, request.replace(component="mlp_output"))


def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let a chunk hold as little as it can; the list fills with the sizes of those that ran."""
    ran: list[int] = []
    run_chunk = cells._run_chunk

    def counted(chunk: Any) -> Any:
        ran.append(len(chunk))
        return run_chunk(chunk)

    monkeypatch.setattr(cells, "_run_chunk", counted)
    for device in ("CPU", "GPU"):
        monkeypatch.setattr(cells, f"{device}_ROWS", 1)
    return ran


def test_rows_of_several_heads_come_in_order_while_the_others_run(
    tiny_gpt2: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
):
    request = SweepRequest(component="head_value_output", head="all", layers=[0, 1])
    plans = plan_sweeps(tiny_gpt2, SPAIN, ITALY, request)
    whole = list(cells.sweep_rows(*prepare_sweeps(plans)))
    ran = one_at_a_time(monkeypatch)  # one layer of one head
    found: list[cells.SweepRow] = []
    seen: list[int] = []
    for row in cells.sweep_rows(*prepare_sweeps(plans)):
        found.append(row)
        seen.append(len(ran))
    places = [(head, layer) for head in range(tiny_gpt2.sites.heads) for layer in (0, 1)]
    assert [(row.sweep.plan.head, row.layer) for row in found] == places
    assert seen[0] < seen[-1] == len(ran)
    for one, other in zip(found, whole, strict=True):
        assert torch.allclose(one.logits, other.logits, atol=1e-5)


def test_the_model_is_free_after_every_chunk_of_a_large_layer(
    tiny_gpt2: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
):
    """A click waits for one chunk, not for the layer."""
    ready = prepare_sweeps([plan_sweep(tiny_gpt2, SPAIN, " Rome Rome Rome Italy Rome")])
    whole = list(cells.sweep_rows(*ready))
    ran = one_at_a_time(monkeypatch)  # one cell
    found: list[cells.SweepRow] = []
    before = 0
    for row in cells.sweep_steps(*ready):
        assert len(ran) - before <= 1
        before = len(ran)
        if row is not None:
            found.append(row)
    assert len(ran) > 2 * len(found)
    for one, other in zip(found, whole, strict=True):
        assert torch.allclose(one.logits, other.logits, atol=1e-5)


def test_a_map_lets_a_click_in_after_every_chunk(
    tiny_gpt2: vw.LanguageModel, silent_painter: object, monkeypatch: pytest.MonkeyPatch
):
    """In the middle of a layer: the answer is there before the layer is full."""
    from explorer_testing import setting, slot

    for device in ("CPU", "GPU"):
        monkeypatch.setattr(cells, f"{device}_ROWS", 1)
    run_chunk, explorer = cells._run_chunk, vw.explore(SPAIN, ITALY, tiny_gpt2)
    explorer.wait(60)
    chunks: list[bool] = []

    def clicking(chunk: Any) -> Any:
        if not chunks:
            explorer.receive({"id": "r1", **setting(slot(2, 3), base=SPAIN, source=ITALY)})
        chunks.append(explorer.answer["revision"] == explorer.revision)
        return run_chunk(chunk)

    monkeypatch.setattr(cells, "_run_chunk", clicking)
    try:
        explorer.receive({"id": "r2", "kind": "sweep", "component": "mlp_output"})
        explorer.wait(60)
        assert chunks[:2] == [False, True]
        assert explorer.map["done"] == explorer.map["total"]
    finally:
        explorer.close()
