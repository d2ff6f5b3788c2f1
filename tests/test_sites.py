"""Each component's tensor equals its definition, recomputed from the modules around it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from engine_testing import in_use
from torch import Tensor
from torch.nn.functional import layer_norm

from vene_widgets.engine.hooks import record
from vene_widgets.errors import RequestError, choose
from vene_widgets.experiments.components import COMPONENTS
from vene_widgets.models import LanguageModel
from vene_widgets.models.architectures import ARCHITECTURES
from vene_widgets.models.sites import Site, Sites

PROMPT = "The capital of Spain is"
MODELS = ["tiny_gpt2", "tiny_llama"]
HEADS = {
    "head_attention_value_output": "attention_value_output",
    "head_query_output": "query_output",
    "head_key_output": "key_output",
    "head_value_output": "value_output",
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return request.getfixturevalue(request.param)


@pytest.fixture
def states(model: LanguageModel) -> dict[tuple[int, str], Tensor]:
    """Every whole component of every layer of one run, `(positions, width)`."""
    whole = [c for c in model.sites.components if c not in HEADS]
    sites = {
        (layer, c): model.sites.site(layer, c) for layer in range(model.sites.layers) for c in whole
    }
    found = recorded(model, list(sites.values()))
    return {key: found[site] for key, site in sites.items()}


def recorded(model: LanguageModel, sites: list[Site]) -> dict[Site, Tensor]:
    ids = torch.tensor([[token.id for token in model.tokens(PROMPT)]], device=model.device)
    with in_use(model), record(model, sites) as found:
        model.net(input_ids=ids)
    return {site: tensor[0].clone() for site, tensor in found.items()}


def block(model: LanguageModel, layer: int) -> Any:
    return model.model.get_submodule(f"{model.sites.architecture.blocks}.{layer}")


def near(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-5, atol=1e-6)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of one head by its formula, `(positions, d_head)`."""
    scores = (q @ k.T / q.shape[-1] ** 0.5).masked_fill(
        torch.ones(len(q), len(q), device=q.device).triu(1).bool(), float("-inf")
    )
    return scores.softmax(-1) @ v


# ---- the tensors are what their names say --------------------------------------------------------


def test_every_component_is_found_in_every_layer_and_has_its_width(model: LanguageModel):
    assert set(model.sites.components) == set(COMPONENTS) - {"attention_weight"}
    for component in model.sites.components:
        for layer in range(model.sites.layers):
            count = model.sites.head_count(component)
            heads = [None] if count is None else range(count)
            sites = [model.sites.site(layer, component, head) for head in heads]
            found = recorded(model, sites)
            each = model.sites.width(component) // len(sites)
            for site in sites:
                assert site.width == each and found[site].shape == (5, each)


def test_one_blocks_output_is_the_nexts_input(states: dict[tuple[int, str], Tensor]):
    for layer in (0, 1):
        assert torch.equal(states[layer, "block_output"], states[layer + 1, "block_input"])


def test_the_first_blocks_input_is_the_embedding(
    model: LanguageModel, states: dict[tuple[int, str], Tensor]
):
    ids = torch.tensor([token.id for token in model.tokens(PROMPT)], device=model.device)
    embedding: Any = model.model.get_input_embeddings()  # pyright: ignore[reportCallIssue]
    expected = embedding(ids).detach()
    if model.sites.architecture.name == "gpt2":
        expected = (
            expected
            + model.model.get_submodule("transformer.wpe")(
                torch.arange(5, device=model.device)
            ).detach()
        )
    assert near(states[0, "block_input"], expected)


def test_a_block_adds_what_attention_and_mlp_put_out(states: dict[tuple[int, str], Tensor]):
    for layer in range(3):
        before, after = states[layer, "block_input"], states[layer, "block_output"]
        parts = states[layer, "attention_output"], states[layer, "mlp_output"]
        assert near(before + parts[0] + parts[1], after)


def test_attention_and_mlp_read_the_normed_stream(
    model: LanguageModel, states: dict[tuple[int, str], Tensor]
):
    for layer in range(3):
        here = block(model, layer)
        first, second = (
            (here.ln_1, here.ln_2)
            if model.sites.architecture.name == "gpt2"
            else (here.input_layernorm, here.post_attention_layernorm)
        )
        between = states[layer, "block_input"] + states[layer, "attention_output"]
        for norm, stream, component in (
            (first, states[layer, "block_input"], "attention_input"),
            (second, between, "mlp_input"),
        ):
            if model.sites.architecture.name == "gpt2":
                expected = layer_norm(stream, (24,), norm.weight, norm.bias, norm.eps)
            else:
                scale = stream.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon
                expected = stream * scale.rsqrt() * norm.weight
            assert near(states[layer, component], expected.detach())


def test_queries_keys_and_values_are_the_projections_of_the_attention_input(
    model: LanguageModel, states: dict[tuple[int, str], Tensor]
):
    for layer in range(3):
        attn, x = block(model, layer), states[layer, "attention_input"]
        if model.sites.architecture.name == "gpt2":
            weight, bias, d = attn.attn.c_attn.weight, attn.attn.c_attn.bias, 24
            parts = [
                x @ weight[:, i * d : (i + 1) * d] + bias[i * d : (i + 1) * d] for i in range(3)
            ]
        else:
            a = attn.self_attn
            parts = [x @ proj.weight.T for proj in (a.q_proj, a.k_proj, a.v_proj)]
        for part, component in zip(parts, ("query", "key", "value"), strict=True):
            assert near(states[layer, f"{component}_output"], part.detach())


def test_mlp_activation_leads_to_the_mlp_output(
    model: LanguageModel, states: dict[tuple[int, str], Tensor]
):
    for layer in range(3):
        mlp, active = block(model, layer).mlp, states[layer, "mlp_activation"]
        if model.sites.architecture.name == "gpt2":
            expected = active @ mlp.c_proj.weight + mlp.c_proj.bias
        else:
            gated = active * (states[layer, "mlp_input"] @ mlp.up_proj.weight.T)
            expected = gated @ mlp.down_proj.weight.T
        assert near(states[layer, "mlp_output"], expected.detach())


def test_attention_value_output_leads_to_the_attention_output(
    model: LanguageModel, states: dict[tuple[int, str], Tensor]
):
    for layer in range(3):
        mixed = states[layer, "attention_value_output"]
        if model.sites.architecture.name == "gpt2":
            proj = block(model, layer).attn.c_proj
            expected = mixed @ proj.weight + proj.bias
        else:
            expected = mixed @ block(model, layer).self_attn.o_proj.weight.T
        assert near(states[layer, "attention_output"], expected.detach())


@pytest.mark.parametrize("component", HEADS)
def test_heads_are_consecutive_parts_of_the_whole(
    model: LanguageModel, states: dict[tuple[int, str], Tensor], component: str
):
    count = model.sites.head_count(component)
    assert count == (
        model.sites.key_value_heads
        if component in ("head_key_output", "head_value_output")
        else model.sites.heads
    )
    assert count
    sites = [model.sites.site(1, component, head) for head in range(count)]
    found = recorded(model, sites)
    assert torch.equal(torch.cat([found[site] for site in sites], -1), states[1, HEADS[component]])


def test_a_heads_value_output_is_its_own_attention_over_its_own_values(tiny_gpt2: LanguageModel):
    """By the formula of attention: one head index means the same head in q, k, v and the mix."""
    for head in range(3):
        q, k, v, mixed = (
            tiny_gpt2.sites.site(1, f"head_{part}_output", head)
            for part in ("query", "key", "value", "attention_value")
        )
        found = recorded(tiny_gpt2, [q, k, v, mixed])
        assert near(found[mixed], attention(found[q], found[k], found[v]))


def test_grouped_query_heads_share_their_key_and_value_head(tiny_llama: LanguageModel):
    """Position 0 sees only itself, so that each head's output there is its group's value."""
    sites = tiny_llama.sites
    for head in range(4):
        value = sites.site(1, "head_value_output", head // 2)
        mixed = sites.site(1, "head_attention_value_output", head)
        found = recorded(tiny_llama, [value, mixed])
        assert near(found[mixed][0], found[value][0])
        assert not near(found[mixed][1], found[value][1])


# ---- sizes, order, table -------------------------------------------------------------------------


def test_sizes_are_the_configs(tiny_gpt2: LanguageModel, tiny_llama: LanguageModel):
    g, m = tiny_gpt2.sites, tiny_llama.sites
    assert (g.layers, g.heads, g.key_value_heads, g.d_model, g.d_mlp, g.d_head) == (
        *(3, 3, 3),
        *(24, 96, 8),
    )
    assert (m.layers, m.heads, m.key_value_heads, m.d_model, m.d_mlp, m.d_head) == (
        *(3, 4, 2),
        *(32, 48, 8),
    )
    assert g.positions == m.positions == 32


def test_order_is_the_order_in_which_a_forward_pass_meets_the_sites(model: LanguageModel):
    met: list[str] = []
    handles = []
    for component in model.sites.components:
        if component in HEADS:
            continue
        site = model.sites.site(1, component)
        module = model.model.get_submodule(site.path)

        def note(*_: Any, name: str = component) -> None:
            met.append(name)

        hook = (
            module.register_forward_pre_hook
            if site.side == "input"
            else module.register_forward_hook
        )
        handles.append(hook(note))
    with torch.no_grad():
        model.model(
            torch.tensor([[token.id for token in model.tokens(PROMPT)]], device=model.device)
        )
    for handle in handles:
        handle.remove()
    by_order = sorted(met, key=lambda name: model.sites.site(1, name).order)
    assert by_order == met and len(met) == len(model.sites.components) - len(HEADS)


@pytest.mark.parametrize("component", HEADS)
def test_a_heads_order_is_that_of_the_whole(model: LanguageModel, component: str):
    whole = model.sites.site(0, HEADS[component])
    assert model.sites.site(0, component, 0).order == whole.order
    assert whole.order < model.sites.site(0, "block_output").order


def test_the_table_has_one_row_per_component(model: LanguageModel):
    table = model.sites.table().set_index("component")
    assert tuple(table.index) == model.sites.components
    for component, row in table.iterrows():
        head = 0 if str(component) in HEADS else None
        site = model.sites.site(2, str(component), head)
        assert row["module"].format(layer=2) == site.path and row["side"] == site.side
        assert row["unit"] == ("pos" if head is None else "h.pos")
        assert str(site.width) in row["shape"]
    assert "block_output" in repr(model.sites) and "<table" in model.sites._repr_html_()


def test_negative_layers_and_heads_count_from_the_end(model: LanguageModel):
    sites = model.sites
    assert sites.site(-1, "block_output") == sites.site(2, "block_output")
    last = sites.key_value_heads - 1
    assert sites.site(-3, "head_key_output", -1) == sites.site(0, "head_key_output", last)


# ---- errors name the value, the valid choices and the closest ------------------------------------


@pytest.mark.parametrize(
    ("layer", "component", "head", "message"),
    [
        (0, "blok_output", None, r"'blok_output' is not known. Did you mean 'block_output'\?"),
        (0, "blok_output", None, r"Valid: 'block_input', 'block_output', 'mlp_input', "),
        (
            0,
            "attention_weight",
            None,
            r"cannot be reached here: .*vw.attention.* vw.run",
        ),
        (3, "block_output", None, r"layer 3 is out of range: .* 3 layers, 0 to 2 \(or -3 to -1"),
        (-4, "block_output", None, r"layer -4 is out of range"),
        (0, "mlp_output", 1, r"head 1 is invalid for component 'mlp_output'.*head_query_output"),
        (0, "head_key_output", None, r"'head_key_output' needs a head: 0 to 2, not None"),
        (0, "head_key_output", 3, r"'head_key_output' needs a head: 0 to 2, not 3"),
        (0, "head_key_output", -4, r"needs a head: 0 to 2, not -4"),
    ],
)
def test_site_errors(
    tiny_gpt2: LanguageModel, layer: int, component: str, head: int | None, message: str
):
    with pytest.raises(RequestError, match=message):
        tiny_gpt2.sites.site(layer, component, head)


def test_llama_has_fewer_key_heads_than_query_heads(tiny_llama: LanguageModel):
    assert tiny_llama.sites.site(0, "head_query_output", 3).head == 3
    with pytest.raises(RequestError, match="'head_key_output' needs a head: 0 to 1, not 3"):
        tiny_llama.sites.site(0, "head_key_output", 3)


def test_an_unknown_architecture_is_named_with_the_known_ones():
    module: Any = torch.nn.Linear(2, 2)
    with pytest.raises(RequestError, match="architecture 'Linear' is not known") as caught:
        Sites(module)
    assert all(repr(name) in str(caught.value) for name in ARCHITECTURES)


def test_a_model_without_a_language_model_head_is_refused(tiny_gpt2: LanguageModel):
    with pytest.raises(
        RequestError, match=r"GPT2Model has no 'transformer.h'.*language-model head"
    ):
        Sites(tiny_gpt2.model.get_submodule("transformer"))


def test_choose_names_the_closest_only_when_there_is_one():
    assert choose("b", ["a", "b"], "letter") == "b"
    with pytest.raises(RequestError) as caught:
        choose("zzz", ["alpha", "beta"], "letter", "Add one.")
    assert str(caught.value) == "letter 'zzz' is not known. Valid: 'alpha', 'beta'. Add one."
    with pytest.raises(RequestError, match="Valid: none"):
        choose(3, [], "letter")
