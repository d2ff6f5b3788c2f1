"""Text that is not strictly JSON is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from saved_folders_testing import load, refused_quickly

from vene_widgets.errors import RequestError
from vene_widgets.interventions.saving import restore
from vene_widgets.models import saved_folder

TEXTS = {
    "ten megabytes": b'{"schema": 1, "a": "' + b"x" * 10_000_000 + b'"}',
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "NaN": b'{"schema": NaN}',
    "infinity": b'{"schema": 1e999}',
    "a huge int": b'{"schema": ' + b"1" * 100_000 + b"}",
    "a key twice": b'{"schema": 1, "schema": 1}',
    "nothing": b"",
    "no UTF-8": b"\xff\xfe",
    "UTF-16": '{"schema": 1}'.encode("utf-16"),
    "zeros": bytes(1000),
}


@pytest.mark.parametrize("text", TEXTS)
def test_text_that_is_no_saved_json_is_refused(text: str, saved: Path, intervenable: Path) -> None:
    for folder, read in ((saved, restore), (intervenable, load)):
        for path in sorted(folder.glob("*.json")):
            data = path.read_bytes()
            path.write_bytes(TEXTS[text])
            refused_quickly(read, folder, path.name)
            path.write_bytes(data)
        read(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 1}}', "key 'c' occurs twice"),
        ('{"a": NaN}', "NaN is no JSON number"),
        ('{"a": -Infinity}', "-Infinity is no JSON number"),
        ('{"a": 1e999}', "number '1e999' is out of range"),
        ('{"a": ' + "1" * 50 + "}", "an integer of 50 digits"),
        ("[" * 5000, "not JSON|nested too deeply"),
        ("[" * 5000 + "]" * 5000, "nested too deeply"),
        ("[" * 100 + "]" * 100, "nested too deeply"),
    ],
)
def test_json_is_strict(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        saved_folder.parse_json(text.encode(), Path("x.json"))
    assert saved_folder.parse_json(b'{"a": [1, -2.5e3, "\xc3\xbc"]}', Path("x.json")) == {
        "a": [1, -2500.0, "ü"]
    }
