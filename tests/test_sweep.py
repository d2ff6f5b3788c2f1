"""Every cell of a sweep is the single run of the same slot, whichever way the sweep took."""

from __future__ import annotations

import copy
import itertools
import threading
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from engine_testing import check_same_frame
from torch import Tensor

from vene_widgets.engine.positions import align
from vene_widgets.engine.running import run
from vene_widgets.errors import RequestError
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.slot import Slot
from vene_widgets.experiments.sweep_request import SweepRequest
from vene_widgets.models import LanguageModel
from vene_widgets.sweeps import cells
from vene_widgets.sweeps.planning import plan_sweep
from vene_widgets.sweeps.preparing import prepare_sweep
from vene_widgets.sweeps.results import Sweep
from vene_widgets.sweeps.sweep import Cancelled, sweep
from vene_widgets.tables.statistics import default_targets

SPAIN, ITALY = "The capital of Spain is", "The capital of Italy is"
LONG = "The capital of Italy is is Rome is"
TOLERANCE = 1e-5  # of a logit: cells run in batches, which rounds differently


@pytest.fixture(params=["tiny_gpt2", "tiny_llama", "capitals"])
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["tiny_gpt2", "tiny_llama"])
def tiny(request: pytest.FixtureRequest) -> LanguageModel:
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["resumed", "batched"])
def either_way(tiny: LanguageModel, request: pytest.FixtureRequest) -> LanguageModel:
    """A tiny model swept by resuming or, as it carries a hook, by full forward passes."""
    copied = LanguageModel(request.param, copy.deepcopy(tiny.model), tiny.tokenizer)
    if request.param == "batched":
        copied.model.register_forward_hook(lambda *_: None)
        copied.accept_hooks()
    taken = prepare_sweep(plan_sweep(copied, SPAIN, ITALY))
    is_batched = request.param == "batched"
    assert (taken.runs.trace is None) == (taken.resume_blocker is not None) == is_batched
    return copied


def cell(swept: Sweep, layer: int, column: int) -> Tensor:
    """The run that a cell stands for, done alone: logits at the last position."""
    p = swept.plan
    slot = Slot(
        layer=layer,
        component=p.component,
        head=p.head,
        position=p.positions[column],
        source_position=p.source_positions[column],
    )
    experiment = Experiment(base=p.base_prompt, sources={"s": p.source_prompt}, slots=(slot,))
    return run(p.model, experiment).logits[-1].cpu()


def worst(swept: Sweep) -> float:
    """Largest difference of a logit between any cell and its own run."""
    p = swept.plan
    assert swept.logits.shape == (len(p.layers), len(p.positions), p.model.sites.vocabulary)
    assert swept.logits.isfinite().all()
    return max(
        (swept.logits[row, column].double() - cell(swept, layer, column)).abs().max().item()
        for row, layer in enumerate(p.layers)
        for column in range(len(p.positions))
    )


# ---- cells are runs ------------------------------------------------------------------------------


def test_every_cell_of_every_component_is_its_own_run(either_way: LanguageModel):
    for component in either_way.sites.components:
        heads = either_way.sites.head_count(component)
        swept = sweep(either_way, SPAIN, ITALY, component, head=None if heads is None else -1)
        assert worst(swept) <= TOLERANCE, component
        assert not torch.equal(swept.logits[1, 4], swept.base_logits), component


def test_every_head_is_swept_for_itself(either_way: LanguageModel):
    for component in ("head_value_output", "head_attention_value_output"):
        heads = either_way.sites.head_count(component)
        assert heads
        swept = [sweep(either_way, SPAIN, ITALY, component, head=head) for head in range(heads)]
        assert [set(one.frame["head"]) for one in swept] == [{head} for head in range(heads)]
        assert all(worst(one) <= TOLERANCE for one in swept)
        assert all(
            not torch.equal(one.logits, other.logits) for one, other in itertools.pairwise(swept)
        )


def test_the_cells_of_the_capitals_model_are_its_runs(capitals: LanguageModel):
    for component in ("block_input", "block_output", "attention_output"):
        assert worst(sweep(capitals, SPAIN, ITALY, component)) <= TOLERANCE


def test_cells_of_a_larger_model_are_its_runs(smollm2: LanguageModel):
    swept = sweep(smollm2, SPAIN, ITALY, layers=[0, 14, 29], positions=[3, 4])
    # Thirty layers of a real model: rounding is larger than in a tiny one, the answers are not.
    assert worst(swept) <= 1e-3


@pytest.mark.parametrize(("base", "source"), [(SPAIN, LONG), (LONG, SPAIN), (SPAIN, "The is")])
@pytest.mark.parametrize("component", ["block_output", "key_output", "mlp_input"])
def test_prompts_of_unequal_length_are_paired_by_align(
    either_way: LanguageModel, base: str, source: str, component: str
):
    swept = sweep(either_way, base, source, component)
    pairs = align(tuple(either_way.tokens(base)), tuple(either_way.tokens(source)))
    assert swept.plan.source_positions == pairs
    assert worst(swept) <= TOLERANCE


NEW_ZEALAND = "The capital of New Zealand is"


@pytest.mark.parametrize(
    ("base", "source", "options", "said"),
    [
        (
            SPAIN,
            NEW_ZEALAND,
            {},
            r"base position 3 ' Spain' with source position 3 ' N'.*\[3\] and \[10\]",
        ),
        (
            NEW_ZEALAND,
            SPAIN,
            {},
            r"base position 3 ' N' with source position 3 ' Spain'.*\[10\] and \[3\]",
        ),
        (SPAIN, "The capital of is", {}, r"base position 3 ' Spain' .* 2 ' of'.*source_positions$"),
        (SPAIN, NEW_ZEALAND, {"head": "all", "component": "z"}, r"base position 3 ' Spain'"),
    ],
)
def test_a_pair_that_rests_on_the_order_of_tokens_is_named_in_a_warning(
    capitals: LanguageModel, base: str, source: str, options: dict[str, Any], said: str
):
    with pytest.warns(UserWarning, match=said) as found:
        sweep(capitals, base, source, **options)
    assert len(found) == 1
    assert found[0].filename == __file__


@pytest.mark.parametrize(
    ("base", "source", "options"),
    [
        (SPAIN, ITALY, {}),
        ("The capital of is", SPAIN, {}),
        (SPAIN, NEW_ZEALAND, {"positions": [0, 4]}),
        (SPAIN, NEW_ZEALAND, {"positions": [3], "source_positions": [10]}),
        (SPAIN, NEW_ZEALAND, {"intervention": "zero"}),
        (SPAIN, NEW_ZEALAND, {"intervention": "mean", "prompts": [NEW_ZEALAND]}),
    ],
)
def test_pairs_that_are_certain_or_chosen_give_no_warning(
    capitals: LanguageModel, base: str, source: str, options: dict[str, Any]
):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sweep(capitals, base, source, **options)


def test_unusual_attention_scales_are_the_models_own(tiny_gpt2: LanguageModel):
    from transformers import GPT2LMHeadModel

    config: Any = copy.deepcopy(tiny_gpt2.model.config)
    config.scale_attn_by_inverse_layer_idx = True
    config.attn_implementation = "eager"
    hf = GPT2LMHeadModel(config).eval()
    hf.load_state_dict(tiny_gpt2.model.state_dict())
    model = LanguageModel("scaled", hf, tiny_gpt2.tokenizer)
    swept = sweep(model, SPAIN, ITALY)
    assert not torch.equal(swept.base_logits, sweep(tiny_gpt2, SPAIN, ITALY).base_logits)
    assert worst(swept) <= TOLERANCE


def test_small_chunks_give_the_same_cells(
    either_way: LanguageModel, monkeypatch: pytest.MonkeyPatch
):
    whole = sweep(either_way, SPAIN, LONG)
    for rows in (1, 7, 13):
        monkeypatch.setattr(cells, "CPU_ROWS", rows)
        swept = sweep(either_way, SPAIN, LONG)
        assert torch.allclose(swept.logits, whole.logits, rtol=0, atol=TOLERANCE)
        assert worst(swept) <= TOLERANCE


# ---- cells that cannot change anything -----------------------------------------------------------


def test_cells_before_the_first_difference_are_exactly_the_base(either_way: LanguageModel):
    swept = sweep(either_way, SPAIN, ITALY)
    assert swept.plan.first_difference == 3
    assert torch.equal(swept.logits[:, :3], swept.base_logits.expand(3, 3, -1))
    for column in range(3):
        base = run(either_way, Experiment(base=SPAIN)).logits[-1].cpu()
        assert torch.equal(cell(swept, 1, column), base)


def test_a_prompt_swept_with_itself_is_exactly_the_base_everywhere(either_way: LanguageModel):
    swept = sweep(either_way, SPAIN, SPAIN)
    assert torch.equal(swept.logits, swept.base_logits.expand(3, 5, -1))
    assert torch.equal(swept.base_logits, swept.source_logits)


def test_other_positions_of_the_common_beginning_do_matter(either_way: LanguageModel):
    swept = sweep(either_way, SPAIN, SPAIN, positions=[1, 2], source_positions=[2, 1])
    assert worst(swept) <= TOLERANCE
    assert not torch.equal(swept.logits[0, 0], swept.base_logits)


def test_the_last_blocks_earlier_positions_are_exactly_the_base(either_way: LanguageModel):
    swept = sweep(either_way, SPAIN, ITALY, layers=[-1])
    if either_way.resume_blocker is None:
        assert torch.equal(swept.logits[0, 3], swept.base_logits)
    else:  # code that is not known is run, whatever a change could reach
        assert torch.allclose(swept.logits[0, 3], swept.base_logits, rtol=0, atol=TOLERANCE)
    for component in ("block_input", "attention_input", "key_output", "value_output"):
        seen = sweep(either_way, SPAIN, ITALY, component, layers=[-1])
        assert not torch.equal(seen.logits[0, 3], seen.base_logits), component


def test_the_plain_runs_stand_beside_the_cells(model: LanguageModel):
    swept = sweep(model, SPAIN, ITALY)
    for logits, prompt in ((swept.base_logits, SPAIN), (swept.source_logits, ITALY)):
        expected = run(model, Experiment(base=prompt)).logits[-1].cpu()
        assert torch.allclose(logits, expected, rtol=0, atol=TOLERANCE)
    # The first input at the last position of a one-token difference is not the whole source run,
    # but the last block's output at the last position is.
    assert torch.allclose(swept.logits[-1, 4], swept.source_logits, rtol=0, atol=TOLERANCE)


# ---- which cells ---------------------------------------------------------------------------------


def test_layers_and_positions_choose_cells_in_their_order(tiny: LanguageModel):
    whole = sweep(tiny, SPAIN, ITALY).logits
    some = sweep(tiny, SPAIN, ITALY, layers=[2, -3], positions=[-1, 3])
    assert (some.plan.layers, some.plan.positions) == ((2, 0), (4, 3))
    assert torch.allclose(some.logits, whole[[2, 0]][:, [4, 3]], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("written", "positions"),
    [
        (3, (3,)),
        (" Spain", (3,)),
        (np.arange(2, 4), (2, 3)),
        (range(2), (0, 1)),
        (np.int64(-1), (4,)),
    ],
)
def test_positions_are_written_as_in_a_slot(tiny: LanguageModel, written: Any, positions: Any):
    planned = plan_sweep(tiny, SPAIN, ITALY, SweepRequest(positions=written, layers=np.int64(1)))  # pyright: ignore[reportArgumentType]
    assert planned.positions == positions and planned.layers == (1,)
    assert {type(n) for n in (*planned.positions, *planned.layers)} == {int}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"component": "block_outptu"},
            r"'block_outptu' is not known. Did you mean 'block_output'",
        ),
        ({"component": "attention_weight"}, r"component 'attention_weight' cannot be reached"),
        ({"component": "head_key_output"}, r"needs a head: 0 to 2, not None"),
        ({"head": 1}, r"head 1 is invalid for component 'block_output'"),
        ({"layers": [0, 3]}, r"layer 3 is out of range: the model has 3 layers"),
        ({"positions": [5]}, r"sweep positions 5 is out of range: the base has 5 tokens.*' Spain'"),
        ({"positions": [1, -4]}, r"names a position twice"),
        ({"positions": " Rome"}, r"' Rome' does not occur in the base"),
        ({"positions": [1, " Rome"]}, r"sweep positions ' Rome' does not occur in the base"),
        ({"positions": [True]}, r"True is a bool"),
        ({"positions": [3], "source_positions": [7]}, r"source_positions 7 .* source has 5 tokens"),
        ({"positions": [3], "source_positions": [3, 4]}, r"1 positions and 2 source positions"),
        ({"layers": []}, r"0 layers.*at least one layer"),
        ({"positions": []}, r"0 positions.*at least one layer and one position"),
        ({"intervention": "vanila"}, r"intervention 'vanila' is not known. Did you mean 'vanilla'"),
        ({"layers": [0, 1, -3]}, r"layers \[0, 1, -3\] name a layer twice: expected distinct"),
        ({"sources": "third"}, "sources must be a dict of names and prompts, got 'third'"),
    ],
)
def test_plan_errors(tiny_gpt2: LanguageModel, arguments: dict[str, Any], message: str):
    with pytest.raises(RequestError, match=message):
        sweep(tiny_gpt2, SPAIN, ITALY, **arguments)


# ---- targets and frame ---------------------------------------------------------------------------


def test_the_frame_holds_each_cells_softmax_at_the_targets(tiny: LanguageModel):
    rome = tiny.token_id(" Rome")
    swept = sweep(tiny, SPAIN, ITALY, "mlp_output", targets=[" Rome", 7], layers=[0, 2])
    assert swept.targets == (rome, 7)
    frame: Any = swept.frame
    assert len(frame) == 2 * 5 * 2 and set(frame.target_id) == {rome, 7}
    for row in frame.itertuples():
        i = {0: 0, 2: 1}[row.layer]
        expected = swept.logits[i, row.position].double().softmax(-1)
        assert row.probability == pytest.approx(expected[row.target_id].item(), rel=1e-6)
        assert row.component == "mlp_output" and row.source_position == row.position


def test_without_targets_the_likeliest_of_base_and_source_are_followed(capitals: LanguageModel):
    swept = sweep(capitals, SPAIN, ITALY)
    assert [capitals.token_text(i) for i in swept.targets] == [" Madrid", " Rome"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (" Spain Italy", r"' Spain Italy' is 2 tokens"),
        (-1, "target -1 is out of range"),
        (10**6, "target 1000000 is out of range: ids go from 0 to"),
    ],
)
def test_target_errors(tiny: LanguageModel, target: str | int, message: str):
    with pytest.raises(RequestError, match=message):
        sweep(tiny, SPAIN, ITALY, targets=[target])


# ---- size, progress, cancelling ------------------------------------------------------------------


def test_large_sweeps_keep_the_frame_and_say_how_to_ask_for_logits(tiny: LanguageModel):
    whole = sweep(tiny, SPAIN, ITALY)
    need = whole.logits.numel() * 4
    lean = sweep(tiny, SPAIN, ITALY, keep_bytes=need - 1)
    with pytest.raises(RequestError, match=rf"keep_bytes={need}\)"):
        _ = lean.logits
    check_same_frame(lean.frame, whole.frame, tiny.device)
    again = sweep(tiny, SPAIN, ITALY, keep_bytes=need)
    assert torch.equal(again.logits, whole.logits)


def test_progress_counts_cells_after_every_layer(either_way: LanguageModel):
    calls: list[tuple[int, int]] = []
    sweep(either_way, SPAIN, ITALY, positions=[3, 4], progress=lambda *n: calls.append(n))
    assert calls == [(2, 6), (4, 6), (6, 6)]


def test_a_cancelled_sweep_stops_before_its_next_layer(either_way: LanguageModel):
    before = run(either_way, Experiment(base=SPAIN)).logits
    cancel = threading.Event()
    calls: list[int] = []

    def stop_after_two(done: int, _total: int) -> None:
        calls.append(done)
        if len(calls) == 2:
            cancel.set()

    with pytest.raises(Cancelled, match="before layer 2"):
        sweep(either_way, SPAIN, ITALY, progress=stop_after_two, cancel=cancel)
    assert calls == [5, 10]
    with pytest.raises(Cancelled, match="before layer 0"):
        sweep(either_way, SPAIN, ITALY, progress=stop_after_two, cancel=cancel)
    assert calls == [5, 10]
    assert torch.equal(run(either_way, Experiment(base=SPAIN)).logits, before)
    assert either_way.lock.acquire(blocking=False)
    either_way.lock.release()


def test_a_sweep_that_may_be_stopped_runs_in_small_steps(
    either_way: LanguageModel, monkeypatch: pytest.MonkeyPatch
):
    cancel, ran = threading.Event(), list[int]()
    run_chunk = cells._run_chunk

    def counted(chunk: Sequence[cells.SweepCell]) -> Tensor:
        ran.append(len(chunk))
        cancel.set()
        return run_chunk(chunk)

    for device in ("CPU", "GPU"):
        monkeypatch.setattr(cells, f"{device}_ROWS", 3)
    monkeypatch.setattr(cells, "_run_chunk", counted)
    sweep(either_way, SPAIN, ITALY)
    assert len(ran) == 1  # nobody watches: one step
    ran.clear()
    with pytest.raises(Cancelled):
        sweep(either_way, SPAIN, ITALY, cancel=cancel)
    assert not ran
    cancel.clear()
    with pytest.raises(Cancelled):
        sweep(either_way, SPAIN, ITALY, cancel=cancel)
    assert len(ran) == 1
    ran.clear()
    sweep(either_way, SPAIN, ITALY, progress=lambda _done, _total: None)
    assert len(ran) > 1


def test_a_sweep_describes_itself(tiny_gpt2: LanguageModel):
    assert "3 layers x 5 positions" in repr(sweep(tiny_gpt2, SPAIN, ITALY))


def test_a_lone_target_is_one_token(tiny: LanguageModel):
    """A text is no list of letters."""
    for lone in (" Spain", tiny.token_id(" Spain")):
        assert sweep(tiny, SPAIN, ITALY, targets=lone).targets == (tiny.token_id(" Spain"),)


def test_a_target_named_twice_is_followed_once(tiny: LanguageModel):
    rome, madrid = tiny.token_id(" Rome"), tiny.token_id(" Madrid")
    twice = sweep(tiny, SPAIN, ITALY, targets=[" Rome", rome, " Madrid", " Rome"])
    assert twice.targets == (rome, madrid)
    check_same_frame(
        twice.frame, sweep(tiny, SPAIN, ITALY, targets=[rome, madrid]).frame, tiny.device
    )


@pytest.mark.parametrize("target", [1.5, True, None])
def test_a_target_is_a_text_or_an_id(tiny: LanguageModel, target: Any):
    with pytest.raises(RequestError, match=f"target {target} is neither a token's text nor its id"):
        sweep(tiny, SPAIN, ITALY, targets=[target])


# ---- means ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompts", [[SPAIN, ITALY], [SPAIN, LONG, ITALY]])
@pytest.mark.parametrize(("component", "head"), [("mlp_output", None), ("head_value_output", 1)])
def test_every_cell_of_a_mean_is_the_single_run(
    either_way: LanguageModel, component: str, head: int | None, prompts: list[str]
):
    more: dict[str, Any] = {"intervention": "mean", "prompts": prompts}
    swept = sweep(either_way, SPAIN, ITALY, component, head=head, **more)
    plan = swept.plan
    if LONG not in prompts:
        assert plan.source_positions == plan.positions
    for layer, (column, position) in itertools.product(plan.layers, enumerate(plan.positions)):
        slot = Slot(
            layer=layer,
            position=position,
            component=component,
            head=head,
            source_position=plan.source_positions[column],
            **more,
        )
        single = run(either_way, Experiment(base=SPAIN, slots=[slot])).logits[-1].cpu()
        assert (swept.logits[layer, column] - single).abs().max() < TOLERANCE
    # The prompts matter: over the base alone nothing changes.
    more["prompts"] = SPAIN
    alone = sweep(either_way, SPAIN, ITALY, component, head=head, **more)
    assert (alone.logits - alone.base_logits).abs().max() < TOLERANCE
    assert (swept.logits - swept.base_logits).abs().max() > 100 * TOLERANCE


def test_a_mean_pairs_tokens_from_the_beginning_or_from_the_end(tiny: LanguageModel):
    longer = "The capital of Rome Italy is"
    request = SweepRequest(intervention="mean", prompts=[SPAIN, longer])
    plan = plan_sweep(tiny, SPAIN, ITALY, request)
    assert plan.source_positions == (0, 1, 2, 3, -1)
    assert plan.mean_positions == ((0, 1, 2, 3, 4), (0, 1, 2, 3, 5))
    short = plan_sweep(tiny, longer, ITALY, request.replace(prompts=["The capital", longer]))
    assert short.mean_positions[0] == (0, 1, 0, 0, 0, 1)
    given = plan_sweep(tiny, SPAIN, ITALY, request.replace(source_positions=[0, 0, 0, -1, -1]))
    assert given.mean_positions == ((0, 0, 0, 4, 4), (0, 0, 0, 5, 5))


def test_prompts_belong_to_a_mean_alone(tiny: LanguageModel):
    with pytest.raises(RequestError, match="'mean' needs prompts to take the mean of, got none"):
        sweep(tiny, SPAIN, ITALY, intervention="mean")
    with pytest.raises(RequestError, match="prompts are for intervention 'mean'; 'zero' reads"):
        sweep(tiny, SPAIN, ITALY, intervention="zero", prompts=[SPAIN])


@pytest.mark.parametrize("options", [{"intervention": "zero"}, {"intervention": "ablate"},
    {"intervention": "mean", "prompts": [ITALY]}])  # fmt: skip
def test_an_ablation_needs_no_source(tiny: LanguageModel, options: dict[str, Any]):
    alone, beside = (sweep(tiny, SPAIN, *source, **options) for source in ([], [SPAIN]))
    assert torch.equal(alone.logits, beside.logits)
    assert alone.target == int(alone.base_logits.argmax()) and alone.target in alone.targets
    assert not torch.equal(alone.logits[0, 3], alone.base_logits)
    assert repr(alone).endswith(f"5 positions, {SPAIN!r}, {alone.plan.intervention}>")


def test_a_patch_without_a_source_is_refused(tiny: LanguageModel):
    with pytest.raises(RequestError, match="source is missing: intervention 'vanilla' reads"):
        sweep(tiny, SPAIN)
    with pytest.raises(RequestError, match=r"intervention 'zeroo'.*zero"):
        sweep(tiny, SPAIN, intervention="zeroo")


# ---- default targets -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "source", "expected"),
    [
        ([0.9, 0.05, 0.05], [0.01, 0.04, 0.95], (2, 0)),  # answers swapped: the source's
        ([0.91, 0.05, 0.04], [0.05, 0.04, 0.91], (2, 0)),
        ([0.95, 0.01, 0.04], [0.03, 0.03, 0.94], (2, 0)),  # the base's falls a little more
        ([0.5, 0.3, 0.2], [0.5, 0.1, 0.4], (2, 0)),  # one prediction: what differs below it
        ([0.8, 0.1, 0.1, 0.0], [0.1, 0.3, 0.4, 0.2], (2, 0)),  # a fall that spreads: the source's
        ([0.9, 0.04, 0.03, 0.03], [0.4, 0.2, 0.2, 0.2], (0, 1)),  # one answer, and it falls most
        ([0.2, 0.5, 0.3], [0.2, 0.5, 0.3], (1, 2)),  # no difference: the base's own
    ],
)
def test_default_targets_tell_the_plain_runs_apart(
    base: list[float], source: list[float], expected: tuple[int, int]
):
    p_base, p_source = torch.tensor([base, source], dtype=torch.float64)
    assert default_targets(p_base, p_source) == expected


def test_a_sweep_follows_its_default_targets(tiny: LanguageModel):
    swept = sweep(tiny, SPAIN, ITALY, layers=0)
    p_base, p_source = swept.base_logits.softmax(-1), swept.source_logits.softmax(-1)
    target, other = default_targets(p_base, p_source)
    assert swept.targets == (other, target)
    assert target == int((p_source - p_base).argmax())
    assert len(sweep(tiny, SPAIN, SPAIN, layers=0).targets) == 2


def test_where_no_effect_is_possible_the_answer_is_the_bases(model: LanguageModel) -> None:
    swept = sweep(model, SPAIN, ITALY)
    frame = swept.frame
    idle = frame[~frame["effect_possible"]]
    base = idle["base_probability"].to_numpy()
    assert idle["probability"].to_numpy() == pytest.approx(base, rel=1e-12)
    assert idle["kl"].to_numpy() == pytest.approx(0, abs=1e-12)
    # Both prompts begin with the same three tokens; in the last layer only the last token counts.
    layers, last = len(swept.plan.layers), len(swept.plan.positions) - 1
    where = set(zip(frame["layer"], frame["position"], strict=True))
    wanted = {(i, p) for i, p in where if p < 3 or (i == layers - 1 and p != last)}
    assert set(zip(idle["layer"], idle["position"], strict=True)) == wanted
    assert frame["effect_possible"].dtype == bool


def test_an_ablation_may_have_an_effect_at_tokens_in_common(tiny: LanguageModel) -> None:
    frame = sweep(tiny, SPAIN, ITALY, intervention="zero").frame
    assert frame[frame["layer"] == 0]["effect_possible"].all()
