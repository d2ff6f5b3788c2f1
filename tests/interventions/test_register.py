"""Interventions that users register."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from interventions_testing import ITALY, SPAIN
from torch import Tensor

import vene_widgets as vw
from vene_widgets.engine.running import run
from vene_widgets.engine.weights import make_weights
from vene_widgets.errors import RequestError
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.operators import BUILT_IN, OPERATORS
from vene_widgets.experiments.slot import Slot
from vene_widgets.interventions import INTERVENTIONS, Intervention, Options, register, unregister
from vene_widgets.models import LanguageModel


def halfway(base: Tensor, source: Tensor | None) -> Tensor:
    """Half of each."""
    assert source is not None
    return (base + source) / 2


@pytest.mark.usefixtures("restored_registry")
def test_a_users_function_is_an_intervention(tiny_gpt2: LanguageModel):
    register("halfway", halfway)
    kind = INTERVENTIONS["halfway"]
    assert (kind.name, kind.about, kind.needs_source) == ("halfway", "Half of each.", True)
    slot = Slot(layer=1, position=3, intervention="halfway")
    experiment = Experiment(base=SPAIN, sources=ITALY, slots=[slot])
    assert Experiment.model_validate_json(experiment.model_dump_json()) == experiment
    found = run(tiny_gpt2, experiment)
    plain = slot.model_copy(update={"intervention": "vanilla", "strength": 0.5})
    half = run(tiny_gpt2, experiment.replace(slots=[plain]))
    assert torch.allclose(found.logits, half.logits, atol=1e-5)
    assert found.record[0].fired and not found.record[0].idle
    masked = run(tiny_gpt2, experiment.replace(slots=[slot.model_copy(update={"subspace": "0:2"})]))
    stats = masked.record[0].stats
    assert stats is not None
    assert (stats.before != stats.after).any(0).tolist() == [True, True] + [False] * 22


@pytest.mark.usefixtures("restored_registry")
def test_a_users_function_may_do_without_a_source(tiny_gpt2: LanguageModel):
    register("negated", lambda base, _source: -base, needs_source=False)
    slot = Slot(layer=1, position=3, intervention="negated")
    stats = run(tiny_gpt2, Experiment(base=SPAIN, slots=[slot])).record[0].stats
    assert stats is not None and torch.equal(stats.after, -stats.before)


@pytest.mark.usefixtures("restored_registry")
def test_a_function_that_works_in_place_changes_its_copy_only(tiny_gpt2: LanguageModel):
    def rude(base: Tensor, source: Tensor | None) -> Tensor:
        assert source is not None
        source.zero_()
        return base.mul_(2)

    register("rude", rude)
    slots = [Slot(layer=1, position=3, intervention="rude", subspace=[0])]
    found = run(tiny_gpt2, Experiment(base=SPAIN, sources=ITALY, slots=slots)).record[0]
    plain = run(tiny_gpt2, Experiment(base=SPAIN)).states[1, 3]
    assert found.stats is not None and not found.idle
    assert torch.equal(found.stats.before[0], plain)
    assert torch.equal(found.stats.after[0], torch.cat([2 * plain[:1], plain[1:]]))


@pytest.mark.usefixtures("restored_registry")
def test_a_users_class_is_an_intervention_with_weights(tiny_gpt2: LanguageModel):
    class Steer(Intervention):
        """Add a vector that trains."""

        name = "steer"
        needs_source = False

        def __init__(self, options: Options) -> None:
            super().__init__(options)
            self.vector = torch.nn.Parameter(torch.ones(options.width))

        def forward(
            self, base: Tensor, source: Tensor | None, mask: Tensor | None = None
        ) -> Tensor:
            return base + self.vector

    register("steer", Steer)
    experiment = Experiment(base=SPAIN, slots=[Slot(layer=1, position=3, intervention="steer")])
    weights = make_weights(tiny_gpt2, experiment)
    found = run(tiny_gpt2, experiment, weights=weights, gradients=True)
    found.logits[-1, 0].backward()
    steer = weights["slot 0"]
    assert isinstance(steer, Steer) and steer.vector.grad is not None
    assert steer.vector.grad.abs().max() > 0


@pytest.mark.usefixtures("restored_registry")
@pytest.mark.parametrize("wrong", [lambda b, s: b[..., :3], lambda b, s: b.sum(), lambda b, s: 3])
def test_a_function_that_returns_another_shape_is_refused(tiny_gpt2: LanguageModel, wrong: Any):
    register("wrong", wrong)
    experiment = Experiment(
        base=SPAIN, sources=ITALY, slots=[Slot(layer=1, position=3, intervention="wrong")]
    )
    with pytest.raises(RequestError, match=r"'wrong' returned .*shape \(1, 24\)\."):
        run(tiny_gpt2, experiment)


@pytest.mark.usefixtures("restored_registry")
def test_a_class_that_returns_another_shape_is_refused_and_leaves_no_hook(
    tiny_gpt2: LanguageModel,
):
    class Narrow(Intervention):
        """One number for all coordinates."""

        name = "narrow"

        def forward(
            self, base: Tensor, source: Tensor | None, mask: Tensor | None = None
        ) -> Tensor:
            return base[..., :1]

    register("narrow", Narrow)
    slots = [
        Slot(layer=0, position=3),
        Slot(layer=1, position=(3, 4), intervention="narrow"),
    ]
    experiment = Experiment(base=SPAIN, sources=ITALY, slots=slots)
    with pytest.raises(RequestError, match=r"'narrow' returned .*\(2, 1\); expected .*\(2, 24\)"):
        run(tiny_gpt2, experiment)
    for module in tiny_gpt2.model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks


def needs_source() -> dict[str, bool]:
    """Name -> whether it reads a source; the two registries must agree."""
    classes = {name: kind.needs_source for name, kind in INTERVENTIONS.items()}
    facts = {name: operator.needs_source for name, operator in OPERATORS.items()}
    assert list(classes.items()) == list(facts.items())
    return classes


@pytest.mark.usefixtures("restored_registry")
def test_both_registries_have_the_same_interventions():
    assert tuple(needs_source()) == BUILT_IN
    assert len(set(needs_source().values())) == 2

    class Silenced(Intervention):
        """Reads no source."""

        needs_source = False

    vw.register("silenced", Silenced)
    vw.register("halfway", halfway)
    vw.register("negated", lambda base, _source: -base, needs_source=False)
    added = {"silenced": False, "halfway": True, "negated": False}
    assert list(needs_source().items())[len(BUILT_IN) :] == list(added.items())
    vw.register("halfway", lambda base, _source: base, needs_source=False)
    assert needs_source()["halfway"] is False
    for name in (*added, *BUILT_IN, "unknown"):
        unregister(name)
    assert tuple(needs_source()) == BUILT_IN


@pytest.mark.usefixtures("restored_registry")
def test_names_may_be_taken_over_but_not_from_the_built_in_ones():
    for name in ("", *BUILT_IN):
        with pytest.raises(RequestError, match=f"name {name!r} is empty or built in"):
            register(name, halfway)
    register("mine", halfway)
    first = INTERVENTIONS["mine"]
    register("mine", lambda base, source: base)
    assert INTERVENTIONS["mine"] is not first
    not_callable: Any = 3
    with pytest.raises(RequestError, match="operator 3 is neither"):
        register("mine", not_callable)


def test_a_class_that_is_no_intervention_is_refused():
    with pytest.raises(RequestError, match="neither a function nor an Intervention class"):
        register("linear", torch.nn.Linear)  # pyright: ignore[reportArgumentType]
    assert "linear" not in INTERVENTIONS
