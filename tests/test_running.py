"""What an intervention means, as identities that hold on every model."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vene_widgets import interventions
from vene_widgets.engine.fitting import fit_subspace
from vene_widgets.engine.running import Run, record_states, run
from vene_widgets.engine.weights import make_weights
from vene_widgets.errors import RequestError
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.slot import Slot
from vene_widgets.models import LanguageModel
from vene_widgets.sweeps.sweep import sweep

SPAIN, ITALY, FRANCE = (f"The capital of {c} is" for c in ("Spain", "Italy", "France"))
MODELS = ["tiny_gpt2", "tiny_llama", "capitals"]
EVERYWHERE = (0, 1, 2, 3, 4)


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return request.getfixturevalue(request.param)


@pytest.fixture(params=MODELS[:2])
def tiny(request: pytest.FixtureRequest) -> LanguageModel:
    return request.getfixturevalue(request.param)


def swap(layer: int, position: Any, component: str = "block_output", **more: Any) -> Slot:
    return Slot(layer=layer, position=position, component=component, **more)


def swapped(*slots: Slot, base: str = SPAIN, **sources: str) -> Experiment:
    """An experiment on `base`, with Italy as its source unless others are named."""
    return Experiment(base=base, sources=sources or {"italy": ITALY}, slots=slots)


def everywhere(model: LanguageModel, layer: int) -> list[Slot]:
    """A slot at every component, every head, every position of one layer."""
    slots = []
    for component in model.sites.components:
        count = model.sites.head_count(component)
        heads = [None] if count is None else range(count)
        slots += [swap(layer, EVERYWHERE, component, head=head) for head in heads]
    return slots


def ids_of(model: LanguageModel, prompt: str) -> Tensor:
    return torch.tensor([[token.id for token in model.tokens(prompt)]], device=model.device)


def plain(model: LanguageModel, prompt: str) -> Tensor:
    """The model as Hugging Face runs it, nothing of ours involved: logits `(positions, vocab)`."""
    with torch.no_grad():
        return model.model(input_ids=ids_of(model, prompt)).logits[0]


def differ(one: Run, other: Run) -> bool:
    return not torch.equal(one.logits, other.logits)


# ---- nothing to do -------------------------------------------------------------------------------


def test_an_empty_experiment_is_the_plain_forward_pass(model: LanguageModel):
    result = run(model, Experiment(base=SPAIN))
    # Transformers leaves hooks on a model that was asked for its hidden states: ask a copy.
    hf: Any = copy.deepcopy(model.model)
    with torch.no_grad():
        output = hf(input_ids=ids_of(model, SPAIN), output_hidden_states=True)
    assert torch.equal(result.logits, output.logits[0])
    assert torch.equal(result.last_hidden_state, output.hidden_states[-1][0])
    # Hugging Face gives the last block's output only after the final norm.
    for layer in range(model.sites.layers - 1):
        assert torch.equal(result.states[layer], output.hidden_states[layer + 1][0])
    assert result.states.shape == (model.sites.layers, 5, model.sites.d_model)
    assert result.source_runs == 0 and result.record == ()


def test_swapping_a_run_into_itself_changes_nothing(model: LanguageModel):
    base = run(model, Experiment(base=SPAIN))
    layers = sorted({0, 1, model.sites.layers - 1})
    for layer in layers:
        for slot in everywhere(model, layer):
            result = run(model, swapped(slot, source=SPAIN))
            assert torch.equal(result.logits, base.logits), slot
            assert torch.equal(result.states, base.states), slot
            assert result.record[0].fired
    at_once = [slot for layer in layers for slot in everywhere(model, layer)]
    assert torch.equal(run(model, swapped(*at_once, source=SPAIN)).logits, base.logits)


def test_every_single_slot_changes_something(tiny: LanguageModel):
    """The other side of the self-swap: from another run, each site at position 3 matters."""
    base = run(tiny, Experiment(base=SPAIN))
    for layer in range(3):
        for slot in everywhere(tiny, layer):
            result = run(tiny, swapped(slot.model_copy(update={"position": 3})))
            assert differ(result, base), slot


def test_skipped_slots_change_nothing(model: LanguageModel):
    base = run(model, Experiment(base=SPAIN))
    slots = tuple(swap(layer, 3, skip=True) for layer in range(3))
    result = run(model, swapped(*slots))
    assert torch.equal(result.logits, base.logits) and result.source_runs == 0
    assert not result.receipts.fired.any()


# ---- what a swap brings --------------------------------------------------------------------------


def test_all_positions_of_the_first_input_give_the_sources_logits(model: LanguageModel):
    result = run(model, swapped(swap(0, EVERYWHERE, "block_input")))
    assert torch.equal(result.logits, plain(model, ITALY))


def test_all_positions_of_any_block_give_the_sources_logits(tiny: LanguageModel):
    for layer, component in itertools.product(range(3), ("block_input", "block_output")):
        result = run(tiny, swapped(swap(layer, EVERYWHERE, component)))
        assert torch.equal(result.logits, plain(tiny, ITALY))


def test_positions_before_the_swap_cannot_see_it(model: LanguageModel):
    base = run(model, Experiment(base=SPAIN))
    for position in (3, 4):
        result = run(model, swapped(swap(0, position, source_position=3)))
        assert torch.equal(result.logits[:position], base.logits[:position])
        assert torch.equal(result.states[:, :position], base.states[:, :position])
        assert not torch.equal(result.logits[position], base.logits[position])


def test_the_last_blocks_output_reaches_its_own_position_only(model: LanguageModel):
    base = run(model, Experiment(base=SPAIN))
    result = run(model, swapped(swap(-1, 3)))
    assert result.record[0].fired
    others = [0, 1, 2, 4]
    assert torch.equal(result.logits[others], base.logits[others])
    assert not torch.equal(result.logits[3], base.logits[3])


def test_source_position_i_goes_to_base_position_j(tiny: LanguageModel):
    source = "The capital of France is Paris"
    states = run(tiny, Experiment(base=source)).states
    slot = swap(1, [4, 1, 2], source_position=[2, -1, 2])
    result = run(tiny, swapped(slot, source=source))
    assert torch.equal(result.states[1, [4, 1, 2]], states[1, [2, 5, 2]])
    base = run(tiny, Experiment(base=SPAIN))
    assert torch.equal(result.states[1, [0, 3]], base.states[1, [0, 3]])
    assert result.receipts.base_positions[0] == (4, 1, 2)
    assert result.receipts.source_positions[0] == (2, 5, 2)


def test_negative_and_text_positions_are_the_same_places(tiny: LanguageModel):
    results = [
        run(tiny, swapped(swap(layer, position)))
        for layer, position in ((1, 3), (-2, -2), (1, " Spain"), (1, [3]))
    ]
    assert all(torch.equal(result.logits, results[0].logits) for result in results)


def test_a_list_of_positions_is_as_good_as_one_slot_each(tiny: LanguageModel):
    for component in tiny.sites.components:
        head = None if tiny.sites.head_count(component) is None else 0
        together = run(tiny, swapped(swap(1, [3, 4], component, head=head)))
        apart = run(tiny, swapped(*(swap(1, p, component, head=head) for p in (4, 3))))
        assert torch.equal(together.logits, apart.logits)


def test_all_heads_of_a_component_are_the_whole_component(tiny: LanguageModel):
    for component in tiny.sites.components:
        count = tiny.sites.head_count(component)
        if count is None:
            continue
        slots = [swap(1, 3, component, head=head) for head in range(count)]
        whole = run(tiny, swapped(swap(1, 3, component.removeprefix("head_"))))
        assert torch.equal(run(tiny, swapped(*slots)).logits, whole.logits)
        single = [run(tiny, swapped(slot)) for slot in slots]
        assert all(differ(one, whole) for one in single)
        assert all(differ(one, other) for one, other in itertools.pairwise(single))


def test_a_head_slot_touches_its_head_only(tiny_gpt2: LanguageModel):
    """Position 4 attends anew, so each head's mixed values show whether that head was touched."""
    slot = swap(1, 3, "head_value_output", head=1)
    sites = [tiny_gpt2.sites.site(1, "head_attention_value_output", head) for head in range(3)]
    before = record_states(tiny_gpt2, SPAIN, sites)
    model = LanguageModel("copy", copy.deepcopy(tiny_gpt2.model), tiny_gpt2.tokenizer)
    seen: list[Tensor] = []
    module = model.model.get_submodule("transformer.h.1.attn.c_proj")
    module.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    run(model, swapped(slot))
    for head, site in enumerate(sites):
        after = seen[-1][..., site.start : site.stop]
        assert torch.equal(after, before[site]) == (head != 1)


# ---- several slots -------------------------------------------------------------------------------


@pytest.fixture
def three(model: LanguageModel) -> tuple[Slot, ...]:
    """Three slots at different places of one network, reading one source."""
    last = model.sites.layers - 1
    return (
        swap(0, 3),
        swap(last, 4, "attention_output"),
        swap(1, 3, "head_value_output", head=0),
    )


def test_grouped_is_ungrouped(model: LanguageModel, three: tuple[Slot, ...]):
    groups = (("g", "g", "g"), ("g", None, "g"), ("a", "b", "a"), (None, None, None))
    results = [
        run(
            model,
            swapped(
                *(s.model_copy(update={"group": g}) for s, g in zip(three, names, strict=True))
            ),
            share_sources=share,
        )
        for names in groups
        for share in (True, False)
    ]
    assert all(torch.equal(result.logits, results[0].logits) for result in results)
    assert [result.source_runs for result in results] == [1, 1, 1, 2, 1, 2, 1, 3]


def test_any_one_of_three_equal_slots_gives_the_same(model: LanguageModel):
    one = run(model, swapped(swap(0, 3)))
    for live in range(3):
        slots = [swap(0, 3, skip=index != live) for index in range(3)]
        result = run(model, swapped(*slots))
        assert torch.equal(result.logits, one.logits)
        assert result.receipts.fired.tolist() == [index == live for index in range(3)]
        assert result.receipts.slot.tolist() == [0, 1, 2]
        assert result.receipts.skipped.tolist() == [index != live for index in range(3)]


def test_a_skipped_slot_is_as_if_it_were_not_there(model: LanguageModel, three: tuple[Slot, ...]):
    for skipped in range(3):
        slots = [s.model_copy(update={"skip": i == skipped}) for i, s in enumerate(three)]
        without = [s for i, s in enumerate(three) if i != skipped]
        result = run(model, swapped(*slots))
        assert torch.equal(result.logits, run(model, swapped(*without)).logits)
        fired = result.receipts.set_index("slot").fired
        assert fired.to_dict() == {i: i != skipped for i in range(3)}


def test_different_sites_act_in_network_order(model: LanguageModel):
    slots = (
        swap(0, 3),
        swap(1, 3, "block_input", source_position=4),  # right after the first: it has the last word
        swap(1, 4, "query_output"),
        swap(1, 4, "mlp_output"),
    )
    results = [run(model, swapped(*order)) for order in itertools.permutations(slots)]
    assert all(torch.equal(result.logits, results[0].logits) for result in results)
    later = run(model, swapped(*slots[1:]))
    assert torch.equal(results[0].states[1:], later.states[1:])
    assert differ(results[0], run(model, swapped(slots[0], *slots[2:])))


def test_slots_at_one_site_act_in_list_order(model: LanguageModel):
    two = {"italy": ITALY, "france": FRANCE}
    italy, france = (swap(0, 3, source=name) for name in two)
    single = [run(model, swapped(slot, base=SPAIN, **two)) for slot in (italy, france)]
    assert differ(*single)
    assert torch.equal(run(model, swapped(france, italy, **two)).logits, single[0].logits)
    assert torch.equal(run(model, swapped(italy, france, **two)).logits, single[1].logits)


def test_each_slot_sees_what_the_one_before_left(tiny: LanguageModel):
    """The second swap of one site finds the source's vectors there already: no change is left."""
    result = run(tiny, swapped(swap(0, [2, 3]), swap(0, 3)))
    sizes = result.receipts["size"].tolist()
    assert sizes[0] > 0 and sizes[1] == 0
    assert result.record[1].fired and result.record[1].idle


def test_a_slot_downstream_reads_the_sources_own_run_not_the_changed_base(tiny: LanguageModel):
    states = run(tiny, Experiment(base=ITALY)).states
    result = run(tiny, swapped(swap(0, 3), swap(2, 4)))
    assert torch.equal(result.states[2, 4], states[2, 4])


# ---- source runs ---------------------------------------------------------------------------------


@pytest.fixture
def counted(tiny: LanguageModel) -> tuple[LanguageModel, list[str]]:
    """A model that notes the prompt of each of its forward passes."""
    model = LanguageModel("counted", copy.deepcopy(tiny.model), tiny.tokenizer)
    passes: list[str] = []

    def note(_module: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
        passes.append(model.tokenizer.decode(kwargs["input_ids"][0]))

    model.model.register_forward_pre_hook(note, with_kwargs=True)
    return model, passes


def test_each_distinct_source_runs_once_then_the_base(counted: tuple[LanguageModel, list[str]]):
    model, passes = counted
    sources = {"italy": ITALY, "same": ITALY, "france": FRANCE, "unused": SPAIN}
    slots = [
        *(swap(layer, 3, source="italy") for layer in range(3)),
        swap(0, 4, source="same"),
        swap(1, 4, source="france"),
        swap(2, 4, source="unused", skip=True),
    ]
    result = run(model, swapped(*slots, **sources))
    assert passes == [ITALY, FRANCE, SPAIN] and result.source_runs == 2


def test_unshared_sources_run_once_per_group_and_once_per_lone_slot(
    counted: tuple[LanguageModel, list[str]],
):
    model, passes = counted
    slots = [
        swap(0, 3, group="g"),
        swap(1, 3),
        swap(2, 3, group="g"),
        swap(2, 4),
        swap(1, 4, group="h"),
        swap(0, 4, skip=True),
    ]
    result = run(model, swapped(*slots), share_sources=False)
    assert passes == [ITALY] * 4 + [SPAIN] and result.source_runs == 4
    passes.clear()
    assert torch.equal(run(model, swapped(*slots)).logits, result.logits)
    assert passes == [ITALY, SPAIN]


def test_a_refused_experiment_runs_nothing(counted: tuple[LanguageModel, list[str]]):
    model, passes = counted
    with pytest.raises(RequestError, match=r"slots\[1\]: layer 7"):
        run(model, swapped(swap(0, 3), swap(7, 3)))
    assert passes == []


def test_there_is_no_state_between_runs(model: LanguageModel, three: tuple[Slot, ...]):
    experiment = swapped(*three)
    first = run(model, experiment)
    run(model, swapped(swap(0, 4, source_position=1), base=FRANCE))
    assert torch.equal(run(model, experiment).logits, first.logits)
    assert torch.equal(run(model, Experiment(base=SPAIN)).logits, plain(model, SPAIN))


def test_arguments_are_never_changed(tiny: LanguageModel):
    sources, slots = (
        {"b": ITALY, "a": FRANCE},
        [swap(0, [3, -1], source="a"), swap(1, 3, source="b")],
    )
    experiment = Experiment.model_validate({"base": SPAIN, "sources": sources, "slots": slots})
    text, kept = experiment.model_dump_json(), copy.deepcopy((sources, slots))
    run(tiny, experiment)
    run(tiny, experiment, share_sources=False)
    assert experiment.model_dump_json() == text and (sources, slots) == kept


# ---- receipts ------------------------------------------------------------------------------------


def test_receipts_measure_the_change_at_the_site(tiny: LanguageModel):
    for component in tiny.sites.components:
        head = None if tiny.sites.head_count(component) is None else 1
        site = tiny.sites.site(1, component, head)
        slot = swap(1, [4, 3], component, head=head, source_position=[3, 1])
        result = run(tiny, swapped(slot))
        base, source = (record_states(tiny, p, [site])[site][0] for p in (SPAIN, ITALY))
        size = sum(((base[j] - source[i]) ** 2).sum() for j, i in ((4, 3), (3, 1))) ** 0.5
        (row,) = result.receipts.itertuples()
        assert row.size == pytest.approx(float(size), rel=1e-4) and row.size > 0
        assert (row.slot, row.layer, row.component, row.head) == (0, 1, component, head)
        assert (row.source, row.skipped, row.fired) == ("italy", False, True)
        assert row.shape == (1, 5, site.width) and row.rows == 2 and row.others_equal


def test_receipts_have_the_same_columns_without_slots(tiny: LanguageModel):
    empty, one = run(tiny, Experiment(base=SPAIN)).receipts, run(tiny, swapped(swap(0, 3))).receipts
    assert list(empty.columns) == list(one.columns) and len(empty) == 0
    assert one.notna().drop(columns="head").all(axis=None)


def test_a_site_that_is_never_reached_is_an_error_or_a_receipt(
    tiny_gpt2: LanguageModel, monkeypatch: pytest.MonkeyPatch
):
    model = LanguageModel("bypassed", copy.deepcopy(tiny_gpt2.model), tiny_gpt2.tokenizer)
    mlp = model.model.get_submodule("transformer.h.1.mlp")
    experiment = swapped(swap(1, 3, "mlp_activation"))
    forward = mlp.forward

    def bypass(hidden_states: Tensor, first: int) -> Tensor:
        passes.append(hidden_states)
        return forward(hidden_states) if len(passes) <= first else hidden_states

    for first in (0, 1):
        passes: list[Tensor] = []
        monkeypatch.setattr(mlp, "forward", lambda x, first=first: bypass(x, first))
        if first == 0:
            with pytest.raises(RequestError, match="mlp_activation of layer 1 was never reached"):
                run(model, experiment)
        else:
            result = run(model, experiment)
            assert not result.record[0].fired and result.record[0].stats is None
            assert result.receipts.fired.tolist() == [False]


def test_a_skipped_slots_receipt_says_so(tiny: LanguageModel):
    result = run(tiny, swapped(swap(1, 3, skip=True)))
    assert result.receipts.skipped.tolist() == [True]
    assert not result.record[0].fired and not result.record[0].idle


# ---- the user's own model ------------------------------------------------------------------------


def test_runs_see_what_the_users_own_hooks_do(tiny: LanguageModel):
    """The user steers block 1; our slot there acts on the steered model, base and source alike."""
    model = LanguageModel("steered", copy.deepcopy(tiny.model), tiny.tokenizer)
    block = model.model.get_submodule(f"{model.sites.architecture.blocks}.1")

    def doubled(_module: nn.Module, _args: Any, output: Any) -> Any:
        return (2 * output[0], *output[1:]) if isinstance(output, tuple) else 2 * output

    block.register_forward_hook(doubled)
    assert torch.equal(run(model, Experiment(base=SPAIN)).logits, plain(model, SPAIN))
    result = run(model, swapped(swap(1, 3)))
    source = run(tiny, Experiment(base=ITALY)).states[1]
    base = run(tiny, Experiment(base=SPAIN)).states[1]
    expected = 2 * base
    expected[3] = 2 * source[3]
    assert torch.equal(result.states[1], expected)
    everything = run(model, swapped(swap(0, EVERYWHERE, "block_input")))
    assert torch.equal(everything.logits, plain(model, ITALY))


def test_a_slot_writes_on_a_copy_of_what_others_hold(tiny: LanguageModel):
    """One tensor is block 0's output and block 1's input: only the latter is swapped."""
    model = LanguageModel("watched", copy.deepcopy(tiny.model), tiny.tokenizer)
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _args: Any, output: Any) -> None:
        kept.append(output[0] if isinstance(output, tuple) else output)

    block = model.model.get_submodule(f"{model.sites.architecture.blocks}.0")
    block.register_forward_hook(keep)
    result = run(model, swapped(swap(1, 3, "block_input")))
    base = run(tiny, Experiment(base=SPAIN))
    assert torch.equal(kept[-1][0], base.states[0])
    assert torch.equal(result.states[0], base.states[0])
    assert not torch.equal(result.states[1], base.states[1])


def test_a_run_agrees_with_hooks_written_by_hand(tiny: LanguageModel):
    """The interchange once more, with nothing of the package in it but the module's name."""
    path = f"{tiny.sites.architecture.blocks}.1.mlp"
    model: Any = copy.deepcopy(tiny.model)
    mlp, kept = model.get_submodule(path), {}
    handle = mlp.register_forward_hook(lambda _m, _a, output: kept.update(source=output.clone()))
    with torch.no_grad():
        model(input_ids=ids_of(tiny, ITALY))
    handle.remove()

    def put(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
        output[0, 4] = kept["source"][0, 3]
        return output

    mlp.register_forward_hook(put)
    with torch.no_grad():
        expected = model(input_ids=ids_of(tiny, SPAIN)).logits[0]
    result = run(tiny, swapped(swap(1, 4, "mlp_output", source_position=3)))
    assert torch.equal(result.logits, expected)


def test_a_model_set_to_keep_everything_runs_all_the_same(tiny: LanguageModel):
    model = LanguageModel("keeper", copy.deepcopy(tiny.model), tiny.tokenizer)
    config: Any = model.model.config
    config.use_cache, config.output_hidden_states = True, True
    experiment = swapped(swap(1, 3))
    assert torch.equal(run(model, experiment).logits, run(tiny, experiment).logits)


def test_half_precision_models_obey_the_same_identities(tiny: LanguageModel):
    model = LanguageModel("half", copy.deepcopy(tiny.model).bfloat16(), tiny.tokenizer)
    result = run(model, swapped(swap(0, EVERYWHERE, "block_input")))
    assert result.logits.dtype == torch.bfloat16
    assert torch.equal(result.logits, plain(model, ITALY))
    itself = run(model, swapped(*everywhere(model, 1), source=SPAIN))
    assert torch.equal(itself.logits, plain(model, SPAIN))


# ---- Run -----------------------------------------------------------------------------------------


def test_top_is_the_softmax_of_the_last_position(model: LanguageModel):
    result = run(model, swapped(swap(0, 3)))
    probabilities = result.logits[-1].double().softmax(-1)
    top: Any = result.top(5)
    assert list(top.columns) == ["rank", "token", "token_id", "probability", "logit"]
    assert top["rank"].tolist() == [1, 2, 3, 4, 5]
    assert top.token_id.tolist() == probabilities.argsort(descending=True)[:5].tolist()
    for row in top.itertuples():
        assert row.token == model.token_text(row.token_id)
        assert row.probability == pytest.approx(probabilities[row.token_id].item(), rel=1e-5)
        assert row.logit == pytest.approx(result.logits[-1, row.token_id].item(), rel=1e-6)
    assert len(result.frame) == model.sites.vocabulary
    assert result.frame.probability.sum() == pytest.approx(1, abs=1e-5)


def test_a_run_describes_itself(tiny: LanguageModel):
    result = run(
        tiny, swapped(swap(0, 3), swap(1, 3, skip=True), base="The capital of Spain is <b>")
    )
    assert "2 slots, 1 live" in repr(result)
    assert "<b>" not in result._repr_html_() and "<table" in result._repr_html_()
    assert result.milliseconds > 0 and result.tokens[3].text == " Spain"


# ---- operators -----------------------------------------------------------------------------------


def act(intervention: str, layer: int = 1, position: Any = 3, **more: Any) -> Slot:
    return Slot(layer=layer, position=position, intervention=intervention, **more)


@pytest.mark.parametrize("name", ["zero", "noise", "mean", "collect"])
def test_operators_without_a_source_need_none(model: LanguageModel, name: str):
    slot = act(name, position=(3, 4), prompts=(ITALY, FRANCE) if name == "mean" else ())
    result = run(model, Experiment(base=SPAIN, slots=[slot]))
    assert result.source_runs == 0 and result.record[0].fired
    beside = run(model, Experiment(base=SPAIN, sources={"a": ITALY, "b": FRANCE}, slots=[slot]))
    assert torch.equal(result.logits, beside.logits) and beside.source_runs == 0
    assert differ(result, run(model, Experiment(base=SPAIN))) is (name != "collect")


def test_zero_addition_and_subtraction_are_what_they_say(tiny: LanguageModel):
    base, source = (run(tiny, Experiment(base=prompt)).states[1, 3] for prompt in (SPAIN, ITALY))
    for name, wanted in (
        ("zero", torch.zeros_like(base)),
        ("addition", base + source),
        ("subtraction", base - source),
    ):
        state = run(tiny, swapped(act(name))).states[1, 3]
        assert torch.equal(state, wanted), name


def test_the_mean_is_over_the_prompts_at_the_same_place(tiny: LanguageModel):
    prompts = (ITALY, FRANCE, "of The capital of Spain is")
    slot = act("mean", position=(3, -1), source_position=(2, -1), prompts=prompts)
    state = run(tiny, Experiment(base=SPAIN, slots=[slot])).states[1]
    states = [run(tiny, Experiment(base=prompt)).states[1].double() for prompt in prompts]
    for position, other in ((3, 2), (-1, -1)):
        wanted = sum(state[other] for state in states) / 3
        assert (state[position].double() - wanted).abs().max() < 1e-6
    alone = slot.model_copy(update={"prompts": (ITALY,)})
    swap_in = swap(1, (3, -1), source_position=(2, -1))
    mean = run(tiny, Experiment(base=SPAIN, slots=[alone]))
    assert torch.equal(mean.logits, run(tiny, swapped(swap_in)).logits)


def test_collect_keeps_the_values_and_changes_nothing(model: LanguageModel):
    base = run(model, Experiment(base=SPAIN))
    result = run(model, Experiment(base=SPAIN, slots=[act("collect", position=(4, 2))]))
    assert torch.equal(result.logits, base.logits) and torch.equal(result.states, base.states)
    (receipt,) = result.record
    assert receipt.stats is not None and not receipt.idle
    assert torch.equal(receipt.stats.before, base.states[1, [4, 2]])
    assert torch.equal(receipt.stats.after, receipt.stats.before)
    assert receipt.stats.rows == 2 and receipt.stats.size == 0


def test_collect_sees_what_slots_before_it_left(tiny: LanguageModel):
    slots = [act("collect"), act("zero"), act("collect")]
    first, _, last = run(tiny, Experiment(base=SPAIN, slots=slots)).record
    assert first.stats is not None and last.stats is not None
    assert first.stats.before.abs().max() > 0 and last.stats.before.abs().max() == 0


def test_strength_goes_from_the_base_to_the_source(tiny: LanguageModel):
    base, source = (run(tiny, Experiment(base=prompt)).states[1, 3] for prompt in (SPAIN, ITALY))
    plain_run, full = run(tiny, Experiment(base=SPAIN)), run(tiny, swapped(act("vanilla")))
    none = run(tiny, swapped(act("vanilla", strength=0)))
    assert torch.equal(none.logits, plain_run.logits) and not none.record[0].idle
    one = run(tiny, swapped(act("vanilla", strength=1)))
    assert torch.equal(one.logits, full.logits) and differ(one, plain_run)
    half = run(tiny, swapped(act("vanilla", strength=0.5)))
    assert torch.allclose(half.states[1, 3], (base + source) / 2, atol=1e-6)
    size = half.record[0].stats
    assert size is not None and full.record[0].stats is not None
    assert size.size == pytest.approx(full.record[0].stats.size / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("fields", "dims"),
    [
        ({"subspace": [0, 5]}, [0, 5]),
        ({"subspace": "0:2"}, [0, 1]),
        ({"subspace": [0, 2]}, [0, 2]),
        ({"subspace": "left", "partition": {"left": (0, 1), "right": (1, 2)}}, [0]),
        ({"subspace": "right", "partition": {"left": (0, 1), "right": (1, 2)}}, [1]),
    ],
)
def test_a_subspace_names_the_only_coordinates_that_change(
    tiny: LanguageModel, fields: dict[str, Any], dims: list[int]
):
    for name in ("vanilla", "zero", "noise", "addition"):
        (receipt,) = run(tiny, swapped(act(name, **fields))).record
        assert receipt.stats is not None
        changed = (receipt.stats.before != receipt.stats.after)[0].nonzero()[:, 0]
        assert changed.tolist() == dims, name
        assert receipt.stats.others_equal


def test_an_idle_slot_is_one_that_was_meant_to_act(tiny: LanguageModel):
    def idle(slot: Slot, **sources: str) -> bool:
        (receipt,) = run(tiny, swapped(slot, **sources)).record
        return receipt.idle

    assert idle(act("vanilla"), source=SPAIN)
    assert not idle(act("vanilla"))
    for quiet in (act("collect"), act("vanilla", skip=True), act("vanilla", strength=0)):
        assert not idle(quiet), quiet
    assert idle(act("noise", scale=0))


def test_a_zeroed_slots_receipt_tells_its_norm(tiny: LanguageModel):
    (receipt,) = run(tiny, Experiment(base=SPAIN, slots=[act("zero")])).record
    norm = run(tiny, Experiment(base=SPAIN)).states[1, 3].double().norm().item()
    assert receipt.stats is not None and receipt.stats.size == pytest.approx(norm)
    assert receipt.stats.others_equal and receipt.stats.after.abs().max() == 0
    assert receipt.stats.rows == 1


def test_noise_is_the_same_in_every_run_and_another_for_another_seed(tiny: LanguageModel):
    runs = [run(tiny, Experiment(base=SPAIN, slots=[act("noise", seed=s)])) for s in (1, 1, 2)]
    assert torch.equal(runs[0].logits, runs[1].logits) and differ(runs[0], runs[2])
    before = torch.get_rng_state()
    run(tiny, swapped(act("noise"), act("rotated_space")))
    assert torch.equal(before, torch.get_rng_state())


# ---- links ---------------------------------------------------------------------------------------

HALVES = {"zero": (0, 1), "one": (1, 2)}


def low_rank(subspace: str | None = None, layer: int = 0, **more: Any) -> Slot:
    fields = {"rank": 2, "partition": HALVES, "subspace": subspace, "link": "shared", **more}
    return act("low_rank_rotated_space", layer, 4, **fields)


def last(model: LanguageModel, *slots: Slot) -> Tensor:
    return run(model, swapped(*slots)).last_hidden_state


def test_two_linked_slots_in_different_subspaces(model: LanguageModel):
    """Four comparisons: one of the pair, the other, both, both in the other order."""
    skipped = low_rank("zero", skip=True)
    second = last(model, skipped, low_rank("one"))
    first = last(model, low_rank("one"), skipped)
    both = last(model, low_rank("zero"), low_rank("one"))
    turned = last(model, low_rank("one"), low_rank("zero"))
    assert torch.equal(second, first)
    assert not torch.equal(first, both)
    assert not torch.allclose(second, both, atol=1e-5)
    assert torch.allclose(both, turned, atol=1e-5)


def test_both_halves_of_a_linked_pair_are_the_whole(tiny: LanguageModel):
    pair = last(tiny, low_rank("zero"), low_rank("one"))
    whole = last(tiny, low_rank())
    assert torch.allclose(pair, whole, atol=1e-4)
    assert not torch.allclose(whole, last(tiny), atol=1e-4)


def test_a_link_shares_weights_and_nothing_else(model: LanguageModel):
    """Linked slots at different sites each read their own base and their own source."""
    linked = swapped(low_rank("zero"), low_rank("one", layer=1))
    apart = swapped(low_rank("zero", link=None), low_rank("one", layer=1, link=None))
    weights = make_weights(model, linked)
    assert list(weights) == ["link shared"]
    shared = weights["link shared"]
    one = run(model, linked, weights=weights)
    two = run(model, apart, weights={"slot 0": shared, "slot 1": shared})
    assert torch.equal(one.logits, two.logits) and torch.equal(one.states, two.states)
    for left, right in zip(one.record, two.record, strict=True):
        assert left.stats is not None and right.stats is not None and not left.idle
        assert torch.equal(left.stats.before, right.stats.before)
    other = run(
        model,
        apart,
        weights={
            "slot 0": shared,
            "slot 1": type(shared)(dataclasses.replace(shared.options, seed=1)).to(model.device),
        },
    )
    assert differ(one, other)


def test_weights_begin_from_the_slots_seed(tiny: LanguageModel):
    one, same, other = (
        run(tiny, swapped(low_rank("zero", seed=seed))).logits for seed in (0, 0, 1)
    )
    assert torch.equal(one, same) and not torch.equal(one, other)


@pytest.mark.parametrize(
    ("key", "slot", "message"),
    [
        ("slot 0", low_rank(), r"key of weights 'slot 0' is not known.*'link shared'"),
        ("link shared", act("rotated_space", link="shared"), "needs a RotatedSpace of width"),
        ("link shared", low_rank(rank=3), r"of width \d+ and rank 2; slots\[0\] needs .* rank 3"),
        ("link shared", low_rank(component="mlp_activation"), "needs a LowRankRotatedSpace of w"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    tiny: LanguageModel, key: str, slot: Slot, message: str
):
    shared = make_weights(tiny, swapped(low_rank()))["link shared"]
    with pytest.raises(RequestError, match=message):
        run(tiny, swapped(slot), weights={key: shared})


# ---- serial mode ---------------------------------------------------------------------------------

CHAIN = {"italy": ITALY, "france": FRANCE}


def chain(*slots: Slot, mode: Any = "serial") -> Experiment:
    return Experiment(base=SPAIN, sources=CHAIN, slots=slots, mode=mode)


def by_hand(model: LanguageModel, layer: int, first: tuple[int, int], second: tuple[int, int]):
    """italy -> france -> base by plain hooks: logits of the base's run.

    Block outputs `layer` and `layer + 1`; `first` and `second` are pairs of positions, from and to.
    """
    blocks: Any = model.model.get_submodule(model.sites.architecture.blocks)

    def forward(prompt: str, block: int, place: tuple[int, Tensor] | None, keep: int) -> Any:
        kept: list[Tensor] = []

        def write(_module: Any, _args: Any, output: Any) -> Any:
            if place is None:
                return output
            state = (output[0] if isinstance(output, tuple) else output).clone()
            state[0, place[0]] = place[1]
            return (state, *output[1:]) if isinstance(output, tuple) else state

        def read(_module: Any, _args: Any, output: Any) -> None:
            kept.append((output[0] if isinstance(output, tuple) else output).clone())

        handles = [blocks[block].register_forward_hook(write)]
        handles.append(blocks[keep].register_forward_hook(read))
        try:
            with torch.no_grad():
                logits = model.model(input_ids=ids_of(model, prompt)).logits[0]
        finally:
            for handle in handles:
                handle.remove()
        return kept[0][0], logits

    italy, _ = forward(ITALY, layer, None, layer)
    france, _ = forward(FRANCE, layer, (first[1], italy[first[0]]), layer + 1)
    _, logits = forward(SPAIN, layer + 1, (second[1], france[second[0]]), layer)
    return logits


@pytest.mark.parametrize(("first", "second"), [((3, 3), (4, 4)), ((3, 2), (3, 4))])
def test_a_serial_chain_is_what_hooks_by_hand_give(
    model: LanguageModel, first: tuple[int, int], second: tuple[int, int]
):
    slots = (
        swap(0, first[1], source="italy", source_position=first[0]),
        swap(1, second[1], source="france", source_position=second[0]),
    )
    serial = run(model, chain(*slots))
    assert torch.equal(serial.logits, by_hand(model, 0, first, second))
    assert serial.source_runs == 2
    assert differ(serial, run(model, chain(*slots, mode="parallel")))
    assert differ(serial, run(model, chain(slots[1], mode="parallel")))


def test_the_receipt_of_a_slot_on_a_source_run_is_about_that_run(tiny: LanguageModel):
    slots = (swap(0, 3, source="italy"), swap(1, 4, source="france"))
    on_france, on_base = run(tiny, chain(*slots)).record
    assert on_france.planned.target == "france" and on_base.planned.target is None
    france = run(tiny, Experiment(base=FRANCE)).states
    assert on_france.stats is not None and on_base.stats is not None
    assert torch.equal(on_france.stats.before[0], france[0, 3])
    assert torch.equal(on_base.stats.before[0], run(tiny, Experiment(base=SPAIN)).states[1, 4])
    moved = run(tiny, swapped(swap(0, 3), base=FRANCE)).states[1, 4]
    assert torch.equal(on_base.stats.after[0], moved)


def test_a_slot_on_a_source_run_that_nobody_reads_says_that_it_did_not_fire(tiny: LanguageModel):
    slots = (swap(0, 3, source="italy"), swap(1, 4, source="france", skip=True))
    result = run(tiny, chain(*slots))
    assert not result.record[0].fired and result.record[0].idle
    assert torch.equal(result.logits, run(tiny, Experiment(base=SPAIN)).logits)


def test_the_order_of_sources_is_the_order_of_the_chain(tiny: LanguageModel):
    slots = (swap(1, 4, source="france"), swap(0, 3, source="italy"))
    one = run(tiny, chain(*slots))
    assert torch.equal(one.logits, run(tiny, chain(*slots[::-1])).logits)
    turned = dict(reversed(CHAIN.items()))
    assert differ(one, run(tiny, chain(*slots).replace(sources=turned)))


def test_serial_with_one_source_is_parallel(model: LanguageModel):
    slots = (swap(0, 3), act("addition", 1, 4), act("zero", 1, 2))
    one = run(model, swapped(*slots))
    two = run(model, swapped(*slots).replace(mode="serial"))
    assert torch.equal(one.logits, two.logits) and torch.equal(one.states, two.states)


@pytest.mark.parametrize("mode", ["parallel", "serial"])
def test_groups_change_no_result_in_either_mode(tiny: LanguageModel, mode: str):
    slots = (
        swap(0, 3, source="italy", group="i"),
        swap(1, 2, source="italy", group="i", source_position=4),
        swap(1, 4, source="france", group="f"),
        swap(2, 4, "mlp_output", source="france", group="f"),
    )
    grouped = chain(*slots, mode=mode)
    one = run(tiny, grouped)
    for share in (True, False):
        other = run(tiny, grouped.ungrouped(), share_sources=share)
        assert torch.equal(one.logits, other.logits) and torch.equal(one.states, other.states)
    assert all(receipt.fired and not receipt.idle for receipt in one.record)


# ---- gradients -----------------------------------------------------------------------------------


def loss_of(model: LanguageModel, experiment: Experiment, weights: Any) -> Tensor:
    result = run(model, experiment, weights=weights, gradients=True)
    return result.logits[-1].log_softmax(-1)[5]


def test_gradients_reach_the_shared_rotation_and_nothing_of_the_model(model: LanguageModel):
    experiment = swapped(low_rank("zero"), low_rank("one"))
    weights = make_weights(model, experiment)
    parameters = list(model.model.parameters())
    asking = [p.requires_grad for p in parameters]
    asleep = parameters[0].requires_grad
    parameters[0].requires_grad = True  # whatever else the model's loader did
    parameters[1].requires_grad = False
    flags = [p.requires_grad for p in parameters]
    try:
        loss_of(model, experiment, weights).backward()
        assert [p.requires_grad for p in parameters] == flags
        assert all(p.grad is None for p in parameters)
    finally:
        parameters[0].requires_grad = asleep
        parameters[1].requires_grad = asking[1]
    (rotation,) = weights["link shared"].parameters()
    assert rotation.grad is not None and rotation.grad.abs().max() > 0


def test_without_gradients_there_are_none(tiny: LanguageModel):
    experiment = swapped(low_rank())
    weights = make_weights(tiny, experiment)
    result = run(tiny, experiment, weights=weights)
    with_them = run(tiny, experiment, weights=weights, gradients=True)
    assert not result.logits.requires_grad and with_them.logits.requires_grad
    assert torch.equal(result.logits, with_them.logits)
    assert not result.states.requires_grad and with_them.states.requires_grad
    assert with_them.record[0].stats is not None
    assert with_them.record[0].stats.after.requires_grad
    # What people look at works all the same.
    assert with_them.top(3).token_id.tolist() == result.top(3).token_id.tolist()
    assert repr(with_them) == repr(result) and with_them.receipts.equals(result.receipts)


def test_requires_grad_is_put_back_when_a_run_fails(tiny: LanguageModel):
    parameters = list(tiny.model.parameters())
    flags = [p.requires_grad for p in parameters]
    assert any(flags)

    def fail(*_: Any) -> None:
        raise RuntimeError("half-way")

    handle = tiny.model.get_submodule(tiny.sites.unembedding).register_forward_hook(fail)
    try:
        with pytest.raises(RuntimeError, match="half-way"):
            run(tiny, swapped(low_rank()), gradients=True)
    finally:
        handle.remove()
    assert [p.requires_grad for p in parameters] == flags


def test_a_linked_pairs_gradient_is_the_sum_of_both_uses(tiny_gpt2: LanguageModel):
    """Against central differences of the loss, in float64 (Llama's norms stay in float32)."""
    hf = copy.deepcopy(tiny_gpt2.model).double()
    wide = LanguageModel("wide", hf, tiny_gpt2.tokenizer)
    linked = swapped(low_rank("zero"), low_rank("one", layer=1))
    apart = swapped(low_rank("zero", link=None), low_rank("one", layer=1, link=None))
    shared = make_weights(wide, linked)["link shared"].double()
    (rotation,) = shared.parameters()

    loss_of(wide, linked, {"link shared": shared}).backward()
    together = rotation.grad
    assert together is not None
    pair = [copy.deepcopy(shared) for _ in range(2)]
    loss_of(wide, apart, {"slot 0": pair[0], "slot 1": pair[1]}).backward()
    halves = [next(module.parameters()).grad for module in pair]
    assert halves[0] is not None and halves[1] is not None
    assert halves[0].abs().max() > 1e-6 and halves[1].abs().max() > 1e-6
    assert torch.allclose(together, halves[0] + halves[1], atol=1e-10)

    step = 1e-5
    for row, column in ((2, 0), (3, 1), (10, 0), (20, 1)):
        moved = []
        for sign in (1, -1):
            module = copy.deepcopy(shared)
            with torch.no_grad():
                next(module.parameters())[row, column] += sign * step
            moved.append(loss_of(wide, linked, {"link shared": module}).item())
        wanted = (moved[0] - moved[1]) / (2 * step)
        assert together[row, column].item() == pytest.approx(wanted, rel=1e-4, abs=1e-9)


def test_gradients_flow_through_a_chain(tiny: LanguageModel):
    slots = (low_rank(source="italy"), low_rank(layer=1, source="france", link=None))
    weights = make_weights(tiny, chain(*slots))
    run(tiny, chain(*slots), weights=weights, gradients=True).logits[-1, 0].backward()
    for module in weights.values():
        (rotation,) = module.parameters()
        assert rotation.grad is not None and rotation.grad.abs().max() > 0


# ---- published figures ---------------------------------------------------------------------------


def probability(result: Run, text: str) -> float:
    return result.logits[-1].softmax(-1)[result.model.token_id(text)].item()


def test_smollm2_hands_the_answer_over_after_layer_22(smollm2: LanguageModel):
    assert probability(run(smollm2, Experiment(base=SPAIN)), " Madrid") == pytest.approx(
        0.377, abs=2e-3
    )
    assert probability(run(smollm2, Experiment(base=ITALY)), " Rome") == pytest.approx(
        0.380, abs=2e-3
    )
    rome = {
        (layer, position): probability(run(smollm2, swapped(swap(layer, position))), " Rome")
        for layer in (22, 23)
        for position in (3, 4)
    }
    assert rome[22, 3] == pytest.approx(0.335, abs=2e-3)
    assert rome[23, 4] == pytest.approx(0.315, abs=2e-3)
    assert rome[22, 4] < rome[22, 3] and rome[23, 3] < rome[23, 4]


def test_smollm2_obeys_the_identities(smollm2: LanguageModel):
    """A real model of another family and size: few runs, each many slots at once."""
    base = run(smollm2, Experiment(base=SPAIN))
    assert torch.equal(base.logits, plain(smollm2, SPAIN))
    itself = run(smollm2, swapped(*everywhere(smollm2, 0), *everywhere(smollm2, 17), source=SPAIN))
    assert torch.equal(itself.logits, base.logits)
    source = run(smollm2, swapped(swap(0, EVERYWHERE, "block_input")))
    assert torch.equal(source.logits, plain(smollm2, ITALY))
    slots = swap(12, 3, group="g"), swap(3, 4, "head_key_output", head=2, group="g")
    grouped = run(smollm2, swapped(*slots))
    ungrouped = run(smollm2, swapped(*slots[::-1]).ungrouped(), share_sources=False)
    assert torch.equal(grouped.logits, ungrouped.logits) and differ(grouped, base)
    assert torch.equal(grouped.logits[:3], base.logits[:3])


def test_gpt2_gives_the_published_figures(gpt2_hub: LanguageModel):
    spain, italy = (run(gpt2_hub, Experiment(base=prompt)) for prompt in (SPAIN, ITALY))
    for result, expected in (
        (spain, {" Madrid": 0.105012, " the": 0.094970, " Barcelona": 0.070279}),
        (italy, {" Rome": 0.157349, " the": 0.073164, " Milan": 0.046879}),
    ):
        assert result.top(3).token.tolist() == list(expected)
        for token, value in expected.items():
            assert probability(result, token) == pytest.approx(value, abs=1e-5)
    early = run(gpt2_hub, swapped(swap(0, 3)))
    assert probability(early, " Madrid") == pytest.approx(0.006, abs=1e-3)
    assert probability(early, " Rome") == pytest.approx(0.118, abs=1e-3)
    late = run(gpt2_hub, swapped(swap(11, 4, "attention_output")))
    assert probability(late, " Madrid") == pytest.approx(0.155, abs=1e-3)


@pytest.mark.usefixtures("restored_registry")
def test_a_run_without_a_distribution_has_a_repr(tiny: LanguageModel):
    interventions.register("broken", lambda base, source: base * float("nan"), needs_source=False)
    slot = Slot(layer=0, position=-1, intervention="broken")
    broken = run(tiny, Experiment(base=SPAIN, slots=[slot]))
    assert "no distribution" in repr(broken)
    assert "no distribution" in broken._repr_html_()


@pytest.mark.parametrize("keep", [-1, 1.5, None, True])
def test_logits_to_keep_is_a_number_of_positions(tiny: LanguageModel, keep: Any):
    with pytest.raises(RequestError, match=f"logits_to_keep must be .* got {keep}"):
        run(tiny, Experiment(base=SPAIN), logits_to_keep=keep)


def test_arguments_of_another_kind_are_named(tiny: LanguageModel):
    experiment: Any = Experiment(base=SPAIN, sources=ITALY, slots=[Slot(layer=0, position=3)])
    model: Any = tiny
    with pytest.raises(
        RequestError, match=r"experiment must be an Experiment, got a dict.*model_validate"
    ):
        run(model, experiment.model_dump())
    with pytest.raises(RequestError, match=r"model must come from vw\.load.*got a str"):
        run("capitals", experiment)  # pyright: ignore[reportArgumentType]
    with pytest.raises(RequestError, match=r"model must come from vw\.load.*got a str"):
        sweep("capitals", SPAIN, ITALY)  # pyright: ignore[reportArgumentType]
    with pytest.raises(RequestError, match=r"model must come from vw\.load.*got a str"):
        fit_subspace("capitals", [], 0, 0, 1)  # pyright: ignore[reportArgumentType]
    with pytest.raises(RequestError, match=r"weights 'slot 0' are a str; .*needs a Vanilla"):
        run(model, experiment, weights={"slot 0": "trained"})  # pyright: ignore[reportArgumentType]
