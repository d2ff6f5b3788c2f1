"""The rest of the package on every model family: what is not a plain map or run of one slot."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import families
import pytest
import torch
from by_hand import distance, plain_logits
from explorer_testing import SilentPainter, ask
from families import CONFIGS, PartByHand
from torch import Tensor

import vene_widgets as vw
from vene_widgets.codegen.script import Face, script
from vene_widgets.models import wrap

BASE = "The capital of Spain is"
ITALY = "The capital of Italy is"
LONGER = " Madrid capital capital of Italy is"  # differs everywhere, in length too
TWELVE = LONGER + " The capital of Spain is of"
PROMPTS = {"base": BASE, "sources": {"source": LONGER}}
TOLERANCE = 1e-4  # of the logits' range

PLAIN_VARIANTS = [name for name in CONFIGS if "-" not in name]  # one per family
FUSED = ("gpt2", "gpt_neox", "bloom", "phi3")

Build = Callable[..., vw.LanguageModel]


@pytest.fixture
def build(tiny_tokenizer: Any, device: torch.device) -> Build:
    """Any of `CONFIGS`, wrapped, with more settings of the config; nothing else has it."""

    def make(name: str, attention: str = "", **options: Any) -> vw.LanguageModel:
        net = families.build(name, len(tiny_tokenizer), attention, **options)
        return wrap(net.to(device), tiny_tokenizer, name)

    return make


def check_map_is_runs(
    model: vw.LanguageModel,
    base: str = BASE,
    source: str = LONGER,
    component: str = "block_output",
    tolerance: float = TOLERANCE,
) -> None:
    """Cells of a map, in three layers, are runs of their own, and one of them has an effect."""
    swept = vw.sweep(model, base, source, component)
    plan, cache, effects = swept.plan, vw.ActivationCache(), list[float]()
    plain = plain_logits(model, base)[-1]
    last = len(plan.positions) - 1
    for layer, column in ((0, 3), (1, 0), (1, last), (2, last)):
        slot = vw.Slot(
            layer=layer,
            component=component,
            position=plan.positions[column],
            source_position=plan.source_positions[column],
        )
        experiment = vw.Experiment(base=base, sources=source, slots=[slot])
        run = vw.run(model, experiment, cache=cache, logits_to_keep=1)
        where = (component, layer, column)
        assert distance(swept.logits[layer, column], run.logits[-1]) <= tolerance, where
        effects.append(distance(run.logits[-1], plain))
    assert max(effects) > 10 * TOLERANCE, "patches that changed nothing"


def last_head(model: vw.LanguageModel, component: str) -> int | None:
    count = model.sites.head_count(component)
    return None if count is None else count - 1


def numbers_of(model: vw.LanguageModel, experiment: vw.Experiment, face: Face) -> Tensor:
    """The result of a script for a wrapped model."""
    names: dict[str, Any] = {"hf_model": model.model, "tokenizer": model.tokenizer}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(script(model, experiment, face), "script", "exec"), names)  # noqa: S102
    return names["logits"]


# ---- experiments of several slots ----------------------------------------------------------------


@pytest.mark.parametrize("name", PLAIN_VARIANTS)
def test_groups_links_and_subspaces(name: str, build: Build) -> None:
    """Resumed or not, grouped or not, in the tutorial's names or ours: the same numbers."""
    model = build(name)
    rotated: dict[str, Any] = {
        "component": "value_output",
        "intervention": "rotated_space",
        "link": "shared",
        "subspace": [0, 1, 2],
        "source": "italy",
        "group": "A",
    }
    head = last_head(model, "head_key_output")
    slots = [
        vw.Slot(layer=0, position=3, **rotated),
        vw.Slot(layer=2, position=4, source_position=5, **rotated),
        vw.Slot(layer=1, position=1, source="italy", skip=True),
        vw.Slot(layer=1, component="head_key_output", head=head, position=[1, 3], source="italy"),
        vw.Slot(layer=1, component="query_output", position=2, intervention="zero"),
        vw.Slot(
            layer=1,
            component="mlp_activation",
            position=4,
            intervention="low_rank_rotated_space",
            rank=2,
            source="italy",
        ),
    ]
    experiment = vw.Experiment(base=BASE, sources={"italy": LONGER}, slots=slots)
    full = vw.run(model, experiment)
    cache = vw.ActivationCache()
    for prompt in (BASE, LONGER):
        vw.run(model, vw.Experiment(base=prompt), cache=cache)
    assert torch.equal(vw.run(model, experiment, cache=cache).logits, full.logits)
    assert vw.compare(full, vw.run(model, experiment.ungrouped())).verdict == "bit-equal"
    assert torch.equal(numbers_of(model, experiment, "vene_widgets"), full.logits)
    assert torch.equal(numbers_of(model, experiment, "intervenable"), full.logits)
    assert list(full.receipts.fired) == [True, True, False, True, True, True]
    assert full.receipts.others_equal.all()
    for index in (0, 1, 3, 4, 5):  # each of them has a part in it
        without = experiment.replace(
            slots=tuple(s.replace(skip=True) if n == index else s for n, s in enumerate(slots))
        )
        assert not torch.equal(vw.run(model, without).logits, full.logits), index


@pytest.mark.parametrize("name", [*FUSED, "gemma2", "opt", "qwen3"])
def test_a_subspace_is_fitted_saved_and_restored(name: str, build: Build, tmp_path: Path) -> None:
    model = build(name)
    pairs = [
        (BASE, ITALY, " Rome"),
        (ITALY, "The capital of France is", " Paris"),
        ("The capital of France is", BASE, " Madrid"),
        (BASE, "The capital of France is", " Paris"),
    ]
    head = last_head(model, "head_key_output")
    fit = vw.fit_subspace(
        model, pairs, 1, 3, 2, component="head_key_output", head=head, steps=2, progress=False
    )
    assert fit.site.width == model.sites.d_head
    experiment = vw.Experiment(base=BASE, sources=ITALY, slots=[fit.slot()])
    run = vw.run(model, experiment, weights=fit.weights)
    assert not torch.equal(run.logits, vw.run(model, vw.Experiment(base=BASE)).logits)
    vw.save(tmp_path / "fit", experiment, fit.weights)
    again, weights = vw.restore(tmp_path / "fit")
    assert again == experiment
    assert torch.equal(vw.run(model, again, weights=weights).logits, run.logits)


# ---- scripts in pyvene's names -------------------------------------------------------------------

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


# ---- models as their users have them -------------------------------------------------------------


@pytest.mark.parametrize("name", PLAIN_VARIANTS)
def test_a_saved_folder_gives_the_same_numbers(
    name: str, build: Build, tmp_path: Path, device: torch.device
) -> None:
    model = build(name)
    net: Any = model.model
    net.save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    loaded = vw.load(str(tmp_path), device=device)
    plain = vw.Experiment(base=BASE)
    assert torch.equal(vw.run(loaded, plain).logits, vw.run(model, plain).logits)
    assert loaded.resume_blocker == model.resume_blocker
    half = vw.load(str(tmp_path), device=device, dtype="bfloat16")
    assert half.dtype == torch.bfloat16 and half.resume_blocker == model.resume_blocker
    check_map_is_runs(half, component="value_output", tolerance=0.05)


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "gemma2", "bloom", "opt"])
def test_the_first_sweep_of_a_model_with_hooks_of_accelerate(name: str, build: Build) -> None:
    """They note on themselves where inputs were: that is no change of the model."""
    accelerate = pytest.importorskip("accelerate")
    whole = build(name)
    model = build(name)
    if model.device.type != "cpu":
        pytest.skip("the hooks are put on the CPU")
    net: Any = accelerate.dispatch_model(model.model, {"": "cpu"}, force_hooks=True)
    model = wrap(net, model.tokenizer, name)
    before = net._hf_hook.input_device
    swept = vw.sweep(model, BASE, ITALY)
    assert net._hf_hook.input_device == before, "the user's own hook was written to"
    assert model.resume_blocker is not None
    assert distance(swept.logits, vw.sweep(whole, BASE, ITALY).logits) <= 1e-5


@pytest.mark.filterwarnings("ignore::FutureWarning:transformers")
@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("qwen2", ["q_proj", "v_proj", "down_proj"]),
        ("gemma2", ["q_proj", "v_proj"]),
        ("gpt_neox", ["query_key_value", "dense"]),
    ],
)
def test_a_low_rank_adapter(name: str, targets: list[str], build: Build) -> None:
    peft: Any = pytest.importorskip("peft")
    bare = build(name)
    options = peft.LoraConfig(r=2, target_modules=targets, task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(build(name).model, options).eval()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for parameter_name, parameter in adapted.named_parameters():
            if "lora_B" in parameter_name:
                parameter.copy_(0.3 * torch.randn(parameter.shape))
    model = wrap(adapted, bare.tokenizer, name)
    own = vw.run(model, vw.Experiment(base=BASE)).logits
    assert distance(own, plain_logits(model, BASE)) <= 1e-5
    assert distance(own, plain_logits(bare, BASE)) > TOLERANCE
    assert model.resume_blocker is not None
    check_map_is_runs(model, component="query_output")


# ---- settings ------------------------------------------------------------------------------------

_ROPE: dict[str, dict[str, Any]] = {
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 4},
    "dynamic": {"factor": 4.0},
    "longrope": {"factor": 4.0, "original_max_position_embeddings": 6},
}


@pytest.mark.parametrize("kind", _ROPE)
@pytest.mark.parametrize("name", ["llama", "mistral-window", "gpt_neox"])
def test_scaled_rotary_beyond_the_length_of_training(kind: str, name: str, build: Build) -> None:
    """Prompts of 5 and 12 tokens: frequencies may depend on which of the two is run."""
    rope = {"rope_type": kind, "rope_theta": 50.0, **_ROPE[kind]}
    parts = 5  # pairs of numbers that are rotated
    if name == "gpt_neox":
        rope["partial_rotary_factor"], parts = 0.5, 2
    if kind == "longrope":
        rope["short_factor"] = [1.0] * parts
        rope["long_factor"] = [2.0 + n for n in range(parts)]
    model = build(name, rope_parameters=rope, max_position_embeddings=6)
    assert model.resume_blocker is None
    for base, source in ((BASE, TWELVE), (TWELVE, BASE)):
        own = plain_logits(model, base)
        assert distance(vw.run(model, vw.Experiment(base=base)).logits, own) <= 1e-5
        check_map_is_runs(model, base, source, "key_output")


SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    ("llama", {"num_key_value_heads": 1}),
    ("qwen3", {"attention_bias": True, "tie_word_embeddings": True}),
    ("qwen2", {**CONFIGS["qwen2-window"][1], "layer_types": ["full_attention"] * 3}),
    ("gpt_neox", {"attention_bias": False}),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True, "tie_word_embeddings": False}),
    ("opt", {"enable_bias": False, "layer_norm_elementwise_affine": False}),
    ("opt", {"word_embed_proj_dim": 16}),
    ("bloom", {"apply_residual_connection_post_layernorm": True}),
    ("stablelm", {"num_key_value_heads": 6, "qk_layernorm": True, "use_qkv_bias": False}),
    ("phi", {"qk_layernorm": False}),
    ("starcoder2", {"use_bias": False, "tie_word_embeddings": False}),
    ("gptj", {"rotary_dim": 8}),
    ("mistral", {"sliding_window": 3, "head_dim": 6}),
    ("gemma2", {"attn_logit_softcapping": None, "final_logit_softcapping": None}),
    ("gemma3_text", {"use_bidirectional_attention": True}),
    ("smollm3", {"no_rope_layers": None, "no_rope_layer_interval": 2}),
]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize(("name", "options"), SETTINGS, ids=range(len(SETTINGS)))
def test_settings_that_make_another_block(
    name: str, options: dict[str, Any], attention: str, build: Build
) -> None:
    if name in ("bloom", "gemma2") and attention == "sdpa":
        pytest.skip("transformers has no such attention for it")
    model = build(name, attention, **options)
    own = plain_logits(model, BASE)
    assert distance(vw.run(model, vw.Experiment(base=BASE)).logits, own) <= 1e-5
    check_map_is_runs(model, component="mlp_output")
    for component in ("head_query_output", "head_key_output", "mlp_activation"):
        head = last_head(model, component)
        hand = PartByHand(model, BASE, LONGER, component, head)
        slot = vw.Slot(layer=1, component=component, head=head, position=3)
        run = vw.run(model, vw.Experiment(base=BASE, sources=LONGER, slots=[slot]))
        assert distance(run.logits, hand.logits(1, 3, 3)) <= 1e-5, component


# ---- the screen ----------------------------------------------------------------------------------


@pytest.fixture
def explore(silent_painter: SilentPainter) -> Iterator[Callable[..., vw.Explorer]]:
    opened: list[vw.Explorer] = []

    def make(model: vw.LanguageModel, source: str) -> vw.Explorer:
        opened.append(vw.explore(BASE, source, model=model))
        return opened[-1].wait(30)

    yield make
    for explorer in opened:
        explorer.close()


@pytest.mark.parametrize("name", ["gpt_neox", "gemma2", "opt", "bloom", "mistral-window", "phi3"])
def test_the_explorer(name: str, build: Build, explore: Callable[..., vw.Explorer]) -> None:
    model = build(name, "eager" if name == "gemma2" else "")
    explorer = explore(model, ITALY)

    def click(*slots: dict[str, Any]) -> None:
        asked = {"base": BASE, "sources": {"source": ITALY}, "slots": list(slots)}
        assert ask(explorer, kind="experiment", experiment=asked)["ok"]

    assert explorer.map["done"] == explorer.map["total"] == 15
    for cell in explorer.map["cells"][3::4]:
        click({"layer": cell["layer"], "position": cell["position"]})
        exact = explorer.answer["runs"][-1]["top"][0]
        assert cell["top"][0]["token_id"] == exact["token_id"]
        assert cell["top"][0]["probability"] == pytest.approx(exact["probability"], abs=1e-5)
    click({"layer": 0, "position": 3, "group": "A"}, {"layer": 2, "position": 4, "group": "A"})
    assert [one["verdict"] for one in explorer.answer["verdicts"]] == ["bit-equal"]
    count = model.sites.head_count("head_key_output")
    assert count is not None
    key: dict[str, Any] = {"layer": 1, "position": 3, "component": "head_key_output"}
    click({**key, "head": count - 1})
    reply = ask(explorer, kind="sweep", component="head_key_output", head=count - 1)
    assert reply["ok"] and explorer.map["done"] == 15
    reply = ask(explorer, kind="sweep", component="head_key_output", head=count)
    assert not reply["ok"] and f"needs a head: 0 to {count - 1}, not {count}" in reply["error"]
    again = vw.from_state(explorer.state(), model=model).wait(30)
    assert again.experiment == explorer.experiment
    assert torch.equal(again.run.logits, explorer.run.logits)
    again.close()


# ---- requests that are refused -------------------------------------------------------------------


@pytest.mark.parametrize("name", [*FUSED, "opt", "qwen3"])
def test_a_refusal_is_one_sentence_that_names_what_is_valid(name: str, build: Build) -> None:
    model = build(name)
    count = model.sites.key_value_heads
    width = model.sites.d_head
    head: dict[str, Any] = {"component": "head_key_output", "head": 0}
    refused: list[tuple[dict[str, Any], str]] = [
        ({"component": "head_key_output", "head": count}, f"needs a head: 0 to {count - 1}"),
        ({"component": "head_value_output"}, "needs a head"),
        ({"component": "mlp_output", "head": 1}, "one vector per position"),
        ({"component": "attention_weight"}, "cannot be reached"),
        ({"component": "mlp_gate"}, "is not known. Valid: 'block_input'"),
        ({"layer": 7}, "layer 7 is out of range: the model has 3 layers"),
        ({**head, "subspace": [width]}, f"distinct dims from 0 to {width - 1}"),
        (
            {**head, "intervention": "low_rank_rotated_space", "rank": width + 1},
            f"expected 1 to {width}, the width of the site",
        ),
    ]
    for fields, words in refused:
        slot = {"layer": 1, "position": 3, **fields}
        with pytest.raises(vw.RequestError) as caught:
            vw.run(model, vw.Experiment.model_validate({**PROMPTS, "slots": [slot]}))
        text = str(caught.value)
        assert words in text and "\n" not in text, fields


@pytest.mark.parametrize(
    "options",
    [{"_remove_final_layer_norm": True}, {"do_layer_norm_before": False}],
    ids=lambda options: next(iter(options)),
)
def test_a_model_without_a_final_norm(tiny_tokenizer: Any, options: dict[str, Any]) -> None:
    """The last block's output is then the last hidden state."""
    hf: Any = families.build("opt", len(tiny_tokenizer), **options)
    model = wrap(hf, tiny_tokenizer, "opt")
    run = vw.run(model, vw.Experiment(base=BASE))
    ids = torch.tensor([[token.id for token in model.tokens(BASE)]])
    with torch.no_grad():
        own = hf(input_ids=ids, output_hidden_states=True)
    assert torch.allclose(run.logits, own.logits[0], atol=1e-5)
    assert torch.allclose(run.last_hidden_state, own.hidden_states[-1][0], atol=1e-5)
