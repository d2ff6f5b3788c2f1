"""Scripts in pyvene's names give the numbers, or are refused."""

from __future__ import annotations

from typing import Any

import pytest
from by_hand import distance
from families_testing import BASE, ITALY, LONGER, Build, Models, last_head, numbers_of

import vene_widgets as vw
from vene_widgets.codegen.script import script
from vene_widgets.models import wrap

_QUERIES_KEYS_VALUES = {
    *("query_output", "key_output", "value_output"),
    *("head_query_output", "head_key_output", "head_value_output"),
}

_ATTENDED = {"attention_value_output", "head_attention_value_output"}
_HEADS = {name for name in _QUERIES_KEYS_VALUES | _ATTENDED if name.startswith("head_")}
_WIDE = {"attention_value_output", "query_output"}

PYVENE: list[tuple[str, dict[str, Any], set[str]]] = [
    ("gpt2", {}, set()),
    ("llama", {}, _WIDE | _HEADS),
    ("llama", {"num_key_value_heads": 4}, _QUERIES_KEYS_VALUES | _ATTENDED),
    ("llama", {"head_dim": 6}, set()),
    ("gemma", {}, {*_WIDE, "head_value_output"}),
    ("gemma2", {"head_dim": 6}, set()),
    ("gemma2-window", {}, _WIDE),
    ("mistral-window", {}, _WIDE | _HEADS),
    ("olmo", {"head_dim": 4}, set()),
    ("qwen2", {}, _HEADS),
    ("qwen2", {"head_dim": 10}, _WIDE),
    ("gpt_neox", {}, _QUERIES_KEYS_VALUES),
    ("gpt_neo", {}, _QUERIES_KEYS_VALUES | _ATTENDED),
]
"""Family, settings, and the components that pyvene cannot run, by trial."""


def refusal(model: vw.LanguageModel, experiment: vw.Experiment) -> str | None:
    """Why there is no script in pyvene's names; None if there is one."""
    try:
        script(model, experiment, "pyvene")
    except vw.RequestError as error:
        return str(error)
    return None


@pytest.mark.filterwarnings("ignore::DeprecationWarning:pyvene")
@pytest.mark.filterwarnings("ignore::FutureWarning:pyvene")
@pytest.mark.filterwarnings("ignore:To copy construct:UserWarning:pyvene")
@pytest.mark.parametrize(("name", "options", "gaps"), PYVENE, ids=range(len(PYVENE)))
def test_pyvenes_script_gives_the_numbers_or_is_refused(
    name: str, options: dict[str, Any], gaps: set[str], build: Build
) -> None:
    model, refused = build(name, **options), set[str]()
    for component in model.sites.components:
        slot = vw.Slot(layer=1, component=component, head=last_head(model, component), position=3)
        experiment = vw.Experiment(base=BASE, sources=LONGER, slots=[slot])
        expected = vw.run(model, experiment).logits
        if (message := refusal(model, experiment)) is not None:
            assert message.startswith("slots[0] cannot be run by pyvene: it"), component
            refused.add(component)
            continue
        assert distance(numbers_of(model, experiment, "pyvene"), expected) <= 1e-5, component
        model = wrap(model.model, model.tokenizer, name)  # pyvene has left hooks of its own
    assert refused == gaps


@pytest.mark.parametrize("name", ["opt", "bloom", "phi3", "qwen3"])
def test_a_script_for_pyvene_is_refused_where_it_has_no_table(name: str, models: Models) -> None:
    experiment = vw.Experiment(base=BASE, sources=ITALY, slots=[vw.Slot(layer=0, position=3)])
    with pytest.raises(vw.RequestError, match=f"pyvene has no table of {name} models.*'gpt2'"):
        vw.script(models(name), experiment, "pyvene")
    assert "intervenable" in vw.script(models(name), experiment, "intervenable")
    assert "from pyvene import" in vw.script(models("gemma2"), experiment, "pyvene")
