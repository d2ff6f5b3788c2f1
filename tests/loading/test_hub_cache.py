"""Hub models without a network: from the cache, or an error that says what works."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from loading_testing import PROMPT, lay_cache, logits, make_model, make_tokenizer

import vene_widgets as vw
from vene_widgets.models import hub

OFFLINE = """
import sys, vene_widgets as vw
model = vw.load("lab/tiny", device="cpu")
ids = model.tokenizer("The capital of Spain is", return_tensors="pt")["input_ids"]
print(repr(model.model(ids).logits.flatten().tolist()))
print(vw.available().set_index("name").ready["lab/tiny"])
try:
    vw.load("lab/other")
except vw.RequestError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def offline_run(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Path]:
    """A fresh interpreter with `HF_HUB_OFFLINE=1` and a cache that was laid by hand."""
    home = tmp_path_factory.mktemp("hf")
    lay_cache(home / "hub", saved)
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_"))}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE],
        env={**keep, "HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "PYTHONWARNINGS": "error"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr, home


def test_a_hub_name_loads_from_the_cache_without_a_network(
    offline_run: tuple[str, str, Path],
) -> None:
    values = json.loads(offline_run[0].splitlines()[0])
    ids = make_tokenizer()(PROMPT)["input_ids"]
    assert values == logits(make_model().eval(), ids).flatten().tolist()
    assert offline_run[0].splitlines()[1] == "True"


def test_loading_prints_nothing(offline_run: tuple[str, str, Path]) -> None:
    assert offline_run[1] == ""


def test_a_missing_hub_model_says_what_was_tried_and_what_works(
    offline_run: tuple[str, str, Path],
) -> None:
    stdout, _, home = offline_run
    message = stdout.splitlines()[2]
    for part in ("'lab/other'", str(home / "hub"), "HF_HUB_OFFLINE", "'capitals'", "'smollm2'"):
        assert part in message
    assert message.endswith("hub models in the cache: 'lab/tiny'.")


def test_a_hub_out_of_reach_costs_no_retries(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, saved: Path
) -> None:
    calls = []

    def no_network(*_: Any, **__: Any) -> None:
        raise OSError("Name or service not known")

    class Session:
        def head(self, url: str, timeout: float) -> None:
            calls.append(url)
            raise ConnectionError("Name or service not known")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.utils.get_session", Session)
    monkeypatch.setattr("socket.getaddrinfo", no_network)
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("the library waits for another try"))
    lay_cache(tmp_path, saved)
    assert vw.load("lab/tiny", device="cpu", cache_dir=tmp_path).sites.layers == 2
    with pytest.raises(vw.RequestError, match=r"unreachable.*Name or service not known") as caught:
        vw.load("gpt2", cache_dir=tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert len(calls) == 2  # one question for each load


def test_a_hub_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    released = threading.Event()

    class Session:
        def head(self, url: str, timeout: float) -> None:
            released.wait()

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.utils.get_session", Session)
    monkeypatch.setattr(hub, "PROBE_TIMEOUT", 0.01)
    try:
        assert re.search(r"no answer from http.* in 0\.01 s", hub.unreachable_reason())
    finally:
        released.set()
