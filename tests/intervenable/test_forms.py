"""One call form after the other, by pyvene and here, on the same random weights."""

from __future__ import annotations

import copy
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from intervenable_forms import FORMS
from intervenable_testing import TOLERANCE, WHERE, ids, on

from vene_widgets import intervenable as face

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::UserWarning:pyvene"),
]

ALL = [(group, name) for group, forms in FORMS.items() for name in forms]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("group", "name"), ALL, ids=lambda text: text.replace(" ", "-"))
def test_a_form(group: str, name: str, batch: int, lm: Any) -> None:
    run = FORMS[group][name]
    base, source = on(lm, ids(batch)), on(lm, ids(batch, seed=1))
    plain = lm(**base).logits
    with torch.no_grad():
        expected = run(importlib.import_module("pyvene"), copy.deepcopy(lm), base, source)
        found = run(face, lm, base, source)
    assert (found - expected).abs().max() <= TOLERANCE
    assert found.shape != plain.shape or not torch.equal(found, plain)


def test_the_table_in_the_docs_counts_them() -> None:
    """Every group is a row with the number of its forms; there are at least a hundred."""
    text = (Path(__file__).parents[2] / "docs" / "from_pyvene.md").read_text()
    rows = dict(re.findall(r"^\| (.+?) \| (\d+) \|", text, re.MULTILINE))
    assert {name: int(count) for name, count in rows.items()} == {
        name: len(forms) for name, forms in FORMS.items()
    }
    assert len(ALL) >= 100


def test_a_path_below_a_model_without_a_head(bare: Any, tmp_path: Any) -> None:
    one = face.IntervenableModel([{"component": "h[1].mlp.output"}], bare)
    other = face.IntervenableModel([{"layer": 1, "component": "mlp_output"}], bare)
    call = ids(1), [ids(1, seed=1)], dict(WHERE)
    expected = other(*call)[1].last_hidden_state
    assert torch.equal(one(*call)[1].last_hidden_state, expected)
    one.save(tmp_path / "a")
    again = face.IntervenableModel.load(tmp_path / "a", bare)
    assert torch.equal(again(*call)[1].last_hidden_state, expected)
