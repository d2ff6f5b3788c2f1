"""fit_subspace finds what is known to be there, its controls do not, and the model stays as it was.

In the built-in model the answer stands at the country (position 3) in the output of layers 0 to 2.
"""

from __future__ import annotations

import random
from typing import Any

import pandas as pd
import pytest
import torch

from vene_widgets.engine.fitting import Fit, Pair, fit_subspace
from vene_widgets.engine.running import run
from vene_widgets.errors import RequestError
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.models import LanguageModel
from vene_widgets.models.capitals import countries

SPAIN, ITALY, FRANCE = (f"The capital of {c} is" for c in ("Spain", "Italy", "France"))
# For the tiny models, whose answers mean nothing: four pairs with their wanted tokens.
TINY: list[Pair] = [
    (SPAIN, ITALY, " Rome"),
    (ITALY, FRANCE, " Paris"),
    (FRANCE, SPAIN, " Madrid"),
    (SPAIN, FRANCE, " Paris"),
]
QUICK: dict[str, Any] = {"steps": 3, "progress": False}


def continents(some: list[Any], count: int, seed: int) -> list[Pair]:
    """Pairs of countries on different continents, the source's continent wanted."""
    draw, pairs = random.Random(seed), {}
    while len(pairs) < count:
        one, other = draw.sample(some, 2)
        if one.continent != other.continent:
            prompts = tuple(f"The continent of {c.country} is" for c in (one, other))
            pairs[prompts] = f" {other.continent}"
    return [(*prompts, wanted) for prompts, wanted in pairs.items()]


@pytest.fixture(scope="module")
def fit(capitals: LanguageModel) -> Fit:
    """Rank 4 at the country in layer 1; no held-out country occurs in a training pair."""
    shuffled = list(countries())
    random.Random(0).shuffle(shuffled)
    training = continents(shuffled[30:], 160, 1)
    held_out = continents(shuffled[:30], 60, 2)
    return fit_subspace(
        capitals, training, 1, 3, 4, held_out=held_out, steps=60, batch_size=16, progress=False
    )


def test_the_subspace_is_found_for_countries_never_trained_on(fit: Fit) -> None:
    assert fit.accuracy >= 0.9
    assert fit.random_accuracy is not None and fit.random_accuracy < 0.3
    # Five continents, and the base's own is never wanted: one in four is chance.
    assert fit.shuffled_accuracy is not None and fit.shuffled_accuracy < 0.7
    assert fit.unchanged_accuracy == 0
    assert fit.whole_accuracy >= 0.9
    assert (fit.pairs, fit.held_out_pairs) == (160, 60)


def test_the_columns_are_orthonormal(fit: Fit) -> None:
    rotation = fit.intervention.rotate_layer.weight
    assert isinstance(rotation, torch.Tensor) and rotation.shape == (128, 4)
    assert torch.allclose((rotation.T @ rotation).cpu(), torch.eye(4), atol=1e-5)


def test_the_history_says_which_step_was_kept(fit: Fit) -> None:
    history: Any = fit.history
    assert list(history.columns) == ["step", "loss", "held_out_loss", "accuracy"]
    best = history.loc[history.held_out_loss.idxmin()]
    assert best.step == fit.kept_step and best.accuracy == fit.accuracy
    assert list(history.step) == list(range(0, 61, 10))
    assert history.held_out_loss.iloc[0] > 10 * best.held_out_loss


def test_run_with_its_slot_and_weights_gives_the_same_answers(
    fit: Fit, capitals: LanguageModel
) -> None:
    """The accuracy again, by single runs through the experiment's own way."""
    shuffled = list(countries())
    random.Random(0).shuffle(shuffled)
    right = 0
    for base, source, wanted in continents(shuffled[:30], 60, 2):
        experiment = Experiment(base=base, sources=source, slots=[fit.slot()])
        right += run(capitals, experiment, weights=fit.weights).top(1).token[0] == wanted
    assert right / 60 == pytest.approx(fit.accuracy)


def test_it_shows_itself(fit: Fit) -> None:
    assert "rank 4 at block_output of layer 1" in repr(fit)
    assert "random subspace" in fit._repr_html_()
    accuracy = fit.frame.set_index("swapped").accuracy
    assert accuracy["trained subspace"] == fit.accuracy
    assert accuracy["whole state"] == fit.whole_accuracy


def test_a_slot_keeps_to_its_subspace(fit: Fit) -> None:
    assert fit.slot(source="x", strength=0.5).strength == 0.5
    assert fit.slot(layer=2).layer == 2
    with pytest.raises(RequestError, match="this subspace has rank 4"):
        fit.slot(rank=5)


# ---- on tiny models ---------------------------------------------------------------------------


def rotation(fit: Fit) -> torch.Tensor:
    weight = fit.intervention.rotate_layer.weight
    assert isinstance(weight, torch.Tensor)
    return weight.detach()


def test_equal_seeds_give_equal_fits_and_others_do_not(tiny_gpt2: LanguageModel) -> None:
    fits = []
    for seed, global_seed in ((0, 1), (0, 2), (1, 1)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(global_seed)
            fits.append(fit_subspace(tiny_gpt2, TINY, 1, 3, 2, seed=seed, **QUICK))
    for name, tensor in fits[0].intervention.state_dict().items():
        assert torch.equal(tensor, fits[1].intervention.state_dict()[name])
    pd.testing.assert_frame_equal(fits[0].history, fits[1].history)
    assert not torch.equal(rotation(fits[0]), rotation(fits[2]))


@pytest.mark.parametrize("broken", [False, True])
def test_the_model_is_left_as_it_was(
    tiny_gpt2: LanguageModel, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    net = tiny_gpt2.model
    weights = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    flags = [(m.training, len(m._forward_hooks)) for m in net.modules()]
    asking = [p.requires_grad for p in net.parameters()]
    assert any(asking), "a model whose weights ask for no gradient proves nothing"
    torch.rand(1)  # otherwise an earlier fit's seed would still stand there
    state = torch.get_rng_state()
    if broken:
        monkeypatch.setattr(torch.optim.Adam, "step", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            fit_subspace(tiny_gpt2, TINY, 1, 3, 2, **QUICK)
    else:
        fitted = fit_subspace(tiny_gpt2, TINY, 1, 3, 2, **QUICK)
        assert all(p.grad is None for p in fitted.intervention.parameters())
    assert all(torch.equal(weights[name], tensor) for name, tensor in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    assert [p.requires_grad for p in net.parameters()] == asking
    assert [(m.training, len(m._forward_hooks)) for m in net.modules()] == flags
    assert torch.equal(torch.get_rng_state(), state)


def test_the_whole_space_is_the_whole_state(tiny_gpt2: LanguageModel) -> None:
    """At full rank there is nothing to learn: any rotation swaps the whole state."""
    last = [(one, other) for one, other, _ in TINY]
    fitted = fit_subspace(
        tiny_gpt2, last, 2, -1, tiny_gpt2.sites.d_model, held_out=0.5, lr=1e-9, **QUICK
    )
    # Wanted is the source's own answer, and the last block's last output is all there is to it.
    assert fitted.accuracy == fitted.whole_accuracy == fitted.random_accuracy == 1


def test_prompts_of_several_lengths_fit_together(tiny_gpt2: LanguageModel) -> None:
    """Batches of many prompts give what single ones give: same answer for every batch size."""
    pairs: list[Pair] = [
        *TINY,
        ("The The capital of Spain is", ITALY, " Rome"),
        (ITALY, "The The The capital of France is", " Paris"),
    ]
    held_out: list[Pair] = [("The The capital of France is", SPAIN), (FRANCE, ITALY)]
    fits = [
        fit_subspace(
            tiny_gpt2, pairs, 1, " is", 3, source_position=-1, held_out=held_out, batch_size=size,
            steps=1, lr=1e-9, progress=False,
        )
        for size in (1, 32)
    ]  # fmt: skip
    first = [fitted.history.held_out_loss.iloc[0] for fitted in fits]
    assert first[0] == pytest.approx(first[1], rel=1e-5)


def test_training_stops_when_the_held_out_loss_rises(tiny_gpt2: LanguageModel) -> None:
    """A held-out pair wants another token for the very state that is trained to give one."""
    training: list[Pair] = [(SPAIN, ITALY, " Rome"), (FRANCE, ITALY, " Rome")]
    held_out: list[Pair] = [(ITALY, ITALY.replace("The ", "The The "), " of")]
    fitted = fit_subspace(
        tiny_gpt2, training, 2, -1, 8, held_out=held_out, steps=2000, patience=2, lr=0.05,
        controls=False, progress=False,
    )  # fmt: skip
    history = fitted.history
    assert history.step.iloc[-1] < 2000
    assert history.step.iloc[-1] == fitted.kept_step + 20
    # The weights are those of the kept step, not of the last one.
    base, source, wanted = held_out[0]
    experiment = Experiment(base=base, sources=source, slots=[fitted.slot()])
    logits = run(tiny_gpt2, experiment, weights=fitted.weights).logits[-1]
    loss = -logits.log_softmax(-1)[tiny_gpt2.token_id(wanted)].item()
    assert loss == pytest.approx(history.held_out_loss.min(), rel=1e-5)
    assert loss < history.held_out_loss.iloc[-1] - 1e-3
    assert fitted.random_accuracy is None and fitted.shuffled_accuracy is None
    assert len(fitted.frame) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank": 0}, "rank 0 is invalid for"),
        ({"rank": 25}, "rank 25 is invalid for"),
        ({"layer": 3}, "layer 3"),
        ({"component": "block"}, "'block' is not known. Did you mean"),
        ({"position": 9}, "9 is out of range"),
        ({"position": " Rome"}, "does not occur"),
        ({"source_position": [1, 2]}, "pairs 2 source positions with 1 base"),
        ({"steps": 0}, "steps must be an int of at least 1, got 0"),
        ({"batch_size": 1.5}, "batch_size must be an int of at least 1, got 1.5"),
        ({"lr": 0}, "lr must be a learning rate above 0, got 0"),
        ({"lr": "fast"}, "lr must be a learning rate above 0, got 'fast'"),
        ({"seed": -1}, "seed must be an int of 0 or more, got -1"),
        ({"held_out": 1.0}, "held_out must be a share between 0 and 1, got 1.0"),
        ({"held_out": []}, "0 held out"),
        ({"held_out": TINY[:1]}, "is there twice"),
        ({"pairs": TINY[:1]}, "0 pairs to train on"),
        ({"pairs": [SPAIN, ITALY]}, r"\(base, source\) or"),
        ({"pairs": [(SPAIN, ITALY, " Rome is"), TINY[1]]}, "is 2 tokens"),
    ],
)
def test_what_does_not_fit_is_named(
    tiny_gpt2: LanguageModel, changes: dict[str, Any], message: str
) -> None:
    given = {"pairs": TINY, "layer": 1, "position": 3, "rank": 2, **QUICK, **changes}
    with pytest.raises(RequestError, match=message):
        fit_subspace(tiny_gpt2, **given)
