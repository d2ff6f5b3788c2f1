"""What a sweep costs an accelerator: operators, whatever the prompt's length, and reads."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from counting import Operators, operators
from engine_testing import in_use
from families import build

import vene_widgets as vw
from vene_widgets.engine.resume import ResumedBatch
from vene_widgets.models import wrap
from vene_widgets.sweeps import cells, preparing
from vene_widgets.sweeps.pairs.maps import pair_maps
from vene_widgets.sweeps.planning import plan_sweep

LAYERS = 12
LENGTHS = (5, 16, 64)
WORDS = (" Spain", " Italy", " of", " capital", " is")


@pytest.fixture(scope="module")
def deep(tiny_tokenizer: Any) -> vw.LanguageModel:
    """As many layers as GPT-2 small, of tiny width."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tiny_tokenizer),
        n_embd=24,
        n_layer=LAYERS,
        n_head=3,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=0,
    )
    return wrap(GPT2LMHeadModel(config), tiny_tokenizer, "deep")


def prompts(length: int) -> tuple[str, str]:
    """Two prompts of some number of tokens that differ everywhere."""
    return tuple(
        "".join(WORDS[(n + shift) % len(WORDS)] for n in range(length)) for shift in (0, 1)
    )  # pyright: ignore[reportReturnType]  # two of them


def plain(model: vw.LanguageModel, prompt: str) -> Operators:
    """The user's own call on one prompt."""
    net: Any = model.model
    ids = torch.tensor([[token.id for token in model.tokens(prompt)]], device=model.device)
    with torch.no_grad():
        return operators(lambda: net(input_ids=ids, use_cache=False))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("component", ["block_output", "block_input", "mlp_output", "value_output"])
def test_a_sweep_has_few_operators_at_any_length(
    deep: vw.LanguageModel, length: int, component: str
) -> None:
    base, source = prompts(length)
    vw.sweep(deep, base, source, component)  # what is measured once per model is known then
    found = operators(lambda: vw.sweep(deep, base, source, component))
    assert found.count <= 4 * plain(deep, base).count
    assert found.reads <= 12


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({"component": "block_output", "fixed": True}, 4),
        ({"component": "mlp_output", "fixed": True, "window": 10}, 6),
        ({"component": "block_input", "window": 3}, 6),
    ],
    ids=str,
)
def test_fixed_slots_and_windows_cost_few_operators_more(
    deep: vw.LanguageModel, length: int, options: dict[str, Any], most: int
) -> None:
    base, source = prompts(length)
    noise = vw.Slot(layer=0, component="block_input", position=[1, 2], intervention="noise")
    head = vw.Slot(
        layer=9, component="head_attention_value_output", head=1, position="all",
        intervention="zero",
    )  # fmt: skip
    given: dict[str, Any] = {**options, "fixed": [noise, head] if options.get("fixed") else []}

    def swept() -> None:
        vw.sweep(deep, base, source, **given)

    swept()  # what is measured once per model is known then
    found = operators(swept)
    assert found.count <= most * plain(deep, base).count
    assert found.reads <= 12


def test_the_number_of_operators_does_not_grow_with_the_prompt(deep: vw.LanguageModel) -> None:
    counts = []
    for length in LENGTHS:
        vw.sweep(deep, *prompts(length))
        counts.append(operators(lambda at=length: vw.sweep(deep, *prompts(at))).count)
    assert max(counts) <= 1.02 * min(counts)


def test_tables_are_made_when_they_are_asked_for_and_once(
    deep: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vene_widgets.sweeps import results as module

    made: list[int] = []
    monkeypatch.setattr(module, "plan_frame", lambda *_: made.append(1) or "table")
    swept = vw.sweep(deep, *prompts(5))
    assert not made
    assert swept.frame is swept.frame
    assert made == [1]


def test_all_heads_are_one_batch(deep: vw.LanguageModel) -> None:
    pair = prompts(5)
    one = operators(lambda: vw.sweep(deep, *pair, "head_value_output", head=0)).count
    all_heads = operators(lambda: vw.sweep(deep, *pair, "head_value_output", head="all")).count
    assert all_heads <= 1.1 * one


# ---- pairs ---------------------------------------------------------------------------------------

SUBJECTS = (" Spain", " Italy", " France", " Rome", " Madrid")


def plans(model: vw.LanguageModel, **request: Any) -> list[Any]:
    from vene_widgets.experiments.sweep_request import SweepRequest

    return [
        plan_sweep(
            model,
            f"The capital of{one} is",
            f"The capital of{other} is",
            SweepRequest(**request),
        )
        for one, other in zip(SUBJECTS, (*SUBJECTS[1:], SUBJECTS[0]), strict=True)
    ]


@pytest.mark.parametrize("family", ["tiny_gpt2", "tiny_llama"])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"component": "mlp_output", "layers": [2, 0]},
        {"component": "block_input", "positions": [-1, 3]},
        {"component": "head_value_output", "head": 1, "intervention": "addition"},
    ],
    ids=lambda more: str(more.get("component")),
)
@pytest.mark.parametrize("resumed", [True, False])
def test_the_maps_of_many_pairs_are_those_of_each(
    family: str, more: dict[str, Any], resumed: bool, request: pytest.FixtureRequest
) -> None:
    from contextlib import nullcontext

    from engine_testing import full_passes

    model: vw.LanguageModel = request.getfixturevalue(family)
    several = plans(model, **more)
    targets = [[n, 2 * n + 1] for n in range(len(several))]
    with nullcontext() if resumed else full_passes(model):
        found = pair_maps(several, targets, keep_logits=True)
    assert found.logits is not None
    for n, plan in enumerate(several):
        alone = vw.sweep(model, plan.base_prompt, plan.source_prompt, **more)
        assert (found.logits[n] - alone.logits).abs().max() < 1e-4
        log_p = alone.logits.double().log_softmax(-1)[..., targets[n]]
        assert (found.log_p[n] - log_p).abs().max() < 1e-4
        for mine, own in (
            (found.base_log_p, alone.base_logits),
            (found.source_log_p, alone.source_logits),
        ):
            assert (mine[n] - own.double().log_softmax(-1)[targets[n]]).abs().max() < 1e-4


def test_many_pairs_have_hardly_more_operators_than_one(tiny_gpt2: vw.LanguageModel) -> None:
    several = plans(tiny_gpt2)
    pair_maps(several, [[1]] * len(several))
    one = operators(lambda: pair_maps(several[:1], [[1]])).count
    assert operators(lambda: pair_maps(several, [[1]] * len(several))).count <= 1.1 * one


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda own: (own, [[1]] * 4), "one list of targets each"),
        (lambda own: (own, [[1], [1, 2], [1], [1], [1]]), "as many tokens"),
        (lambda own: (own, [[]] * 5), "as many tokens"),
        (lambda own: ([], []), "at least one sweep"),
    ],
)
def test_pairs_that_do_not_belong_together(
    tiny_gpt2: vw.LanguageModel, change: Any, words: str
) -> None:
    several, targets = change(plans(tiny_gpt2))
    with pytest.raises(vw.RequestError, match=words):
        pair_maps(several, targets)


def test_pairs_of_other_lengths_or_components(
    tiny_gpt2: vw.LanguageModel, tiny_llama: vw.LanguageModel
) -> None:
    short = plan_sweep(tiny_gpt2, "The capital of", "The Spain of")
    with pytest.raises(vw.RequestError, match="equally long bases, got 5 and 3 tokens"):
        preparing.prepare_sweeps([*plans(tiny_gpt2), short])
    for other in (plans(tiny_llama), plans(tiny_gpt2, component="mlp_output")):
        with pytest.raises(vw.RequestError, match="share model, component and operator"):
            preparing.prepare_sweeps([*plans(tiny_gpt2), *other])


# ---- which rows run ------------------------------------------------------------------------------


def rows_of_blocks(model: vw.LanguageModel, component: str) -> list[int]:
    """How many rows each call of a block was given, in a sweep of 4 positions."""
    found: list[int] = []
    logits = ResumedBatch.logits

    def watched(self: ResumedBatch, order: Any = None) -> torch.Tensor:
        answer = logits(self, order)
        found.extend(self.rows)
        return answer

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ResumedBatch, "logits", watched)
        patched.setattr(cells, "FULL_ROWS", 0)
        vw.sweep(model, *prompts(4), component)
    return found


def test_only_rows_that_can_change_run(tiny_gpt2: vw.LanguageModel) -> None:
    """Three layers, four positions: 4 + 3 + 2 + 1 = 10 rows a layer, the last block's 4 or 1."""
    assert rows_of_blocks(tiny_gpt2, "block_output") == [10, 20, 8]
    # Its own row in the cells' block, then as above; in the last block only the last position.
    assert rows_of_blocks(tiny_gpt2, "mlp_output") == [4, 10 + 4, 20 + 1, 8 + 1]
    assert rows_of_blocks(tiny_gpt2, "value_output") == [10, 20, 30, 12]


def test_an_accelerator_takes_full_passes_where_rows_are_few(
    tiny_gpt2: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule alone: there is no such device here."""
    prepared = preparing.prepare_sweep(plan_sweep(tiny_gpt2, *prompts(4)))
    chunk = prepared.live_cells()
    assert cells._resumes(chunk) == (tiny_gpt2.device.type == "cpu")
    monkeypatch.setattr(vw.LanguageModel, "device", torch.device("cuda"))
    assert not cells._resumes(chunk)
    monkeypatch.setattr(cells, "FULL_ROWS", len(chunk) * 4 - 1)
    assert cells._resumes(chunk)


def test_a_chunk_is_bounded_by_memory(
    tiny_gpt2: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = preparing.prepare_sweep(plan_sweep(tiny_gpt2, *prompts(16)))
    whole = list(cells.run_cells(prepared.live_cells(), at_once=True))
    assert len(whole) == 1
    monkeypatch.setattr(cells, "_free_bytes", lambda _device: 2**20)
    parts = list(cells.run_cells(prepared.live_cells(), at_once=True))
    assert len(parts) > 1
    difference = torch.cat([logits for _, logits in parts]) - whole[0][1]
    assert difference.abs().max() < 1e-5


# ---- standing in for attention -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gpt2", "gpt_neo", "gemma2", "mistral-window"])
def test_a_resumed_pass_leaves_the_tree_as_it_was(name: str, tiny_tokenizer: Any) -> None:
    model = wrap(build(name, len(tiny_tokenizer)), tiny_tokenizer, name)

    def settings() -> list[Any]:
        return [
            (path, sorted(map(str, vars(module))), getattr(module, "config", None))
            for path, module in model.net.named_modules()
        ]

    with in_use(model):
        before = settings()
    vw.sweep(model, *prompts(6))
    with in_use(model):
        assert settings() == before
        configs = [config for _, _, config in settings() if config is not None]
        assert configs
        assert all(config._attn_implementation != "vene_widgets" for config in configs)
    assert math.isfinite(float(vw.run(model, vw.Experiment(base=prompts(3)[0])).logits.sum()))
