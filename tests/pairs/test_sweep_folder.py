"""Results in a folder: a stopped sweep goes on, a finished one is read, another one is refused."""

from __future__ import annotations

import copy
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pairs_testing import capital_pairs, unequal_pairs, word_pairs

import vene_widgets as vw
from vene_widgets.errors import RequestError
from vene_widgets.sweeps.pairs import model_source, running
from vene_widgets.sweeps.pairs.results import PairSweep
from vene_widgets.sweeps.sweep import Cancelled

pytest.importorskip("pyarrow")


def swept(model: vw.LanguageModel, pairs: Any = None, **options: Any) -> PairSweep:
    return vw.sweep_pairs(model, word_pairs() if pairs is None else pairs, **options)


def same(one: PairSweep, other: PairSweep) -> bool:
    """Whether two sweeps have the same numbers, bit for bit, controls included."""
    both = [(one._answers, other._answers)]
    both += [(one._controls[name], other._controls[name]) for name in one.controls]
    return one.controls == other.controls and all(
        np.array_equal(getattr(a, name), getattr(b, name), equal_nan=name == "log_p")
        and getattr(a, name).dtype == getattr(b, name).dtype
        for a, b in both
        for name in a.FIELDS
    )


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the chunks that run."""
    found: list[int] = []
    run = model_source.run_noted

    def counting(model: Any, chunk: Any) -> Any:
        found.append(chunk.number)
        return run(model, chunk)

    monkeypatch.setattr(running, "run_noted", counting)
    return found


@pytest.mark.parametrize(
    ("pairs", "options"),
    [
        (word_pairs(), {}),
        (unequal_pairs(), {"controls": "matched_noise"}),
        (capital_pairs(), {"component": "z", "head": "all", "targets": [3, 4, 5]}),
        (capital_pairs().drop(columns="targets"), {"intervention": "zero"}),
    ],
)
def test_a_sweep_in_a_folder_is_the_same_and_is_only_read_again(
    tiny_gpt2: vw.LanguageModel, pairs: Any, options: Any, tmp_path: Path, counted: list[int]
) -> None:
    here = swept(tiny_gpt2, pairs, pairs_per_chunk=4, **options)
    counted.clear()
    first = swept(tiny_gpt2, pairs, folder=tmp_path / "a" / "b", pairs_per_chunk=4, **options)
    ran = len(counted)
    again = swept(tiny_gpt2, pairs, folder=tmp_path / "a" / "b", **options)
    assert ran >= 2
    assert len(counted) == ran
    assert same(here, first)
    assert same(here, again)


def test_a_stopped_sweep_goes_on(
    tiny_gpt2: vw.LanguageModel, tmp_path: Path, counted: list[int]
) -> None:
    whole = swept(tiny_gpt2, pairs_per_chunk=4)
    counted.clear()
    stop = threading.Event()
    with pytest.raises(Cancelled, match="stopped after 12 of 60 pairs"):
        swept(
            tiny_gpt2, folder=tmp_path, pairs_per_chunk=4, cancel=stop,
            progress=lambda done, _: stop.set() if done >= 12 else None,
        )  # fmt: skip
    assert len(counted) == 3
    seen: list[int] = []
    resumed = swept(tiny_gpt2, folder=tmp_path, progress=lambda done, _: seen.append(done))
    assert len(counted) == 16
    assert seen[0] == 12
    assert seen[-1] == 60
    assert same(whole, resumed)


def test_controls_can_be_added_later(
    tiny_gpt2: vw.LanguageModel, tmp_path: Path, counted: list[int]
) -> None:
    swept(tiny_gpt2, folder=tmp_path, controls=(), pairs_per_chunk=10)
    assert len(counted) == 3
    found = swept(tiny_gpt2, folder=tmp_path, controls=["random_source", "matched_noise"])
    assert len(counted) == 9
    assert found.controls == ("random_source", "matched_noise")


def test_the_files_are_tidy_tables(tiny_gpt2: vw.LanguageModel, tmp_path: Path) -> None:
    found = swept(tiny_gpt2, folder=tmp_path, controls=(), pairs_per_chunk=16)
    files = sorted(tmp_path.glob("sweep-*.parquet"))
    assert [file.name for file in files] == ["sweep-000000.parquet", "sweep-000001.parquet"]
    table = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
    frame = found.frame
    for name in ("pair", "layer", "place", "position", "source_position", "role", "target_id"):
        assert (table[name].astype(object) == frame[name].astype(object)).all(), name
    assert (np.exp(table["log_probability"]) == frame["probability"]).all()
    assert (table["effect_possible"] == frame["effect_possible"]).all()
    manifest = json.loads((tmp_path / "manifest.json").read_text("utf-8"))
    assert manifest["sweep"]["pairs"] == 30
    assert manifest["sweep"]["component"] == "block_output"


def test_a_damaged_file_is_run_again(
    tiny_gpt2: vw.LanguageModel, tmp_path: Path, counted: list[int]
) -> None:
    whole = swept(tiny_gpt2, folder=tmp_path, controls=(), pairs_per_chunk=10)
    file = tmp_path / "sweep-000001.parquet"
    for damaged in (b"", b"nothing", file.read_bytes()[:-40]):
        file.write_bytes(damaged)
        counted.clear()
        with pytest.warns(UserWarning, match="sweep-000001.parquet is damaged .* 10 pairs run"):
            again = swept(tiny_gpt2, folder=tmp_path, controls=())
        assert counted == [1]
        assert same(whole, again)
    # A file of other pairs is no answer to these.
    file.write_bytes((tmp_path / "sweep-000000.parquet").read_bytes())
    with pytest.warns(UserWarning, match="damaged"):
        assert same(whole, swept(tiny_gpt2, folder=tmp_path, controls=()))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"component": "mlp_output"}, "its component is 'block_output', not 'mlp_output'"),
        ({"layers": 1}, "its layers is"),
        ({"positions": "last"}, "its positions is"),
        ({"intervention": "addition"}, "its intervention is 'vanilla', not 'addition'"),
        ({"seed": 1}, "its seed is 0, not 1"),
        ({"targets": [3, 4]}, "its digest of the pairs is"),
        ({"pairs_per_chunk": 7}, "begun with 10 pairs per chunk, not 7"),
    ],
)
def test_another_sweep_is_refused(
    tiny_gpt2: vw.LanguageModel, options: Any, words: str, tmp_path: Path
) -> None:
    swept(tiny_gpt2, folder=tmp_path, controls=(), pairs_per_chunk=10)
    with pytest.raises(RequestError, match=words):
        swept(tiny_gpt2, folder=tmp_path, controls=(), **options)


def test_another_models_sweep_is_refused(tiny_gpt2: vw.LanguageModel, tmp_path: Path) -> None:
    swept(tiny_gpt2, folder=tmp_path, controls=())
    own = copy.deepcopy(tiny_gpt2.model)
    other = vw.wrap(own, tiny_gpt2.tokenizer, tiny_gpt2.name)
    swept(other, folder=tmp_path, controls=())
    with torch.no_grad():
        own.transformer.h[1].mlp.c_fc.weight[3, 4] += 1e-6
    with pytest.raises(RequestError, match="holds another sweep: its weights is"):
        swept(other, folder=tmp_path, controls=())


@pytest.mark.parametrize("text", ["", "{}", '{"format": 9}', '{"format": 1, "chunks": []}'])
def test_what_is_no_manifest_is_refused(
    tiny_gpt2: vw.LanguageModel, text: str, tmp_path: Path
) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(RequestError, match=r"manifest.json' is not the manifest of a sweep"):
        swept(tiny_gpt2, folder=tmp_path)


def test_a_folder_that_cannot_be_made(tiny_gpt2: vw.LanguageModel, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="cannot be created"):
        swept(tiny_gpt2, folder=tmp_path / "file")


def test_without_pyarrow(
    tiny_gpt2: vw.LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(RequestError, match=r"folder needs pyarrow.*pip install 'vene-widgets"):
        swept(tiny_gpt2, folder=tmp_path)
