"""What is at hand, where it is kept, and what loading leaves alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from loading_testing import lay_cache
from transformers.utils import logging

import vene_widgets as vw
from vene_widgets.models.cache import user_cache


def test_available_lists_what_loads_now(saved: Path, tmp_path: Path) -> None:
    lay_cache(tmp_path, saved, "lab/tiny")
    lay_cache(tmp_path, saved, "lab/half")
    (next((tmp_path / "models--lab--half").rglob("model.safetensors"))).unlink()
    frame = vw.available(cache_dir=tmp_path)
    assert list(frame.columns) == ["name", "ready", "size_mb", "about"]
    assert {"capitals", "smollm2", "lab/tiny", "gpt2"} == set(frame.name)
    ready = frame.set_index("name").ready
    assert ready["lab/tiny"] and not ready["gpt2"]
    assert vw.load("lab/tiny", device="cpu", cache_dir=tmp_path).sites.layers == 2


def test_the_cache_folder_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("VENE_WIDGETS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache() == tmp_path / "vene_widgets"
    monkeypatch.setenv("VENE_WIDGETS_CACHE", str(tmp_path / "own"))
    assert user_cache() == tmp_path / "own"


def test_naming_the_models_imports_no_torch() -> None:
    code = (
        "import sys, vene_widgets.models\n"
        "print([m for m in ('torch', 'transformers', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("level", [20, 40])
@pytest.mark.parametrize("bars", [True, False])
@pytest.mark.parametrize("downloads", [True, False])
def test_loading_leaves_the_libraries_switches_alone(
    saved: Path, level: int, bars: bool, downloads: bool, tmp_path: Path
) -> None:
    from huggingface_hub import utils as hub_utils

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    try:
        logging.set_verbosity(level)
        (logging.enable_progress_bar if bars else logging.disable_progress_bar)()
        # transformers' switch moves the hub's too, so the hub's is set after it
        (hub_utils.enable_progress_bars if downloads else hub_utils.disable_progress_bars)()
        state = logging.get_verbosity(), logging.is_progress_bar_enabled()
        environment = dict(os.environ)
        vw.load(saved, device="cpu")
        with pytest.raises(vw.RequestError):
            vw.load(tmp_path)
        assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == state
        assert hub_utils.are_progress_bars_disabled() != downloads
        assert dict(os.environ) == environment
    finally:
        logging.set_verbosity(before[0])
        (logging.enable_progress_bar if before[1] else logging.disable_progress_bar)()
