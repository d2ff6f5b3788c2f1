"""The lines below a script run, and none is offered that would be refused."""

from __future__ import annotations

from typing import Any

import pytest

import vene_widgets as vw
from vene_widgets.codegen.questions import questions
from vene_widgets.codegen.script import script
from vene_widgets.engine.planning import plan_experiment

SPAIN, ITALY = "The capital of Spain is", "The capital of Italy is"
LONGER = " The capital city of Italy is"
DEMO = vw.Slot(layer=0, position=" Spain", source_position=" Italy")
ALWAYS = {"every layer and token", "every head", "attention", "the logit lens"}
ALWAYS |= {"an estimate by gradients", "the text that follows"}
OF_A_PAIR = {"recovery", "a data set of pairs", "controls", "steering"}
OF_EQUAL_LENGTH = {"direct paths", "a circuit of these heads"}
FIXED = "a map with these slots fixed"

EXPERIMENTS: dict[str, tuple[vw.Experiment, set[str]]] = {
    "the demo's": (
        vw.Experiment(base=SPAIN, sources=ITALY, slots=[DEMO]),
        ALWAYS | OF_A_PAIR | OF_EQUAL_LENGTH | {FIXED},
    ),
    "a prompt": (vw.Experiment(base=SPAIN), ALWAYS),
    "a source, no slot": (
        vw.Experiment(base=SPAIN, sources={"italy": ITALY}),
        ALWAYS | OF_A_PAIR | OF_EQUAL_LENGTH,
    ),
    "an ablation": (
        vw.Experiment(
            base=SPAIN,
            slots=[vw.Slot(layer=3, component="z", head=2, position=-1, intervention="zero")],
        ),
        ALWAYS | {FIXED},
    ),
    "two sources, one of another length": (
        vw.Experiment(
            base=SPAIN,
            sources={"longer": LONGER, "italy": ITALY},
            slots=[
                vw.Slot(layer=1, position=-1, source="longer", source_position=-1),
                vw.Slot(layer=3, component="z", head=1, position=-1, source="italy"),
            ],
        ),
        ALWAYS | OF_A_PAIR | {FIXED},
    ),
    "a head of a named source": (
        vw.Experiment(
            base=SPAIN,
            sources={"italy": ITALY, 'it\'s "odd"': "The capital of France is"},
            slots=[vw.Slot(layer=3, component="z", head=2, position=-1, source='it\'s "odd"')],
        ),
        ALWAYS | OF_A_PAIR | OF_EQUAL_LENGTH | {FIXED},
    ),
}


def lines(model: vw.LanguageModel, experiment: vw.Experiment) -> dict[str, str]:
    return {one.name: one.code for one in questions(model, plan_experiment(model, experiment))}


@pytest.mark.filterwarnings("ignore:the prompts differ in length")
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_line_runs_below_the_script(
    capitals: vw.LanguageModel, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, expected = EXPERIMENTS[name]
    found = lines(capitals, experiment)
    assert set(found) == expected
    monkeypatch.setattr(vw, "load", lambda _name, device: capitals)
    names: dict[str, Any] = {}
    exec(compile(script(capitals, experiment), "script", "exec"), names)  # noqa: S102
    before = capitals.fingerprint
    for question, line in found.items():
        assert "\n" not in line and line.startswith("vw.")
        value = eval(compile(line, question, "eval"), names)  # noqa: S307
        kinds = {"the text that follows": "str", "steering": "DataFrame"}
        assert type(value).__name__ == kinds.get(question, "ggplot"), question
    assert capitals.fingerprint == before


def test_the_lines_ask_what_their_names_say(capitals: vw.LanguageModel) -> None:
    found = lines(capitals, EXPERIMENTS["a head of a named source"][0])
    assert 'heads=["3.2"]' in found["a circuit of these heads"]
    assert "layer=3" in found["attention"]
    assert found["recovery"].count('experiment.sources["it\'s \\"odd\\""]') == 1
    assert found[FIXED].endswith("fixed=experiment.slots, sources=experiment.sources).plot()")
    own = lines(capitals, EXPERIMENTS["an ablation"][0])
    assert own["every layer and token"] == (
        'vw.sweep(model, experiment.base, intervention="zero").plot()'
    )


def test_a_model_without_patterns_has_no_line_for_attention(
    capitals: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vene_widgets.models import weight_site

    monkeypatch.setattr(weight_site, "attention_blocker", lambda *_: "a reason")
    assert "attention" not in lines(capitals, EXPERIMENTS["a prompt"][0])


@pytest.mark.parametrize(
    ("component", "head", "heads"),
    [
        ("head_value_output", 1, ["1.2", "1.3"]),
        ("head_query_output", 1, ["1.1"]),
        ("attention_weight", 3, ["1.3"]),
    ],
)
def test_a_circuit_has_the_heads_that_read_a_shared_key_or_value(
    tiny_llama: vw.LanguageModel, component: str, head: int, heads: list[str]
) -> None:
    assert (tiny_llama.sites.heads, tiny_llama.sites.key_value_heads) == (4, 2)
    slot = vw.Slot(layer=1, component=component, head=head, position=-1, intervention="zero")
    found = lines(tiny_llama, vw.Experiment(base=SPAIN, sources=ITALY, slots=[slot]))
    assert f"heads={heads}".replace("'", '"') in found["a circuit of these heads"]
