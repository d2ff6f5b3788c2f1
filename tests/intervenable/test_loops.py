"""Training loops written for pyvene, by pyvene and here: the same losses from the same start.

Rotations start equal when one takes the other's `rotate_layer.state_dict()`.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from intervenable_testing import ids, on
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vene_widgets import intervenable as face

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::UserWarning:pyvene"),
]

STEPS, TOLERANCE = 20, 1e-5
Step = Callable[[Any, Tensor], Tensor]
Made = tuple[Any, Any, Callable[[int], None], Step]
"""The intervenable model, its optimiser, what comes before a step, and a step's loss."""


def batches(model: Any) -> list[tuple[Any, Any, Tensor]]:
    """Bases, sources and the tokens that are wanted, four at a time."""
    found: list[tuple[Any, Any, Tensor]] = []
    for seed in range(STEPS):
        base, source = on(model, ids(4, seed=2 * seed)), on(model, ids(4, seed=2 * seed + 1))
        found.append((base, source, source["input_ids"][:, 2]))
    return found


def placed(built: Any) -> Any:
    """With its operators where its model is, before an optimiser holds their weights."""
    built.set_device(str(built.get_device()))
    return built


def price_tagging(pv: Any, model: Any) -> Made:
    """Boundless alignment with a falling temperature, and a price on the boundary."""
    config = pv.IntervenableConfig(
        representations=[{"layer": 1, "component": "block_output"}],
        intervention_types=pv.BoundlessRotatedSpaceIntervention,
    )
    intervenable = placed(pv.IntervenableModel(config, model))
    parameters: list[dict[str, Any]] = []
    for v in intervenable.interventions.values():
        parameters += [{"params": v.rotate_layer.parameters()}]
        parameters += [{"params": v.intervention_boundaries, "lr": 1e-2}]
    schedule = torch.linspace(50, 0.1, STEPS).to(model.device)

    def step(output: Any, wanted: Tensor) -> Tensor:
        loss = cross_entropy(output.logits[:, -1], wanted)
        for v in intervenable.interventions.values():
            loss = loss + 1.0 * v.intervention_boundaries.sum()
        return loss

    def before(number: int) -> None:
        intervenable.set_temperature(schedule[number])

    return intervenable, torch.optim.Adam(parameters, lr=1e-2), before, step


def masks(pv: Any, model: Any) -> Made:
    """Which coordinates of two sites matter."""
    representations = [{"layer": 0, "component": "mlp_output"}, {"layer": 1}]
    config = pv.IntervenableConfig(representations, pv.SigmoidMaskIntervention)
    intervenable = placed(pv.IntervenableModel(config, model))
    optimiser = torch.optim.Adam(intervenable.get_trainable_parameters(), lr=1e-2)
    schedule = torch.linspace(1.0, 0.01, STEPS).to(model.device)

    def before(number: int) -> None:
        for v in intervenable.interventions.values():
            v.set_temperature(schedule[number])

    def step(output: Any, wanted: Tensor) -> Tensor:
        loss = cross_entropy(output.logits[:, -1], wanted)
        for v in intervenable.interventions.values():
            loss = loss + 0.01 * v.mask.sigmoid().sum()
        return loss

    return intervenable, optimiser, before, step


def alignment(pv: Any, model: Any) -> Made:
    """Distributed alignment of a subspace."""
    config = pv.IntervenableConfig(
        [{"layer": 1, "low_rank_dimension": 3}], pv.LowRankRotatedSpaceIntervention
    )
    intervenable = placed(pv.IntervenableModel(config, model))
    optimiser = torch.optim.Adam(intervenable.get_trainable_parameters(), lr=1e-2)
    return intervenable, optimiser, nothing, plain_step


def whole_alignment(pv: Any, model: Any) -> Made:
    """The same with a rotation of the whole site; the subspaces are ranges of it."""
    config = pv.IntervenableConfig([{"layer": 1}], pv.RotatedSpaceIntervention)
    intervenable = placed(pv.IntervenableModel(config, model))
    for v in intervenable.interventions.values():
        v.set_interchange_dim(6)
    optimiser = torch.optim.Adam(intervenable.get_trainable_parameters(), lr=1e-2)
    return intervenable, optimiser, nothing, plain_step


def trained_interventions(pv: Any, model: Any) -> Made:
    """A user-defined class: a low-rank edit with a learned source (Wu et al. 2024, ReFT)."""

    class LearnedEdit(
        pv.SourcelessIntervention,
        pv.TrainableIntervention,
        pv.DistributedRepresentationIntervention,
    ):
        def __init__(self, **fields: Any) -> None:
            super().__init__(**fields, keep_last_dim=True)
            width, rank = int(self.embed_dim), fields["low_rank_dimension"]
            generator = torch.Generator().manual_seed(3)
            self.rotation = nn.Parameter(torch.randn(width, rank, generator=generator) / 5)
            self.learned = nn.Linear(width, rank)
            with torch.no_grad():
                for weight in self.learned.parameters():
                    weight.copy_(torch.randn(weight.shape, generator=generator) / 5)

        def forward(self, base: Tensor, source: Any = None, subspaces: Any = None, **_: Any) -> Any:
            change = self.learned(base) - base @ self.rotation
            return base + change @ self.rotation.T

    config = pv.IntervenableConfig(
        representations=[{"layer": 1, "low_rank_dimension": 2, "intervention_type": LearnedEdit}]
    )
    intervenable = placed(pv.IntervenableModel(config, model))
    intervenable.disable_model_gradients()
    return intervenable, torch.optim.AdamW(intervenable.parameters(), lr=1e-2), nothing, plain_step


def plain_step(output: Any, wanted: Tensor) -> Tensor:
    return cross_entropy(output.logits[:, -1], wanted)


def nothing(_number: int) -> None:
    """Before a step."""


LOOPS = {
    one.__name__: one
    for one in (price_tagging, masks, alignment, whole_alignment, trained_interventions)
}


def start_equal(theirs: Any, ours: Any) -> None:
    """Give our rotations the state of pyvene's."""
    pairs = zip(theirs.interventions.values(), ours.interventions.values(), strict=True)
    for other, mine in pairs:
        if hasattr(other, "rotate_layer"):
            mine.rotate_layer.load_state_dict(other.rotate_layer.state_dict())


def losses_of(made: Made, data: list[tuple[Any, Any, Tensor]]) -> list[float]:
    intervenable, optimiser, before, step = made
    found: list[float] = []
    for number, (base, source, wanted) in enumerate(data):
        sourceless = any(
            getattr(v, "is_source_constant", False) for v in intervenable.interventions.values()
        )
        count = len(intervenable.interventions)
        call: Any = (base, [None], {"base": 4}) if sourceless else (
            base, [source] * count, {"sources->base": 4}
        )  # fmt: skip
        before(number)
        _, output = intervenable(*call)
        loss = step(output, wanted)
        found.append(loss.item())
        loss.backward()
        optimiser.step()
        intervenable.set_zero_grad()
    return found


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_has_pyvenes_losses(name: str, lm: Any) -> None:
    """In double precision: training amplifies the last digits of single precision."""
    lm = copy.deepcopy(lm).double()
    flags = [weight.requires_grad for weight in lm.parameters()]
    theirs = LOOPS[name](importlib.import_module("pyvene"), copy.deepcopy(lm))
    ours = LOOPS[name](face, lm)
    start_equal(theirs[0], ours[0])
    for made in (theirs, ours):
        made[0].interventions.double()
    data = batches(lm)
    expected, found = losses_of(theirs, data), losses_of(ours, data)
    assert found == pytest.approx(expected, abs=TOLERANCE)
    assert max(found) - min(found) > 0.01  # it trains
    assert [weight.requires_grad for weight in lm.parameters()] == flags
    assert all(weight.grad is None for weight in lm.parameters())


def alignment_batches(model: Any, serial: bool) -> list[dict[str, Any]]:
    """What `train_alignment` reads, three at a time."""
    key = "source_0->source1" if serial else "source_0->base"
    found: list[dict[str, Any]] = []
    for seed in range(6):
        base, source = (on(model, ids(3, seed=2 * seed + n))["input_ids"] for n in (0, 1))
        found.append(
            {
                "input_ids": base,
                "source_input_ids": source,
                "labels": source[:, 2],
                f"{key}.0.pos": [[2]] * 3,
                f"{key}.1.pos": [[4]] * 3,
                "subspaces": [[[0]] * 3],
            }
        )
    return found


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("kind", ["LowRankRotatedSpace", "SigmoidMask"])
def test_train_alignment_is_pyvenes(kind: str, every: int, lm: Any) -> None:
    lm = copy.deepcopy(lm).double()
    fields = {"layer": 1, "low_rank_dimension": 2, "subspace_partition": [[0, 1], [1, 2]]}
    if kind == "SigmoidMask":
        fields = {"layer": 1}
    made: list[Any] = []
    for pv, model in ((importlib.import_module("pyvene"), copy.deepcopy(lm)), (face, lm)):
        config = pv.IntervenableConfig([fields], getattr(pv, f"{kind}Intervention"))
        made.append(placed(pv.IntervenableModel(config, model)))
    for one in made:
        one.interventions.double()
    start_equal(*made)
    losses: list[list[float]] = [[], []]
    scores: list[float] = []
    for number, one in enumerate(made):

        def loss(logits: Tensor, labels: Tensor, number: int = number) -> Tensor:
            value = cross_entropy(logits[:, -1], labels)
            losses[number].append(value.item())
            return value

        def metric(logits: list[Tensor], labels: list[Tensor]) -> float:
            return logits[0][:, -1].gather(-1, labels[0][:, None]).mean().item()

        data = alignment_batches(lm, serial=False)
        if kind == "SigmoidMask":
            data = [{k: v for k, v in batch.items() if k != "subspaces"} for batch in data]
        one.train_alignment(
            data, loss, metric, None, lr=0.01, epochs=3, gradient_accumulation_steps=every
        )
        scores.append(one.eval_alignment(data, metric, None))
    assert losses[1] == pytest.approx(losses[0], abs=TOLERANCE)
    assert scores[1] == pytest.approx(scores[0], abs=TOLERANCE)
    assert len(losses[1]) == 18 and losses[1][0] != losses[1][-6]


def test_alignment_without_locations_is_one_sentence(lm: Any) -> None:
    built = face.IntervenableModel(
        [{"layer": 1, "intervention_type": face.RotatedSpaceIntervention}], lm
    )
    (batch, *_) = alignment_batches(lm, serial=True)
    with pytest.raises(ValueError, match=r"no 'source_0->base\.0\.pos', where slot 0 reads"):
        built.train_alignment([batch], plain_step, lambda p, q: 0, None)
    with pytest.raises(ValueError, match=r"option of train_alignment 'rate' is not known"):
        built.train_alignment([batch], plain_step, lambda p, q: 0, None, rate=1)
    plain = face.IntervenableModel([{"layer": 1}], lm)
    with pytest.raises(ValueError, match="nothing trains"):
        plain.train_alignment([batch], plain_step, lambda p, q: 0, None)
    with pytest.raises(ValueError, match="no batch"):
        built.eval_alignment([], lambda p, q: 0, None)
