"""docs/families.md, and the files that it lists."""

from __future__ import annotations

import os
import re
from pathlib import Path

import families
import pytest
from families import CONFIGS, family_of
from families_testing import Models

import vene_widgets as vw
from vene_widgets.models.architectures import ARCHITECTURES

PAGE = Path(__file__).parents[2] / "docs" / "families.md"


def test_every_family_has_a_file_of_its_name_that_says_what_it_is():
    folder = Path(vw.__file__).parent / "models" / "architectures"
    shared = {"__init__", "architecture", "llama_like", "standard"}
    assert {path.stem for path in folder.glob("*.py")} - shared == set(ARCHITECTURES)
    for name in ARCHITECTURES:
        assert re.search(r"\(.*\b20\d\d\b", families.docstring(name)), name


def test_the_table_of_the_page_is_what_was_measured(models: Models):
    """`VENE_RENEW_FAMILIES=1` writes it anew."""
    blockers: dict[str, set[str | None]] = {}
    for name in CONFIGS:
        blockers.setdefault(family_of(name), set()).add(models(name).resume_blocker)
    measured = {name: found == {None} for name, found in blockers.items()}
    if not measured["gptj"]:
        pytest.skip("the page tells of a later version of transformers")
    page = PAGE.read_text(encoding="utf-8")
    new = families.with_table(page, measured)
    if os.environ.get("VENE_RENEW_FAMILIES"):
        PAGE.write_text(new, encoding="utf-8")
    assert new == page or os.environ.get("VENE_RENEW_FAMILIES"), "run with VENE_RENEW_FAMILIES=1"
