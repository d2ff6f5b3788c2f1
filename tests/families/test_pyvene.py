"""Against pyvene, where it knows the family; and its `embed_to_distrib`."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from by_hand import distance, logits_in, token_ids
from families_testing import BASE, ITALY, TOLERANCE, Models, whole_components

import vene_widgets as vw

PYVENE = {
    "gpt2": (),
    "llama": (),
    "gemma": (),
    "gemma2": (),
    "mistral": (),
    "olmo": (),
    "qwen2": (),
    "gpt_neox": (),
    # It misses the module between.
    "gpt_neo": ("attention_value_output", "query_output", "key_output", "value_output"),
}
"""Families that pyvene knows -> components that its table has at paths that do not exist."""

NO_HEAD_DIM = ("gpt2", "gpt_neo", "gpt_neox")
"""Of the others, pyvene takes all heads together to be as wide as the residual stream."""


@pytest.mark.filterwarnings("ignore::DeprecationWarning:pyvene")
@pytest.mark.filterwarnings("ignore::FutureWarning:pyvene")
@pytest.mark.filterwarnings("ignore:To copy construct:UserWarning:pyvene")
@pytest.mark.parametrize("name", PYVENE)
def test_pyvene_gives_the_same(name: str, models: Models):
    """Every component that pyvene knows for the family, in one layer and position."""
    import pyvene
    from pyvene.models.intervenable_modelcard import type_to_module_mapping

    model = models(name, **({} if name in NO_HEAD_DIM else {"head_dim": 6}))
    hf: Any = copy.deepcopy(model.model).cpu()  # pyvene removes hooks from what it wraps
    known = type_to_module_mapping[type(hf)]
    compared = 0
    for component in whole_components(model):
        if component not in known or component in PYVENE[name]:
            continue
        slot = vw.Slot(layer=1, component=component, position=3, source_position=3)
        ours = vw.run(model, vw.Experiment(base=BASE, sources=ITALY, slots=[slot])).logits
        config = pyvene.IntervenableConfig(
            model_type=type(hf),
            representations=[pyvene.RepresentationConfig(1, component, "pos", 1)],
            intervention_types=pyvene.VanillaIntervention,
        )
        intervenable = pyvene.IntervenableModel(config, hf)
        intervenable.set_device("cpu")
        with torch.no_grad():
            _, output = intervenable(
                {"input_ids": token_ids(model, BASE).cpu()},
                [{"input_ids": token_ids(model, ITALY).cpu()}],
                {"sources->base": ([[[3]]], [[[3]]])},
            )
        assert distance(ours.cpu(), logits_in(output)[0]) <= TOLERANCE, component
        compared += 1
    assert compared >= 7


@pytest.mark.parametrize("name", ["gptj", "phi", "gpt_neox", "llama"])
def test_distributions_of_last_hidden_states_have_the_heads_bias(name: str, models: Models) -> None:
    from vene_widgets.intervenable import embed_to_distrib

    model = models(name)
    run = vw.run(model, vw.Experiment(base=BASE))
    found = embed_to_distrib(model.model, run.last_hidden_state, logits=True)
    assert torch.allclose(found, run.logits, atol=1e-5)


@pytest.mark.parametrize("name", ["gemma2", "cohere", "granite"])
def test_distributions_of_last_hidden_states_need_a_head_that_is_all(
    name: str, models: Models
) -> None:
    from vene_widgets.intervenable import embed_to_distrib

    model = models(name)
    run = vw.run(model, vw.Experiment(base=BASE))
    with pytest.raises(vw.RequestError, match="changes its logits after that"):
        embed_to_distrib(model.model, run.last_hidden_state)
