"""attribute(): estimates are what gradients by hand give, and exact where the model is linear."""

from __future__ import annotations

import copy
import types
from contextlib import nullcontext
from typing import Any

import by_hand
import families
import pytest
import torch
from by_hand import ITALY, SPAIN, logits_in, plain_logits
from families import CONFIGS, PartByHand
from torch import Tensor, nn

import vene_widgets as vw
from vene_widgets.engine import forward
from vene_widgets.methods import attribution_passes
from vene_widgets.models import wrap

LONGER = " Madrid capital capital of Italy is"  # differs everywhere, in length too
TOLERANCE = 1e-4  # of the largest estimate, in float32


@pytest.fixture(params=CONFIGS)
def family(request: pytest.FixtureRequest, tiny_tokenizer: Any, device: torch.device) -> Any:
    """A tiny model of one of `CONFIGS`."""
    net = families.build(request.param, len(tiny_tokenizer)).to(device)
    return wrap(net, tiny_tokenizer, request.param)


@pytest.fixture
def with_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let passes by hand record gradients; the models of this file are in evaluation mode."""
    monkeypatch.setattr(by_hand, "evaluation", lambda root: nullcontext())


@pytest.fixture
def own_gpt2(tiny_gpt2: vw.LanguageModel) -> vw.LanguageModel:
    """A copy that a test may change."""
    return wrap(copy.deepcopy(tiny_gpt2.model), tiny_gpt2.tokenizer, "own")


def estimates_by_hand(
    model: vw.LanguageModel,
    prompts: tuple[str, str],
    component: str,
    head: int | None,
    layer: int,
    tokens: tuple[int, int],
    partners: tuple[int, ...],
) -> Tensor:
    """(source state − base state) · gradient of the logit difference, `(positions,)`.

    The gradient is that to a vector of zeros which a hook adds to the component.
    """
    hand = PartByHand(model, *prompts, component, head)
    site = hand._site(layer)
    base, source = hand.states(layer, hand.base).detach(), hand.states(layer).detach()
    zeros = torch.zeros_like(base, requires_grad=True)

    def add(tensor: Tensor) -> Tensor:
        new = tensor.clone()
        hand._part(new)[0] += zeros
        return new

    logits = hand._call(site, add, hand.base)[-1]
    [gradient] = torch.autograd.grad(logits[tokens[0]] - logits[tokens[1]], [zeros])
    change = source[list(partners)] - base
    return (change * gradient).flatten(1).sum(-1).cpu()


def close(found: Tensor, wanted: Tensor, tolerance: float = TOLERANCE) -> bool:
    """Whether numbers are equal up to a fraction of the largest."""
    size = max(float(wanted.abs().max()), 1e-3)
    return float((found.cpu().double() - wanted.cpu().double()).abs().max()) <= tolerance * size


# ---- gradients by hand ---------------------------------------------------------------------------


def test_every_component_of_every_family_is_what_gradients_by_hand_give(
    family: vw.LanguageModel, with_graph: None
):
    tokens = 5, 9
    changed = 0
    for component in family.sites.components:
        count = family.sites.head_count(component)
        head: Any = None if count is None else "all"
        with pytest.warns(UserWarning, match="differ in length"):
            found = vw.attribute(family, SPAIN, LONGER, component, head=head, targets=tokens)
        one = None if count is None else count - 1
        estimates = found.estimates if one is None else found.estimates[:, one]
        for layer in (0, 2):
            wanted = estimates_by_hand(
                family,
                (SPAIN, LONGER),
                component,
                one,
                layer,
                tokens,
                found.plan.source_positions,
            )
            assert close(estimates[layer], wanted), f"{component}, layer {layer}"
            changed += bool(wanted.abs().max() > 1e-3)
    assert changed > len(family.sites.components), "estimates of nothing"


@pytest.mark.parametrize("metric", ["probability", "log_probability", "logit_difference"])
def test_the_estimate_is_the_slope_of_adding_a_little_of_the_source(
    own_gpt2: vw.LanguageModel, metric: Any
):
    """Activation addition with a strength near 0, in both directions, in float64."""
    own_gpt2.model.double()
    place: dict[str, Any] = {"component": "mlp_output", "intervention": "addition"}
    found = vw.attribute(own_gpt2, SPAIN, ITALY, **place, targets=[5, 9], metric=metric)
    strength = 1e-5

    def value(layer: int, position: int, strength: float) -> float:
        slot = vw.Slot(layer=layer, position=position, strength=strength, **place)
        experiment = vw.Experiment(base=SPAIN, sources=ITALY, slots=[slot])
        log_p = vw.run(own_gpt2, experiment).logits[-1].log_softmax(-1)
        if metric == "probability":
            return float(log_p[5].exp())
        return float(log_p[5] - (log_p[9] if metric == "logit_difference" else 0))

    for layer, position in ((0, 2), (1, 3), (2, 4)):
        ends = [value(layer, position, sign * strength) for sign in (-1, 1)]
        slope = (ends[1] - ends[0]) / (2 * strength)
        assert float(found.estimates[layer, position]) == pytest.approx(slope, rel=1e-4)
        assert abs(slope) > 1e-6


def test_a_linear_model_is_estimated_exactly(own_gpt2: vw.LanguageModel):
    """Without a final norm, and with blocks that add nothing, logits are linear in the state."""
    net: Any = own_gpt2.model.transformer
    net.ln_f = nn.Identity()
    with torch.no_grad():
        for block in net.h[1:]:
            for layer in (block.attn.c_proj, block.mlp.c_proj):
                layer.weight.zero_()
                layer.bias.zero_()
    found = vw.attribute(own_gpt2, SPAIN, ITALY)
    check = found.against(vw.sweep(own_gpt2, SPAIN, ITALY))
    effects = torch.tensor(check.frame["exact"].to_numpy())
    assert close(found.estimates.flatten(), effects) and effects.abs().max() > 0.1
    assert check.correlation == pytest.approx(1, abs=1e-6) and check.false_negatives.empty
    total = found.source_value - found.base_value
    assert float(found.estimates[0, -1]) == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("fixture", ["tiny_gpt2", "tiny_llama"])
@pytest.mark.parametrize("intervention", ["zero", "mean", "subtraction", "noise"])
def test_other_operators_change_the_state_as_a_sweep_does(
    fixture: str, intervention: str, request: pytest.FixtureRequest
):
    """new − base is read from the receipts of runs of their own."""
    model: vw.LanguageModel = request.getfixturevalue(fixture)
    prompts = [ITALY, SPAIN] if intervention == "mean" else ()
    found = vw.attribute(
        model, SPAIN, ITALY, "attention_output", intervention=intervention, prompts=prompts
    )
    for layer, position in ((0, 3), (2, 4)):
        slot = vw.Slot(
            layer=layer,
            position=position,
            component="attention_output",
            intervention=intervention,
            prompts=prompts,
        )
        sources = ITALY if intervention == "subtraction" else {}
        run = vw.run(model, vw.Experiment(base=SPAIN, sources=sources, slots=[slot]))
        stats = run.record[0].stats
        assert stats is not None
        assert close(found.changes[layer, position], (stats.after - stats.before)[0], 1e-5)
    plain = vw.attribute(model, SPAIN, ITALY, "attention_output", targets=[found.target, 9])
    same = vw.attribute(
        model,
        SPAIN,
        component="attention_output",
        intervention="zero",
        targets=[found.target, 9],
    )
    assert torch.equal(plain.gradients, same.gradients)  # they do not depend on the operator


def test_heads_are_parts_of_the_whole(tiny_llama: vw.LanguageModel):
    """Estimates are linear, so those of all heads add up to that of the joined tensor."""
    for component in ("query_output", "value_output", "attention_value_output"):
        whole = vw.attribute(tiny_llama, SPAIN, ITALY, component)
        heads = vw.attribute(tiny_llama, SPAIN, ITALY, f"head_{component}", head="all")
        assert close(heads.estimates.sum(1), whole.estimates, 1e-5)
        assert heads.gradients.shape == heads.changes.shape
        assert heads.gradients.shape[:3] == (3, len(heads.heads), 5)
        one = vw.attribute(tiny_llama, SPAIN, ITALY, f"head_{component}", head=-1)
        assert torch.equal(one.estimates, heads.estimates[:, -1])
        some = vw.attribute(tiny_llama, SPAIN, ITALY, f"head_{component}", head=[1, 0])
        assert torch.equal(some.estimates, heads.estimates[:, [1, 0]]) and some.heads == (1, 0)


# ---- integrated gradients ------------------------------------------------------------------------


def test_integrated_gradients_add_up_to_the_whole_effect(capitals: vw.LanguageModel):
    """Completeness (Sundararajan et al. 2017), at the input; midpoints converge fast."""

    def error(steps: int) -> float:
        found = vw.attribute(capitals, SPAIN, ITALY, "block_input", layers=0, steps=steps)
        total = found.source_value - found.base_value
        return abs(float(found.estimates.sum()) - total) / abs(total)

    assert error(1) > 0.1
    assert error(50) < 1e-3


def test_integrated_gradients_are_the_mean_of_gradients_on_the_line(
    tiny_gpt2: vw.LanguageModel, with_graph: None
):
    found = vw.attribute(tiny_gpt2, SPAIN, ITALY, "mlp_output", targets=[5, 9], steps=3)
    net: Any = tiny_gpt2.model
    start, end = (
        net.transformer.wte(by_hand.token_ids(tiny_gpt2, prompt)).detach()
        for prompt in (SPAIN, ITALY)
    )
    total = torch.zeros(())
    for part in (1 / 6, 3 / 6, 5 / 6):
        held: list[Tensor] = []
        hook = net.transformer.h[1].mlp.register_forward_hook(
            lambda _m, _a, output, held=held: held.append(output)
        )
        logits = logits_in(net(inputs_embeds=start + part * (end - start)))[0, -1]
        hook.remove()
        [gradient] = torch.autograd.grad(logits[5] - logits[9], held)
        total = total + gradient[0].cpu() / 3
    assert close(found.gradients[1], total, 1e-5)


def test_more_steps_estimate_better_where_one_step_fails(capitals: vw.LanguageModel):
    swept = vw.sweep(capitals, SPAIN, ITALY)
    one = vw.attribute(capitals, SPAIN, ITALY).against(swept)
    five = vw.attribute(capitals, SPAIN, ITALY, steps=5).against(swept)
    assert one.correlation < 0.8 and five.correlation > 0.99
    assert len(one.false_negatives) > 0 and five.false_negatives.empty


# ---- what it costs, and what it leaves alone -----------------------------------------------------


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry per forward pass."""
    counted: list[int] = []
    net = forward._net

    def counting(model: Any) -> Any:
        counted.append(1)
        return net(model)

    monkeypatch.setattr(forward, "_net", counting)
    return counted


@pytest.mark.parametrize(
    ("count", "options"),
    [
        (2, {}),
        (2, {"component": "head_value_output", "head": "all"}),
        (2, {"metric": "probability", "layers": [1]}),
        (1, {"source": None, "intervention": "zero"}),
        (1, {"source": SPAIN}),
        (5, {"steps": 3}),
    ],
)
def test_passes_do_not_depend_on_the_number_of_cells(
    tiny_gpt2: vw.LanguageModel, passes: list[int], count: int, options: dict[str, Any]
):
    vw.attribute(tiny_gpt2, SPAIN, **{"source": ITALY, **options})
    assert len(passes) == count


def test_the_model_is_left_as_it_was(own_gpt2: vw.LanguageModel):
    net = own_gpt2.model.train()
    net.transformer.h[0].mlp.c_fc.weight.requires_grad_(False)
    before = [(p.requires_grad, p.grad, p._version) for p in net.parameters()]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()]
    vw.attribute(own_gpt2, SPAIN, ITALY)
    with pytest.raises(vw.RequestError, match="steps"):
        vw.attribute(own_gpt2, SPAIN, ITALY, steps=0)
    with torch.inference_mode():  # gradients are there all the same
        inside = vw.attribute(own_gpt2, SPAIN, ITALY, steps=2)
    assert torch.equal(
        inside.gradients, vw.attribute(own_gpt2, SPAIN, ITALY, steps=2).gradients
    ) and not (inside.gradients.requires_grad or inside.base_logits.requires_grad)
    assert [(p.requires_grad, p.grad, p._version) for p in net.parameters()] == before
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()]
    assert net.training and all(module.training for module in net.modules())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("metric", ["logit_difference", "probability"])
def test_other_dtypes(own_gpt2: vw.LanguageModel, dtype: torch.dtype, metric: Any):
    options: dict[str, Any] = {"targets": [5, 9], "metric": metric}
    wanted = vw.attribute(own_gpt2, SPAIN, ITALY, **options).estimates
    own_gpt2.model.to(dtype)
    found = vw.attribute(own_gpt2, SPAIN, ITALY, **options)
    assert found.estimates.dtype == torch.float64 and found.gradients.dtype == torch.float32
    assert close(found.estimates, wanted, max(1e-5, 32 * torch.finfo(dtype).eps))


def test_a_probability_near_zero_keeps_its_slope_in_half_precision(own_gpt2: vw.LanguageModel):
    """The slope of P is P times that of ln P, which is what goes through the model."""
    plain = plain_logits(own_gpt2, SPAIN)[-1]
    rare = int(plain.argmin())
    own_gpt2.model.half()
    found = vw.attribute(own_gpt2, SPAIN, ITALY, targets=rare, metric="probability")
    logarithm = vw.attribute(own_gpt2, SPAIN, ITALY, targets=rare, metric="log_probability")
    assert found.base_value < 1e-4  # its own gradient has two digits in float16
    assert close(found.estimates / found.base_value, logarithm.estimates, 1e-3)


def test_a_users_hook_is_part_of_the_model(own_gpt2: vw.LanguageModel, with_graph: None):
    net: Any = own_gpt2.model
    net.transformer.h[1].register_forward_hook(lambda _m, _a, out: _scaled(out))
    found = vw.attribute(own_gpt2, SPAIN, ITALY, targets=[5, 9])
    wanted = estimates_by_hand(
        own_gpt2, (SPAIN, ITALY), "block_output", None, 0, (5, 9), tuple(range(5))
    )
    assert close(found.estimates[0], wanted)


def _scaled(output: Any) -> Any:
    return (output[0] * 1.5, *output[1:]) if isinstance(output, tuple) else output * 1.5


def test_prompts_of_one_token(tiny_gpt2: vw.LanguageModel):
    found = vw.attribute(tiny_gpt2, "The", " capital", steps=2)
    assert found.estimates.shape == (3, 1) and found.estimates.abs().min() > 0
    assert len(found.frame) == 3


# ---- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "kl"}, r"metric 'kl' .*logit_difference"),
        ({"steps": 0}, r"steps 0 must be an int from 1"),
        ({"steps": 2.5}, r"steps 2.5 must be an int from 1"),
        ({"steps": 10**9}, r"to 10000\.$"),
        ({"steps": 2, "intervention": "zero"}, r"intervention 'zero' puts other states in place"),
        ({"steps": 2, "source": LONGER}, r"base has 5 tokens and the source 6"),
        ({"steps": 2, "positions": [1], "source_positions": [2]}, r"positions \[1\] are paired"),
        ({"targets": " Rome"}, r"compares two target tokens, but there is one"),
        ({"targets": [" Rome", " Rome"]}, r"compares two target tokens, but there is one"),
        ({"targets": []}, r"targets must name at least one token"),
        ({"targets": 10**6}, r"target"),
        ({"source": None}, r"source is missing"),
        ({"component": "attention_weight"}, r"attention_weight"),
        ({"component": "head_value_output"}, r"needs a head"),
        ({"layers": 7}, r"layer 7 is out of range"),
    ],
)
def test_a_bad_request_is_one_sentence_before_any_run(
    tiny_gpt2: vw.LanguageModel, passes: list[int], options: dict[str, Any], message: str
):
    with pytest.raises(vw.RequestError, match=message) as caught:
        vw.attribute(tiny_gpt2, SPAIN, **{"source": ITALY, **options})
    assert "\n" not in str(caught.value)
    if "targets" not in options:
        assert passes == []


def test_logits_that_are_not_numbers_are_refused(own_gpt2: vw.LanguageModel):
    with torch.no_grad():
        own_gpt2.model.transformer.h[2].mlp.c_proj.bias.fill_(torch.nan)
    with pytest.raises(vw.RequestError, match="NaN or infinite"):
        vw.attribute(own_gpt2, SPAIN, ITALY)


def test_code_without_gradients_is_refused(own_gpt2: vw.LanguageModel):
    net: Any = own_gpt2.model
    net.transformer.h[1].register_forward_hook(
        lambda _m, _a, out: (out[0].detach(), *out[1:]) if isinstance(out, tuple) else out.detach()
    )
    with pytest.raises(vw.RequestError, match="no gradient reaches the block_output of layer 0"):
        vw.attribute(own_gpt2, SPAIN, ITALY)
    assert len(vw.attribute(own_gpt2, SPAIN, ITALY, layers=[2]).frame) == 5


def test_weights_of_inference_mode_are_refused(tiny_gpt2: vw.LanguageModel):
    with torch.inference_mode():
        net = copy.deepcopy(tiny_gpt2.model)
    model = wrap(net, tiny_gpt2.tokenizer, "inference")
    with pytest.raises(vw.RequestError, match="run with gradients: torch says 'Inference"):
        vw.attribute(model, SPAIN, ITALY)


def test_a_module_that_runs_twice_has_no_single_gradient(own_gpt2: vw.LanguageModel):
    """A sweep changes both calls; the gradient to one of them would be another number."""
    mlp: Any = own_gpt2.model.transformer.h[1].mlp

    def twice(self: Any, hidden: Tensor) -> Tensor:
        first, second = (self.act(self.c_fc(part * hidden)) for part in (1, 2))
        return self.c_proj(first) + self.c_proj(second)

    mlp.forward = types.MethodType(twice, mlp)
    with pytest.raises(vw.RequestError, match="mlp_activation of layer 1 was reached twice"):
        vw.attribute(own_gpt2, SPAIN, ITALY, "mlp_activation")
    assert len(vw.attribute(own_gpt2, SPAIN, ITALY, "mlp_output").frame) == 15


class Steep(torch.autograd.Function):
    """The identity, with a slope of 10,000."""

    @staticmethod
    def forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        return args[0].clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        return 1e4 * grad_outputs[0]


def test_a_gradient_that_overflows_is_refused(own_gpt2: vw.LanguageModel):
    net: Any = own_gpt2.model.half()
    for block in net.transformer.h[1:]:
        block.mlp.register_forward_pre_hook(lambda _m, args: (Steep.apply(args[0]),))
    with pytest.raises(vw.RequestError, match=r"not finite in torch\.float16.*bfloat16"):
        vw.attribute(own_gpt2, SPAIN, ITALY)
    assert vw.attribute(own_gpt2, SPAIN, ITALY, layers=[2]).estimates.isfinite().all()


def test_memory_that_runs_out_is_one_sentence(
    tiny_gpt2: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
):
    def full(*_args: Any, **_named: Any) -> Any:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(attribution_passes, "gradient_pass", full)
    with pytest.raises(vw.RequestError, match="out of memory: a pass over 5 tokens"):
        vw.attribute(tiny_gpt2, SPAIN, ITALY)
    monkeypatch.undo()
    assert len(vw.attribute(tiny_gpt2, SPAIN, ITALY).frame) == 15


# ---- results -------------------------------------------------------------------------------------


def test_the_frame_is_tidy(capitals: vw.LanguageModel):
    found = vw.attribute(capitals, SPAIN, ITALY, positions=[" Spain", -1], layers=[3, 1])
    frame = found.frame
    assert list(frame.columns) == list(vw.frames.FRAMES["attribution_frame"])
    assert {c: str(d) for c, d in frame.dtypes.items()} == {
        c: vw.frames.COLUMNS[c].dtype for c in frame.columns
    }
    assert list(frame["layer"]) == [3, 3, 1, 1] and list(frame["position"]) == [3, 4, 3, 4]
    assert list(frame["token"]) == [" Spain", " is"] * 2
    assert list(frame["source_token"]) == [" Italy", " is"] * 2
    assert list(frame["estimate"]) == found.estimates.flatten().tolist()
    base, source = (plain_logits(capitals, prompt)[-1] for prompt in (SPAIN, ITALY))
    rome, madrid = (capitals.resolve_token(text) for text in (" Rome", " Madrid"))
    assert (found.target, found.contrast) == (rome, madrid)
    assert frame.attrs["base_value"] == pytest.approx(float(base[rome] - base[madrid]), abs=1e-4)
    assert found.source_value == pytest.approx(float(source[rome] - source[madrid]), abs=1e-4)
    assert "logit_difference -7.07 in the base" in repr(found)
    zero = vw.attribute(capitals, SPAIN, intervention="zero", targets=[rome, madrid])
    assert set(zero.frame["source_token"]) == {None}
    assert zero.frame.attrs["source_value"] is None and "source" not in repr(zero)
    assert "source" not in zero.plot().labels.subtitle


def test_a_pickle_holds_the_numbers(tiny_gpt2: vw.LanguageModel):
    import pickle

    found = vw.attribute(tiny_gpt2, SPAIN, ITALY)
    loaded = pickle.loads(pickle.dumps(found))  # noqa: S301  # our own
    assert loaded.frame.equals(found.frame) and torch.equal(loaded.gradients, found.gradients)


@pytest.mark.usefixtures("restored_registry")
def test_a_vector_that_an_operator_adds_gets_the_same_gradient(tiny_gpt2: vw.LanguageModel):
    """The way to gradients for training: `run(gradients=True)` with an operator that holds one."""
    found = vw.attribute(tiny_gpt2, SPAIN, ITALY, targets=[5, 9])
    vector = torch.zeros(24, requires_grad=True, device=tiny_gpt2.device)
    vw.register("steer", lambda base, source: base + vector, needs_source=False)
    slot = vw.Slot(layer=1, position=3, intervention="steer")
    run = vw.run(tiny_gpt2, vw.Experiment(base=SPAIN, slots=[slot]), gradients=True)
    (run.logits[-1, 5] - run.logits[-1, 9]).backward()
    assert vector.grad is not None
    assert close(vector.grad, found.gradients[1, 3], 1e-5)
