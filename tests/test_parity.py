"""Random experiments give the numbers of pyvene, the reference for our vocabulary."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from vene_widgets.engine.running import run
from vene_widgets.engine.weights import make_weights
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.slot import Slot
from vene_widgets.interventions import BoundlessRotatedSpace, Intervention, SigmoidMask
from vene_widgets.models import LanguageModel

# Deprecation warnings inside pyvene and its imports are upstream's to fix.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyvene"),
    pytest.mark.filterwarnings("ignore:To copy construct:UserWarning:pyvene"),
]

BASE = "The capital of Spain is"
SOURCES = {"italy": "The capital of Italy is", "france": "The capital of France is"}
TOLERANCE = 1e-5  # of a logit, absolute
# On Llama, pyvene splits keys and values by the number of query heads: wrong if they are fewer.
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
    # Built anew each time, since it keeps state between calls; it also modifies `sources`.
    intervenable = pyvene.IntervenableModel(config, hf)
    intervenable.set_device(str(model.device))
    with torch.no_grad():
        _, output = intervenable(
            {"input_ids": _ids(model, BASE)},
            sources,
            {"sources->base": (giving, receiving)},
        )
    return output.logits[0]


def _ids(model: LanguageModel, prompt: str) -> Tensor:
    return torch.tensor([[token.id for token in model.tokens(prompt)]], device=model.device)


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


# ---- other operators -----------------------------------------------------------------------------
#
# Noise is left out: pyvene's has a fixed scale, fits four positions only and takes no seed. So is
# the mean, which pyvene has no class for.

OPERATORS = ("vanilla", "addition", "subtraction", "zero", "collect")


def logits_of_operators(
    model: LanguageModel,
    hf: Any,
    experiment: Experiment,
    weights: Mapping[str, Intervention] | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """Any operator through pyvene, in any mode: logits, and what was collected."""
    import pyvene

    slots, serial = experiment.slots, experiment.mode == "serial"
    representations, receiving, giving, sources, subspaces = [], [], [], [], []
    for slot in slots:
        assert isinstance(slot.position, tuple)
        where, others = list(slot.position), list(slot.source_position or slot.position)  # type: ignore[arg-type]
        # Half-open ranges there; one range per dim here, so that any list of dims can be written.
        ranges = None if slot.subspace is None else [[i, i + 1] for i in range(slot.rank or 512)]
        representations.append(
            pyvene.RepresentationConfig(
                slot.layer,
                slot.component,
                "pos" if slot.head is None else "h.pos",
                len(where),
                intervention_type=_class_of(pyvene, slot.intervention),
                low_rank_dimension=slot.rank,
                subspace_partition=ranges,
                intervention_link_key=slot.link,
            )
        )
        for locations, at in ((receiving, [where]), (giving, [others])):
            locations.append(at if slot.head is None else [[[slot.head]], at])
        sourceless = slot.intervention in ("zero", "collect")
        text = None if sourceless else SOURCES[slot.source or ""]
        sources.append(None if text is None else {"input_ids": _ids(model, text)})
        subspaces.append(None if slot.subspace is None else [list(slot.subspace)])
    config = pyvene.IntervenableConfig(
        model_type=type(hf), representations=representations, mode=experiment.mode
    )
    intervenable = pyvene.IntervenableModel(config, hf)
    intervenable.set_device(str(model.device))
    modules = list(intervenable.interventions.values())
    for index, slot in enumerate(slots):
        key = f"slot {index}" if slot.link is None else f"link {slot.link}"
        if weights and key in weights:
            _copy_weights(weights[key], modules[index])
    where_to: dict[str, Any] = {"sources->base": (giving, receiving)}
    if serial:
        # Keys are counted within their group, and without groups each slot is one of its own.
        names = [f"source_{index}" for index in range(len(slots))] + ["base"]
        where_to = {
            f"{names[i]}->{names[i + 1]}": ([giving[i]], [receiving[i]]) for i in range(len(slots))
        }
    with torch.no_grad():
        extra, output = intervenable(
            {"input_ids": _ids(model, BASE)},
            sources,
            where_to,
            subspaces=subspaces if any(subspaces) else None,
        )
    # Collected tensors come in a pair with the base's own output, which is unused here.
    return output.logits[0], extra[1] if isinstance(extra, tuple) else []


def _class_of(pyvene: Any, name: str) -> Any:
    return getattr(pyvene, "".join(word.title() for word in name.split("_")) + "Intervention")


def _copy_weights(ours: Intervention, theirs: Any) -> None:
    """Give pyvene's operator our weights and temperature."""
    mine: Any = ours
    with torch.no_grad():
        if hasattr(ours, "rotate_layer"):
            theirs.rotate_layer.weight = mine.rotate_layer.weight.detach().clone()
            assert torch.allclose(theirs.rotate_layer.weight, mine.rotate_layer.weight, atol=1e-6)
        if hasattr(ours, "mask"):
            theirs.mask.copy_(mine.mask)
        if hasattr(ours, "boundary"):
            theirs.intervention_boundaries.copy_(mine.boundary)
        if hasattr(ours, "temperature"):
            theirs.set_temperature(mine.temperature.clone())


def _components(model: LanguageModel) -> list[str]:
    sites = model.sites
    return [
        name
        for name in sites.components
        if sites.heads == sites.key_value_heads or name not in BY_QUERY_HEADS
    ]


def operations(model: LanguageModel) -> st.SearchStrategy[Experiment]:
    """One to three slots anywhere, each with an operator that has no weights."""
    sites = model.sites

    @st.composite
    def build(draw: st.DrawFn) -> Experiment:
        slots = []
        for _ in range(draw(st.integers(1, 3))):
            component = draw(st.sampled_from(_components(model)))
            heads = sites.head_count(component)
            where = draw(st.lists(st.integers(0, 4), min_size=1, max_size=2, unique=True))
            others = draw(st.lists(st.integers(0, 4), min_size=len(where), max_size=len(where)))
            name = draw(st.sampled_from(OPERATORS))
            slots.append(
                Slot(
                    layer=draw(st.integers(0, sites.layers - 1)),
                    component=component,
                    head=None if heads is None else draw(st.integers(0, heads - 1)),
                    position=where,
                    source_position=others,
                    source=None if name in OPERATORS[3:] else draw(st.sampled_from(list(SOURCES))),
                    intervention=name,
                )
            )
        return Experiment(base=BASE, sources=SOURCES, slots=slots)

    return build()


def test_random_operators_agree_with_pyvene(
    model: LanguageModel, hf: Any, record_property: Callable[[str, object], None]
):
    tally = Tally()
    plain = run(model, Experiment(base=BASE)).logits

    @given(operations(model))
    @settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
    def agree(experiment: Experiment) -> None:
        ours = run(model, experiment)
        theirs, collected = logits_of_operators(model, hf, experiment)
        tally.add(ours.logits, theirs, plain)
        kept = [
            receipt.stats.before
            for receipt in ours.record
            if receipt.planned.slot.intervention == "collect" and receipt.stats
        ]
        assert sum(x.numel() for x in collected) == sum(x.numel() for x in kept)
        # In network order there, in list order here: by their numbers.
        if len(kept) == 1 and kept[0].shape[0] == 1:
            assert torch.allclose(collected[0].flatten(), kept[0].flatten(), atol=TOLERANCE)

    agree()
    tally.report(model.name, record_property)


@pytest.mark.parametrize("name", OPERATORS[1:4])
def test_operators_agree_with_pyvene_at_every_component(
    model: LanguageModel, hf: Any, name: str, record_property: Callable[[str, object], None]
):
    tally = Tally()
    plain = run(model, Experiment(base=BASE)).logits
    for component in _components(model):
        heads = model.sites.head_count(component)
        slot = Slot(
            layer=1,
            component=component,
            head=None if heads is None else heads - 1,
            position=(4,),
            source_position=(3,),
            source="italy",
            intervention=name,
        )
        experiment = Experiment(base=BASE, sources=SOURCES, slots=[slot])
        ours = run(model, experiment).logits
        tally.add(ours, logits_of_operators(model, hf, experiment)[0], plain)
        assert not torch.equal(ours[4], plain[4]), slot
    tally.report(f"{model.name} {name}", record_property)


def weighted(name: str, model: LanguageModel, experiment: Experiment) -> dict[str, Intervention]:
    """The experiment's weights, moved away from their special initial values."""
    made = make_weights(model, experiment)
    with torch.no_grad():
        for module in made.values():
            if isinstance(module, SigmoidMask):
                module.mask.copy_(torch.linspace(-2, 2, len(module.mask)))
                module.temperature.fill_(0.7)
            if isinstance(module, BoundlessRotatedSpace):
                module.boundary.fill_(0.3)
                module.temperature.fill_(2.5)
    return made


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("low_rank_rotated_space", [{"rank": 4}]),
        ("low_rank_rotated_space", [{"rank": 4, "subspace": [0, 2]}]),
        ("low_rank_rotated_space", [{"rank": 4, "subspace": [1]}, {"rank": 4, "subspace": [3]}]),
        ("rotated_space", [{"subspace": [0, 1, 5]}]),
        ("rotated_space", [{"subspace": [0]}, {"subspace": [7, 8]}]),
        ("sigmoid_mask", [{}]),
        ("boundless_rotated_space", [{}]),
    ],
    ids=lambda value: value if isinstance(value, str) else str(len(value)),
)
def test_operators_with_weights_agree_with_pyvene(
    model: LanguageModel,
    hf: Any,
    name: str,
    fields: list[dict[str, Any]],
    record_property: Callable[[str, object], None],
):
    tally = Tally()
    plain = run(model, Experiment(base=BASE)).logits
    for component in ("block_output", "attention_output", "mlp_activation", "block_input"):
        for layers in ((0, 1), (1, 1), (2, 0)):
            slots = [
                Slot(
                    layer=layers[index],
                    component=component,
                    position=(4,),
                    source_position=(3,),
                    source="italy",
                    intervention=name,
                    seed=index,
                    **more,
                )
                for index, more in enumerate(fields)
            ]
            experiment = Experiment(base=BASE, sources=SOURCES, slots=slots)
            weights = weighted(name, model, experiment)
            ours = run(model, experiment, weights=weights).logits
            tally.add(ours, logits_of_operators(model, hf, experiment, weights)[0], plain)
    tally.report(f"{model.name} {name}", record_property)


def test_linked_slots_at_one_site_agree_with_pyvene(model: LanguageModel, hf: Any):
    slots = [
        Slot(
            layer=0,
            position=(4,),
            source="italy",
            source_position=(4,),
            intervention="low_rank_rotated_space",
            rank=2,
            subspace=[dim],
            link="shared",
        )
        for dim in (0, 1)
    ]
    experiment = Experiment(base=BASE, sources=SOURCES, slots=slots)
    weights = make_weights(model, experiment)
    ours = run(model, experiment, weights=weights).logits
    theirs, _ = logits_of_operators(model, hf, experiment, weights)
    assert (ours - theirs).abs().max() <= TOLERANCE
    assert not torch.allclose(ours, run(model, Experiment(base=BASE)).logits, atol=1e-3)


def test_serial_chains_agree_with_pyvene(
    model: LanguageModel, hf: Any, record_property: Callable[[str, object], None]
):
    tally = Tally()
    plain = run(model, Experiment(base=BASE)).logits
    sites = model.sites
    place = st.tuples(st.integers(0, 4), st.integers(0, 4))

    @st.composite
    def build(draw: st.DrawFn) -> Experiment:
        slots = []
        for source in SOURCES:
            component = draw(st.sampled_from(_components(model)))
            heads = sites.head_count(component)
            here, there = draw(place)
            slots.append(
                Slot(
                    layer=draw(st.integers(0, sites.layers - 1)),
                    component=component,
                    head=None if heads is None else draw(st.integers(0, heads - 1)),
                    position=(here,),
                    source_position=(there,),
                    source=source,
                    intervention=draw(st.sampled_from(OPERATORS[:3])),
                )
            )
        return Experiment(base=BASE, sources=SOURCES, slots=slots, mode="serial")

    @given(build())
    @settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
    def agree(experiment: Experiment) -> None:
        theirs, _ = logits_of_operators(model, hf, experiment)
        tally.add(run(model, experiment).logits, theirs, plain)

    agree()
    tally.report(f"{model.name} serial", record_property)
