"""Random interchange experiments give what pyvene gives, the reference that our words come from."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from vene_widgets.experiment import Experiment, Slot
from vene_widgets.models import LanguageModel
from vene_widgets.running import run

# Whatever pyvene and what it imports deprecate is not ours to mend.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyvene"),
]

BASE = "The capital of Spain is"
SOURCES = {"italy": "The capital of Italy is", "france": "The capital of France is"}
TOLERANCE = 1e-5  # of a logit, absolute
# On Llama, pyvene splits keys and values by the number of query heads: wrong where they are fewer.
BY_QUERY_HEADS = ("head_key_output", "head_value_output")


@dataclass
class Tally:
    """What all examples of one test gave."""

    runs: int = 0
    equal: int = 0
    changed: int = 0
    worst: float = 0.0

    def add(self, ours: Tensor, theirs: Tensor, plain: Tensor) -> None:
        self.runs += 1
        self.equal += torch.equal(ours, theirs)
        self.changed += not torch.equal(ours, plain)
        difference = (ours.double() - theirs.double()).abs().max().item()
        self.worst = max(self.worst, difference)
        assert difference <= TOLERANCE

    def report(self, name: str, record: Callable[[str, object], None]) -> None:
        words = f"{self.equal} of {self.runs} bit-equal, worst |Δ logit| {self.worst:.3g}"
        record("parity", words)
        print(f"{name}: {words}; {self.changed} changed something")
        assert self.changed > self.runs / 8, "too few experiments that did anything"


def logits_of_pyvene(model: LanguageModel, hf: Any, experiment: Experiment) -> Tensor:
    """The same experiment through pyvene, `(positions, vocabulary)`."""
    import pyvene

    slots = experiment.slots
    representations, receiving, giving, sources = [], [], [], []
    names = sorted({slot.group for slot in slots if slot.group is not None})
    for slot in slots:
        # A group's key is an index into the sources, for all slots or for none, and ascending.
        group = None if slot.group is None else names.index(slot.group)
        unit = "pos" if slot.head is None else "h.pos"
        where: Any = slot.position
        representations.append(
            pyvene.RepresentationConfig(
                slot.layer, slot.component, unit, len(where), group_key=group
            )
        )
        # Locations are spelled out in full: a bare int would change what later calls mean, and
        # [1, 3] would be read as source 1 to base 3.
        for locations, positions in ((receiving, where), (giving, slot.source_position)):
            assert isinstance(positions, tuple)
            at = [list(positions)]
            locations.append(at if slot.head is None else [[[slot.head]], at])
        # None instead of a source skips a slot, or its whole group, in parallel mode only.
        ids = _ids(model, SOURCES[slot.source or ""])
        source = None if slot.skip else {"input_ids": ids}
        if group is None or group == len(sources):
            sources.append(source)
    config = pyvene.IntervenableConfig(
        model_type=type(hf),
        representations=representations,
        intervention_types=pyvene.VanillaIntervention,
    )
    # Made anew each time: it keeps state between calls. The list of sources is ours to lose.
    machine = pyvene.IntervenableModel(config, hf)
    machine.set_device("cpu")
    with torch.no_grad():
        _, output = machine(
            {"input_ids": _ids(model, BASE)},
            sources,
            {"sources->base": (giving, receiving)},
        )
    return output.logits[0]


def _ids(model: LanguageModel, prompt: str) -> Tensor:
    return torch.tensor([[token.id for token in model.tokens(prompt)]])


def experiments(model: LanguageModel) -> st.SearchStrategy[Experiment]:
    """One to three slots anywhere, with their own sources or in ascending groups, some skipped."""
    sites = model.sites
    names = [
        name
        for name in sites.components
        if sites.heads == sites.key_value_heads or name not in BY_QUERY_HEADS
    ]

    @st.composite
    def build(draw: st.DrawFn) -> Experiment:
        count = draw(st.integers(1, 3))
        groups: list[int | None] = [None] * count
        if draw(st.booleans()):
            groups = [0]
            for _ in range(count - 1):
                groups.append((groups[-1] or 0) + draw(st.integers(0, 1)))
        skipped = draw(st.lists(st.integers(0, 3).map(lambda n: n == 0), min_size=3, max_size=3))
        named = draw(st.lists(st.sampled_from(sorted(SOURCES)), min_size=3, max_size=3))
        slots = []
        for index, group in enumerate(groups):
            component = draw(st.sampled_from(names))
            heads = sites.head_count(component)
            where = draw(st.lists(st.integers(0, 4), min_size=1, max_size=2, unique=True))
            others = draw(st.lists(st.integers(0, 4), min_size=len(where), max_size=len(where)))
            key = index if group is None else group
            slots.append(
                Slot(
                    layer=draw(st.integers(0, sites.layers - 1)),
                    component=component,
                    head=None if heads is None else draw(st.integers(0, heads - 1)),
                    position=tuple(where),
                    source_position=tuple(others),
                    source=named[key],
                    group=None if group is None else f"group {group}",
                    skip=skipped[key],
                )
            )
        return Experiment(base=BASE, sources=SOURCES, slots=tuple(slots))

    return build()


@pytest.fixture(params=["tiny_gpt2", "tiny_llama", "capitals"])
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return request.getfixturevalue(request.param)


@pytest.fixture
def hf(model: LanguageModel) -> Any:
    """A copy for pyvene, which removes hooks, freezes gradients and calls eval on what it wraps."""
    return copy.deepcopy(model.model)


def test_random_experiments_agree_with_pyvene(
    model: LanguageModel, hf: Any, record_property: Callable[[str, object], None]
):
    tally = Tally()
    plain = run(model, Experiment(base=BASE)).logits

    @given(experiments(model))
    @settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
    def agree(experiment: Experiment) -> None:
        ours = run(model, experiment).logits
        tally.add(ours, logits_of_pyvene(model, hf, experiment), plain)

    agree()
    tally.report(model.name, record_property)


def test_every_component_agrees_with_pyvene(
    model: LanguageModel, hf: Any, record_property: Callable[[str, object], None]
):
    tally = Tally()
    plain = run(model, Experiment(base=BASE)).logits
    for component in model.sites.components:
        heads = model.sites.head_count(component)
        if component in BY_QUERY_HEADS and heads != model.sites.heads:
            continue
        for position, other in ((4, 4), (3, 3), (4, 3)):
            slot = Slot(
                layer=1,
                component=component,
                head=None if heads is None else heads - 1,
                position=(position,),
                source_position=(other,),
                source="italy",
            )
            experiment = Experiment(base=BASE, sources=SOURCES, slots=(slot,))
            ours = run(model, experiment).logits
            tally.add(ours, logits_of_pyvene(model, hf, experiment), plain)
            assert not torch.equal(ours[4], plain[4]), slot
    tally.report(model.name, record_property)


def test_two_slots_at_one_site_agree_with_pyvene_in_both_orders(model: LanguageModel, hf: Any):
    slots = [
        Slot(layer=1, position=(3, 4), source_position=(3, 4), source=name) for name in SOURCES
    ]
    slots[1] = slots[1].model_copy(update={"position": (3,), "source_position": (3,)})
    found = []
    for order in (slots, slots[::-1]):
        experiment = Experiment(base=BASE, sources=SOURCES, slots=tuple(order))
        found.append(run(model, experiment).logits)
        theirs = logits_of_pyvene(model, hf, experiment)
        assert (found[-1] - theirs).abs().max() <= TOLERANCE
    assert not torch.equal(*found)
