"""Experiments of several slots, and fitted subspaces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from families_testing import (
    BASE,
    FUSED,
    ITALY,
    LONGER,
    PLAIN_VARIANTS,
    Build,
    last_head,
    numbers_of,
)

import vene_widgets as vw


@pytest.mark.parametrize("name", PLAIN_VARIANTS)
def test_groups_links_and_subspaces(name: str, build: Build) -> None:
    """Resumed or not, grouped or not, in the tutorial's names or ours: the same numbers."""
    model = build(name)
    rotated: dict[str, Any] = {
        "component": "value_output",
        "intervention": "rotated_space",
        "link": "shared",
        "subspace": [0, 1, 2],
        "source": "italy",
        "group": "A",
    }
    head = last_head(model, "head_key_output")
    slots = [
        vw.Slot(layer=0, position=3, **rotated),
        vw.Slot(layer=2, position=4, source_position=5, **rotated),
        vw.Slot(layer=1, position=1, source="italy", skip=True),
        vw.Slot(layer=1, component="head_key_output", head=head, position=[1, 3], source="italy"),
        vw.Slot(layer=1, component="query_output", position=2, intervention="zero"),
        vw.Slot(
            layer=1,
            component="mlp_activation",
            position=4,
            intervention="low_rank_rotated_space",
            rank=2,
            source="italy",
        ),
    ]
    experiment = vw.Experiment(base=BASE, sources={"italy": LONGER}, slots=slots)
    full = vw.run(model, experiment)
    cache = vw.ActivationCache()
    for prompt in (BASE, LONGER):
        vw.run(model, vw.Experiment(base=prompt), cache=cache)
    assert torch.equal(vw.run(model, experiment, cache=cache).logits, full.logits)
    assert vw.compare(full, vw.run(model, experiment.ungrouped())).verdict == "bit-equal"
    assert torch.equal(numbers_of(model, experiment, "vene_widgets"), full.logits)
    assert torch.equal(numbers_of(model, experiment, "intervenable"), full.logits)
    assert list(full.receipts.fired) == [True, True, False, True, True, True]
    assert full.receipts.others_equal.all()
    for index in (0, 1, 3, 4, 5):  # each of them has a part in it
        without = experiment.replace(
            slots=tuple(s.replace(skip=True) if n == index else s for n, s in enumerate(slots))
        )
        assert not torch.equal(vw.run(model, without).logits, full.logits), index


@pytest.mark.parametrize("name", [*FUSED, "gemma2", "opt", "qwen3"])
def test_a_subspace_is_fitted_saved_and_restored(name: str, build: Build, tmp_path: Path) -> None:
    model = build(name)
    pairs = [
        (BASE, ITALY, " Rome"),
        (ITALY, "The capital of France is", " Paris"),
        ("The capital of France is", BASE, " Madrid"),
        (BASE, "The capital of France is", " Paris"),
    ]
    head = last_head(model, "head_key_output")
    fit = vw.fit_subspace(
        model, pairs, 1, 3, 2, component="head_key_output", head=head, steps=2, progress=False
    )
    assert fit.site.width == model.sites.d_head
    experiment = vw.Experiment(base=BASE, sources=ITALY, slots=[fit.slot()])
    run = vw.run(model, experiment, weights=fit.weights)
    assert not torch.equal(run.logits, vw.run(model, vw.Experiment(base=BASE)).logits)
    vw.save(tmp_path / "fit", experiment, fit.weights)
    again, weights = vw.restore(tmp_path / "fit")
    assert again == experiment
    for module in weights.values():
        module.to(model.device)
    assert torch.equal(vw.run(model, again, weights=weights).logits, run.logits)
