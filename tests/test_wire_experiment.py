"""Experiments on the wire: a browser's numbers are doubles, and none of them may change a seed."""

from __future__ import annotations

import json
from typing import Any

import pydantic
import pytest

import vene_widgets as vw
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire.ordered import MAX_SAFE_INTEGER

REQUEST: pydantic.TypeAdapter[wire.SetExperiment] = pydantic.TypeAdapter(wire.SetExperiment)


def sent(seed: int) -> Any:
    """The seed of a slot as the browser gets it."""
    slot = vw.Slot(layer=0, position=0, intervention="noise", seed=seed)
    request = wire.SetExperiment(id="1", experiment=vw.Experiment(base="a", slots=[slot]))
    return json.loads(request.model_dump_json())["experiment"]["slots"][0]["seed"]


def received(seed: Any) -> int:
    """The seed that Python takes from a browser's request."""
    slot = {"layer": 0, "position": 0, "intervention": "noise", "seed": seed}
    request = {"id": "1", "kind": "experiment", "experiment": {"base": "a", "slots": [slot]}}
    return REQUEST.validate_python(request).experiment.slots[0].seed


@pytest.mark.parametrize("seed", [0, 7, MAX_SAFE_INTEGER, MAX_SAFE_INTEGER + 1, 2**63 - 1])
def test_a_seed_comes_back_through_doubles(seed: int) -> None:
    on_the_wire = sent(seed)
    if isinstance(on_the_wire, int):
        on_the_wire = int(float(on_the_wire))
    assert received(on_the_wire) == seed


def test_only_seeds_that_a_double_would_change_are_texts() -> None:
    assert sent(MAX_SAFE_INTEGER) == 2**53 - 1
    assert sent(2**53) == str(2**53)


@pytest.mark.parametrize("seed", [str(2**63), "1e20", "1.5", "-1", "9" * 5000, "", " 7", "٣"])
def test_other_texts_are_refused(seed: str) -> None:
    with pytest.raises((vw.RequestError, pydantic.ValidationError), match=r"seed|expected an int"):
        received(seed)
