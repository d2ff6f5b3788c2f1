"""Names of exported files: valid everywhere, and distinct for distinct states."""

from __future__ import annotations

import re
from typing import Any

import pytest

from vene_widgets import Experiment, LanguageModel, Slot
from vene_widgets.engine.planning import plan_experiment
from vene_widgets.explorer.export.file_name import LONGEST, file_name, slug

SPAIN, ITALY = "The capital of Spain is", "The capital of Italy is"


def name(model: LanguageModel, base: str = SPAIN, layers: Any = (0,), kind: str = "result") -> str:
    slots = [Slot(layer=layer % 3, position=-1 - layer // 3, source="s") for layer in layers]
    experiment = Experiment(base=base, sources={"s": base}, slots=slots)
    return file_name(kind, plan_experiment(model, experiment), 7)


def test_a_name_says_what_is_in_the_file(tiny_gpt2: LanguageModel) -> None:
    assert name(tiny_gpt2) == "result_L0-is_The-capital-of-Spain-is_7"
    assert name(tiny_gpt2, layers=()) == "result_The-capital-of-Spain-is_7"
    assert name(tiny_gpt2, kind="sweep_map") == "sweep-map_The-capital-of-Spain-is_7"
    assert file_name("token_heatmap", None, 3) == "token-heatmap_3"


def test_many_slots_are_counted(tiny_gpt2: LanguageModel) -> None:
    said = name(tiny_gpt2, layers=range(5))
    assert said == "result_L0-is_L1-is_L2-is_2-more_The-capital-of-Spain-is_7"


def test_of_a_long_prompt_the_end_stays(tiny_gpt2: LanguageModel) -> None:
    said = name(tiny_gpt2, "The capital of Spain is Madrid" * 3 + " is Rome")
    assert said.endswith("is-Rome_7") and len(said) < LONGEST + 20


@pytest.mark.parametrize(
    "base",
    ["../etc/passwd", 'a<b>c:d"e/f\\g|h?i*', "CON", "…", "\U0001f389", "naïve 中文", " .", "é" * 9],
)  # fmt: skip
def test_every_name_is_valid_on_windows(tiny_gpt2: LanguageModel, base: str) -> None:
    said = name(tiny_gpt2, base, layers=range(3))
    assert not re.search(r'[<>:"/\\|?*\x00-\x1f\s]', said)
    assert not said.endswith((".", " ")) and said == said.strip("-_")
    assert said.split(".")[0].upper() not in {"CON", "PRN", "AUX", "NUL"}
    assert len(f"{said}.png".encode()) <= 255


def test_distinct_states_have_distinct_names(tiny_gpt2: LanguageModel) -> None:
    plan = plan_experiment(tiny_gpt2, Experiment(base=SPAIN))
    kinds = ("result", "sweep_map", "token_heatmap", "difference_panel")
    names = {file_name(kind, plan, revision) for kind in kinds for revision in range(3)}
    assert len(names) == 12
    assert name(tiny_gpt2, SPAIN) != name(tiny_gpt2, ITALY)
    assert name(tiny_gpt2, layers=[0]) != name(tiny_gpt2, layers=[1])


def test_letters_of_all_scripts_stay() -> None:
    assert slug(" naïve 中文_x! ") == "naïve-中文-x"
    assert slug("🎉 …") == ""
