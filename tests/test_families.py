"""Every model family: tables, runs and maps against hooks by hand and against pyvene."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import families
import pytest
import torch
from by_hand import distance, evaluation, logits_in, plain_logits, token_ids
from families import CONFIGS, PartByHand, family_of
from torch import Tensor, nn

import vene_widgets as vw
from vene_widgets.engine.running import record_states
from vene_widgets.models import wrap
from vene_widgets.models.architectures import ARCHITECTURES
from vene_widgets.models.sites import require_architecture

BASE = "The capital of Spain is"
ITALY = "The capital of Italy is"  # differs in one token
LONGER = " Madrid capital capital of Italy is"  # differs everywhere, in length too
ONE, OTHER = BASE, " Rome Madrid Madrid Spain is"  # equal from position 3 on
MIDDLE = 3
TOLERANCE = 1e-5  # of the logits' range
NO_RESUMING = {"bloom": "bloom models compute attention inside their attention module"}

PAGE = Path(__file__).parents[1] / "docs" / "families.md"

Models = Callable[..., vw.LanguageModel]


@pytest.fixture(scope="module")
def models(tiny_tokenizer: Any, device: torch.device) -> Models:
    """Any of `CONFIGS`, wrapped; each is built once."""
    known: dict[tuple[str, str], vw.LanguageModel] = {}

    def get(name: str, attention: str = "", **options: Any) -> vw.LanguageModel:
        key = (name, f"{attention} {options}")
        if key not in known:
            built = families.build(name, len(tiny_tokenizer), attention, **options).to(device)
            known[key] = wrap(built, tiny_tokenizer, name)
        return known[key]

    return get


@pytest.fixture(params=CONFIGS)
def model(request: pytest.FixtureRequest, models: Models) -> vw.LanguageModel:
    return models(request.param)


@pytest.fixture(params=[name for name in CONFIGS if "-" not in name])
def plain_variant(request: pytest.FixtureRequest, models: Models) -> vw.LanguageModel:
    return models(request.param)


def whole_components(model: vw.LanguageModel) -> list[str]:
    return [name for name in model.sites.components if model.sites.head_count(name) is None]


def slot_at(component: str, layer: int, swept: vw.Sweep, column: int, **fields: Any) -> vw.Slot:
    """The slot of one cell of a sweep."""
    return vw.Slot(
        component=component,
        layer=layer,
        position=swept.plan.positions[column],
        source_position=swept.plan.source_positions[column],
        **fields,
    )


@contextmanager
def seen(module: nn.Module, side: str) -> Generator[list[Tensor], None, None]:
    """Collect the inputs or outputs of one of the model's own modules."""
    found: list[Tensor] = []

    def note(_module: Any, args: Any, output: Any) -> None:
        found.append(output if side == "output" else args[0])

    handle = module.register_forward_hook(note)
    try:
        yield found
    finally:
        handle.remove()


# ---- runs and maps, against hooks by hand --------------------------------------------------------

CELLS = ((0, 3), (1, 1), (2, 4))
"""Layer and column."""


def test_every_family_is_tested():
    assert {family_of(name) for name in CONFIGS} == set(ARCHITECTURES)


def test_every_component_is_what_a_hook_by_hand_gives(model: vw.LanguageModel):
    """Cells of a map and runs of their own, between prompts that differ in every token."""
    plain = plain_logits(model, BASE)
    cache = vw.ActivationCache()
    changed = 0
    for name in whole_components(model):
        swept = vw.sweep(model, BASE, LONGER, name, cache=cache)
        hand = PartByHand(model, BASE, LONGER, name)
        for layer, column in CELLS:
            position, partner = swept.plan.positions[column], swept.plan.source_positions[column]
            own = hand.logits(layer, position, partner)
            where = f"{name}, layer {layer}, position {position}"
            assert distance(swept.logits[layer, column], own[-1], own) <= TOLERANCE, where
            changed += distance(own, plain) > 100 * TOLERANCE
        slot = slot_at(name, layer, swept, column)
        single = vw.run(model, vw.Experiment(base=BASE, sources=LONGER, slots=[slot]), cache=cache)
        assert distance(single.logits, own) <= TOLERANCE, name
    assert changed == len(CELLS) * len(whole_components(model)), "a patch that changed nothing"


def test_every_head_is_what_a_hook_by_hand_gives(model: vw.LanguageModel):
    for name in model.sites.components:
        if (count := model.sites.head_count(name)) is None:
            continue
        swept = vw.sweep(model, BASE, LONGER, name, head="all", layers=(0, 2))
        assert swept.heads == tuple(range(count))
        for head in range(count):
            hand = PartByHand(model, BASE, LONGER, name, head)
            plan = swept.sweeps[head].plan
            for row, layer, column in ((0, 0, 2), (1, 2, 4)):
                own = hand.logits(layer, plan.positions[column], plan.source_positions[column])
                cell = swept.logits[row, head, column]
                assert distance(cell, own[-1], own) <= TOLERANCE, (name, head, layer)


def test_a_map_is_its_single_runs(model: vw.LanguageModel):
    """Between prompts that differ in one token: every column before it is the base itself."""
    for name in ("block_output", "value_output"):
        swept = vw.sweep(model, BASE, ITALY, name)
        cache = vw.ActivationCache()
        for layer in range(model.sites.layers):
            for column in (0, 3, 4):
                slot = slot_at(name, layer, swept, column)
                experiment = vw.Experiment(base=BASE, sources=ITALY, slots=[slot])
                own = vw.run(model, experiment, cache=cache, logits_to_keep=1).logits[-1]
                where = (name, layer, column)
                assert distance(swept.logits[layer, column], own) <= TOLERANCE, where


def test_plain_runs_are_the_models_own(model: vw.LanguageModel):
    for prompt in (BASE, LONGER):
        own = plain_logits(model, prompt)
        run = vw.run(model, vw.Experiment(base=prompt))
        assert distance(run.logits, own) <= TOLERANCE
        last = vw.run(model, vw.Experiment(base=prompt), logits_to_keep=1).logits
        assert last.shape == (1, own.shape[-1])
        assert distance(last[0], own[-1], own) <= TOLERANCE
        head = model.model.get_submodule(model.sites.unembedding)
        with seen(head, "input") as found:
            plain_logits(model, prompt)
        assert distance(run.last_hidden_state, found[0][0]) <= TOLERANCE


def test_a_batch_of_prompts_is_each_prompt_alone(model: vw.LanguageModel):
    """Two prompts of different lengths, padded on the left, patched with each other's states."""
    from vene_widgets.intervenable import IntervenableModel

    prompts = [BASE, " Madrid of Italy"]
    ids = [token_ids(model, prompt)[0] for prompt in prompts]
    missing = len(ids[0]) - len(ids[1])
    padding = torch.zeros(missing, dtype=torch.long, device=ids[0].device)
    batch = torch.stack([ids[0], torch.cat([padding, ids[1]])])
    mask = torch.ones_like(batch)
    mask[1, :missing] = 0
    last = len(ids[0]) - 1
    for component in ("key_output", "mlp_activation"):
        face = IntervenableModel({"layer": 1, "component": component}, model.model)
        original, changed = face(
            {"input_ids": batch, "attention_mask": mask},
            [{"input_ids": batch.flip(0), "attention_mask": mask.flip(0)}],
            {"sources->base": last},
            output_original_output=True,
        )
        for row, (prompt, other) in enumerate(zip(prompts, prompts[::-1], strict=True)):
            own = plain_logits(model, prompt)
            assert distance(original.logits[row, -len(own) :], own) <= TOLERANCE
            hand = PartByHand(model, prompt, other, component)
            own = hand.logits(1, len(ids[row]) - 1, len(ids[1 - row]) - 1)
            assert distance(changed.logits[row, -len(own) :], own) <= TOLERANCE, component


@pytest.mark.parametrize("kind", ["eager", "sdpa"])
def test_both_attention_functions(plain_variant: vw.LanguageModel, models: Models, kind: str):
    root: Any = plain_variant.model
    if kind == "sdpa" and not root._supports_sdpa:
        pytest.skip(f"{plain_variant.name} has no SDPA attention")
    names = [name for name in CONFIGS if family_of(name) == plain_variant.name]
    model = models(names[-1], kind)  # with a short window, where the family has windows
    assert model.model.config._attn_implementation == kind
    swept = vw.sweep(model, BASE, LONGER, "key_output")
    hand = PartByHand(model, BASE, LONGER, "key_output")
    for layer, column in CELLS:
        own = hand.logits(layer, swept.plan.positions[column], swept.plan.source_positions[column])
        assert distance(swept.logits[layer, column], own[-1], own) <= TOLERANCE, (layer, column)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_precisions(plain_variant: vw.LanguageModel, tiny_tokenizer: Any, dtype: torch.dtype):
    """Within the rounding of the model's own dtype; float64 far closer than float32 could be."""
    model = wrap(copy.deepcopy(plain_variant.model).to(dtype), tiny_tokenizer, plain_variant.name)
    # Norms, scores and rotary angles are in float32 in most families, whatever the dtype.
    tolerance = 1e-6 if dtype == torch.float64 else 8 * torch.finfo(dtype).eps
    for name in ("block_output", "key_output", "mlp_activation"):
        swept = vw.sweep(model, BASE, ITALY, name)
        hand = PartByHand(model, BASE, ITALY, name)
        for layer, column in CELLS:
            position, partner = swept.plan.positions[column], swept.plan.source_positions[column]
            own = hand.logits(layer, position, partner)
            where = f"{name}, layer {layer}, position {position}"
            assert distance(swept.logits[layer, column], own[-1], own) <= tolerance, where


def test_states_that_a_model_overwrites_are_recorded_before(models: Models):
    """OLMo clips queries, keys and values in place; the recorded ones are as they were computed."""
    model = models("olmo-clipped")
    for name in ("query_output", "key_output", "value_output"):
        found = record_states(model, BASE, [model.sites.site(1, name)])
        own = states(model, BASE, name, 1)
        assert torch.equal(found[model.sites.site(1, name)][0], own), name
        assert own.abs().max() > model.model.config.clip_qkv


def test_passes_are_resumed_in_every_family_but_one(model: vw.LanguageModel):
    assert model.resume_blocker == NO_RESUMING.get(family_of(model.name))


def before(run: vw.Run, slot: int) -> Tensor:
    """What a slot's hook found, `(positions, width)`."""
    stats = run.record[slot].stats
    assert stats is not None
    return stats.before


# ---- the facts of the tables ---------------------------------------------------------------------


def states(model: vw.LanguageModel, prompt: str, component: str, layer: int) -> Tensor:
    """A whole component by hand, `(positions, width)`."""
    hand = PartByHand(model, prompt, prompt, component)
    return hand.states(layer).flatten(1)


def test_before_attention_means_that_other_tokens_have_no_say(model: vw.LanguageModel):
    """In the first block: the state at a position is the same after other earlier tokens."""
    for name in whole_components(model):
        one, other = (states(model, prompt, name, 0)[MIDDLE] for prompt in (ONE, OTHER))
        is_equal = float((one - other).abs().max()) < 1e-5
        assert is_equal == model.sites.architecture.components[name].before_attention, name


def test_reaching_later_positions_means_within_the_last_block(model: vw.LanguageModel):
    """At the position before the last one, which every window reaches."""
    plain = vw.run(model, vw.Experiment(base=ONE)).logits[-1]
    last = model.sites.layers - 1
    for name in whole_components(model):
        slot = vw.Slot(layer=last, position=MIDDLE, component=name, intervention="noise", scale=5)
        run = vw.run(model, vw.Experiment(base=ONE, slots=[slot]))
        component = model.sites.architecture.components[name]
        assert run.record[0].fired
        assert torch.equal(run.logits[-1], plain) != component.reaches_later_positions, name


def test_a_head_shares_the_facts_of_the_whole_that_it_is_part_of():
    for architecture in ARCHITECTURES.values():
        for table in (architecture, *(variant.architecture for variant in architecture.variants)):
            for name, component in table.components.items():
                if name.startswith("head_"):
                    whole = table.components[name.removeprefix("head_")]
                    assert component.before_attention == whole.before_attention
                    assert component.reaches_later_positions == whole.reaches_later_positions
                    assert (component.module, component.part) == (whole.module, whole.part)


def test_the_first_token_attends_to_itself(model: vw.LanguageModel):
    """There, what a head attends to is the value of its key-value head."""
    sites = model.sites
    for layer in range(sites.layers):
        values = states(model, BASE, "value_output", layer)[0].view(sites.key_value_heads, -1)
        clip = getattr(model.model.config, "clip_qkv", None)
        values = values if clip is None else values.clamp(-clip, clip)
        attended = states(model, BASE, "attention_value_output", layer)[0].view(sites.heads, -1)
        shared = values.repeat_interleave(sites.heads // sites.key_value_heads, dim=0)
        assert torch.allclose(attended, shared, atol=1e-5)
        for head in range(sites.heads):  # what the package reads of one head
            slot = vw.Slot(
                layer=layer,
                component="head_attention_value_output",
                head=head,
                position=0,
                intervention="collect",
            )
            run = vw.run(model, vw.Experiment(base=BASE, slots=[slot]))
            assert torch.allclose(before(run, 0)[0], shared[head], atol=1e-5)


@pytest.mark.parametrize("component", ["query_output", "key_output"])
def test_zero_queries_or_keys_attend_to_everything_alike(model: vw.LanguageModel, component: str):
    """Every score is then equal, and a head attends to the mean of the values in reach."""
    if family_of(model.name) == "bloom":
        pytest.skip("ALiBi's bias stays")
    if getattr(model.model.config, "qk_layernorm", False) and family_of(model.name) == "phi":
        pytest.skip("a norm with a bias follows")
    window = families.WINDOW if model.name.endswith("-window") else families.POSITIONS
    slot = vw.Slot(layer=0, component=component, position="all", intervention="zero")
    read = vw.Slot(
        layer=0, component="attention_value_output", position="all", intervention="collect"
    )
    run = vw.run(model, vw.Experiment(base=BASE, slots=[slot, read]))
    values = states(model, BASE, "value_output", 0)
    values = values.view(len(values), model.sites.key_value_heads, -1)
    clip = getattr(model.model.config, "clip_qkv", None)
    values = values if clip is None else values.clamp(-clip, clip)
    shared = values.repeat_interleave(model.sites.heads // model.sites.key_value_heads, dim=1)
    first_layer_slides = family_of(model.name) != "gpt_neo"
    reach = window if first_layer_slides else families.POSITIONS
    for position in range(len(shared)):
        mean = shared[max(0, position + 1 - reach) : position + 1].mean(dim=0)
        found = before(run, 1)[position].view(mean.shape)
        assert torch.allclose(found, mean, atol=1e-5), position


def test_the_block_adds_what_the_table_says(model: vw.LanguageModel):
    """Output = input + attention's branch + the MLP's branch, after the norms that follow them."""
    layer, config = 1, model.model.config
    block: Any = model.model.get_submodule(f"{model.sites.architecture.blocks}.{layer}")
    one, attention, mlp, output = (
        states(model, BASE, name, layer)
        for name in ("block_input", "attention_output", "mlp_output", "block_output")
    )
    with evaluation(model.model):
        if norms := families.NORMED_BRANCHES.get(family_of(model.name)):
            attention = block.get_submodule(norms[0])(attention)
            mlp = block.get_submodule(norms[1])(mlp)
        scale = getattr(config, "residual_multiplier", 1.0)
        if not getattr(config, "do_layer_norm_before", True):
            total = block.final_layer_norm(block.self_attn_layer_norm(one + attention) + mlp)
        else:
            total = one + scale * (attention + mlp)
    assert torch.allclose(total, output, atol=1e-4)


def test_the_mlps_tensors_follow_from_its_weights(model: vw.LanguageModel):
    """The activation before gating, the output before any norm or factor."""
    block = model.model.get_submodule(f"{model.sites.architecture.blocks}.1")
    given, activation, output = (
        states(model, BASE, name, 1) for name in ("mlp_input", "mlp_activation", "mlp_output")
    )
    with evaluation(model.model):
        own = families.mlp_by_hand(model, block, given)
    assert torch.allclose(activation, own[0], atol=1e-5)
    assert torch.allclose(output, own[1], atol=1e-4)


def test_what_the_table_says_about_norms(model: vw.LanguageModel):
    """`after X` and `before X` in its first words: the output or the input of that module."""
    architecture, layer, checked = model.sites.architecture, 1, 0
    block = model.model.get_submodule(f"{architecture.blocks}.{layer}")
    for name in ("attention_input", "mlp_input", "attention_output", "mlp_output"):
        text = architecture.components[name].norm
        match = re.match(r"(after|before) (\w+)$", text)
        if match is None or (match[1] == "after") != name.endswith("input"):
            if text == "no norm before it":
                given = states(model, BASE, "block_input", layer)
                assert torch.equal(states(model, BASE, name, layer), given), name
                checked += 1
            continue
        side = "output" if match[1] == "after" else "input"
        with seen(block.get_submodule(match[2]), side) as found:
            own = states(model, BASE, name, layer)
        assert torch.equal(found[-1].view(own.shape), own), (name, text)
        checked += 1
    assert checked >= 1


def test_sites_are_named_as_the_modules_are(model: vw.LanguageModel):
    table = model.sites.table()
    assert list(table.component) == list(model.sites.components)
    assert (table.place.str.len() > 0).all()
    for name in whole_components(model):
        ids = token_ids(model, BASE)
        hand = PartByHand(model, BASE, BASE, name)
        assert hand.states(0, ids).flatten(1).shape[-1] == model.sites.width(name), name


# ---- the page ------------------------------------------------------------------------------------


def test_every_family_has_a_file_of_its_name_that_says_what_it_is():
    folder = Path(vw.__file__).parent / "models" / "architectures"
    shared = {"__init__", "architecture", "llama_like", "standard"}
    assert {path.stem for path in folder.glob("*.py")} - shared == set(ARCHITECTURES)
    for name in ARCHITECTURES:
        assert re.search(r"\(.*\b20\d\d\b", families.docstring(name)), name


def test_the_table_of_the_page_is_what_was_measured(models: Models):
    """`VENE_RENEW_FAMILIES=1` writes it anew."""
    blockers: dict[str, set[str | None]] = {}
    for name in CONFIGS:
        blockers.setdefault(family_of(name), set()).add(models(name).resume_blocker)
    measured = {name: found == {None} for name, found in blockers.items()}
    page = PAGE.read_text(encoding="utf-8")
    new = families.with_table(page, measured)
    if os.environ.get("VENE_RENEW_FAMILIES"):
        PAGE.write_text(new, encoding="utf-8")
    assert new == page or os.environ.get("VENE_RENEW_FAMILIES"), "run with VENE_RENEW_FAMILIES=1"


# ---- pyvene --------------------------------------------------------------------------------------

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


# ---- families that are not known -----------------------------------------------------------------


def test_an_unknown_family_is_refused_in_words():
    with pytest.raises(vw.RequestError) as caught:
        require_architecture("falcon", "model 'x': ")
    names = ", ".join(repr(name) for name in ARCHITECTURES)
    assert str(caught.value) == (
        f"model 'x': architecture 'falcon' is not known: the families that work are {names}. Load "
        "a model of one of them, or add a table of this one's modules to "
        'vene_widgets/models/architectures/ (docs/families.md, "Add a family").'
    )


def test_gemma_3_with_its_vision_tower_is_refused_with_what_to_load(
    tmp_path: Path, tiny_tokenizer: Any
):
    """What the page says to take out of it gives the whole model's numbers."""
    from transformers import Gemma3Config, Gemma3ForCausalLM, Gemma3ForConditionalGeneration

    vision = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "image_size": 8,
        "patch_size": 4,
    }
    text_config: Any = families.build(
        "gemma3_text-window",
        len(tiny_tokenizer),
        final_logit_softcapping=None,  # which only the text-only class would apply
    ).config
    config = Gemma3Config(text_config=text_config, vision_config=vision, mm_tokens_per_image=4)
    whole: Any = Gemma3ForConditionalGeneration(config).eval()
    whole.save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    words = (
        "architecture 'gemma3' is Gemma 3 with its vision tower. Load a text-only model, of the "
        "family 'gemma3_text' (for instance google/gemma-3-1b-it), or take the language model out "
        "of this one, as docs/families.md shows."
    )
    with pytest.raises(vw.RequestError, match=re.escape(words)):
        vw.load(str(tmp_path))
    with pytest.raises(vw.RequestError, match=re.escape(words)):
        wrap(whole, tiny_tokenizer)
    text: Any = Gemma3ForCausalLM(whole.config.text_config)
    text.model, text.lm_head = whole.model.language_model, whole.lm_head
    model = wrap(text.eval(), tiny_tokenizer)
    with torch.no_grad():
        own = whole(input_ids=token_ids(model, BASE)).logits[0]
    assert distance(vw.run(model, vw.Experiment(base=BASE)).logits, own) <= TOLERANCE
    assert model.resume_blocker is None


# ---- around them ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["opt", "bloom", "phi3", "qwen3"])
def test_a_script_for_pyvene_is_refused_where_it_has_no_table(name: str, models: Models) -> None:
    experiment = vw.Experiment(base=BASE, sources=ITALY, slots=[vw.Slot(layer=0, position=3)])
    with pytest.raises(vw.RequestError, match=f"pyvene has no table of {name} models.*'gpt2'"):
        vw.script(models(name), experiment, "pyvene")
    assert "intervenable" in vw.script(models(name), experiment, "intervenable")
    assert "from pyvene import" in vw.script(models("gemma2"), experiment, "pyvene")


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
