"""The line that says what was run, of sweeps and of experiments."""

from __future__ import annotations

from typing import Any

import pytest

from vene_widgets import Experiment, LanguageModel, Slot
from vene_widgets.engine.planning import plan_experiment
from vene_widgets.experiments.sweep_request import SweepRequest
from vene_widgets.figures import runs_setup, sweep_setup
from vene_widgets.figures.setup_lines import LONGEST_PROMPT
from vene_widgets.sweeps.planning import plan_sweep

SPAIN, ITALY, FRANCE = (f"The capital of {name} is" for name in ("Spain", "Italy", "France"))
PAIR = f"“{SPAIN}” ← “{ITALY}”"
ALONE = f"“{SPAIN}”, “{ITALY}”, “{FRANCE}” · no intervention"
SWAP = "␣Spain ← ␣Italy after block"


@pytest.mark.parametrize(
    ("fields", "head", "line"),
    [
        ({}, None, f"{PAIR} · residual stream, after block: patch"),
        ({"intervention": "zero"}, None, f"“{SPAIN}” · residual stream, after block: zero"),
        (
            {"intervention": "mean", "prompts": (ITALY, FRANCE)},
            None,
            f"“{SPAIN}” · residual stream, after block: mean over 2 prompts",
        ),
        ({"component": "mlp_output"}, None, f"{PAIR} · MLP output: patch"),
        (
            {"component": "head_value_output", "head": 1},
            None,
            f"{PAIR} · head value, head 1: patch",
        ),
        (
            {"component": "head_value_output", "head": 0},
            "all",
            f"{PAIR} · head value, each head: patch",
        ),
    ],
)
def test_a_sweep_names_prompts_site_and_operator(
    tiny_gpt2: LanguageModel, fields: dict[str, Any], head: str | None, line: str
) -> None:
    plan = plan_sweep(tiny_gpt2, SPAIN, ITALY, SweepRequest(**fields))
    assert sweep_setup(plan, head) == f"{line}, one place at a time · tiny-gpt2 · n = 1"


@pytest.mark.parametrize(
    ("slots", "line"),
    [
        ([{"source": "italy"}], f"{PAIR} · {SWAP} 0"),
        ([{"intervention": "zero"}], f"“{SPAIN}” · zero ␣Spain after block 0"),
        (
            [{"intervention": "mean", "prompts": (ITALY, FRANCE), "source_position": 3}],
            f"“{SPAIN}” · mean over 2 prompts ␣Spain after block 0",
        ),
        ([{"source": "italy", "strength": 0.5}], f"{PAIR} · 0.5 × patch {SWAP} 0"),
        (
            [{"source": "italy", "component": "head_value_output", "head": 1}],
            f"{PAIR} · ␣Spain ← ␣Italy in head 1 of layer 0 (value)",
        ),
        (
            [{"source": "italy", "group": "g"}, {"source": "italy", "layer": 1, "group": "h"}],
            f"{PAIR} · {SWAP} 0 (g); {SWAP} 1 (h)",
        ),
        (
            [{"source": "italy"}, {"source": "france", "layer": 1}],
            f"“{SPAIN}” ← italy “{ITALY}”, france “{FRANCE}” · "
            "␣Spain ← italy ␣Italy after block 0; ␣Spain ← france ␣France after block 1",
        ),
        # A skipped slot says nothing about the numbers, and neither does its source.
        ([{"source": "italy"}, {"source": "france", "skip": True}], f"{PAIR} · {SWAP} 0"),
        ([{"source": "italy", "skip": True}], ALONE),
        ([], ALONE),
        ([{"source": "italy", "layer": n % 3, "position": 3 + n // 3} for n in range(5)],
            f"{PAIR} · {SWAP} 0; {SWAP} 1; "
            f"{SWAP} 2; 2 more",
        ),
        (
            [{"source": "italy", "position": [1, 2, 3]}],
            f"{PAIR} · ␣capital … ␣Spain ← ␣capital … ␣Italy after block 0",
        ),
    ],
)  # fmt: skip
def test_an_experiment_names_prompts_and_slots(
    tiny_gpt2: LanguageModel, slots: list[dict[str, Any]], line: str
) -> None:
    experiment = Experiment(
        base=SPAIN,
        sources={"italy": ITALY, "france": FRANCE},
        slots=[Slot.model_validate({"layer": 0, "position": 3} | slot) for slot in slots],
    )
    said = runs_setup(plan_experiment(tiny_gpt2, experiment), tiny_gpt2.name)
    assert said == f"{line} · tiny-gpt2 · n = 1"


def test_serial_sources_are_named(tiny_gpt2: LanguageModel) -> None:
    slots = [Slot(layer=n, position=3, source=name) for n, name in enumerate(("italy", "france"))]
    sources = {"italy": ITALY, "france": FRANCE}
    experiment = Experiment(base=SPAIN, sources=sources, slots=slots, mode="serial")
    said = runs_setup(plan_experiment(tiny_gpt2, experiment), "m")
    assert said.endswith(" · one source after the other · m · n = 1")


def test_long_prompts_lose_their_middle_and_stay_on_one_line(tiny_gpt2: LanguageModel) -> None:
    long = "The" + " capital of Spain\n" * 5 + " is Madrid"
    plan = plan_sweep(tiny_gpt2, long, long)
    said = sweep_setup(plan)
    prompt = said[1 : said.index("”")]
    assert "\n" not in said and len(prompt) <= LONGEST_PROMPT
    assert prompt.startswith("The capital of Spain↵") and prompt.endswith("is Madrid")
    assert " … " in prompt
