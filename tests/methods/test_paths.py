"""Path patching against hooks by hand, in every family, and what paths add up to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from by_hand import evaluation, own_copy, plain_logits, token_ids
from families import part
from paths_by_hand import (
    ADDITIVE,
    BASE,
    NO_SUM,
    RECEIVERS,
    SOURCE,
    Hand,
    Use,
    close,
    difference,
    held,
)
from torch import Tensor

import vene_widgets as vw
from vene_widgets.models import wrap


@pytest.mark.parametrize("name", ADDITIVE)
def test_direct_effects_on_logits_are_what_hooks_by_hand_give(name: str, models: Any):
    model = models(name)
    hand = Hand(model)
    found = vw.paths(model, BASE, SOURCE, senders="all")
    ids = found.metric.tokens
    assert len(found.frame) == 1 + model.sites.layers * (model.sites.heads + 1)
    frame = found.frame.set_index("sender_name")
    plain = difference(hand.run({}), ids)
    assert close(found.base_metric, plain, model)
    for sender in ("embedding", "0.0", "1.1", f"2.{model.sites.heads - 1}", "mlp0", "mlp2"):
        own = difference(hand.to_logits(sender), ids) - plain
        assert close(frame.loc[sender, "effect"], own, model), sender
    assert frame["effect"].abs().max() > 1e-2


@pytest.mark.parametrize("name", NO_SUM)
def test_a_model_that_normalises_its_residual_stream_is_refused(name: str, models: Any):
    with pytest.raises(vw.RequestError, match=r"block \d .* does more than add"):
        vw.paths(models(name), BASE, SOURCE)


@pytest.mark.parametrize("name", ADDITIVE)
def test_contributions_with_norms_held_add_up_to_the_bases_metric(name: str, models: Any):
    model = models(name)
    found = vw.paths(model, BASE, SOURCE, senders="all", norms="frozen")
    assert found.frozen_blocker is None
    total = found.frame["contribution"].sum() + found.bias
    size = found.frame["contribution"].abs().sum()
    assert total == pytest.approx(found.base_metric, abs=1e-5 * max(1.0, size))
    assert found.frame["effect_frozen"].abs().max() > 1e-2


@pytest.mark.parametrize("name", ADDITIVE)
def test_effects_with_norms_held_are_what_weights_by_hand_give(name: str, models: Any):
    """The change of an MLP's output, divided by the base's scale, times two rows of the head."""
    model = models(name)
    architecture, hand = model.sites.architecture, Hand(model)
    found = vw.paths(model, BASE, SOURCE, senders="mlps", norms="frozen")
    root, kept = model.tree.root, {}
    norm, head = (root.get_submodule(p) for p in (architecture.final_norm, model.sites.unembedding))
    hand.run({(architecture.final_norm, "input"): hand._note(kept, "in")})
    state = kept["in"][0, -1].double()
    for layer in range(model.sites.layers):
        place = hand.place(layer, "mlp_output")
        change = (hand.source[place] - hand.base[place]).reshape(-1, len(state))[-1].double()
        if architecture.norms_after is not None:
            path = f"{architecture.blocks}.{layer}.{architecture.norms_after[1]}"
            whole = hand.base[place].reshape(-1, len(state))[-1].double()
            change = held(root.get_submodule(path), whole, change)
        change = change * getattr(root.config, architecture.residual_factor or "_", 1.0)
        raw = head.weight.detach().double() @ held(norm, state, change)
        with evaluation(root):
            before = head(norm(kept["in"][0, -1:]))[0].double()
        factor = hand.run({}).double() / before
        one, other = found.metric.tokens
        own = float(raw[one] * factor[one] - raw[other] * factor[other])
        assert close(found.frame["effect_frozen"][layer], own, model), layer


@pytest.mark.parametrize("name", ADDITIVE)
def test_effects_by_way_of_a_receiver_are_what_hooks_by_hand_give(name: str, models: Any):
    model = models(name)
    hand, tokens = Hand(model), None
    moved = 0.0
    for kind, component, layer, head in RECEIVERS:
        receiver = f"mlp{layer}" if head is None else (f"{layer}.{head}", kind)
        found = vw.paths(model, BASE, SOURCE, senders="all", receivers=[receiver])
        frame = found.frame.set_index("sender_name")
        tokens = found.metric.tokens
        plain = difference(hand.run({}), tokens)
        parallel = model.sites.architecture.components["mlp_input"].before_attention
        same_block = kind == "mlp" and not parallel
        expected = 1 + layer * (model.sites.heads + 1) + same_block * model.sites.heads
        assert len(frame) == expected
        senders = ["embedding", "0.0", f"{layer - 1}.1", f"mlp{layer - 1}"]
        for sender in [*senders, *(["2.0"] if same_block else [])]:
            own = difference(hand.to(sender, layer, component, head), tokens) - plain
            assert close(frame.loc[sender, "effect"], own, model), (kind, sender)
        moved = max(moved, float(frame["effect"].abs().max()))
    assert moved > 1e-3


@pytest.mark.parametrize("name", ["gpt2", "gemma2", "gpt_neox", "bloom"])
def test_wangs_paths_hold_heads_and_recompute_mlps(name: str, models: Any):
    model = models(name)
    hand = Hand(model)

    def uses(sender: str) -> dict[Any, Use]:
        """The sender patched; all other heads as in the base, MLPs free."""
        layer, change = hand.patch(sender)
        head = hand.place(max(layer, 0), "attention_value_output")
        found: dict[Any, Use] = {}
        for each in hand.layers:
            place = hand.place(each, "attention_value_output")
            found[place] = lambda _tensor, place=place: hand.base[place].clone()
        if "." in sender:
            whole: Any = found[head]
            put: Any = change[head]
            found[head] = lambda tensor: put(whole(tensor))
            return found
        return {**found, **change}

    found = vw.paths(model, BASE, SOURCE, senders="all", mlps="recomputed")
    frame, tokens = found.frame.set_index("sender_name"), found.metric.tokens
    plain = difference(hand.run({}), tokens)
    for sender in ("embedding", "0.1", "1.0", "mlp1"):
        own = difference(hand.run(uses(sender)), tokens) - plain
        assert close(frame.loc[sender, "effect"], own, model), sender

    # At the last position alone.
    head = hand.place(0, "attention_value_output")
    change: Any = hand.patch("0.1")[1][head]

    def put_last(_tensor: Tensor) -> Tensor:
        new = hand.base[head].clone()
        new[:, -1] = change(new)[:, -1]
        return new

    last = vw.paths(model, BASE, SOURCE, senders=["0.1"], positions=-1, mlps="recomputed")
    own = difference(hand.run({**uses("0.1"), head: put_last}), tokens) - plain
    assert close(last.frame["effect"][0], own, model)
    place, values = hand.place(2, "head_value_output", 1), dict[Any, Tensor]()
    hand.run({**uses("0.1"), head: put_last, place: hand._note(values, place)})

    def put_values(tensor: Tensor) -> Tensor:
        new, component = tensor.clone(), "head_value_output"
        part(model, component, 1, new)[:] = part(model, component, 1, values[place])
        return new

    options: dict[str, Any] = {"positions": -1, "mlps": "recomputed", "receivers": [("2.1", "v")]}
    by_way = vw.paths(model, BASE, SOURCE, senders=["0.1"], **options)
    own = difference(hand.run({place: put_values}), tokens) - plain
    assert close(by_way.frame["effect"][0], own, model)

    to_q = vw.paths(model, BASE, SOURCE, receivers=[("2.1", "q")], mlps="recomputed")
    place, component = hand.place(2, "head_query_output", 1), "head_query_output"
    kept: dict[Any, Tensor] = {}
    hand.run({**uses("0.1"), place: hand._note(kept, place)})

    def put(tensor: Tensor) -> Tensor:
        new = tensor.clone()
        part(model, component, 1, new)[:] = part(model, component, 1, kept[place])
        return new

    own = difference(hand.run({place: put}), tokens) - plain
    assert close(to_q.frame.set_index("sender_name").loc["0.1", "effect"], own, model)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:To copy construct:UserWarning")
def test_effects_on_logits_are_those_of_pyvenes_recipe(tiny_gpt2: vw.LanguageModel):
    """A head from the source, every later sublayer restored from the base (IOI_Replication)."""
    import copy

    import pyvene

    model, hf = tiny_gpt2, copy.deepcopy(tiny_gpt2.model)
    found = vw.paths(model, BASE, SOURCE)
    effects, tokens = found.frame.set_index("sender_name")["effect"], found.metric.tokens
    base, source = ({"input_ids": token_ids(model, prompt)} for prompt in (BASE, SOURCE))
    every = [list(range(len(found.tokens)))]
    plain = difference(plain_logits(model, BASE)[-1], tokens)
    for layer, head in ((0, 0), (0, 1), (1, 1)):
        restored = [(layer, "mlp_output")]
        for later in range(layer + 1, model.sites.layers):
            restored += [(later, "attention_output"), (later, "mlp_output")]
        where = [[[[head]], every], *(every for _ in restored)]
        first = pyvene.RepresentationConfig(
            layer, "head_attention_value_output", "h.pos", len(every[0])
        )
        config = pyvene.IntervenableConfig(
            model_type=type(hf),
            representations=[
                first,
                *(pyvene.RepresentationConfig(*site, "pos", len(every[0])) for site in restored),
            ],
            intervention_types=pyvene.VanillaIntervention,
        )
        intervenable = pyvene.IntervenableModel(config, hf)
        intervenable.set_device(str(model.device))
        sources = [source, *(dict(base) for _ in restored)]
        with torch.no_grad():
            _, output = intervenable(base, sources, {"sources->base": (where, where)})
        own = difference(output.logits[0, -1], tokens) - plain
        assert close(effects[f"{layer}.{head}"], own, model), (layer, head)
    assert effects.abs().max() > 1e-2


def test_all_senders_together_give_the_sources_logits(models: Any):
    """The final residual stream is the sum of what is patched."""
    from vene_widgets.engine.own_model import own_model
    from vene_widgets.engine.path_passes import effects_on_logits
    from vene_widgets.engine.residual import record_residual

    for name in ("gpt2", "gemma3_text", "granite", "bloom"):
        model = models(name)
        found = vw.paths(model, BASE, SOURCE, senders="all")
        with model.lock, torch.no_grad(), own_model(model):
            runs = [
                record_residual(model, [token.id for token in model.tokens(p)])
                for p in (BASE, SOURCE)
            ]
            one, other = runs
            change = other.inputs[0, -1].float() - one.inputs[0, -1].float()
            for kind in ("attention", "mlp"):
                change = change + (other.added[kind] - one.added[kind])[:, -1].sum(0)
            effect = effects_on_logits(model, one, change[None], found.metric)
        assert close(found.base_metric + float(effect), found.source_metric, model), name


def test_a_sender_that_is_equal_in_both_runs_has_no_effect(tiny_gpt2: vw.LanguageModel):
    to_logits = vw.paths(tiny_gpt2, BASE, BASE, targets=(" Rome", " Madrid"), senders="all")
    assert (to_logits.frame[["effect", "effect_frozen"]] == 0).all(axis=None)
    assert to_logits.frame["share"].isna().all()
    assert (to_logits.frame["contribution"] != 0).any()
    # Before the token that differs, every sender is equal.
    early = vw.paths(tiny_gpt2, BASE, SOURCE, receivers=["mlp1"], positions=[0, 1, 2])
    assert (early.frame["effect"] == 0).all()
    for mlps in ("frozen", "recomputed"):
        late = vw.paths(tiny_gpt2, BASE, SOURCE, receivers=["mlp1"], positions=[3, 4], mlps=mlps)
        whole = vw.paths(tiny_gpt2, BASE, SOURCE, receivers=["mlp1"], mlps=mlps)
        assert late.frame["effect"].tolist() == pytest.approx(whole.frame["effect"].tolist())
        assert (late.frame["effect"] != 0).any()


def test_only_the_last_position_has_a_direct_path_to_the_logits(tiny_gpt2: vw.LanguageModel):
    before = vw.paths(tiny_gpt2, BASE, SOURCE, senders="all", positions=[0, 1, 2, 3])
    assert (before.frame[["effect", "effect_frozen"]] == 0).all(axis=None)
    last = vw.paths(tiny_gpt2, BASE, SOURCE, senders="all", positions=-1)
    every = vw.paths(tiny_gpt2, BASE, SOURCE, senders="all")
    for column in ("effect", "effect_frozen"):
        assert last.frame[column].tolist() == pytest.approx(every.frame[column].tolist())


def test_receivers_together_are_patched_in_one_run(tiny_gpt2: vw.LanguageModel):
    ends = [("1.0", "q"), ("1.1", "v"), "mlp1"]
    both = vw.paths(tiny_gpt2, BASE, SOURCE, senders=["0.1"], receivers=ends, together=True)
    assert both.frame["receiver"].tolist() == ["1.0 q + 1.1 v + mlp1"]
    hand = Hand(tiny_gpt2)
    kept: dict[Any, Tensor] = {}
    # Queries, keys and values are the output of one projection.
    places = [hand.place(1, "query_output"), hand.place(1, "mlp_output")]
    for place in places:
        uses = hand.held("0.1")
        uses[place] = hand._note(kept, place)
        hand.run(uses)

    def put(tensor: Tensor) -> Tensor:
        new = tensor.clone()
        for component, head in (("head_query_output", 0), ("head_value_output", 1)):
            part(tiny_gpt2, component, head, new)[:] = part(
                tiny_gpt2, component, head, kept[places[0]]
            )
        return new

    logits = hand.run({places[0]: put, places[1]: lambda _tensor: kept[places[1]]})
    tokens = both.metric.tokens
    own = difference(logits, tokens) - difference(hand.run({}), tokens)
    assert close(both.frame["effect"][0], own, tiny_gpt2)


def test_of_receivers_together_only_those_after_the_sender_change(tiny_gpt2: vw.LanguageModel):
    ends: list[Any] = [("1.0", "q"), ("1.1", "v"), "mlp1"]
    both = vw.paths(tiny_gpt2, BASE, SOURCE, receivers=ends, together=True)
    alone = vw.paths(tiny_gpt2, BASE, SOURCE, receivers=["mlp1"])
    one, other = (each.frame.set_index("sender_name")["effect"] for each in (both, alone))
    assert one["1.0"] == pytest.approx(other["1.0"], abs=1e-6)  # in the receivers' own block
    assert one["0.1"] != pytest.approx(other["0.1"], abs=1e-4)


def test_metrics_are_their_formulas(tiny_gpt2: vw.LanguageModel):
    targets = (" Rome", " Madrid")
    hand = Hand(tiny_gpt2)
    one = tiny_gpt2.token_id(" Rome")
    plain, patched = (x.double().cpu() for x in (hand.run({}), hand.to_logits("1.1")))
    expected = {
        "logit": patched[one] - plain[one],
        "probability": patched.softmax(-1)[one] - plain.softmax(-1)[one],
        "log_probability": patched.log_softmax(-1)[one] - plain.log_softmax(-1)[one],
    }
    for metric, own in expected.items():
        found = vw.paths(
            tiny_gpt2, BASE, SOURCE, senders=["1.1"], targets=targets[:1], metric=metric
        )
        assert found.frame["effect"][0] == pytest.approx(float(own), abs=1e-6), metric
        assert found.frame["effect_frozen"].isna().all() == (metric != "logit")


def test_the_frame_is_tidy(tiny_gpt2: vw.LanguageModel):
    from vene_widgets.tables.columns import COLUMNS, FRAMES

    found = vw.paths(tiny_gpt2, BASE, SOURCE, senders="all")
    frame = found.frame
    assert tuple(frame.columns) == FRAMES["path_frame"]
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
        name: COLUMNS[name].dtype for name in frame.columns
    }
    whole = found.source_metric - found.base_metric
    assert frame["share"].tolist() == pytest.approx((frame["effect"] / whole).tolist())
    best = found.strongest(3)
    assert found.strongest(np.int64(3)).equals(best)  # pyright: ignore[reportArgumentType]
    assert best["effect"].abs().tolist() == sorted(frame["effect"].abs(), reverse=True)[:3]
    assert "strongest" in repr(found)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"source": "The capital of Italy is Rome"}, "base has 5 tokens and source 6"),
        ({"senders": "neurons"}, "senders 'neurons' is not known"),
        ({"senders": ["head9"]}, "sender 'head9' is not known"),
        ({"senders": []}, "senders must name at least one"),
        ({"senders": 3}, "expected a list of senders"),
        ({"senders": ["9.0"]}, "layer 9 is out of range"),
        ({"senders": ["0.99"]}, "head 99 is out of range"),
        ({"senders": ["0.1", (0, 1)]}, "senders must be distinct: '0.1' is named twice"),
        ({"receivers": ["1.0"]}, "receiver '1.0' is not known"),
        ({"receivers": [("1.0", "z")]}, "receiver .* is not known"),
        ({"receivers": [("mlp1", "q")]}, "has no head"),
        ({"receivers": ["mlp1", "mlp1"]}, "receivers must be distinct"),
        ({"senders": ["1.1"], "receivers": [("1.0", "q")]}, "'1.1' is not before receiver '1.0 q'"),
        ({"senders": ["mlp1"], "receivers": ["mlp1"]}, "'mlp1' is not before receiver 'mlp1'"),
        ({"receivers": [("0.0", "v")]}, "no sender is before 0.0 v"),
        ({"norms": "linear"}, "norms 'linear' is not known"),
        ({"mlps": "free"}, "mlps 'free' is not known"),
        ({"metric": "kl"}, "metric 'kl' is not known"),
        ({"norms": "frozen", "mlps": "recomputed"}, "norms='frozen' is for mlps='frozen'"),
        (
            {"norms": "frozen", "mlps": "recomputed", "receivers": ["mlp1"]},
            "norms='frozen' is for mlps='frozen'",
        ),
        ({"norms": "frozen", "metric": "probability"}, "effects add up, not 'probability'"),
        ({"targets": [" Rome"]}, "two tokens, the target and the contrast"),
        ({"targets": [" Rome", " Rome"]}, "two different tokens"),
        ({"targets": [" nonsense word"]}, "expected exactly one"),
        ({"positions": 9}, "positions 9 is out of range"),
        ({"positions": []}, "positions must name at least one, got none"),
    ],
)
def test_bad_input_is_one_sentence_before_any_run(
    given: dict[str, Any], said: str, tiny_gpt2: vw.LanguageModel, monkeypatch: Any
):
    def run(*_: Any) -> None:
        raise AssertionError("a model ran")

    monkeypatch.setattr("vene_widgets.methods.path_request.record_residual", run)
    with pytest.raises(vw.RequestError, match=said):
        vw.paths(tiny_gpt2, **{"base": BASE, "source": SOURCE, **given})


def test_keys_and_values_count_key_value_heads(models: Any):
    with pytest.raises(vw.RequestError, match="key-value head 3 is out of range"):
        vw.paths(models("llama"), BASE, SOURCE, receivers=[("2.3", "k")])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["gpt2", "gemma2", "llama"])
def test_half_precision_gives_the_numbers_of_float32_but_for_rounding(
    name: str, dtype: torch.dtype, models: Any
):
    import copy

    model = models(name)
    half = wrap(copy.deepcopy(model.model).to(dtype), model.tokenizer, "half")
    options: dict[str, Any] = {"senders": "all", "targets": (" Rome", " Madrid")}
    exact, found = (vw.paths(each, BASE, SOURCE, **options).frame for each in (model, half))
    size = exact["effect"].abs().max()
    for column in ("effect", "effect_frozen", "contribution"):
        error = (exact[column] - found[column]).abs().max()
        # The model's own states are rounded too.
        limit = 0.05 if dtype == torch.float16 else 0.3
        assert error <= limit * max(size, exact[column].abs().max()), column
    between = vw.paths(half, BASE, SOURCE, receivers=["mlp1"], targets=(" Rome", " Madrid"))
    assert between.frame["effect"].notna().all()


def test_logits_that_are_not_finite_are_refused(request: pytest.FixtureRequest):
    model = own_copy("tiny_gpt2", request)
    with torch.no_grad():
        model.model.transformer.ln_f.weight[0] = float("nan")
    with pytest.raises(vw.RequestError, match="NaN or infinite"):
        vw.paths(model, BASE, SOURCE)


def test_heads_may_be_the_rows_of_an_array(tiny_gpt2: vw.LanguageModel):
    rows: Any = np.array([[0, 1], [2, 0]])
    bad: Any = np.zeros((2, 3))
    several: tuple[Any, ...] = (rows, torch.from_numpy(rows))
    for heads in several:
        found = vw.paths(tiny_gpt2, BASE, SOURCE, senders=heads)
        assert found.frame["sender_name"].tolist() == ["0.1", "2.0"]
    one = vw.circuit(tiny_gpt2, BASE, SOURCE, heads=rows[0])
    assert one.heads == ("0.1",)
    with pytest.raises(vw.RequestError, match=r"sender .* is not known"):
        vw.paths(tiny_gpt2, BASE, SOURCE, senders=bad)


def test_a_model_without_norms_has_paths(request: pytest.FixtureRequest):
    """Its blocks read the states of the blocks before them as they are."""
    model = own_copy("tiny_gpt2", request)
    for block in model.model.transformer.h:
        block.ln_1 = block.ln_2 = torch.nn.Identity()
    hand = Hand(model)
    plain = hand.run({})
    for kind, component, layer, head in RECEIVERS:
        receiver = f"mlp{layer}" if head is None else (f"{layer}.{head}", kind)
        found = vw.paths(model, BASE, SOURCE, senders="all", receivers=[receiver])
        frame, tokens = found.frame.set_index("sender_name"), found.metric.tokens
        for sender in ("embedding", "0.0", "mlp0"):
            own = difference(hand.to(sender, layer, component, head), tokens)
            own -= difference(plain, tokens)
            assert close(frame.loc[sender, "effect"], own, model), (kind, sender)


def test_a_masked_token_changes_nothing_of_the_others(request: pytest.FixtureRequest):
    """Infinite logits that are equal do not differ: the model treats rows alike."""
    plain, masked = (own_copy("tiny_gpt2", request) for _ in range(2))

    def mask(_module: Any, _args: Any, output: Any) -> Any:
        output.logits[..., -1] = -torch.inf
        return output

    masked.model.register_forward_hook(mask)
    targets = (" Rome", " Madrid")
    several: tuple[dict[str, Any], ...] = ({}, {"receivers": ["mlp1"]}, {"mlps": "recomputed"})
    for options in several:
        one, other = (
            vw.paths(each, BASE, SOURCE, senders="all", targets=targets, **options).frame
            for each in (plain, masked)
        )
        assert other["effect"].tolist() == pytest.approx(one["effect"].tolist(), abs=1e-6)
    one, other = (
        vw.circuit(each, BASE, SOURCE, heads=["0.1"], targets=targets).frame["value"]
        for each in (plain, masked)
    )
    assert other.tolist() == pytest.approx(one.tolist(), abs=1e-5)
    estimated = vw.attribute(masked, BASE, SOURCE, targets=targets)
    assert estimated.against(vw.sweep(masked, BASE, SOURCE, targets=targets)).cells > 1
    last = masked.sites.vocabulary - 1
    with pytest.raises(vw.RequestError, match="has the logit -inf in the base run"):
        vw.attribute(masked, BASE, SOURCE, targets=[last, " Rome"])


@contextmanager
def unchanged(model: vw.LanguageModel) -> Iterator[None]:
    root = model.model
    before = {name: tensor.clone() for name, tensor in root.state_dict().items()}
    flags = [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in root.modules()]
    asks = [parameter.requires_grad for parameter in root.parameters()]
    yield
    assert all(torch.equal(tensor, before[name]) for name, tensor in root.state_dict().items())
    assert asks == [parameter.requires_grad for parameter in root.parameters()]
    assert all(parameter.grad is None for parameter in root.parameters())
    assert flags == [
        (m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in root.modules()
    ]


def test_the_users_model_is_left_alone_and_its_hooks_count(request: pytest.FixtureRequest):
    model = own_copy("tiny_gpt2", request)
    model.model.train()
    block = model.model.transformer.h[1]

    def more(_module: Any, args: Any, kwargs: Any, output: Any) -> Any:
        given = args[0] if args else kwargs["hidden_states"]
        return (1.5 * output[0] + 0.3 * given, *output[1:])

    block.attn.register_forward_hook(more, with_kwargs=True)
    with unchanged(model):
        found = vw.paths(model, BASE, SOURCE, senders="all")
        with pytest.raises(vw.RequestError):
            vw.paths(model, BASE, SOURCE, receivers=[("0.0", "v")])
    hand, tokens = Hand(model), found.metric.tokens
    own = difference(hand.to_logits("1.0"), tokens) - difference(hand.run({}), tokens)
    # By hand, z is patched before the hook, and later outputs are held after it.
    assert close(found.frame.set_index("sender_name").loc["1.0", "effect"], own, model)
    total = found.frame["contribution"].sum() + found.bias
    assert total == pytest.approx(found.base_metric, abs=1e-4)


def test_a_block_that_does_more_than_add_is_refused(request: pytest.FixtureRequest):
    model = own_copy("tiny_gpt2", request)
    model.model.transformer.h[1].register_forward_hook(lambda _m, _a, out: out * 1.1)
    with pytest.raises(vw.RequestError, match=r"block 1 .* does more than add"):
        vw.paths(model, BASE, SOURCE)


def test_prompts_of_one_token(tiny_gpt2: vw.LanguageModel):
    found = vw.paths(tiny_gpt2, " Spain", " Italy", senders="all")
    assert found.frame["effect"].abs().max() > 0
    tokens = found.metric.tokens
    hand = Hand(tiny_gpt2, " Spain", " Italy")
    own = difference(hand.to_logits("1.1"), tokens) - difference(hand.run({}), tokens)
    assert close(found.frame.set_index("sender_name").loc["1.1", "effect"], own, tiny_gpt2)
    by_way = vw.paths(tiny_gpt2, " Spain", " Italy", receivers=[("1.0", "v")])
    assert len(by_way.frame) == tiny_gpt2.sites.heads


def test_small_batches_give_the_same_numbers(tiny_gpt2: vw.LanguageModel, monkeypatch: Any):
    options: list[dict[str, Any]] = [
        {"senders": "all"},
        {"receivers": ["mlp1", ("1.0", "q")], "senders": "all"},
        {"mlps": "recomputed", "receivers": ["mlp1"], "senders": "all"},
    ]
    whole = [vw.paths(tiny_gpt2, BASE, SOURCE, **each).frame for each in options]
    monkeypatch.setattr("vene_widgets.engine.residual.CPU_BYTES", 1)
    monkeypatch.setattr("vene_widgets.engine.residual.GPU_BYTES", 1)
    for each, frame in zip(options, whole, strict=True):
        one_by_one = vw.paths(tiny_gpt2, BASE, SOURCE, **each).frame
        assert one_by_one["effect"].tolist() == pytest.approx(frame["effect"].tolist(), abs=1e-5)


def test_more_than_memory_holds_is_refused(tiny_gpt2: vw.LanguageModel, monkeypatch: Any):
    monkeypatch.setattr("vene_widgets.methods.path_effects.MOST_BYTES", 100)
    with pytest.raises(vw.RequestError, match="Name fewer senders"):
        vw.paths(tiny_gpt2, BASE, SOURCE, receivers=["mlp1"])


# ---- figures ------------------------------------------------------------------------------------


def test_the_map_has_a_tile_for_every_head_and_mlp(tiny_gpt2: vw.LanguageModel):
    found = vw.paths(tiny_gpt2, BASE, SOURCE, senders="all")
    plot: Any = found.plot("Direct effects", style="dark")
    sites = tiny_gpt2.sites
    assert len(plot.data) == sites.layers * (sites.heads + 1)
    assert plot.data["value"].tolist() == pytest.approx(
        found.frame.loc[found.frame["sender"] != "embedding", "effect"].tolist()
    )
    assert set(plot.data.loc[plot.data["sender"] == "mlp", "column"]) == {sites.heads + 0.5}
    assert plot.labels.caption.startswith("embedding → logits:")
    for part_of_it in (BASE, SOURCE, "all else held", "final norm recomputed", tiny_gpt2.name):
        assert part_of_it in plot.labels.subtitle.replace("\n", " ")
    assert vw.figures.png(plot, dpi=30)


def test_a_map_of_many_receivers_shows_the_strongest(tiny_gpt2: vw.LanguageModel):
    ends = [(f"1.{head}", kind) for head in range(tiny_gpt2.sites.heads) for kind in "qkv"]
    found = vw.paths(tiny_gpt2, BASE, SOURCE, receivers=[*ends, "mlp1"])
    plot: Any = found.plot()
    shown = set(plot.data["receiver"])
    size = found.frame["effect"].abs().groupby(found.frame["receiver"]).max()
    assert shown == set(size.nlargest(6).index)
    assert "receivers with smaller effects are left out" in plot.labels.caption
    bars: Any = found.plot(strongest=4)
    assert len(bars.data) == 4
    assert vw.figures.png(plot, dpi=30) and vw.figures.png(bars, dpi=30)


def test_figures_refuse_what_they_cannot_draw(tiny_gpt2: vw.LanguageModel):
    frame = vw.paths(tiny_gpt2, BASE, SOURCE).frame
    with pytest.raises(vw.RequestError, match="column 'share' is not known"):
        vw.figures.path_map(frame, "share")
    with pytest.raises(vw.RequestError, match="needs column 'receiver'"):
        vw.figures.path_map(frame.drop(columns="receiver"))
    with pytest.raises(vw.RequestError, match="there is none"):
        vw.figures.path_bars(frame.iloc[:0])
    with pytest.raises(vw.RequestError, match="n must be a number of paths"):
        vw.paths(tiny_gpt2, BASE, SOURCE).strongest(0)
    with pytest.raises(vw.RequestError, match="neither"):
        vw.paths(tiny_gpt2, BASE, SOURCE, senders="embedding").plot()


# ---- passes -------------------------------------------------------------------------------------


def test_the_first_row_of_a_batch_is_the_base(tiny_gpt2: vw.LanguageModel):
    """Effects are differences from it, so it must be unchanged at every position."""
    from vene_widgets.engine.own_model import own_model
    from vene_widgets.engine.path_passes import Writer, received, recomputed
    from vene_widgets.engine.residual import record_residual
    from vene_widgets.engine.running import record_states
    from vene_widgets.engine.turns import finish

    model, writer = tiny_gpt2, Writer(0, 1)
    site = model.sites.site(1, "head_value_output", 0)
    metric = vw.paths(model, BASE, SOURCE, senders=["0.1"]).metric
    plain = record_states(model, BASE, [site])[site][0]
    with model.lock, torch.no_grad(), own_model(model):
        base, source = (
            record_residual(model, [token.id for token in model.tokens(prompt)])
            for prompt in (BASE, SOURCE)
        )
        [free] = recomputed(model, base, source, [writer], [4], [site], metric)[1]
        changes = torch.zeros(1, base.length, model.sites.d_model, device=model.device)
        changes[:, 3, 0] = 1.0
        [held_between] = finish(received(model, base, [site], changes))
    for found, moved in ((free, 4), (held_between, 3)):
        assert torch.allclose(found[0], plain, atol=1e-5)
        rows = (found[1] - found[0]).abs().amax(-1) > 1e-5
        assert rows.nonzero().flatten().tolist() == [moved]
