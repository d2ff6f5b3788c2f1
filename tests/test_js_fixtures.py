"""The fixtures of the JavaScript tests are what Python sends: generated again, and compared."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import js_fixtures
import pytest
import torch
from explorer_testing import SilentPainter

import vene_widgets as vw
from vene_widgets.explorer.wire import messages as wire

RENEW = "VENE_RENEW_FIXTURES"


THREADS = 2
"""Of torch when the files were written: the last bits of a number depend on it."""


@pytest.fixture
def generated(silent_painter: SilentPainter) -> Iterator[dict[str, Any]]:
    """The sessions recorded now, on the CPU, as the files say."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        yield js_fixtures.generate(vw.load(device="cpu"))
    finally:
        torch.set_num_threads(before)


def assert_same(found: Any, expected: Any, where: str) -> None:
    """Equal but for the last digits of numbers that are no whole ones."""
    if isinstance(expected, dict):
        assert list(found) == list(expected), where
        for key, value in expected.items():
            assert_same(found[key], value, f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for i, value in enumerate(expected):
            assert_same(found[i], value, f"{where}[{i}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-5), where
    else:
        assert (type(found), found) == (type(expected), expected), where


def test_files_are_what_python_generates(generated: dict[str, Any]) -> None:
    if os.environ.get(RENEW):
        js_fixtures.FOLDER.mkdir(exist_ok=True)
        for name, content in generated.items():
            path = js_fixtures.FOLDER / f"{name}.json"
            path.write_text(js_fixtures.text_of(content) + "\n", encoding="utf-8")
    files = {path.stem: path for path in js_fixtures.FOLDER.iterdir()}
    assert set(files) == set(generated), f"run this test with {RENEW}=1"
    for name, content in generated.items():
        written = json.loads(files[name].read_text(encoding="utf-8"))
        assert_same(content, written, name)
        assert json.loads(js_fixtures.text_of(content)) == content


def test_files_are_messages_of_the_protocol(generated: dict[str, Any]) -> None:
    opened = generated["spain_italy"]
    wire.Scene.model_validate(opened["scene"])
    wire.Map.model_validate(opened["map"])
    wire.Status.model_validate(opened["status"])
    wire.Past.model_validate(generated["past"])
    wire.Story.model_validate(generated["story"])
    wire.DataSet.model_validate(generated["data_set"])
    for answer in (opened["answer"], *(a["answer"] for a in generated["answers"].values())):
        wire.Answer.model_validate(answer)
    for contrast in generated["contrasts"].values():
        wire.Contrast.model_validate(contrast)
