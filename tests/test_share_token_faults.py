"""A share token that is no state is refused, and loads nothing."""

from __future__ import annotations

import base64
import hashlib
import time
import zlib
from typing import Any

import pytest
from request_testing import SPAIN, nested, refusal

import vene_widgets as vw
from vene_widgets.errors import shown
from vene_widgets.experiments import Experiment
from vene_widgets.explorer.export import share_token


def signed(content: bytes) -> str:
    return packed_token(zlib.compress(content))


def packed_token(packed: bytes) -> str:
    whole = hashlib.sha256(packed).digest()[: share_token.CHECKSUM_BYTES] + packed
    return "vene1." + base64.urlsafe_b64encode(whole).decode().rstrip("=")


@pytest.mark.parametrize("name", ["gpt2", "somebody/model", "/etc", "..", "x" * 150])
def test_a_token_loads_nothing_because_it_names_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(share_token, "load", lambda *_: pytest.fail("a model was loaded"))
    shared = share_token.Shared(
        model=name, experiment=Experiment(base=SPAIN), component="block_output"
    )
    text = refusal(lambda: vw.from_state(share_token.encode(shared)))
    assert "pass it, as in from_state(token, model=" in text


@pytest.mark.parametrize(
    "token",
    [
        "vene1." + "A" * 10**7,
        "vene" + "9" * 10**5 + ".AAAA",
        "\ud800",
        "vene1.\ud800",
        b"vene1.AAAA",
        5,
        nested(900),
        signed(b"[" * 10**6),
        signed(b'{"experiment": ' * 10**5),
        signed(b'{"model": "\xed\xa0\x80"}'),
        signed(b'{"model": null, "component": "a", "experiment": {"base": "\\ud800"}}'),
        signed(
            b'{"model": null, "component": "a", "experiment": {"base": "' + b"x" * 2**21 + b'"}}'
        ),
        signed(
            b'{"model": null, "component": "a", "experiment": {"base": "a", "slots": '
            b'[{"layer": 0, "position": 0, "subspace": "0:50000000"}]}}'
        ),
        signed(
            b'{"model": null, "component": "a", "experiment": {"base": "a", "slots": ['
            + b",".join([b'{"layer": 0, "position": 0}'] * 20_000)
            + b"]}}"
        ),
    ],
    ids=lambda token: f"{type(token).__name__} {shown(token, 20)}",
)
def test_a_bad_token_is_one_sentence_and_quick(token: Any) -> None:
    start = time.process_time()
    refusal(lambda: share_token.decode(token))
    assert time.process_time() - start < 2


def test_a_stream_without_its_end_is_no_state() -> None:
    shared = share_token.Shared(
        model=None, experiment=Experiment(base=SPAIN), component="block_output"
    )
    packed = zlib.compress(shared.model_dump_json().encode())
    assert share_token.decode(packed_token(packed)) == shared
    for changed in (packed[:-4], packed + b"more"):
        assert "end too early or too late" in refusal(
            lambda p=changed: share_token.decode(packed_token(p))
        )
