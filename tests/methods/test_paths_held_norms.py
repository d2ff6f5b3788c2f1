"""Paths to receivers whose norm's scale is held, against hooks by hand in every family."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from families import part
from paths_by_hand import ADDITIVE, BASE, RECEIVERS, SOURCE, Hand, close, difference, held
from torch import Tensor

import vene_widgets as vw

NO_NORM = ("olmo2", "olmo3")
"""Families whose sublayers read the residual stream itself."""


def norm_path(model: vw.LanguageModel, layer: int, component: str) -> str:
    """The norm before a receiver, by the family's modules; written out, not read from a table."""
    block = model.tree.root.get_submodule(f"{model.sites.architecture.blocks}.{layer}")
    names = {name for name, _ in block.named_children()}
    first = next(n for n in ("ln_1", "input_layernorm", "self_attn_layer_norm") if n in names)
    seconds = ("pre_feedforward_layernorm", "ln_2", "post_attention_layernorm", "final_layer_norm")
    second = next((n for n in seconds if n in names), first)
    name = second if component == "mlp_output" else first
    return f"{model.sites.architecture.blocks}.{layer}.{name}"


class Held(Hand):
    """Hooks by hand, with the receiver's norm replaced by a multiplication with a held scale."""

    def to(self, sender: str, layer: int, component: str, head: int | None) -> Tensor:
        """Logits with a receiver's value from a run in which only the direct path changes it."""
        if any(name in self.model.sites.architecture.name for name in NO_NORM):
            return super().to(sender, layer, component, head)
        path = norm_path(self.model, layer, component)
        norm, plain = self.root.get_submodule(path), {}
        self.run({(path, side): self._note(plain, side) for side in ("input", "output")})
        got: dict[Any, Tensor] = {}

        def multiply(output: Tensor) -> Tensor:
            width = output.shape[-1]
            before, after = (x["input"].reshape(-1, width).double() for x in (plain, got))
            changes = [held(norm, at, new - at) for at, new in zip(before, after, strict=True)]
            whole = plain["output"].reshape(-1, width).double() + torch.stack(changes)
            return whole.reshape(output.shape).to(output.dtype)

        uses = self.held(sender)
        uses |= {(path, "input"): self._note(got, "input"), (path, "output"): multiply}
        place, found = self.place(layer, component, head), {}
        uses[place] = self._note(found, "value")
        self.run(uses)

        def put(tensor: Tensor) -> Tensor:
            new = tensor.clone()
            part(self.model, component, head, new)[:] = part(
                self.model, component, head, found["value"]
            )
            return new

        return self.run({place: put})


@pytest.mark.parametrize("name", ADDITIVE)
def test_effects_with_a_receivers_norm_held_are_what_hooks_by_hand_give(
    name: str, models: Any
) -> None:
    model = models(name)
    hand, exact, apart = Held(model), Hand(model), 0.0
    for kind, component, layer, head in RECEIVERS:
        receiver = f"mlp{layer}" if head is None else (f"{layer}.{head}", kind)
        found = vw.paths(model, BASE, SOURCE, senders="all", receivers=[receiver], norms="frozen")
        assert found.frozen_blocker is None
        frame, tokens = found.frame.set_index("sender_name"), found.metric.tokens
        plain = difference(hand.run({}), tokens)
        parallel = model.sites.architecture.components["mlp_input"].before_attention
        same_block = ["2.0"] if kind == "mlp" and not parallel else []
        for sender in ["embedding", "0.0", f"{layer - 1}.1", f"mlp{layer - 1}", *same_block]:
            own = difference(hand.to(sender, layer, component, head), tokens) - plain
            assert close(frame.loc[sender, "effect_frozen"], own, model), (kind, sender)
            recomputed = difference(exact.to(sender, layer, component, head), tokens) - plain
            assert close(frame.loc[sender, "effect"], recomputed, model), (kind, sender)
        apart = max(apart, float((frame["effect"] - frame["effect_frozen"]).abs().max()))
    if any(one in model.sites.architecture.name for one in NO_NORM):
        assert apart == 0
    else:
        assert apart > 1e-3  # the scale of a norm does change


def test_what_counts_is_the_effect_with_norms_held(tiny_gpt2: vw.LanguageModel) -> None:
    options: dict[str, Any] = {"senders": "all", "receivers": [("2.1", "v"), "mlp2"]}
    found = vw.paths(tiny_gpt2, BASE, SOURCE, norms="frozen", **options)
    exact = vw.paths(tiny_gpt2, BASE, SOURCE, **options)
    assert exact.frame["effect_frozen"].isna().all()
    assert found.frame["effect"].tolist() == exact.frame["effect"].tolist()
    whole = found.source_metric - found.base_metric
    assert found.frame["share"].tolist() == pytest.approx(
        (found.frame["effect_frozen"] / whole).tolist()
    )
    best = found.strongest(1)["effect_frozen"].abs().item()
    assert best == found.frame["effect_frozen"].abs().max()
    assert "scale of the receiver's norm too" in found.setup
    assert "receiver's norm" not in exact.setup
    plot: Any = found.plot()
    assert set(plot.data["value"]) <= set(found.frame["effect_frozen"])
    # Metrics that are not linear in the logits are computed anew too.
    p = vw.paths(
        tiny_gpt2, BASE, SOURCE, norms="frozen", metric="probability", targets=" Rome", **options
    )
    assert p.frame["effect_frozen"].notna().all()


def test_receivers_of_several_layers_together(tiny_gpt2: vw.LanguageModel) -> None:
    """Each layer's norm is held at its own scale."""
    ends: list[Any] = [("1.0", "v"), "mlp2"]
    options: dict[str, Any] = {"senders": ["0.0", "mlp0"], "norms": "frozen"}
    both = vw.paths(tiny_gpt2, BASE, SOURCE, receivers=ends, together=True, **options)
    hand, kept = Held(tiny_gpt2), list[dict[Any, Any]]()
    run = hand.run

    def keep(uses: Any, ids: Any = None) -> Tensor:
        kept.append(uses)
        return run(uses, ids)

    tokens = both.metric.tokens
    plain = difference(run({}), tokens)
    hand.run = keep  # pyright: ignore[reportAttributeAccessIssue]
    for sender in ("0.0", "mlp0"):
        hand.to(sender, 1, "head_value_output", 0)
        first = kept[-1]
        hand.to(sender, 2, "mlp_output", None)
        own = difference(run({**first, **kept[-1]}), tokens) - plain
        found = both.frame.set_index("sender_name").loc[sender, "effect_frozen"]
        assert close(found, own, tiny_gpt2), sender


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_but_for_rounding(dtype: torch.dtype, tiny_llama: vw.LanguageModel) -> None:
    import copy

    half = vw.wrap(copy.deepcopy(tiny_llama.model).to(dtype), tiny_llama.tokenizer, "half")
    options: dict[str, Any] = {
        "receivers": [("1.0", "v"), "mlp1"], "targets": (" Rome", " Madrid"), "norms": "frozen"
    }  # fmt: skip
    exact, found = (vw.paths(m, BASE, SOURCE, **options).frame for m in (tiny_llama, half))
    error = (exact["effect_frozen"] - found["effect_frozen"]).abs().max()
    assert error <= (0.05 if dtype == torch.float16 else 0.3) * exact["effect_frozen"].abs().max()


def test_a_norm_of_no_known_kind_is_said(request: pytest.FixtureRequest) -> None:
    from by_hand import own_copy

    model = own_copy("tiny_gpt2", request)
    model.model.transformer.h[1].ln_1.register_forward_hook(lambda _m, _a, out: out.sin())
    options: dict[str, Any] = {"receivers": [("1.0", "v")], "targets": (" Rome", " Madrid")}
    with pytest.raises(vw.RequestError, match=r"norms='frozen' cannot be .*h\.1\.ln_1"):
        vw.paths(model, BASE, SOURCE, norms="frozen", **options)
    assert vw.paths(model, BASE, SOURCE, **options).frame["effect"].notna().all()
    # Attention reads more than the norm's output.
    other = own_copy("tiny_gpt2", request)
    other.model.transformer.h[1].attn.register_forward_pre_hook(
        lambda _m, args, kwargs: ((1.5 * args[0], *args[1:]), kwargs) if args
        else (args, {**kwargs, "hidden_states": 1.5 * kwargs["hidden_states"]}),
        with_kwargs=True,
    )  # fmt: skip
    with pytest.raises(vw.RequestError, match=r"is not the output of 'transformer\.h\.1\.ln_1'"):
        vw.paths(other, BASE, SOURCE, norms="frozen", **options)
