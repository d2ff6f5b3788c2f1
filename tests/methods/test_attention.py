"""vw.attention and slots on attention weights: values, identities, errors."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import families
import pytest
import torch
from by_hand import ITALY, SPAIN, distance, plain_logits, token_ids
from torch import nn
from transformers.models.gpt2 import modeling_gpt2

import vene_widgets as vw
from vene_widgets.experiments import limits
from vene_widgets.models import wrap
from vene_widgets.tables.columns import COLUMNS, FRAMES

LAYER = 1
LONGER = " Madrid capital capital of Italy is"

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:pyvene")


def edges(**fields: Any) -> vw.Slot:
    return vw.Slot(**{"layer": LAYER, "component": "attention_weight", "position": "all", **fields})


def experiment(*slots: vw.Slot, base: str = SPAIN, source: str = ITALY) -> vw.Experiment:
    return vw.Experiment(base=base, sources=source, slots=slots)


def run(model: vw.LanguageModel, *slots: vw.Slot, **options: Any) -> vw.Run:
    return vw.run(model, experiment(*slots), **options)


# ---- reading -------------------------------------------------------------------------------------


def test_a_prompt_gives_the_pattern_of_every_head(tiny_llama: vw.LanguageModel):
    found = vw.attention(tiny_llama, SPAIN)
    assert found.weights.shape == (3, 4, 5, 5) and found.weights.dtype == torch.float32
    assert found.weights.device.type == "cpu" and list(found.runs) == ["base"]
    assert torch.allclose(found.weights.sum(-1), torch.ones(3, 4, 5))
    assert (found.weights.triu(1) == 0).all()
    some = vw.attention(tiny_llama, SPAIN, layer=[-1, 0], head=2)
    assert some.layers == (2, 0) and some.heads == (2,)
    assert torch.equal(some.weights, found.weights[[2, 0]][:, [2]])
    assert torch.equal(some[0], found.weights[0, [2]])
    with pytest.raises(vw.RequestError, match=r"layer 1 was not read.*\[2, 0\]"):
        some[1]


def test_an_experiment_gives_every_run_and_the_difference(tiny_gpt2: vw.LanguageModel):
    asked = experiment(edges(head=1, position=[3, 4], source_position=[0, 2], intervention="zero"))
    found = vw.attention(tiny_gpt2, asked)
    assert list(found.runs) == ["base", "intervened", "source", "difference"]
    assert torch.equal(found.runs["base"], vw.attention(tiny_gpt2, SPAIN).weights)
    assert torch.equal(found.runs["source"], vw.attention(tiny_gpt2, ITALY).weights)
    assert torch.equal(found.weights, found.runs["intervened"])
    assert torch.equal(found.difference, found.weights - found.runs["base"])
    own = found.runs["base"][LAYER].clone()
    for row in (3, 4):
        own[1, row, [0, 2]] = 0
    assert torch.equal(found.weights[LAYER], own)
    assert (found.difference[0] == 0).all() and (found.difference[2] != 0).any()


def test_the_frame_has_a_row_per_edge(tiny_gpt2: vw.LanguageModel):
    frame = vw.attention(tiny_gpt2, experiment(), layer=2, head=[2, 0]).frame
    assert tuple(frame.columns) == FRAMES["attention_frame"]
    wanted = {name: COLUMNS[name].dtype for name in frame.columns}
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == wanted
    assert len(frame) == 4 * 2 * 25
    one = frame[(frame.run == "source") & (frame["head"] == 0) & (frame["query"] == 4)]
    assert [*one.key_token] == [token.text for token in tiny_gpt2.tokens(ITALY)]
    assert {*one.query_token} == {" is"}
    own = vw.attention(tiny_gpt2, ITALY).weights[2, 0, 4]
    assert [*one.weight] == pytest.approx(own.tolist())


def test_half_precision_and_one_token(tiny_llama: vw.LanguageModel):
    full = vw.attention(tiny_llama, SPAIN).weights
    for dtype in (torch.float16, torch.bfloat16):
        net = copy.deepcopy(tiny_llama.model).to(dtype)
        model = wrap(net, tiny_llama.tokenizer, "half")
        found = vw.attention(model, SPAIN).weights
        assert found.dtype == torch.float32 and (found - full).abs().max() < 0.05
        halved = run(model, edges(head=0, strength=0.5))
        assert halved.logits.isfinite().all()
    one = vw.attention(tiny_llama, "The")
    assert (one.weights == 1).all() and one.weights.shape == (3, 4, 1, 1)


def test_a_pickle_and_a_repr(tiny_gpt2: vw.LanguageModel):
    found = vw.attention(tiny_gpt2, SPAIN, layer=1)
    again = pickle.loads(pickle.dumps(found))  # noqa: S301
    assert torch.equal(again.weights, found.weights) and again.frame.equals(found.frame)
    assert repr(found).startswith("<AttentionPattern of 'The capital of Spain is': layers [1]")
    with pytest.raises(vw.RequestError, match="there is no difference"):
        _ = found.difference


# ---- writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tiny_gpt2", "tiny_llama"])
def test_a_runs_own_pattern_changes_nothing(name: str, request: pytest.FixtureRequest):
    model: vw.LanguageModel = request.getfixturevalue(name)
    same = vw.Experiment(base=SPAIN, sources=SPAIN, slots=[edges()])
    plain = vw.run(model, same.replace(slots=()))
    for cache in (None, vw.ActivationCache()):
        swapped = vw.run(model, same, cache=cache)
        assert vw.compare(swapped, plain).verdict == "bit-equal"
        assert swapped.record[0].fired and swapped.record[0].idle
    (row,) = swapped.receipts.to_dict("records")
    assert (row["rows"], row["keys"], row["head"]) == (5, (0, 1, 2, 3, 4), None)


def test_all_edges_of_a_head_are_its_output(tiny_gpt2: vw.LanguageModel):
    cut = run(tiny_gpt2, edges(head=2, intervention="zero"))
    silent = run(tiny_gpt2, edges(component="z", head=2, intervention="zero"))
    assert vw.compare(cut, silent).verdict == "bit-equal"
    by_key = [edges(head=2, source_position=key, intervention="zero") for key in range(5)]
    assert vw.compare(run(tiny_gpt2, *by_key), silent).verdict == "bit-equal"


def test_all_patterns_and_values_are_the_source(tiny_gpt2: vw.LanguageModel):
    """Patterns with values are all that attention computes."""
    values = edges(component="value_output")
    swapped = run(tiny_gpt2, edges(), values)
    output = run(tiny_gpt2, edges(component="z"))
    assert distance(swapped.logits, output.logits) <= 1e-6
    assert distance(swapped.logits, run(tiny_gpt2, values).logits) > 1e-3


def test_a_later_key_has_no_weight(tiny_gpt2: vw.LanguageModel):
    later = run(tiny_gpt2, edges(position=1, source_position=3, intervention="zero"))
    assert later.record[0].idle
    assert vw.compare(later, run(tiny_gpt2)).verdict == "bit-equal"


def test_queries_and_keys_are_written_as_positions(tiny_gpt2: vw.LanguageModel):
    first = run(tiny_gpt2, edges(position=[3, 4], source_position=[0, 3]))
    (one,) = first.record
    assert (one.planned.base_positions, one.planned.keys) == ((3, 4), (0, 3))
    assert one.planned.source_positions == (3, 4) and one.stats and one.stats.rows == 2
    again = run(tiny_gpt2, edges(position=slice(3, None), source_position=["The", " Spain"]))
    assert torch.equal(first.logits, again.logits)
    text = first.experiment.model_dump_json()
    assert vw.Experiment.model_validate_json(text) == first.experiment
    assert vw.Slot(layer=0, position=0, component="pattern").component == "attention_weight"
    assert 'component="attention_weight"' in vw.script(tiny_gpt2, first.experiment)


@pytest.mark.parametrize("key", [0, -2])
def test_edges_of_unequal_prompts_are_read_as_written(key: int, tiny_gpt2: vw.LanguageModel):
    """The last token's weight of a key: in the source its own last token's, of its own key."""
    where: dict[str, Any] = {"head": 0, "position": -1, "source_position": key}
    found = vw.attention(tiny_gpt2, experiment(edges(**where), source=LONGER))
    there = vw.attention(tiny_gpt2, LONGER).weights[LAYER, 0, -1, key]
    assert found.weights[LAYER, 0, -1, key] == there != found.runs["base"][LAYER, 0, -1, key]
    assert found.runs["source"].shape[-1] > 5
    mean = edges(**where, intervention="mean", prompts=[SPAIN, LONGER])
    both = [vw.attention(tiny_gpt2, p).weights[LAYER, 0, -1, key] for p in (SPAIN, LONGER)]
    averaged = vw.attention(tiny_gpt2, experiment(mean)).weights[LAYER, 0, -1, key]
    assert averaged.tolist() == pytest.approx(float(sum(both)) / 2, rel=1e-5)


def test_a_serial_chain_and_a_registered_function(
    tiny_gpt2: vw.LanguageModel, restored_registry: None
):
    """The pattern that goes on has the changes of the link before; a function acts once a pass."""
    calls: list[Any] = []

    def halved(base: Any, source: Any) -> Any:
        calls.append(base.shape)
        return base / 2

    vw.register("halved", halved)
    chain = vw.Experiment(
        base=SPAIN,
        sources={"first": ITALY, "second": ITALY},
        mode="serial",
        slots=[
            edges(head=0, source="first", intervention="halved"),
            edges(head=0, source="second"),
        ],
    )
    found = vw.attention(tiny_gpt2, chain)
    assert torch.equal(found.weights[LAYER, 0], found.runs["second"][LAYER, 0] / 2)
    assert calls == [(5, 5)]


def test_gradients_flow_through_weights(tiny_gpt2: vw.LanguageModel, restored_registry: None):
    from vene_widgets.interventions.base import Intervention

    class Scaled(Intervention):
        name, needs_source = "scaled", False

        def __init__(self, options: Any) -> None:
            super().__init__(options)
            self.factor = nn.Parameter(torch.tensor(1.0, device=tiny_gpt2.device))

        def forward(self, base: Any, source: Any, mask: Any = None) -> Any:
            return base * self.factor

    vw.register("scaled", Scaled)
    asked = experiment(edges(intervention="scaled"))
    weights = vw.make_weights(tiny_gpt2, asked)
    result = vw.run(tiny_gpt2, asked, weights=weights, gradients=True)
    result.logits[-1, 7].backward()
    (factor,) = weights["slot 0"].parameters()
    assert factor.grad is not None and factor.grad.abs() > 0


@pytest.mark.parametrize("kind", ["Vanilla", "Zero", "Addition", "Subtraction"])
def test_whole_heads_are_pyvenes_on_eager_gpt2(
    kind: str, tiny_gpt2: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
):
    """Its hook is on the dropout that weights went through before transformers had a function."""
    import pyvene

    def eager(module: Any, query: Any, key: Any, value: Any, mask: Any, **named: Any) -> Any:
        scores = query @ key.transpose(-1, -2) * named["scaling"] + mask
        weights = module.attn_dropout(scores.softmax(-1).type(value.dtype))
        return (weights @ value).transpose(1, 2), weights

    net: Any = copy.deepcopy(tiny_gpt2.model)
    net.set_attn_implementation("eager")
    slot = {"layer": LAYER, "component": "attention_weight", "unit": "pos"}
    operator = getattr(pyvene, f"{kind}Intervention")
    base, source = ({"input_ids": token_ids(tiny_gpt2, p)} for p in (SPAIN, ITALY))
    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(modeling_gpt2, "eager_attention_forward", eager)
        config = pyvene.IntervenableConfig([{**slot, "intervention_type": operator}])
        built: Any = pyvene.IntervenableModel(config, net)
        where: Any = [[[0, 2]]]
        theirs = built(base, [source], {"sources->base": (where, where)})[1].logits[0]
    ours = run(tiny_gpt2, *(edges(head=head, intervention=kind.lower()) for head in (0, 2)))
    assert (ours.logits - theirs).abs().max() <= 1e-5
    assert not torch.equal(ours.logits, plain_logits(tiny_gpt2, SPAIN))


def test_it_acts_in_attention_of_a_users_class_with_hooks(tiny_gpt2: vw.LanguageModel):
    """What a run sets on such a module stays until the run ends."""

    class Mine(modeling_gpt2.GPT2Attention):
        pass

    net: Any = copy.deepcopy(tiny_gpt2.model)
    attention = net.transformer.h[LAYER].attn
    attention.__class__ = Mine
    seen: list[int] = []
    attention.register_forward_hook(lambda *_: seen.append(1))
    before = {name: dict(vars(module)) for name, module in net.named_modules()}
    model = wrap(net, tiny_gpt2.tokenizer, "mine")
    slot = edges(head=0, position=-1, intervention="zero")
    found = run(model, slot)
    assert found.record[0].fired
    assert torch.equal(found.logits, run(tiny_gpt2, slot).logits)
    pattern = vw.attention(model, SPAIN).weights
    assert torch.equal(pattern, vw.attention(tiny_gpt2, SPAIN).weights)
    after = {name: dict(vars(module)) for name, module in net.named_modules()}
    assert after.keys() == before.keys()
    assert all(vars_.keys() == before[name].keys() for name, vars_ in after.items())


@pytest.mark.parametrize(
    "fields", [{"intervention": "zero"}, {"source": "source"}, {"source": "longer"}]
)
def test_fixed_slots_of_a_sweep_cut_edges_too(fields: dict[str, Any], tiny_gpt2: vw.LanguageModel):
    """Every cell is a run with the fixed slot and its own."""
    cut = edges(layer=0, position=-1, source_position=-3, **fields)
    sources = {"source": ITALY, "longer": LONGER}
    swept: Any = vw.sweep(tiny_gpt2, SPAIN, ITALY, fixed=[cut], sources=sources)
    for layer, position in ((0, 3), (1, 4), (2, 0)):
        patch = vw.Slot(layer=layer, position=position, source="source")
        own = vw.run(tiny_gpt2, vw.Experiment(base=SPAIN, sources=sources, slots=[cut, patch]))
        column = swept.plan.positions.index(position)
        assert distance(swept.logits[layer, column], own.logits[-1]) <= 1e-5
    without: Any = vw.sweep(tiny_gpt2, SPAIN, ITALY)
    assert distance(swept.base_logits, without.base_logits) > 1e-4
    assert "query -1, key -3" in swept.plot().labels.subtitle


@pytest.mark.parametrize("use_cache", [True, False])
def test_every_new_token_is_cut_off_from_a_key(
    use_cache: bool, tiny_gpt2: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
):
    """The logits of each step are those of eager attention with the edges at zero."""
    cut = edges(position=-1, source_position=1, intervention="zero")
    made = vw.generate(tiny_gpt2, experiment(cut), 4, on="every", use_cache=use_cache)
    net: Any = copy.deepcopy(tiny_gpt2.model)
    net.set_attn_implementation("eager")
    here, own = net.transformer.h[LAYER].attn, modeling_gpt2.eager_attention_forward

    def eager(module: Any, query: Any, key: Any, value: Any, mask: Any, **named: Any) -> Any:
        output, weights = own(module, query, key, value, mask, **named)
        if module is here:
            weights[:, :, 4:, 1] = 0
            output = (weights @ value).transpose(1, 2)
        return output, weights

    ids = torch.cat(
        [token_ids(tiny_gpt2, SPAIN)[0], torch.tensor(made.tokens).to(here.c_attn.weight.device)]
    )
    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(modeling_gpt2, "eager_attention_forward", eager)
        for step in range(4):
            logits = net(input_ids=ids[None, : 5 + step], use_cache=False).logits[0, -1]
            assert distance(made.logits[step], logits) <= 1e-5
    assert distance(made.logits[0], plain_logits(tiny_gpt2, SPAIN)[-1]) > 1e-3


@pytest.mark.parametrize(
    ("on", "fields", "message"),
    [
        ("every", {}, r"slots\[0\] is on whole rows .* name keys of the prompt"),
        ("every", {"source_position": "1:"}, r"slots\[0\] is on whole rows"),
        (
            [2, 7],
            {"source_position": 3, "intervention": "mean", "prompts": SPAIN},
            "key 3 to query 2",
        ),
    ],
)
def test_edges_without_a_meaning_in_a_text(
    on: Any, fields: dict[str, Any], message: str, tiny_gpt2: vw.LanguageModel
):
    with pytest.raises(vw.RequestError, match=message) as error:
        vw.generate(tiny_gpt2, experiment(edges(**{"position": -1, **fields})), 4, on=on)
    assert "\n" not in str(error.value)


def test_a_slot_that_no_pass_comes_by_is_one_sentence(tiny_gpt2: vw.LanguageModel):
    """A pattern and a lens have no receipts that would say so."""

    class Mine(modeling_gpt2.GPT2Attention):
        def forward(self, hidden_states: Any, *args: Any, **options: Any) -> Any:
            return self.c_proj(self.c_attn(hidden_states).chunk(3, -1)[2]), None

    net: Any = copy.deepcopy(tiny_gpt2.model)
    net.transformer.h[LAYER].attn.__class__ = Mine
    model = wrap(net, tiny_gpt2.tokenizer, "mine")
    cut = edges(position=-1, source_position=3, intervention="zero")
    reached = [edges(layer=2), vw.Slot(layer=0, position=3, intervention="collect")]
    for read in (lambda e: vw.attention(model, e, layer=2), lambda e: vw.lens(model, e)):
        with pytest.raises(
            vw.RequestError, match=r"slots\[2\] never acted: a run of mine"
        ) as error:
            read(experiment(*reached, cut))
        assert "\n" not in str(error.value)
        read(experiment(*reached, cut.model_copy(update={"skip": True})))


@pytest.mark.parametrize("name", ["gpt2", "gpt_neo", "mistral-window"])
def test_hooks_that_read_the_weights_of_eager_attention(
    name: str, tiny_gpt2: vw.LanguageModel, device: torch.device
):
    """They are given those that act; where the model's attention returns none, none."""
    for attention in ("eager",) if name == "gpt_neo" else ("eager", "sdpa"):
        tokenizer: Any = tiny_gpt2.tokenizer
        net = families.build(name, len(tokenizer), attention).to(device)
        model = wrap(net, tokenizer, name)
        architecture = model.sites.architecture
        module = net.get_submodule(f"{architecture.blocks}.{LAYER}.{architecture.attention}")
        seen: list[Any] = []

        def note(_module: Any, _args: Any, output: Any, seen: list[Any] = seen) -> None:
            seen.append(output[1])

        module.register_forward_hook(note)
        pattern = vw.attention(model, SPAIN, layer=LAYER)[LAYER]
        cut = edges(position=-1, source_position=3, intervention="zero")
        run(model, cut)
        if attention == "sdpa":
            assert not [weights for weights in seen if weights is not None]
            continue
        assert (seen[0][0].cpu() - pattern).abs().max() <= 1e-6
        pattern[:, -1, 3] = 0
        assert (seen[-1][0].cpu() - pattern).abs().max() <= 1e-6


def test_stand_ins_nest(tiny_gpt2: vw.LanguageModel):
    """Keys and values are noted while a weight changes, in either order."""
    from contextlib import ExitStack

    from vene_widgets.engine.forward import note_keys_and_values, record_prompt
    from vene_widgets.engine.hooks import record
    from vene_widgets.engine.own_model import own_model
    from vene_widgets.models.weight_site import weight_site

    ids = [token.id for token in tiny_gpt2.tokens(SPAIN)]
    site = weight_site(tiny_gpt2, LAYER, 0)
    found: list[Any] = []
    for order in (1, -1):
        with tiny_gpt2.lock, torch.no_grad(), own_model(tiny_gpt2), ExitStack() as stack:
            contexts = [note_keys_and_values(tiny_gpt2), record(tiny_gpt2, [site])][::order]
            entered = [stack.enter_context(each) for each in contexts][::order]
            record_prompt(tiny_gpt2, ids, [])
        notes, weights = entered
        found.append((notes[0].keys, notes[0].values, weights[site]))
    for one, other in zip(*found, strict=True):
        pairs = zip(one, other, strict=True) if isinstance(one, tuple) else [(one, other)]
        assert all(torch.equal(a, b) for a, b in pairs)


# ---- the figure ----------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["light", "dark"])
def test_the_figure_has_a_panel_per_head(style: str, tiny_gpt2: vw.LanguageModel):
    found = vw.attention(tiny_gpt2, experiment(edges(head=0, position=-1)), layer=[1, 2])
    plot: Any = found.plot("Title", run="difference", style=style)
    assert len(plot.data["panel"].cat.categories) == 6
    assert len(plot.data) == 6 * 15  # no tile for a later key
    assert "in head 0 of layer 1 (attention pattern)" in plot.labels.subtitle
    assert vw.figures.png(plot, dpi=40).startswith(b"\x89PNG")
    one: Any = vw.attention(tiny_gpt2, SPAIN, layer=0, head=1).plot(style=style)
    assert "layer 0, head 1; base run" in one.labels.subtitle and (one.data["number"] != "").all()


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"head": 3}, r"slots\[0\]: .* has heads 0 to 2, not 3; None stands for all"),
        ({"layer": 3}, r"slots\[0\]: layer 3 is out of range"),
        ({"source_position": 5}, r"slots\[0\].source_position 5 is out of range: the base"),
        ({"source_position": [1, -4]}, r"source_position .* names a position twice in the base"),
        ({"position": " Rome"}, r"slots\[0\].position ' Rome' does not occur in the base"),
    ],
)
def test_a_plan_error_names_the_slot(
    fields: dict[str, Any], message: str, tiny_gpt2: vw.LanguageModel
):
    with pytest.raises(vw.RequestError, match=message) as error:
        run(tiny_gpt2, edges(**fields))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"position": 4}, r"reads 7 keys of the source 'source' for 5 of the base: name them by"),
        ({}, r"reads 7 queries of the source 'source' for 5 of the base: name them by position"),
        ({"position": 5, "source_position": 0}, r"position 5 is out of range: the base"),
    ],
)
def test_unequal_prompts_need_keys_in_both(
    fields: dict[str, Any], message: str, tiny_gpt2: vw.LanguageModel
):
    longer = "The capital of Spain Italy France is"
    with pytest.raises(vw.RequestError, match=message):
        vw.run(tiny_gpt2, experiment(edges(**fields), source=longer))
    later = edges(position=3, source_position=-1)  # no weight in either
    assert vw.run(tiny_gpt2, experiment(later, source=longer)).record[0].idle


def test_an_edge_never_comes_to_look_ahead(tiny_gpt2: vw.LanguageModel):
    asked = experiment(edges(position=2, source_position=-2), source="The capital of")
    with pytest.raises(vw.RequestError, match=r"query 2 to key 1 of the source .* only one"):
        vw.run(tiny_gpt2, asked)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"intervention": "noise"}, "'noise' cannot act on 'attention_weight': it would let"),
        ({"intervention": "rotated_space"}, "'rotated_space' cannot act .* one of 'vanilla'"),
        ({"subspace": [0]}, "subspace and partition cannot be used"),
        ({"partition": {"a": (0, 1)}}, "subspace and partition cannot be used"),
    ],
)
def test_what_weights_cannot_do_is_one_sentence(fields: dict[str, Any], message: str):
    with pytest.raises(vw.RequestError, match=message) as error:
        edges(**fields)
    assert "\n" not in str(error.value)


def test_what_attention_cannot_read_is_one_sentence(
    tiny_gpt2: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
):
    read: Any = vw.attention
    asked: list[tuple[dict[str, Any], str]] = [
        ({"layer": 3}, "layer 3 is out of range: the model has 3 layers, 0 to 2"),
        ({"head": -4}, "head -4 is out of range: the model has 3 heads"),
        ({"layer": [0, -3]}, r"layer \[0, -3\] is invalid: expected one or more distinct layers"),
        ({"head": []}, r"head \[\] is invalid"),
        ({"head": "1"}, "head: expected an int or a list of ints"),
        ({"layer": True}, "layer: True is a bool"),
        ({"what": [SPAIN]}, "what must be a str or a vw.Experiment, got a list"),
        ({"what": ""}, "is empty"),
        (
            {"what": vw.Experiment(base=SPAIN, sources={"difference": ITALY})},
            "source 'difference' has the name of another run",
        ),
    ]
    for options, message in asked:
        with pytest.raises(vw.RequestError, match=message):
            read(tiny_gpt2, **{"what": SPAIN, **options})
    monkeypatch.setattr(limits, "ATTENTION_ROWS", 10)
    with pytest.raises(vw.RequestError, match="225 rows, at most 10"):
        _ = read(tiny_gpt2, SPAIN).frame
    monkeypatch.setattr(limits, "ATTENTION_WEIGHTS", 200)
    with pytest.raises(vw.RequestError, match=r"225 attention weights .* choose fewer layers"):
        read(tiny_gpt2, SPAIN)


def test_weights_that_are_nan_are_one_sentence(tiny_gpt2: vw.LanguageModel):
    net: Any = copy.deepcopy(tiny_gpt2.model)
    with torch.no_grad():
        net.transformer.h[LAYER].ln_1.weight.fill_(float("nan"))
    model = wrap(net, tiny_gpt2.tokenizer, "broken")
    with pytest.raises(vw.RequestError, match="attention weights of layer 1 of broken are NaN"):
        vw.attention(model, SPAIN)
    assert vw.attention(model, SPAIN, layer=0).weights.isfinite().all()
