"""Pyvene's component names in its families, whole and by head; the models that are refused."""

from __future__ import annotations

import copy
from typing import Any

import families
import pytest
import torch
from intervenable_testing import TOLERANCE, ids, on
from transformers import EsmConfig, EsmModel, T5Config, T5Model

from vene_widgets import intervenable as face

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::UserWarning:pyvene"),
]

FAMILIES = ["llama", "qwen2", "gemma", "gemma2", "gpt_neox", "mistral", "olmo"]
SHARED = {"head_key_output", "head_value_output"}
"""Pyvene 0.1.8 splits these by the wrong number of heads where query heads share them."""


def calls(component: str, rows: int) -> list[tuple[str, Any]]:
    """Unit and locations for a component."""
    if not component.startswith("head_"):
        return [("pos", [[[4]] * rows])]
    return [("h.pos", [[[[1]] * rows, [[4]] * rows]]), ("h", [[[0, 1]] * rows])]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_component_is_pyvenes(name: str, device: torch.device) -> None:
    import pyvene
    from pyvene.models.intervenable_modelcard import type_to_module_mapping

    # Pyvene takes all heads together to be as wide as the residual stream.
    options: dict[str, Any] = {} if name == "gpt_neox" else {"head_dim": 6}
    model: Any = families.build(name, 298, **options).to(device)
    theirs = copy.deepcopy(model)
    base, source = on(model, ids(2)), on(model, ids(2, seed=1))
    scale = model(**base).logits.detach().abs().max()
    compared: list[str] = []
    for component in type_to_module_mapping[type(model)]:
        shares = getattr(model.config, "num_key_value_heads", None) != (
            model.config.num_attention_heads
        )
        if shares and component in SHARED:
            continue
        for unit, where in calls(component, 2):
            found: list[Any] = []
            for pv, one in ((pyvene, theirs), (face, model)):
                fields = {"layer": 1, "component": component, "unit": unit}
                config = pv.IntervenableConfig([fields], pv.VanillaIntervention)
                built = pv.IntervenableModel(config, one)
                built.set_device(str(device))
                with torch.no_grad():
                    output = built(base, [source], {"sources->base": (where, where)})[1]
                found.append(output.logits)
            assert (found[0] - found[1]).abs().max() <= TOLERANCE * scale, (component, unit)
            compared.append(component)
    assert len(set(compared)) >= 9


def other_models() -> dict[str, Any]:
    """Models that pyvene takes, or lets users add, and that are no causal language models."""
    import pyvene
    from pyvene.models.mlp.modelings_intervenable_mlp import create_mlp_classifier
    from pyvene.models.mlp.modelings_mlp import MLPConfig

    esm = EsmConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    t5 = T5Config(vocab_size=9, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    return {
        "gru": pyvene.create_gru_classifier(pyvene.GRUConfig(h_dim=8))[2],
        "mlp": create_mlp_classifier(MLPConfig(h_dim=8, n_layer=1))[2],
        "esm": EsmModel(esm),
        "t5": T5Model(t5),
    }


@pytest.mark.parametrize("name", ["gru", "mlp", "esm", "t5"])
def test_other_models_are_refused_in_one_sentence(name: str) -> None:
    with pytest.raises(ValueError, match=rf"architecture '{name}' is not known: the fam") as error:
        face.IntervenableModel([{"layer": 0}], other_models()[name])
    assert str(error.value).count("\n") == 0
