"""A saved model, and a copy of it that a test may damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from loading_testing import make_model, make_tokenizer


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny GPT-2 in a folder, as `save_pretrained` lays it down."""
    folder = tmp_path_factory.mktemp("tiny")
    make_model().save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of `saved` that a test may damage."""
    return Path(shutil.copytree(saved, tmp_path / "model"))
