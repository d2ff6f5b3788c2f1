"""The same results as pyvene's."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from intervenable_testing import TOLERANCE, ids, on, plain, slots
from torch import nn

from vene_widgets import intervenable as face
from vene_widgets.intervenable import (
    CollectIntervention,
    IntervenableConfig,
    IntervenableModel,
    RepresentationConfig,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyvene"),
]


class Oracle:
    """pyvene on a copy of the same weights."""

    def __init__(self, model: Any) -> None:
        self.model = copy.deepcopy(model)

    def build(self, representations: list[dict[str, Any]], kind: str, mode: str) -> Any:
        import pyvene

        config = pyvene.IntervenableConfig(
            representations=[pyvene.RepresentationConfig(**r) for r in representations],
            intervention_types=getattr(pyvene, kind),
            mode=mode,
        )
        built = pyvene.IntervenableModel(config, self.model)
        built.set_device(str(self.model.device))
        return built


VALUES = {"component": "head_value_output", "unit": "h.pos"}
CASES: dict[str, tuple[list[dict[str, Any]], str, str, Any, Any, Any]] = {
    "one slot": ([{"layer": 1}], "Vanilla", "parallel", (1,), {"sources->base": (2, 4)}, None),
    "two slots": (
        [{"layer": 0}, {"layer": 2, "component": "mlp_input"}],
        *("Vanilla", "parallel", (1, 2)),
        *({"sources->base": ([[[1, 2]], [[3]]], [[[2, 5]], [[4]]])}, None),
    ),
    "groups": (
        [{"layer": 0, "group_key": 0}, {"layer": 1, "group_key": 0}, {"layer": 2, "group_key": 1}],
        *("Vanilla", "parallel", (1, 2)),
        *({"sources->base": ([[[1]], [[3]], [[2]]], [[[2]], [[4]], [[2]]])}, None),
    ),
    "skips": (
        [{"layer": 0}, {"layer": 0}, {"layer": 2}],
        *("Vanilla", "parallel", (None, 1, None)),
        *({"sources->base": ([None, [[4]], None], [None, [[4]], None])}, None),
    ),
    "addition": ([{"layer": 1}], "Addition", "parallel", (1,), {"sources->base": (2, 4)}, None),
    "subtraction": (
        [{"layer": 1, "component": "attention_output"}],
        *("Subtraction", "parallel", (1,), {"sources->base": (2, 4)}, None),
    ),
    # Nested, because pyvene reads a flat [2, 3] as source 2 to base 3.
    "zero": ([{"layer": 1}], "Zero", "parallel", None, {"base": [[[2, 3]]]}, None),
    "dims": ([{"layer": 1}], "Vanilla", "parallel", (1,), {"sources->base": (2, 4)}, [0, 5, 7]),
    "heads": (
        [{"layer": 1, **VALUES}],
        *("Vanilla", "parallel", (1,)),
        *({"sources->base": ([[[[0, 2]], [[3]]]], [[[[1, 2]], [[4]]]])}, None),
    ),
    "serial": (
        [{"layer": 0}, {"layer": 1}],
        *("Vanilla", "serial", (1, 2)),
        {
            "source_0->source_1": ([[[2]]], [[[3]]]),
            "source_1->base": ([[[4]]], [[[4]]]),
        },
        None,
    ),
    "rotation": (
        [{"layer": 1, "low_rank_dimension": 3, "subspace_partition": [[0, 1], [1, 3]]}],
        *("LowRankRotatedSpace", "parallel", (1,), {"sources->base": (4, 4)}, 1),
    ),
    "whole rotation": (
        [{"layer": 1, "component": "mlp_output"}],
        *("RotatedSpace", "parallel", (1,), {"sources->base": (4, 4)}, [0, 1, 2]),
    ),
}


def repeated(value: Any, batch: int) -> Any:
    """Nested locations of one example for a whole batch."""
    if isinstance(value, dict):
        return {key: repeated(one, batch) for key, one in value.items()}
    if isinstance(value, tuple):
        return tuple(repeated(one, batch) for one in value)
    if isinstance(value, list) and value and isinstance(value[0], list):
        inner = value[0] if not isinstance(value[0][0], int) else None
        return [repeated(one, batch) for one in value] if inner is not None else value * batch
    if isinstance(value, list):
        return [repeated(one, batch) for one in value]
    return value


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_parity(case: str, batch: int, lm: Any, record_property: Callable[[str, object], None]):
    representations, kind, mode, names, where, subspaces = CASES[case]
    base = on(lm, ids(batch))
    sources = None
    if names is not None:
        sources = [None if name is None else on(lm, ids(batch, seed=name)) for name in names]
    where = repeated(where, batch)
    theirs = Oracle(lm).build(representations, f"{kind}Intervention", mode)
    config = IntervenableConfig(
        [RepresentationConfig(**fields) for fields in representations],
        intervention_types=getattr(face, f"{kind}Intervention"),
        mode=mode,
    )
    ours = IntervenableModel(config, lm)
    if ours.get_trainable_parameters():
        copy_rotation(ours, theirs)
    with torch.no_grad():
        mine = ours(base, sources, where, subspaces=subspaces)[1].logits
        # Copies: pyvene modifies its arguments.
        other = theirs(base, sources and list(sources), copy.deepcopy(where), subspaces=subspaces)[
            1
        ].logits
    worst = (mine - other).abs().max().item()
    record_property("parity", f"{case}, batch {batch}: {worst:.3g}")
    print(f"{case}, batch {batch}: worst |Δ logit| {worst:.3g}")
    assert worst <= TOLERANCE
    assert not torch.equal(mine, plain(lm, base).logits)


PLACES = st.fixed_dictionaries(
    {
        "layer": st.integers(0, 2),
        "component": st.sampled_from(
            [
                *("block_input", "block_output", "mlp_output", "mlp_activation"),
                *("attention_output", "query_output", "value_output"),
                *("head_value_output", "head_query_output"),
            ]
        ),
        "head": st.integers(0, 2),
        "skip": st.booleans(),
        "reads": st.integers(0, 5),
        "acts": st.integers(0, 5),
    }
)


def test_parity_of_random_batches(lm: Any):
    """Random sites, heads, positions, skips and types, with batches of one to three rows."""
    found: list[float] = []
    moved: list[bool] = []
    oracle = Oracle(lm)

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(PLACES, min_size=1, max_size=3),
        st.sampled_from(["Vanilla", "Addition", "Subtraction"]),
        st.integers(1, 3),
        st.integers(0, 999),
    )
    def check(places: list[dict[str, Any]], kind: str, batch: int, seed: int) -> None:
        if all(place["skip"] for place in places):
            places[0]["skip"] = False  # pyvene fails on a call without any slot
        fields = []
        reads: list[Any] = []
        acts: list[Any] = []
        for place in places:
            by_head = place["component"].startswith("head_")
            unit = "h.pos" if by_head else "pos"
            fields.append({"layer": place["layer"], "component": place["component"], "unit": unit})
            for name, located in (("reads", reads), ("acts", acts)):
                at: Any = [[place[name]]] * batch
                if by_head:  # the heads of all rows first, then their positions
                    at = [[[place["head"]]] * batch, at]
                located.append(None if place["skip"] else at)
        base = on(lm, ids(batch, seed=seed))
        sources = [
            None if place["skip"] else on(lm, ids(batch, seed=seed + n + 1))
            for n, place in enumerate(places)
        ]
        where = {"sources->base": (reads, acts)}
        theirs = oracle.build(fields, f"{kind}Intervention", "parallel")
        config = IntervenableConfig(
            [RepresentationConfig(**one) for one in fields],
            intervention_types=getattr(face, f"{kind}Intervention"),
        )
        with torch.no_grad():
            mine = IntervenableModel(config, lm)(base, sources, where)[1].logits
            other = theirs(base, list(sources), copy.deepcopy(where))[1].logits
        found.append((mine - other).abs().max().item())
        moved.append(not torch.equal(mine, plain(lm, base).logits))
        assert found[-1] <= TOLERANCE

    check()
    assert sum(moved) > len(moved) / 2, "most experiments must change something"
    print(f"{len(found)} random batches: worst |Δ logit| {max(found):.3g}")


def copy_rotation(ours: IntervenableModel, theirs: Any) -> None:
    """Give pyvene's operators our rotations."""
    from torch.nn.utils import parametrize

    mine: Any
    for mine, other in zip(ours.interventions.values(), theirs.interventions.values(), strict=True):
        layer: Any = other.rotate_layer
        weight = mine.rotate_layer.weight.detach().clone()
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        layer.weight = nn.Parameter(weight)


@pytest.mark.parametrize("batch", [1, 3])
def test_collected_vectors_agree(batch: int, lm: Any):
    base = on(lm, ids(batch))
    where = {"base": [[[2, 4]] * batch]}
    # pyvene splits the vectors if the number of units differs from the announced one.
    announced = [{"layer": 1, "max_number_of_units": 2}]
    theirs = Oracle(lm).build(announced, "CollectIntervention", "parallel")
    ours = IntervenableModel(slots(1, kind=CollectIntervention), lm)
    (original, found), output = ours(base, unit_locations=where)
    (_, expected), _ = theirs(base, unit_locations=copy.deepcopy(where))
    assert original is None and torch.equal(output.logits, plain(lm, base).logits)
    assert found[0].shape == expected[0].shape == (batch, 2, 24)
    assert (found[0] - expected[0]).abs().max() <= TOLERANCE


def test_a_ragged_batch_gives_what_its_rows_give_alone(lm: Any):
    # pyvene needs equally many positions in every row.
    model = IntervenableModel(slots(0, 1), lm)
    base, sources = ids(3), [ids(3, seed=1), ids(3, seed=2)]
    left = [[[1], [2, 3], [5]], [[2], [0], [4, 1]]]
    right = [[[2], [4, 5], [1]], [[3], [5], [3, 2]]]
    together = model(base, sources, {"sources->base": (left, right)})[1].logits
    for row in range(3):
        one = model(
            {name: value[row : row + 1] for name, value in base.items()},
            [{name: value[row : row + 1] for name, value in s.items()} for s in sources],
            {"sources->base": ([[s[row]] for s in left], [[s[row]] for s in right])},
        )[1].logits
        assert (together[row] - one[0]).abs().max() <= TOLERANCE
