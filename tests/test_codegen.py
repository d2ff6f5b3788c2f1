"""Scripts reproduce the experiment's numbers when they are run."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vene_widgets as vw
from vene_widgets.codegen.literals import quote
from vene_widgets.codegen.script import FACES, Face, script
from vene_widgets.experiments.operators import BUILT_IN
from vene_widgets.interventions import INTERVENTIONS

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyvene"),
    pytest.mark.filterwarnings("ignore:To copy construct:UserWarning:pyvene"),
]

BASE = "The capital of Spain is"
SOURCES = {"italy": "The capital of Italy is", "france": "The capital of France is"}
RANKED = ("low_rank_rotated_space", "pca_rotated_space")
WITHIN: Mapping[Face, float] = {"vene_widgets": 0.0, "intervenable": 0.0, "pyvene": 1e-5}


@pytest.fixture
def loading(capitals: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch) -> vw.LanguageModel:
    """Make `load` return a copy of the built-in model, which pyvene may change."""
    own = vw.LanguageModel(
        "capitals", copy.deepcopy(capitals.model), capitals.tokenizer, capitals.recipe
    )
    monkeypatch.setattr(vw, "load", lambda _name, device: {capitals.device.type: own}[device])
    return capitals


def run_script(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(text, "script", "exec"), names)  # noqa: S102
    return names


def experiments(model: vw.LanguageModel, operators: tuple[str, ...]) -> st.SearchStrategy[Any]:
    """One to three slots anywhere, some grouped, some skipped, some within a subspace."""
    sites = model.sites

    @st.composite
    def build(draw: st.DrawFn) -> vw.Experiment:
        slots = []
        source_of: dict[str | None, str] = {}
        for _ in range(draw(st.integers(0, 3))):
            component = draw(st.sampled_from(sites.components))
            heads = sites.head_count(component)
            where = draw(st.lists(st.integers(0, 4), min_size=1, max_size=2, unique=True))
            others = draw(st.lists(st.integers(0, 4), min_size=len(where), max_size=len(where)))
            group = draw(st.sampled_from([None, "A", "B"]))
            named = draw(st.sampled_from(sorted(SOURCES)))
            if group is not None:
                named = source_of.setdefault(group, named)
            name = draw(st.sampled_from(operators))
            slots.append(
                vw.Slot(
                    layer=draw(st.integers(0, sites.layers - 1)),
                    component=component,
                    head=None if heads is None else draw(st.integers(0, heads - 1)),
                    position=where,
                    source_position=others,
                    source=named,
                    intervention=name,
                    rank=2 if name in RANKED else None,
                    seed=draw(st.integers(0, 2)),
                    prompts=list(SOURCES.values()) if name == "mean" else [],
                    subspace=draw(st.sampled_from([None, [0, 1]])),
                    group=group if INTERVENTIONS[name].needs_source else None,
                    skip=draw(st.integers(0, 3)) == 0,
                )
            )
        return vw.Experiment(base=BASE, sources=SOURCES, slots=slots)

    return build()


@pytest.mark.parametrize("face", FACES)
def test_the_code_of_random_experiments_gives_their_numbers(
    face: Face, loading: vw.LanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    without = {"vene_widgets": (), "intervenable": ("mean",)}
    weightless = ("vanilla", "addition", "subtraction", "zero", "collect")
    operators = weightless if face == "pyvene" else tuple(set(BUILT_IN) - set(without[face]))
    changed: list[bool] = []
    plain = vw.run(loading, vw.Experiment(base=BASE)).logits

    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(experiments(loading, tuple(sorted(operators))))
    def check(experiment: vw.Experiment) -> None:
        expected = vw.run(loading, experiment).logits
        got = run_script(script(loading, experiment, face))["logits"]
        assert (got - expected).abs().max() <= WITHIN[face]
        changed.append(not torch.equal(got, plain))
        capsys.readouterr()

    check()
    assert sum(changed) > len(changed) / 3


@pytest.mark.parametrize("face", FACES)
def test_a_script_runs_in_a_fresh_python(
    face: Face, capitals: vw.LanguageModel, tmp_path: Path
) -> None:
    if capitals.device.type == "second":
        pytest.skip("a fresh Python has no simulated device")
    slots = [vw.Slot(layer=0, position=" Spain", group="A"), vw.Slot(layer=2, position=-1)]
    experiment = vw.Experiment(base=BASE, sources=SOURCES["italy"], slots=slots)
    text = script(capitals, experiment, face)
    more = 'import json\nprint("\\n" + json.dumps(logits[-1].tolist()))\n'
    file = tmp_path / "script.py"
    file.write_text(text + more, encoding="utf-8")
    # As many threads as here: the last bits depend on it.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(torch.get_num_threads()))
    process = subprocess.run(
        [sys.executable, str(file)],
        capture_output=True, text=True, check=True, env=os.environ | threads,
    )  # fmt: skip
    got = torch.tensor(json.loads(process.stdout.strip().split("\n")[-1]))
    assert (got - vw.run(capitals, experiment).logits[-1].cpu()).abs().max() <= WITHIN[face]
    assert "Rome" in process.stdout


def test_linked_slots_share_their_weights_in_both_of_our_faces(loading: vw.LanguageModel) -> None:
    slots = [
        vw.Slot(
            layer=layer, position=3, intervention="low_rank_rotated_space", rank=2,
            subspace=[part], link="one two", seed=3,
        )
        for part, layer in enumerate((0, 1))
    ]  # fmt: skip
    experiment = vw.Experiment(base=BASE, sources=SOURCES["italy"], slots=slots)
    text = script(loading, experiment, "intervenable")
    assert text.count("Options(") == 1 and "link_one_two" in text
    for face in ("vene_widgets", "intervenable"):
        got = run_script(script(loading, experiment, face))["logits"]
        assert torch.equal(got, vw.run(loading, experiment).logits)


def test_serial_mode_is_written_in_our_own_names(loading: vw.LanguageModel) -> None:
    slots = [vw.Slot(layer=1, position=3, source=name) for name in SOURCES]
    experiment = vw.Experiment(base=BASE, sources=SOURCES, slots=slots, mode="serial")
    got = run_script(script(loading, experiment))["logits"]
    assert torch.equal(got, vw.run(loading, experiment).logits)
    for face in FACES[1:]:
        with pytest.raises(vw.RequestError, match=f"serial mode .* names of {face}"):
            script(loading, experiment, face)


@pytest.mark.parametrize(
    ("face", "more", "words"),
    [
        ("pyvene", {"strength": 0.5}, r"slots\[0\] has strength 0.5.*Choose vene_widgets"),
        ("intervenable", {"strength": 0.5}, r"slots\[0\] has strength 0.5.*Choose vene_widgets"),
        ("pyvene", {"intervention": "noise"}, "random numbers.*vene_widgets or intervenable"),
        (
            "pyvene",
            {"intervention": "mean", "prompts": [BASE]},
            "is 'mean'.*has no such intervention.*Choose vene_widgets",
        ),
        (
            "intervenable",
            {"intervention": "mean", "prompts": [BASE]},
            "is 'mean'.*has no such intervention.*Choose vene_widgets",
        ),
        ("java", {}, "face"),
    ],
)
def test_what_has_no_counterpart_is_refused_with_the_reason(
    capitals: vw.LanguageModel, face: Any, more: dict[str, Any], words: str
) -> None:
    slot = vw.Slot(layer=0, position=3, **more)
    experiment = vw.Experiment(base=BASE, sources=SOURCES["italy"], slots=[slot])
    with pytest.raises(vw.RequestError, match=words):
        script(capitals, experiment, face)


def test_the_changed_line_is_marked(capitals: vw.LanguageModel) -> None:
    before = vw.Experiment(
        base=BASE, sources=SOURCES["italy"], slots=[vw.Slot(layer=n, position=3) for n in (0, 1)]
    )
    slots = [before.slots[0], before.slots[1].model_copy(update={"layer": 4})]
    after = before.replace(slots=slots)
    marked = [
        line for line in script(capitals, after, since=before).split("\n") if "# changed" in line
    ]
    assert marked == ["        vw.Slot(layer=4, position=3),  # changed"]
    assert "# changed" not in script(capitals, after, since=after)


def test_a_wrapped_model_is_the_readers_own(tiny_gpt2: vw.LanguageModel) -> None:
    text = script(tiny_gpt2, vw.Experiment(base=BASE))
    assert "# tiny-gpt2 was wrapped: put your own" in text
    own = {"hf_model": tiny_gpt2.model, "tokenizer": tiny_gpt2.tokenizer}
    exec(compile(text, "script", "exec"), own)  # noqa: S102
    expected = vw.run(tiny_gpt2, vw.Experiment(base=BASE)).logits
    assert torch.equal(own["logits"], expected)  # type: ignore[arg-type]


@given(st.text())
def test_any_text_comes_back_from_its_source(text: str) -> None:
    assert eval(quote(text)) == text and quote(text)[0] == quote(text)[-1] == '"'  # noqa: S307


@pytest.mark.parametrize(
    ("name", "more", "recipe"),
    [
        ("capitals", {}, 'load("capitals", device="cpu")'),
        ("capitals", {"dtype": torch.float64}, 'load("capitals", device="cpu", dtype="float64")'),
    ],
)
def test_a_loaded_model_knows_its_recipe(name: str, more: dict[str, Any], recipe: str) -> None:
    assert vw.load(name, device="cpu", **more).recipe == recipe
