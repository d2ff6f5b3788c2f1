"""The logit lens: by hooks and by the head's own formula, in every family, and what it refuses."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import families
import pandas as pd
import pytest
import torch
from by_hand import ITALY, SPAIN, ByHand, distance, evaluation, own_copy, plain_logits, token_ids
from families import CONFIGS
from families_testing import Models
from figure_testing import drawn
from figure_testing import texts as drawn_texts
from torch import Tensor

import vene_widgets as vw
from vene_widgets.engine import layer_readings
from vene_widgets.engine.forward import logits_after
from vene_widgets.models import wrap

LONGER = " Madrid capital capital of Italy is"
PATCH = vw.Experiment(base=SPAIN, sources=ITALY, slots=[vw.Slot(layer=1, position=3)])


def first(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


class LensByHand:
    """Block outputs of a run, and the user's model with one of them as its last block's output."""

    def __init__(self, model: vw.LanguageModel, prompt: str) -> None:
        self.root, self.ids = model.tree.root, token_ids(model, prompt)
        paths = [model.sites.site(n, "block_output").path for n in range(model.sites.layers)]
        self.blocks = [self.root.get_submodule(path) for path in paths]
        self.states: list[Tensor] = []
        hooks = [
            block.register_forward_hook(lambda _m, _a, out: self.states.append(first(out).clone()))
            for block in self.blocks
        ]
        with evaluation(self.root):
            self.root(input_ids=self.ids)
        for hook in hooks:
            hook.remove()

    def logits(self, layer: int) -> Tensor:
        """Logits `(positions, vocabulary)` of a layer's reading."""

        def put(_module: Any, _args: Any, output: Any) -> Any:
            state = self.states[layer]
            return (state, *output[1:]) if isinstance(output, tuple) else state

        hook = self.blocks[-1].register_forward_hook(put)
        try:
            with evaluation(self.root):
                return self.root(input_ids=self.ids).logits[0]
        finally:
            hook.remove()


def head_by_formula(model: vw.LanguageModel, state: Tensor) -> Tensor:
    """Final norm, head, scale and cap of a family, written out."""
    root: Any = model.tree.root
    config, architecture = root.config, model.sites.architecture
    with evaluation(root):
        if architecture.final_norm and not hasattr(config, "word_embed_proj_dim"):
            state = root.get_submodule(architecture.final_norm)(state)
        if hasattr(config, "word_embed_proj_dim"):
            decoder = root.model.decoder
            state = state if decoder.final_layer_norm is None else decoder.final_layer_norm(state)
            state = state if decoder.project_out is None else decoder.project_out(state)
        logits = root.get_output_embeddings()(state)
    logits = logits * getattr(config, "logit_scale", 1.0) / getattr(config, "logits_scaling", 1.0)
    cap = getattr(config, "final_logit_softcapping", None)
    return logits if cap is None else cap * torch.tanh(logits / cap)


def check_rows(found: pd.DataFrame, logits: Tensor, target: int, tolerance: float) -> None:
    """Rows of one run and layer are what logits `(positions, vocabulary)` say."""
    log_p = logits.cpu().double().log_softmax(-1)
    best = torch.tensor(found.best_id.to_numpy(int))
    # Of nearly equal tokens either may be the best one.
    slack = log_p.amax(-1) - log_p.gather(-1, best[:, None])[:, 0]
    assert float(slack.abs().max()) <= tolerance
    ours = torch.tensor(found.probability.to_numpy())
    assert torch.allclose(ours, log_p.amax(-1).exp(), atol=tolerance)
    followed = torch.tensor(found.target_probability.to_numpy())
    assert torch.allclose(followed, log_p[:, target].exp(), atol=tolerance)


# ---- the numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
def test_every_family_is_read_as_by_hooks_and_by_its_formula(name: str, models: Models) -> None:
    model = models(name)
    frame = vw.lens(model, SPAIN, targets=7).frame
    hand, answer = LensByHand(model, SPAIN), plain_logits(model, SPAIN)
    layers = model.sites.layers
    assert len(frame) == layers * len(answer)
    for layer in range(layers):
        rows = frame[frame.layer == layer]
        by_hooks = hand.logits(layer)
        check_rows(rows, by_hooks, 7, 1e-6)
        formula = head_by_formula(model, hand.states[layer])[0]
        assert distance(by_hooks, formula) <= 1e-5
    check_rows(frame[frame.layer == layers - 1], answer, 7, 1e-6)


@pytest.mark.parametrize("name", ["gpt2", "gemma2", "gpt_neox", "cohere", "opt-norms-after"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(name: str, dtype: torch.dtype, models: Models) -> None:
    whole = models(name)
    model = wrap(copy.deepcopy(whole.model).to(dtype), whole.tokenizer, name)
    frame = vw.lens(model, SPAIN, targets=7).frame
    hand = LensByHand(model, SPAIN)
    for layer in range(model.sites.layers):
        check_rows(frame[frame.layer == layer], hand.logits(layer), 7, 1e-6)
    last = frame[frame.layer == model.sites.layers - 1]
    check_rows(last, plain_logits(model, SPAIN), 7, 1e-6)


@pytest.mark.parametrize("name", ["tiny_gpt2", "tiny_llama", "capitals"])
def test_the_last_layer_is_the_models_answer_bit_for_bit(
    name: str, request: pytest.FixtureRequest
) -> None:
    model: vw.LanguageModel = request.getfixturevalue(name)
    last = vw.lens(model, PATCH, targets=[4, 9], layers=-1).frame
    for run, experiment in (
        ("base", vw.Experiment(base=SPAIN)),
        ("source", vw.Experiment(base=ITALY)),
        ("patched", PATCH),
    ):
        rows = last[last.run == run]
        logits = vw.run(model, experiment).logits
        exact = vw.frames.top_frame(logits[-1], model.token_text, 1).iloc[0]
        mine = rows[rows.position == rows.position.max()].iloc[0]
        assert (mine.best_id, mine.best) == (exact.token_id, exact.token)
        assert mine.probability == pytest.approx(exact.probability, rel=1e-12)
        log_p = logits.cpu().double().log_softmax(-1)
        wanted = log_p[:, [4, 9]].exp().flatten()
        assert rows.target_probability.to_numpy() == pytest.approx(wanted.numpy(), rel=1e-12)


def test_the_patched_run_against_base(tiny_gpt2: vw.LanguageModel) -> None:
    """Its states, the mark of a changed token and the KL divergence, by hand."""
    hand = ByHand(tiny_gpt2, SPAIN, ITALY, "block_output")
    base, frame = LensByHand(tiny_gpt2, SPAIN), vw.lens(tiny_gpt2, PATCH).frame
    block = base.blocks[1]

    def put(_module: Any, _args: Any, output: Any) -> Any:
        new = first(output).clone()
        new[0, 3] = hand.recorded[1][0, 3]
        return (new, *output[1:]) if isinstance(output, tuple) else new

    hook = block.register_forward_hook(put)
    patched = LensByHand(tiny_gpt2, SPAIN)
    hook.remove()
    for layer in range(3):
        rows = frame[(frame.run == "patched") & (frame.layer == layer)]
        one, other = (each.logits(layer).cpu().double() for each in (patched, base))
        log_p, log_base = one.log_softmax(-1), other.log_softmax(-1)
        assert rows.best_id.tolist() == one.argmax(-1).tolist()
        assert rows.changed.tolist() == (one.argmax(-1) != other.argmax(-1)).tolist()
        kl = (log_p.exp() * (log_p - log_base)).sum(-1)
        assert rows.kl.to_numpy() == pytest.approx(kl.numpy(), rel=1e-6, abs=1e-9)
        untouched = rows[(rows.position < 3) | (layer == 0)]
        assert (untouched.kl == 0).all() and not untouched.changed.any()
    assert (frame[(frame.run == "patched") & (frame.layer == 1)].kl > 0).sum() == 1
    of_base = frame[frame.run == "base"]
    assert (of_base.kl == 0).all() and not of_base.changed.any()


def test_identities(tiny_llama: vw.LanguageModel) -> None:
    """A run patched with itself is base; one patched everywhere at the start is the source."""
    itself = vw.lens(tiny_llama, PATCH.replace(sources={"source": SPAIN})).frame
    assert (itself.kl == 0).all() and not itself.changed.any()
    everywhere = vw.Slot(layer=0, position=list(range(5)), component="block_input")
    whole = vw.lens(tiny_llama, PATCH.replace(slots=(everywhere,)), targets=3).frame
    columns = ["best_id", "probability", "target_probability", "target_rank", "kl"]
    source, patched = (whole[whole.run == run][columns] for run in ("source", "patched"))
    assert source.to_numpy(float) == pytest.approx(patched.to_numpy(float), rel=1e-9)


def test_long_prompts_are_read_in_chunks(
    tiny_gpt2: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = vw.lens(tiny_gpt2, PATCH, targets=5).frame
    sizes: list[int] = []

    def counted(*args: Any, **options: Any) -> Tensor:
        logits = logits_after(*args, **options)
        sizes.append(len(logits))
        return logits

    monkeypatch.setattr(layer_readings, "logits_after", counted)
    monkeypatch.setattr(layer_readings, "CHUNK_BYTES", 2 * 8 * tiny_gpt2.sites.vocabulary)
    chunked = vw.lens(tiny_gpt2, PATCH, targets=5).frame
    assert set(sizes) == {1, 2}
    exact = ["run", "layer", "position", "best_id", "changed", "target_rank"]
    pd.testing.assert_frame_equal(chunked[exact], whole[exact])
    close = ["probability", "kl", "target_probability"]
    assert chunked[close].to_numpy() == pytest.approx(whole[close].to_numpy(), rel=1e-4, abs=1e-7)


def test_sources_of_another_length_have_no_partner_in_base(tiny_gpt2: vw.LanguageModel) -> None:
    slot = vw.Slot(layer=1, position=-1, source="long", source_position=-1)
    experiment = vw.Experiment(base=SPAIN, sources={"long": LONGER, "same": ITALY}, slots=[slot])
    found = vw.lens(tiny_gpt2, experiment)
    assert found.runs == ("base", "long", "same", "patched")
    frame = found.frame
    assert list(frame.run.cat.categories) == list(found.runs)
    long = frame[frame.run == "long"]
    hand = LensByHand(tiny_gpt2, LONGER)
    assert len(long) == 3 * 6 and long.changed.isna().all() and long.kl.isna().all()
    for layer in range(3):
        best = hand.logits(layer).argmax(-1).tolist()
        assert long[long.layer == layer].best_id.tolist() == best
    others = frame[frame.run != "long"]
    assert others.changed.notna().all() and others.kl.notna().all()


def test_sources_of_a_chain_run_with_the_slots_that_act_on_them(
    tiny_gpt2: vw.LanguageModel,
) -> None:
    """In serial mode the first source acts on the second; trained weights go along."""
    slots = [
        vw.Slot(
            layer=0, position=3, source="one", intervention="low_rank_rotated_space", rank=2, seed=3
        ),
        vw.Slot(layer=1, position=3, source="two"),
    ]
    sources = {"one": ITALY, "two": "The capital of France is"}
    experiment = vw.Experiment(base=SPAIN, sources=sources, slots=slots, mode="serial")
    weights = vw.make_weights(
        tiny_gpt2, experiment.replace(slots=(slots[0].model_copy(update={"seed": 8}), slots[1]))
    )
    frame = vw.lens(tiny_gpt2, experiment, weights=weights, layers=2).frame
    chain = vw.Experiment(base=sources["two"], sources={"one": ITALY}, slots=slots[:1])
    for run, expected in (
        ("one", vw.run(tiny_gpt2, vw.Experiment(base=ITALY))),
        ("two", vw.run(tiny_gpt2, chain, weights={"slot 0": weights["slot 0"]})),
        ("patched", vw.run(tiny_gpt2, experiment, weights=weights)),
    ):
        top = expected.logits.cpu().double().softmax(-1).amax(-1).numpy()
        assert frame[frame.run == run].probability.to_numpy() == pytest.approx(top, rel=1e-12)


def test_one_token(tiny_gpt2: vw.LanguageModel) -> None:
    found = vw.lens(tiny_gpt2, "The")
    check = LensByHand(tiny_gpt2, "The")
    expected = [int(check.logits(layer).argmax()) for layer in range(3)]
    assert found.frame.best_id.tolist() == expected


# ---- models as their users have them ------------------------------------------------------------


def test_hooks_of_the_user_and_flags_stay(
    tiny_gpt2: vw.LanguageModel, request: pytest.FixtureRequest
) -> None:
    """A hook on the last block and one after the head act once, and training mode stays."""
    model = own_copy("tiny_gpt2", request)
    net: Any = model.model
    calls: list[int] = []

    def louder(_module: Any, _args: Any, output: Any) -> Any:
        new = first(output) * 1.5
        return (new, *output[1:]) if isinstance(output, tuple) else new

    def shifted(_module: Any, _args: Any, output: Any) -> Any:
        calls.append(1)
        output.logits = output.logits.flip(-1)
        return output

    last = net.get_submodule(model.sites.site(2, "block_output").path)
    last.register_forward_hook(louder)
    net.register_forward_hook(shifted)
    net.train()
    frame = vw.lens(model, SPAIN, targets=7).frame
    assert net.training and calls and all(p.grad is None for p in net.parameters())
    assert len(last._forward_hooks) == 1 and len(net._forward_hooks) == 1
    hand = LensByHand(model, SPAIN)
    for layer in range(3):
        check_rows(frame[frame.layer == layer], hand.logits(layer), 7, 1e-6)
    check_rows(frame[frame.layer == 2], plain_logits(model, SPAIN), 7, 1e-6)
    plain = vw.lens(tiny_gpt2, SPAIN).frame
    assert frame.best_id.tolist() != plain.best_id.tolist()


def test_a_subclass_with_code_after_its_head(tiny_gpt2: vw.LanguageModel) -> None:
    kind: Any = type(tiny_gpt2.model)

    class Penalised(kind):
        """Tokens of the prompt are made less likely, and the logits are capped."""

        def forward(self, input_ids: Tensor, **options: Any) -> Any:
            output = super().forward(input_ids=input_ids, **options)
            marks = torch.zeros_like(output.logits[:, 0]).scatter_(-1, input_ids, 4.0)
            output.logits = 5 * torch.tanh(output.logits / 5) - marks[:, None]
            return output

    net = copy.deepcopy(tiny_gpt2.model)
    net.__class__ = Penalised
    model = wrap(net, tiny_gpt2.tokenizer)
    frame, hand = vw.lens(model, SPAIN, targets=7).frame, LensByHand(model, SPAIN)
    for layer in range(3):
        check_rows(frame[frame.layer == layer], hand.logits(layer), 7, 1e-6)
    check_rows(frame[frame.layer == 2], plain_logits(model, SPAIN), 7, 1e-6)


def test_a_head_that_needs_the_blocks_to_run(tiny_tokenizer: Any, device: torch.device) -> None:
    """Blocks of code that is not the family's own run in every reading."""
    net = families.build("gpt2", len(tiny_tokenizer), "eager").to(device)
    kind: Any = type(net)

    class Counted(kind):
        """The logits are scaled by the number of blocks whose attention ran."""

        def forward(self, input_ids: Tensor, **options: Any) -> Any:
            output = super().forward(input_ids=input_ids, output_attentions=True, **options)
            output.logits = output.logits * len(output.attentions)
            return output

    net.__class__ = Counted
    model = wrap(net, tiny_tokenizer)
    frame, hand = vw.lens(model, SPAIN, targets=7).frame, LensByHand(model, SPAIN)
    for layer in range(3):
        check_rows(frame[frame.layer == layer], hand.logits(layer), 7, 1e-6)


def test_a_block_whose_forward_was_replaced(request: pytest.FixtureRequest) -> None:
    """The next run has the replaced forward too."""
    model = own_copy("tiny_gpt2", request)
    block: Any = model.model.get_submodule(model.sites.site(1, "block_output").path)
    genuine = block.forward

    def reversed_states(hidden_states: Tensor, *args: Any, **options: Any) -> Any:
        return genuine(hidden_states.flip(-1), *args, **options)

    block.forward = reversed_states
    frame, hand = vw.lens(model, SPAIN, targets=7).frame, LensByHand(model, SPAIN)
    for layer in range(3):
        check_rows(frame[frame.layer == layer], hand.logits(layer), 7, 1e-6)
    assert torch.equal(vw.run(model, PATCH.replace(slots=())).logits, plain_logits(model, SPAIN))
    assert block.forward is reversed_states


def test_a_head_that_reads_other_layers_is_refused(tiny_gpt2: vw.LanguageModel) -> None:
    kind: Any = type(tiny_gpt2.model)

    class Averaged(kind):
        """The logits are a mean over what two layers say."""

        def forward(self, input_ids: Tensor, **options: Any) -> Any:
            options = {k: v for k, v in options.items() if k != "output_hidden_states"}
            output = super().forward(input_ids=input_ids, output_hidden_states=True, **options)
            early = self.get_output_embeddings()(output.hidden_states[1])
            output.logits = output.logits + early
            return output

    net = copy.deepcopy(tiny_gpt2.model)
    net.__class__ = Averaged
    model = wrap(net, tiny_gpt2.tokenizer, "averaged")
    with pytest.raises(vw.RequestError, match="cannot read averaged: its last block's output"):
        vw.lens(model, SPAIN)


def test_masked_vocabularies_and_broken_weights(
    tiny_gpt2: vw.LanguageModel, request: pytest.FixtureRequest
) -> None:
    model = own_copy("tiny_gpt2", request)
    net: Any = model.model
    handle = net.register_forward_hook(
        lambda _m, _a, out: out.logits.__setitem__((..., slice(0, 9)), -torch.inf)
    )
    frame = vw.lens(model, SPAIN, targets=3).frame
    assert (frame.best_id >= 9).all() and (frame.target_probability == 0).all()
    assert (frame.kl == 0).all()
    handle.remove()
    with torch.no_grad():
        net.get_output_embeddings().weight[5, 0] = torch.nan
    with pytest.raises(vw.RequestError, match=r"base, position 0: \d+ of \d+ values are NaN"):
        vw.lens(model, SPAIN)
    assert tiny_gpt2.model is not net


def test_an_early_layer_whose_numbers_overflow_is_named(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = own_copy("tiny_gpt2", request)
    genuine = layer_readings.forward

    def broken(*args: Any, **options: Any) -> Any:
        result = genuine(*args, **options)
        result.states[1, 2] = torch.inf
        return result

    monkeypatch.setattr(layer_readings, "forward", broken)
    with pytest.raises(vw.RequestError, match=r"base, layer 1, position 2: .* NaN or infinite"):
        vw.lens(model, SPAIN)
    assert len(vw.lens(model, SPAIN, layers=[0, 2]).frame) == 10


# ---- requests and results -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (3, {}, "prompt must be a str or a vw.Experiment, got a int"),
        ("", {}, "no tokens"),
        (SPAIN, {"targets": " Atlantis"}, "token ' Atlantis' is"),
        (SPAIN, {"targets": 9_999_999}, "target 9999999 is out of range"),
        (SPAIN, {"layers": 3}, "layer 3 is out of range"),
        (SPAIN, {"layers": []}, "must be one or more distinct layers from 0 to 2"),
        (SPAIN, {"layers": [0, -3]}, "must be one or more distinct layers from 0 to 2"),
        (SPAIN, {"weights": {"slot 0": None}}, "key of weights 'slot 0' is not known"),
        (
            vw.Experiment(base=SPAIN, sources={"patched": ITALY}),
            {},
            "source 'patched' is named like a run",
        ),
    ],
)
def test_bad_requests(
    given: Any, options: dict[str, Any], message: str, tiny_gpt2: vw.LanguageModel
) -> None:
    with pytest.raises(vw.RequestError, match=message):
        vw.lens(tiny_gpt2, given, **options)


def test_a_model_must_be_wrapped() -> None:
    model: Any = "gpt2"
    with pytest.raises(vw.RequestError, match="model must come from"):
        vw.lens(model, SPAIN)


def test_targets_by_text_and_id_give_a_row_each(capitals: vw.LanguageModel) -> None:
    madrid = capitals.token_id(" Madrid")
    found = vw.lens(capitals, PATCH, targets=[" Rome", madrid])
    frame = found.frame
    assert found.targets == (capitals.token_id(" Rome"), madrid)
    assert len(frame) == 2 * 3 * 6 * 5 and frame.target.tolist()[:2] == [" Rome", " Madrid"]
    one = vw.lens(capitals, PATCH).frame
    assert not {"target", "target_probability"} & set(one.columns)
    shared = list(one.columns)
    pd.testing.assert_frame_equal(frame[::2][shared].reset_index(drop=True), one)
    last = frame[(frame.layer == 5) & (frame.position == 4)].set_index(["run", "target"])
    assert last.loc[("base", " Madrid"), "target_rank"] == 1
    assert last.loc[("patched", " Rome"), "target_rank"] == 1
    assert last.loc[("patched", " Rome"), "changed"]


def test_its_repr_says_from_where_on_the_answer_stands(capitals: vw.LanguageModel) -> None:
    found = vw.lens(capitals, PATCH)
    assert repr(found) == (
        "<Lens of 'The capital of Spain is': 6 layers; at the last position base ' Madrid' from "
        "layer 4 on, source ' Rome' from layer 4 on, patched ' Rome' from layer 4 on>"
    )


def test_a_pickle_keeps_the_table(tiny_gpt2: vw.LanguageModel) -> None:
    found = vw.lens(tiny_gpt2, PATCH, targets=3)
    again = pickle.loads(pickle.dumps(found))  # noqa: S301
    pd.testing.assert_frame_equal(again.frame, found.frame)
    pd.testing.assert_frame_equal(copy.deepcopy(found).frame, found.frame)


# ---- the figure ---------------------------------------------------------------------------------


def tile_texts(figure: Any) -> list[list[str]]:
    """The texts inside each panel of a drawn figure."""
    return [[t.get_text() for t in ax.texts if t.get_text()] for ax in figure.axes]


@pytest.mark.parametrize("style", ["light", "dark"])
def test_the_figure_shows_the_best_tokens_and_rings_what_changed(
    capitals: vw.LanguageModel, style: str
) -> None:
    found = vw.lens(capitals, PATCH, targets=[3, 4])
    plot: Any = found.plot("A title", style=style)
    frame = found.frame.drop_duplicates(["run", "layer", "position"])
    rings = [layer._data for layer in plot.layers[1:]]
    figure = drawn(plot)  # plotnine draws a figure with free scales only once
    panels = tile_texts(figure)[:3]
    for run, texts in zip(("base", "patched", "source"), panels, strict=True):
        assert sorted(texts)[:30] == sorted(frame[frame.run == run].best_label), run
    changed = frame[frame.changed.fillna(False) & (frame.run == "patched")]
    assert len(changed) > 3 and len(rings) == 2
    for ring in rings:
        assert set(zip(ring.layer, ring.position, strict=True)) == set(
            zip(changed.layer, changed.position, strict=True)
        )
        assert set(ring.run) == {"patched"}
    shown = [t.get_text() for t in drawn_texts(figure)]
    assert any("logit lens" in t and "␣Spain ← ␣Italy after block 1" in t for t in shown)
    assert "ringed: another token than in base" in shown
    assert "␣Italy\n3" in shown and "␣Spain\n3" in shown


def test_a_figure_of_one_run_has_no_rings(tiny_gpt2: vw.LanguageModel) -> None:
    plot: Any = vw.lens(tiny_gpt2, SPAIN, layers=[0, 2]).plot()
    assert len(plot.layers) == 1 and plot.labels.caption is None
    assert len(tile_texts(drawn(plot))[0]) == 10


def test_long_prompts_and_odd_tokens_are_drawn(tiny_gpt2: vw.LanguageModel) -> None:
    long = vw.lens(tiny_gpt2, " capital of" * 13 + "$🙂")
    plot = long.plot()
    assert tile_texts(drawn(plot))[0] == []
    assert plot.theme.getp("figure_size")[0] < 11
    short = vw.lens(tiny_gpt2, PATCH).plot()
    assert vw.figures.svg(short).count("<title>") == 45
    assert vw.figures.png(short + vw.theme_paper(columns=1), dpi=40)


def test_a_frame_that_is_no_lens() -> None:
    frame: Any = [1]
    with pytest.raises(vw.RequestError, match=r"expected a DataFrame from lens\(...\).frame"):
        vw.figures.lens_map(frame)
    with pytest.raises(vw.RequestError, match="lacks the columns 'run', 'layer'"):
        vw.figures.lens_map(pd.DataFrame())
    empty = pd.DataFrame(columns=list(vw.frames.FRAMES["lens_frame"]))
    with pytest.raises(vw.RequestError, match="the frame is empty"):
        vw.figures.lens_map(empty)
