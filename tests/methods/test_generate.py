"""vw.generate: what slots do to a text, what is left as it was, and what is refused."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from by_hand import FAMILIES, own_copy
from torch import Tensor

import vene_widgets as vw
from vene_widgets.models import wrap

BASE, ITALY = "The capital of Spain is", "The capital of Italy is"
LENGTH, MORE = 5, 6


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> vw.LanguageModel:
    return own_copy(request.param, request)


@pytest.fixture
def gpt2(request: pytest.FixtureRequest) -> vw.LanguageModel:
    return own_copy("tiny_gpt2", request)


def patch(*slots: vw.Slot, **fields: Any) -> vw.Experiment:
    return vw.Experiment(base=BASE, sources=ITALY, slots=slots, **fields)


SWAP = vw.Slot(layer=1, position=3)


def write_by_hand(
    model: vw.LanguageModel, changes: list[tuple[int, Callable[[int, Tensor], Tensor]]]
) -> list[int]:
    """Greedy decoding of whole texts of GPT-2, with functions of position and state by layer."""
    root: Any = model.model
    text = torch.tensor([[t.id for t in model.tokens(BASE)]], device=model.device)

    def hook_of(change: Callable[[int, Tensor], Tensor]) -> Any:
        def hook(_module: Any, _args: Any, output: Any) -> Any:
            state = output[0] if isinstance(output, tuple) else output
            new = state.clone()
            for position in range(new.shape[1]):
                new[0, position] = change(position, new[0, position])
            return (new, *output[1:]) if isinstance(output, tuple) else new

        return hook

    handles = [
        root.transformer.h[layer].register_forward_hook(hook_of(change))
        for layer, change in changes
    ]
    with torch.no_grad():
        for _ in range(MORE):
            chosen = root(input_ids=text).logits[0, -1].argmax()
            text = torch.cat([text, chosen.view(1, 1)], -1)
            if int(chosen) == 0:
                break
    for handle in handles:
        handle.remove()
    return text[0, LENGTH:].tolist()


def states_of(model: vw.LanguageModel, prompt: str, layer: int) -> Tensor:
    return vw.run(model, vw.Experiment(base=prompt)).states[layer]


# ---- what slots do ------------------------------------------------------------------------------


def test_the_first_token_has_the_logits_of_a_run(model: vw.LanguageModel) -> None:
    """Groups, links, serial chains, every operator: the pass over the prompt is that of `run`."""
    rotated = vw.Slot(layer=0, position=[2, 3], intervention="low_rank_rotated_space", rank=2)
    experiments = [
        patch(SWAP, vw.Slot(layer=2, position=-1, component="mlp_output", strength=2)),
        patch(rotated, vw.Slot(layer=1, position="all", intervention="zero", subspace="0:3")),
        patch(vw.Slot(layer=1, position=-1, intervention="mean", prompts=[ITALY, BASE])),
        patch(vw.Slot(layer=1, position=[1, 2], intervention="noise", scale=3)),
        vw.Experiment(
            base=BASE,
            sources={"a": ITALY, "b": "The capital of France is"},
            slots=[
                vw.Slot(layer=0, position=3, source="a"),
                vw.Slot(layer=1, position=4, source="b"),
            ],
            mode="serial",
        ),
    ]
    for experiment in experiments:
        run = vw.run(model, experiment)
        for use_cache in (True, False):
            found = vw.generate(model, experiment, 1, use_cache=use_cache, baseline=False)
            assert (found.logits[0] - run.logits[-1].cpu()).abs().max() <= 1e-5
            assert found.tokens == (int(run.logits[-1].argmax()),)


@pytest.mark.parametrize("use_cache", [True, False])
def test_operators_on_every_new_token_are_hooks_by_hand(
    gpt2: vw.LanguageModel, use_cache: bool
) -> None:
    source, width = states_of(gpt2, ITALY, 1), gpt2.sites.d_model
    mean = (states_of(gpt2, ITALY, 1)[2] + states_of(gpt2, BASE, 1)[2]) / 2
    noise = torch.randn(width, generator=torch.Generator().manual_seed(7)).to(gpt2.device)
    cases: list[tuple[dict[str, Any], Callable[[Tensor], Tensor]]] = [
        ({"intervention": "addition"}, lambda b: b + source[2]),
        ({"intervention": "subtraction", "strength": 3.0}, lambda b: b - 3 * source[2]),
        ({"intervention": "zero"}, torch.zeros_like),
        ({"intervention": "mean", "prompts": [ITALY, BASE]}, lambda _: mean),
        ({"intervention": "noise", "scale": 2.0, "seed": 7}, lambda b: b + 2 * noise),
        ({"subspace": "0:9"}, lambda b: torch.cat([source[2][:9], b[9:]])),
    ]
    plain = vw.generate(gpt2, vw.Experiment(base=BASE), MORE).tokens
    different = 0
    for fields, change in cases:
        experiment = patch(vw.Slot(layer=1, position=2, **fields))
        expected = write_by_hand(
            gpt2, [(1, lambda p, b, change=change: change(b) if p == 2 or p >= LENGTH else b)]
        )
        found = vw.generate(gpt2, experiment, MORE, "every", use_cache=use_cache)
        assert list(found.tokens) == expected, fields
        different += found.tokens != plain
        assert found.base_tokens == plain
    assert different >= 4


def test_slots_at_one_site_act_in_list_order_on_new_tokens(gpt2: vw.LanguageModel) -> None:
    source = states_of(gpt2, ITALY, 1)
    add = vw.Slot(layer=1, position=3, intervention="addition")
    double = vw.Slot(layer=1, position=2, intervention="zero", strength=-1)  # twice the state
    texts = []
    for slots, change in (
        ((add, double), lambda b: 2 * (b + source[3])),
        ((double, add), lambda b: 2 * b + source[3]),
    ):
        found = vw.generate(gpt2, patch(*slots), MORE, [4, 5, 7])
        by_hand = write_by_hand(
            gpt2, [(1, lambda p, b, change=change: change(b) if p in (4, 5, 7) else b)]
        )
        assert list(found.tokens) == by_hand
        texts.append(found.logits)
    assert not torch.allclose(*texts)


def test_one_state_may_go_to_several_positions(gpt2: vw.LanguageModel) -> None:
    """The same source position for all of them, and functions without a source at all positions."""
    several = vw.Slot(layer=1, position=[2, 3], source_position=[3, 3])
    found = vw.generate(gpt2, patch(several), MORE, "every")
    state = states_of(gpt2, ITALY, 1)[3]
    expected = write_by_hand(gpt2, [(1, lambda p, b: state if p in (2, 3) or p >= LENGTH else b)])
    assert list(found.tokens) == expected


def test_a_steering_vector_at_every_position(
    gpt2: vw.LanguageModel, restored_registry: None
) -> None:
    vector = torch.linspace(-2, 2, gpt2.sites.d_model)
    vw.register("steer", lambda b, _: b + vector.to(b), needs_source=False)
    slot = vw.Slot(layer=0, position="all", intervention="steer", strength=4)
    found = vw.generate(gpt2, vw.Experiment(base=BASE, slots=[slot]), MORE, "every")
    by_hand = write_by_hand(gpt2, [(0, lambda _, b: b + 4 * vector.to(b))])
    assert list(found.tokens) == by_hand != list(found.base_tokens or ())
    assert found.acted_at == (tuple(range(LENGTH + len(found.tokens) - 1)),)


def test_a_prompt_of_one_token(model: vw.LanguageModel) -> None:
    slot = vw.Slot(layer=1, position=0, intervention="zero", strength=-2)
    experiment = vw.Experiment(base="The", slots=[slot])
    for on in ("prompt", "every", [0, 2]):
        cached, uncached = (
            vw.generate(model, experiment, MORE, on, use_cache=use_cache)
            for use_cache in (True, False)
        )
        assert cached.tokens == uncached.tokens
        assert torch.allclose(cached.logits, uncached.logits, atol=1e-5)


def test_trained_weights_are_used(gpt2: vw.LanguageModel) -> None:
    slot = vw.Slot(layer=1, position=3, intervention="low_rank_rotated_space", rank=4)
    experiment = patch(slot)
    weights = vw.make_weights(
        gpt2, experiment.replace(slots=(slot.model_copy(update={"seed": 5}),))
    )
    run = vw.run(gpt2, experiment, weights=weights)
    found = vw.generate(gpt2, experiment, 1, weights=weights)
    other = vw.generate(gpt2, experiment, 1)
    assert torch.allclose(found.logits[0], run.logits[-1].cpu(), atol=1e-5)
    assert not torch.equal(found.logits, other.logits)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:pyvene")
@pytest.mark.filterwarnings("ignore::FutureWarning:pyvene")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["Vanilla", "Addition"])
def test_a_text_is_pyvenes(kind: str, gpt2: vw.LanguageModel) -> None:
    """On the prompt, and on new tokens alone."""
    import pyvene

    base, source = (
        {
            "input_ids": torch.tensor([[t.id for t in gpt2.tokens(text)]], device=gpt2.device),
            "attention_mask": torch.ones(1, LENGTH, dtype=torch.long, device=gpt2.device),
        }
        for text in (BASE, ITALY)
    )
    options = {"max_new_tokens": MORE, "do_sample": False, "pad_token_id": 0}
    slot = vw.Slot(layer=1, position=4, source_position=2, intervention=kind.lower())
    both: list[tuple[bool, Any]] = [
        (True, "prompt"),
        (False, range(LENGTH, LENGTH + MORE - 1)),
    ]
    for on_prompt, on in both:
        theirs = copy.deepcopy(gpt2.model)
        config = pyvene.IntervenableConfig([{"layer": 1}], getattr(pyvene, f"{kind}Intervention"))
        built = pyvene.IntervenableModel(config, theirs)
        built.set_device(str(gpt2.device))
        where: Any = {"sources->base": (2, 4 if on_prompt else 0)}
        _, text = built.generate(base, [source], where, intervene_on_prompt=on_prompt, **options)
        found = vw.generate(gpt2, patch(slot), MORE, on)
        assert list(found.tokens) == text[0, LENGTH:].tolist()
        assert found.tokens != found.base_tokens


# ---- how tokens are chosen ----------------------------------------------------------------------


def test_samples_are_transformers_own_with_a_seed(model: vw.LanguageModel) -> None:
    root: Any = model.model
    ids = torch.tensor([[t.id for t in model.tokens(BASE)]], device=model.device)
    before = torch.get_rng_state()
    texts = set[tuple[int, ...]]()
    for seed in range(3):
        options: dict[str, Any] = {"temperature": 1.5, "top_p": 0.9, "top_k": 40}
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            if model.device.type == "cpu":
                own = root.generate(input_ids=ids, max_new_tokens=MORE, do_sample=True, **options)[
                    0, LENGTH:
                ].tolist()
        first, again = (
            vw.generate(model, vw.Experiment(base=BASE), MORE, seed=seed, **options)
            for _ in range(2)
        )
        assert first.tokens == again.tokens == first.base_tokens
        if model.device.type == "cpu":
            assert list(first.tokens) == own
        texts.add(first.tokens)
        # Probabilities are the model's own, whatever the temperature.
        expected = first.logits.double().softmax(-1)[range(len(first.tokens)), list(first.tokens)]
        patched = first.frame[first.frame["run"] == "patched"]
        assert patched["probability"].tolist() == pytest.approx(expected.tolist(), rel=1e-9)
    assert len(texts) > 1 and torch.equal(before, torch.get_rng_state())


def test_other_ways_of_decoding_in_a_config_are_off(gpt2: vw.LanguageModel) -> None:
    """Beams, chunks and sampling of the model's own `generation_config`; its ends of text hold."""
    root: Any = gpt2.model
    plain = vw.generate(gpt2, patch(SWAP), MORE, "every")
    own = root.generation_config
    own.num_beams, own.num_return_sequences, own.do_sample, own.temperature = 3, 2, True, 0.3
    own.prefill_chunk_size, own.max_length, own.cache_implementation = 2, 7, "static"
    before = own.to_dict()
    assert vw.generate(gpt2, patch(SWAP), MORE, "every").tokens == plain.tokens
    own.eos_token_id = [plain.tokens[0], 0]
    own.pad_token_id = None
    found = vw.generate(gpt2, patch(SWAP), MORE, "every")
    assert found.tokens == plain.tokens[:1] and found.acted_at == ((3,),)
    assert own.to_dict() == {**before, "eos_token_id": own.eos_token_id, "pad_token_id": None}


@pytest.mark.parametrize(
    ("name", "value"),
    [("assistant_early_exit", 1), ("force_words_ids", [[5]]), ("constraints", [[5]])],
)
@pytest.mark.parametrize("use_cache", [True, False])
def test_assisted_and_constrained_decoding_in_a_config_is_off(
    name: str, value: Any, use_cache: bool, gpt2: vw.LanguageModel
) -> None:
    plain = vw.generate(gpt2, patch(SWAP), MORE, use_cache=use_cache)
    root: Any = gpt2.model
    setattr(root.generation_config, name, value)
    found = vw.generate(gpt2, patch(SWAP), MORE, use_cache=use_cache)
    assert found.tokens == plain.tokens
    assert getattr(root.generation_config, name) == value


# ---- the result ---------------------------------------------------------------------------------


def test_what_a_generation_holds(capitals: vw.LanguageModel) -> None:
    slot = vw.Slot(layer=0, position=" Spain", source_position=" Italy")
    found = vw.generate(capitals, patch(slot), MORE)
    assert found.text.startswith(" Rome.") and (found.base_text or "").startswith(" Madrid.")
    assert found.agreement == 0 and found.acted_at == ((3,),)
    assert found.experiment == patch(slot) and found.on == "prompt"
    frame, logits = found.frame, {"base": found.base_logits, "patched": found.logits}
    assert frame["run"].tolist() == ["base"] * MORE + ["patched"] * MORE
    assert frame["position"].tolist() == [*range(LENGTH, LENGTH + MORE)] * 2
    for name, rows in frame.groupby("run", observed=True):
        p = logits[str(name)].double().softmax(-1)
        assert rows["token_id"].tolist() == p.argmax(-1).tolist() == rows["best_id"].tolist()
        assert rows["probability"].tolist() == pytest.approx(p.max(-1).values.tolist(), rel=1e-9)
        entropy = torch.distributions.Categorical(p).entropy()
        assert rows["entropy"].tolist() == pytest.approx(entropy.tolist(), rel=1e-9)
        assert rows["rank"].tolist() == [1] * MORE
    assert "".join(frame["token"][MORE:]) == found.text
    assert found.receipts["acted_at"].tolist() == [(3,)] and "' Rome." in repr(found)
    again = pickle.loads(pickle.dumps(found))  # noqa: S301
    assert again.text == found.text and torch.equal(again.logits, found.logits)


def test_ranks_of_sampled_tokens(gpt2: vw.LanguageModel) -> None:
    found = vw.generate(gpt2, vw.Experiment(base=BASE), MORE, temperature=5.0, top_k=0)
    rows = found.frame[found.frame["run"] == "patched"]
    order = found.logits.argsort(dim=-1, descending=True, stable=True).tolist()
    ranks = [row.index(token) + 1 for row, token in zip(order, found.tokens, strict=True)]
    assert rows["rank"].tolist() == ranks and max(ranks) > 1


def test_where_texts_part(gpt2: vw.LanguageModel) -> None:
    same = vw.generate(gpt2, vw.Experiment(base=BASE), MORE)
    assert same.agreement is None
    late = vw.generate(gpt2, patch(vw.Slot(layer=2, position=0, intervention="zero")), MORE, [6])
    assert late.tokens[:2] == (late.base_tokens or ())[:2]
    assert late.agreement is None or late.agreement >= 2


def test_texts_of_different_lengths_part_where_one_ends(gpt2: vw.LanguageModel) -> None:
    found = vw.generate(gpt2, patch(SWAP), MORE)
    shorter = dataclasses.replace(found, base_tokens=found.tokens[:2])
    assert shorter.agreement == 2


def test_without_a_baseline_and_without_logits(gpt2: vw.LanguageModel) -> None:
    found = vw.generate(gpt2, patch(SWAP), MORE, baseline=False, keep_bytes=0)
    whole = vw.generate(gpt2, patch(SWAP), MORE)
    assert found.tokens == whole.tokens and found.base_tokens is found.base_text is None
    assert found.frame["run"].unique().tolist() == ["patched"]
    for read in (lambda: found.agreement, lambda: found.base_logits, lambda: found.logits):
        with pytest.raises(vw.RequestError, match=r"baseline=True|keep_bytes"):
            read()


# ---- calls back ---------------------------------------------------------------------------------


def test_tokens_come_one_by_one(gpt2: vw.LanguageModel) -> None:
    heard: list[Any] = []
    found = vw.generate(gpt2, patch(SWAP), MORE, on_token=heard.append)
    assert tuple(heard) == found.steps
    assert [one.run for one in heard] == ["base"] * MORE + ["patched"] * MORE


def test_a_generation_is_cancelled_between_passes(gpt2: vw.LanguageModel) -> None:
    from vene_widgets.sweeps.sweep import Cancelled

    stop, heard = threading.Event(), list[Any]()

    def listen(token: Any) -> None:
        heard.append(token)
        if len(heard) == 3:
            stop.set()

    with pytest.raises(Cancelled, match="stopped after 3 new tokens"):
        vw.generate(gpt2, patch(SWAP), MORE, on_token=listen, cancel=stop)
    assert len(heard) == 3
    _require_as_before(gpt2)
    with pytest.raises(Cancelled, match="after 0"):
        vw.generate(gpt2, patch(SWAP), MORE, cancel=stop)


# ---- what is left alone -------------------------------------------------------------------------


def _require_as_before(model: vw.LanguageModel) -> None:
    net: Any = model.model
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    plain = vw.run(model, vw.Experiment(base=BASE)).logits
    ids = torch.tensor([[t.id for t in model.tokens(BASE)]], device=model.device)
    with torch.no_grad():
        assert torch.equal(net.eval()(input_ids=ids).logits[0], plain)


@pytest.mark.parametrize("fault", [False, True])
def test_model_and_streams_are_as_before(model: vw.LanguageModel, fault: bool) -> None:
    net: Any = model.model
    net.train()
    next(net.parameters()).requires_grad_(False)

    def flags() -> tuple[list[bool], list[bool]]:
        return [m.training for m in net.modules()], [p.requires_grad for p in net.parameters()]

    modes = flags()
    settings = copy.deepcopy((net.config.to_dict(), net.generation_config.to_dict()))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    stream = torch.get_rng_state()

    def fail(token: Any) -> None:
        if fault and token.step == 2:
            raise KeyError("mine")

    try:
        vw.generate(model, patch(SWAP), MORE, "every", temperature=1.0, on_token=fail)
    except KeyError:
        assert fault
    assert flags() == modes
    assert (net.config.to_dict(), net.generation_config.to_dict()) == settings
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(stream, torch.get_rng_state())
    assert all(p.grad is None for p in net.parameters())
    _require_as_before(model)


def test_user_defined_hooks_are_part_of_the_model(gpt2: vw.LanguageModel) -> None:
    root: Any = gpt2.model
    plain = vw.generate(gpt2, patch(SWAP), MORE).tokens
    handle = root.transformer.h[0].register_forward_hook(
        lambda _m, _a, out: (-out[0], *out[1:]) if isinstance(out, tuple) else -out
    )
    found = vw.generate(gpt2, patch(SWAP), MORE)
    ids = torch.tensor([[t.id for t in gpt2.tokens(BASE)]], device=gpt2.device)
    own = root.generate(input_ids=ids, max_new_tokens=MORE, do_sample=False, pad_token_id=0)
    assert list(found.base_tokens or ()) == own[0, LENGTH:].tolist()
    handle.remove()
    assert found.tokens != plain == vw.generate(gpt2, patch(SWAP), MORE).tokens


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_finite(model: vw.LanguageModel, dtype: torch.dtype) -> None:
    half = wrap(copy.deepcopy(model.model).to(dtype), model.tokenizer, "half")
    found = vw.generate(half, patch(SWAP), MORE, "every")
    assert found.logits.dtype == dtype
    numbers = found.frame[["probability", "best_probability", "entropy"]].to_numpy(float)
    assert ((numbers >= 0) & (numbers < 10)).all()
    expected = found.logits.double().softmax(-1).max(-1).values
    assert found.frame["best_probability"][len(found.base_tokens or ()) :].tolist() == (
        pytest.approx(expected.tolist(), rel=1e-9)
    )


# ---- what is refused ----------------------------------------------------------------------------

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("on", {"on": "each"}, r"on 'each' is not known\. Valid: 'prompt', 'every'\."),
    ("on", {"on": -1}, r"position -1 is out of range: positions 0 to 9 run"),
    ("on", {"on": [3, 10]}, r"position 10 is out of range: positions 0 to 9 run"),
    ("on", {"on": []}, r"on must be 'prompt', 'every' or positions"),
    ("on", {"on": [3, 3]}, "on: position 3 is named twice"),
    ("on", {"on": None}, r"on must be 'prompt', 'every' or positions"),
    ("on", {"on": [1.5]}, r"on: expected an int, got 1.5"),
    ("length", {"max_new_tokens": 0}, r"from 1 to 28 after a prompt of 5 tokens.*32 positions"),
    ("length", {"max_new_tokens": 29}, r"must be from 1 to 28"),
    ("length", {"max_new_tokens": "6"}, r"max_new_tokens: expected an int, got '6'"),
    ("heat", {"temperature": 0}, r"temperature must be above 0, got 0"),
    ("heat", {"temperature": float("nan")}, r"temperature must be above 0"),
    ("heat", {"top_p": 1.5}, r"top_p must be above 0 and at most 1"),
    ("heat", {"top_k": -1}, r"top_k must be 1 or more"),
    ("heat", {"temperature": 1.0, "seed": -1}, r"seed must be 0 or more"),
]


@pytest.mark.parametrize(("_", "options", "words"), REFUSED)
def test_bad_options_are_one_sentence(
    _: str, options: dict[str, Any], words: str, tiny_gpt2: vw.LanguageModel
) -> None:
    given: dict[str, Any] = {"max_new_tokens": MORE, **options}
    with pytest.raises(vw.RequestError, match=words) as error:
        vw.generate(tiny_gpt2, patch(SWAP), **given)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("slot", "on", "words"),
    [
        ({"position": [2, 3]}, "every", r"slots\[0\] \(vanilla\) has 2 source states.*\[2, 3\]"),
        ({"position": "all"}, [7], r"which of them goes to positions of the text"),
        (
            {"position": [2, 3], "intervention": "noise"},
            "every",
            r"has 2 noise vectors.*give it one position\.",
        ),
        (
            {"position": [2, 3], "intervention": "mean", "prompts": [BASE]},
            "every",
            r"slots\[0\] \(mean\) has 2 source states",
        ),
        ({"position": 3, "intervention": "collect"}, "prompt", r"collect in a run"),
    ],
)
def test_slots_without_a_meaning_on_new_tokens(
    slot: dict[str, Any], on: Any, words: str, tiny_gpt2: vw.LanguageModel
) -> None:
    with pytest.raises(vw.RequestError, match=words) as error:
        vw.generate(tiny_gpt2, patch(vw.Slot(layer=1, **slot)), MORE, on)
    assert "\n" not in str(error.value)
    skipped = patch(vw.Slot(layer=1, skip=True, **slot))
    assert vw.generate(tiny_gpt2, skipped, MORE, on).agreement is None


def test_the_last_position_of_a_model_is_used(tiny_gpt2: vw.LanguageModel) -> None:
    found = vw.generate(tiny_gpt2, patch(SWAP), 28, "every", baseline=False)
    assert len(found.tokens) == 28 or found.tokens[-1] == 0


@pytest.mark.parametrize("options", [{}, {"temperature": 1.0}])
def test_logits_of_nan_are_one_sentence(gpt2: vw.LanguageModel, options: Any) -> None:
    with torch.no_grad():
        net: Any = gpt2.model
        net.transformer.h[2].mlp.c_proj.bias[0] = float("nan")
    with pytest.raises(vw.RequestError, match=r"logits of new token 0.*NaN or infinite"):
        vw.generate(gpt2, patch(SWAP), MORE, **options)


def test_models_that_cannot_generate(gpt2: vw.LanguageModel) -> None:
    from transformers import GPT2LMHeadModel

    class Bare(GPT2LMHeadModel):
        generate = None  # type: ignore[assignment]

    class Tuple(GPT2LMHeadModel):
        def forward(self, *args: Any, **options: Any) -> Any:
            return super().forward(*args, **options).logits

    own: Any = gpt2.model
    for kind, words in (
        (Bare, "cannot generate: Bare has no method generate"),
        (Tuple, "forward returned a Tensor: to generate, it must return an output with .logits"),
    ):
        net: Any = kind(own.config).eval()
        net.to(gpt2.device)
        model = wrap(net, gpt2.tokenizer, "own")
        with pytest.raises(vw.RequestError, match=words):
            vw.generate(model, patch(SWAP), MORE)


def test_a_slot_that_is_never_reached_is_one_sentence(gpt2: vw.LanguageModel) -> None:
    net: Any = gpt2.model
    net.transformer.h[1].forward = lambda hidden, *_, **__: hidden
    slot = vw.Slot(layer=1, position=3, component="mlp_output", intervention="zero")
    with pytest.raises(vw.RequestError, match=r"slots\[0\] did not act at position 3"):
        vw.generate(gpt2, patch(slot), MORE)


def test_a_model_that_changes_meanwhile_is_noticed(gpt2: vw.LanguageModel) -> None:
    net: Any = gpt2.model

    def train(token: Any) -> None:
        if token.step == 2:
            with torch.no_grad():
                net.transformer.h[2].mlp.c_proj.bias += 1

    with pytest.raises(vw.RequestError, match="changed while it ran"):
        vw.generate(gpt2, patch(SWAP), MORE, on_token=train)


def test_out_of_memory_is_one_sentence(
    gpt2: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(token: Any) -> None:
        if token.step == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(vw.RequestError, match="ran out of memory after 1 new tokens"):
        vw.generate(gpt2, patch(SWAP), MORE, on_token=full)
    _require_as_before(gpt2)
