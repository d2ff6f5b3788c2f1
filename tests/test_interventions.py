"""Every operator against its formula in float64, and the properties that all of them share."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import vene_widgets as vw
from vene_widgets.engine.running import run
from vene_widgets.engine.weights import make_weights
from vene_widgets.errors import RequestError
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.operators import BUILT_IN, OPERATORS
from vene_widgets.experiments.slot import Slot
from vene_widgets.interventions import (
    INTERVENTIONS,
    BoundlessRotatedSpace,
    Intervention,
    LowRankRotatedSpace,
    Options,
    PCARotatedSpace,
    RotatedSpace,
    SigmoidMask,
    blend,
    make,
    register,
    unregister,
)
from vene_widgets.models import LanguageModel
from vene_widgets.sweeps.sweep import sweep

WIDTH, RANK = 12, 3
SPAIN, ITALY = "The capital of Spain is", "The capital of Italy is"


def options(**more: Any) -> Options:
    return Options(WIDTH, **{"rank": RANK, "scale": 0.7, "seed": 5, **more})


def vectors(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, WIDTH, generator=torch.Generator().manual_seed(seed))


def ready(name: str) -> Intervention:
    """One operator with weights that are not special: no mask of zeros, a fitted PCA."""
    module = make(name, options())
    with torch.no_grad():
        if isinstance(module, SigmoidMask):
            module.mask.copy_(torch.linspace(-2, 2, WIDTH))
            module.temperature.fill_(0.8)
        if isinstance(module, BoundlessRotatedSpace):
            module.boundary.fill_(0.4)
            module.temperature.fill_(1.7)
        if isinstance(module, PCARotatedSpace):
            module.fit(vectors(9, 40) * torch.linspace(0.5, 3, WIDTH) + 2)
    return module


def matrix(module: Intervention) -> Tensor:
    """R of a rotated operator, `(width, columns)`, in float64."""
    layer = getattr(module, "rotate_layer")  # noqa: B009
    return layer.weight.detach().double()


def expected(module: Intervention, b: Tensor, s: Tensor, chosen: list[int]) -> Tensor:
    """Expected vectors in float64 if only the coordinates `chosen` may change."""
    b, s, name = b.double(), s.double(), module.name
    old, new, back = b, s, lambda x: x
    if name == "addition":
        new = b + s
    elif name == "subtraction":
        new = b - s
    elif name == "zero":
        new = 0 * b
    elif name == "noise":
        generator = torch.Generator().manual_seed(5)
        rows = [torch.randn(WIDTH, generator=generator).double() for _ in range(b.shape[-2])]
        new = b + 0.7 * torch.stack(rows)
    elif name == "collect":
        new = b
    elif name == "rotated_space":
        r = matrix(module)
        old, new, back = b @ r, s @ r, lambda x: x @ r.T
    elif name == "low_rank_rotated_space":
        r = matrix(module)
        old, new, back = b @ r, s @ r, lambda x: b - b @ r @ r.T + x @ r.T
    elif name == "sigmoid_mask":
        share = 1 / (1 + torch.exp(-torch.linspace(-2, 2, WIDTH).double() / 0.8))
        new = b + share * (s - b)
    elif name == "boundless_rotated_space":
        r, i = matrix(module), torch.arange(WIDTH).double()
        share = 1 / (1 + torch.exp(-i / 1.7)) / (1 + torch.exp((i - 0.4 * WIDTH) / 1.7))
        old, back = b @ r, lambda x: x @ r.T
        new = old + share * (s @ r - old)
    elif name == "pca_rotated_space":
        assert isinstance(module, PCARotatedSpace)
        mean, std, c = (x.double() for x in (module.mean, module.std, module.components))
        old, new = (b - mean) / std @ c.T, (s - mean) / std @ c.T
        back = lambda x: x @ c * std + mean  # noqa: E731
    mixed = old.clone()
    mixed[..., chosen] = new[..., chosen]
    return back(mixed)


def mask_of(module: Intervention, chosen: list[int]) -> Tensor:
    mask = torch.zeros(module.size(module.options), dtype=torch.bool)
    mask[chosen] = True
    return mask


# ---- every operator ------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4,), (2, 3)])
@pytest.mark.parametrize("name", BUILT_IN)
def test_an_operator_is_its_formula(name: str, shape: tuple[int, ...]):
    module, b, s = ready(name), vectors(1, *shape), vectors(2, *shape)
    size = module.size(module.options)
    everything = expected(module, b, s, list(range(size)))
    assert torch.allclose(module(b, s).double(), everything, rtol=0, atol=1e-5)
    for chosen in ([0], [1, size - 1]):
        found = module(b, s, mask_of(module, chosen))
        assert torch.allclose(found.double(), expected(module, b, s, chosen), rtol=0, atol=1e-5)
        assert name == "collect" or not torch.equal(found, module(b, s)), "the mask did nothing"


@pytest.mark.parametrize("name", BUILT_IN)
def test_coordinates_outside_the_mask_stay_bit_equal(name: str):
    module, b, s = ready(name), vectors(1, 4), vectors(2, 4)
    if module.rotated:
        if not isinstance(module, PCARotatedSpace):  # PCA loses what its components do not span
            # Of a rotated operator, the other coordinates of its own basis stay.
            r, mask = matrix(module), mask_of(module, [1])
            change = (module(b, s, mask).double() - b.double()) @ r
            assert change[:, ~mask].abs().max() < 1e-5 < change[:, 1].abs().min()
        return
    found = module(b, s, mask_of(module, [0, 7]))
    others = [i for i in range(WIDTH) if i not in (0, 7)]
    assert torch.equal(found[:, others], b[:, others])
    assert name == "collect" or (found[:, [0, 7]] != b[:, [0, 7]]).all()


@pytest.mark.parametrize("name", BUILT_IN)
def test_an_operator_changes_none_of_its_arguments(name: str):
    module, b, s = ready(name), vectors(1, 4), vectors(2, 4)
    mask = mask_of(module, [1])
    copies = b.clone(), s.clone(), mask.clone()
    state = {key: value.clone() for key, value in module.state_dict().items()}
    found = module(b, s, mask)
    with torch.no_grad():
        found.add_(1) if name != "collect" else None
    assert all(torch.equal(*pair) for pair in zip(copies, (b, s, mask), strict=True))
    assert all(torch.equal(state[key], value) for key, value in module.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", BUILT_IN)
def test_the_bases_number_type_and_shape_are_kept(name: str, dtype: torch.dtype):
    module = ready(name)
    b, s = vectors(1, 2, 3).to(dtype), vectors(2, 2, 3).to(dtype)
    for mask in (None, mask_of(module, [0])):
        found = module(b, s, mask)
        assert (found.dtype, found.shape) == (dtype, b.shape)
        wanted = expected(
            module, b, s, list(range(module.size(options()))) if mask is None else [0]
        )
        assert (found.double() - wanted).abs().max() < (1e-5 if dtype.itemsize > 2 else 0.1)


@pytest.mark.cuda
@pytest.mark.parametrize("name", BUILT_IN)
def test_the_bases_device_is_kept(name: str):
    module, b, s = ready(name), vectors(1, 4), vectors(2, 4)
    mask = mask_of(module, [0, 1])
    here = module(b, s, mask)
    there = module.to("cuda")(b.cuda(), s.cuda(), mask.cuda())
    assert there.device.type == "cuda"
    assert torch.allclose(there.cpu(), here, atol=1e-4)


@pytest.mark.parametrize("name", BUILT_IN)
def test_equal_options_give_equal_weights_and_leave_the_random_state_alone(name: str):
    before = torch.get_rng_state()
    one, two = make(name, options()), make(name, options())
    assert torch.equal(before, torch.get_rng_state())
    states = one.state_dict(), two.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    if name in ("rotated_space", "low_rank_rotated_space", "boundless_rotated_space"):
        assert not torch.allclose(matrix(one), matrix(make(name, options(seed=6))))


@pytest.mark.parametrize("name", BUILT_IN)
def test_an_operator_says_what_it_is(name: str):
    kind = INTERVENTIONS[name]
    assert kind.name == name and kind.formula and kind.about.endswith(".")
    assert kind.formula in repr(make(name, options()))
    trains = name in (
        *("rotated_space", "low_rank_rotated_space", "sigmoid_mask", "boundless_rotated_space"),
    )
    assert make(name, options()).trainable is trains


def test_an_unknown_operator_names_the_closest():
    with pytest.raises(
        RequestError, match=r"intervention 'vanila' is not known\. Did you mean 'van"
    ):
        make("vanila", options())


# ---- rotations -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rotated_space", "low_rank_rotated_space"])
def test_columns_are_orthonormal_and_stay_so_in_training(name: str):
    module, b, s = make(name, options()), vectors(1, 6), vectors(2, 6)
    optimiser = torch.optim.Adam(module.parameters(), lr=0.1)
    first = matrix(module)
    for _ in range(5):
        r = matrix(module)
        assert torch.allclose(r.T @ r, torch.eye(r.shape[1]).double(), atol=1e-5)
        optimiser.zero_grad()
        module(b, s, mask_of(module, [0])).pow(3).sum().backward()
        optimiser.step()
    assert not torch.allclose(matrix(module), first, atol=0.01)


def test_equal_options_train_equally():
    trained = []
    for _ in range(2):
        module = make("low_rank_rotated_space", options())
        optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
        for _ in range(3):
            optimiser.zero_grad()
            module(vectors(1, 6), vectors(2, 6)).pow(3).mean().backward()
            optimiser.step()
        trained.append(matrix(module))
        torch.rand(3)  # other code that uses the global random state
    assert torch.equal(*trained)


@pytest.mark.parametrize("name", ["rotated_space", "low_rank_rotated_space"])
def test_a_rotated_self_swap_is_the_base(name: str):
    module, b = make(name, options()), vectors(1, 6)
    assert isinstance(module, RotatedSpace | LowRankRotatedSpace)
    assert (module(b, b.clone()) - b).abs().max() < 1e-5
    assert (module(b, vectors(2, 6)) - b).abs().max() > 0.1


def test_a_full_rotation_is_an_interchange():
    b, s = vectors(1, 6), vectors(2, 6)
    assert (make("rotated_space", options())(b, s) - s).abs().max() < 1e-5
    full = make("low_rank_rotated_space", options(rank=WIDTH))
    assert (full(b, s) - s).abs().max() < 1e-5


@pytest.mark.parametrize("rank", [None, 0, -1, WIDTH + 1])
def test_ranks_that_do_not_fit_are_refused(rank: int | None):
    with pytest.raises(RequestError, match=f"rank {rank} is invalid for low_rank.*1 to {WIDTH}"):
        make("low_rank_rotated_space", options(rank=rank))
    if rank is not None:
        with pytest.raises(RequestError, match=f"rank {rank} is invalid for pca.*1 to {WIDTH}"):
            make("pca_rotated_space", options(rank=rank))


# ---- principal components ------------------------------------------------------------------------


def test_fitted_components_reconstruct_what_they_span():
    states = vectors(3, 50) * torch.linspace(0.1, 5, WIDTH) - 3
    full = make("pca_rotated_space", options(rank=None))
    assert isinstance(full, PCARotatedSpace)
    full.fit(states)
    assert (full(states, states) - states).abs().max() < 1e-4
    # Data in three dimensions, and no more: three components hold all of it.
    flat = vectors(4, 50)[:, :RANK] @ vectors(5, RANK) + 1
    few = make("pca_rotated_space", options())
    assert isinstance(few, PCARotatedSpace)
    few.fit(flat)
    assert (few(flat, flat) - flat).abs().max() < 1e-4
    assert (few(states, states) - states).abs().max() > 0.1


def test_components_are_those_of_the_correlation_matrix():
    states = vectors(3, 60) @ vectors(4, WIDTH)
    module = make("pca_rotated_space", options())
    assert isinstance(module, PCARotatedSpace)
    module.fit(states)
    values, columns = torch.linalg.eigh(torch.corrcoef(states.T.double()))
    best = columns[:, values.argsort(descending=True)[:RANK]].T
    cosines = (best * module.components.double()).sum(1).abs()
    assert torch.allclose(cosines, torch.ones(RANK).double(), atol=1e-4)
    assert not module.trainable


@pytest.mark.parametrize("shape", [(RANK - 1, WIDTH), (20, WIDTH - 1), (2, 10, WIDTH)])
def test_states_that_do_not_fit_are_refused(shape: tuple[int, ...]):
    module = make("pca_rotated_space", options())
    assert isinstance(module, PCARotatedSpace)
    with pytest.raises(RequestError, match=rf"states must have shape \(n, {WIDTH}\)") as caught:
        module.fit(torch.zeros(shape))
    assert f"got {shape}" in str(caught.value)


def test_one_state_has_no_spread():
    module = make("pca_rotated_space", options(rank=1))
    assert isinstance(module, PCARotatedSpace)
    with pytest.raises(RequestError, match="n of at least 2"):
        module.fit(vectors(1, 1))


# ---- noise ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [4, 12, 16, 24])
def test_a_seed_is_one_noise_for_any_number_of_vectors(width: int):
    module = make("noise", Options(width, seed=3))
    noise = module(torch.zeros(7, width), None)
    for count in range(1, 8):
        assert torch.equal(module(torch.zeros(count, width), None), noise[:count])
    assert torch.equal(module(torch.zeros(3, 7, width), None), noise.expand(3, -1, -1))
    assert torch.equal(module(torch.zeros(width), None), noise[0])
    assert not torch.equal(noise[0], noise[1])
    other = make("noise", Options(width, seed=4))(torch.zeros(7, width), None)
    assert (other != noise).all()


def test_noise_has_a_scale():
    zero = torch.zeros(500, WIDTH)
    one, three, none = (make("noise", options(scale=scale))(zero, None) for scale in (1, 3, 0))
    assert torch.allclose(3 * one, three) and torch.equal(none, zero)
    assert three.std() == pytest.approx(3, rel=0.05) and abs(three.mean()) < 0.1


# ---- strength ------------------------------------------------------------------------------------


def test_strength_goes_in_a_straight_line():
    b, new = vectors(1, 4), vectors(2, 4)
    assert torch.equal(blend(b, new, 0), b) and torch.equal(blend(b, new, 1), new)
    for strength in (0.5, 0.25, 2, -1):
        line = (1 - strength) * b.double() + strength * new.double()
        assert torch.allclose(blend(b, new, strength).double(), line, rtol=0, atol=1e-5)


# ---- register ------------------------------------------------------------------------------------


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


# ---- in a sweep ----------------------------------------------------------------------------------


@pytest.mark.parametrize("hooked", [False, True])
@pytest.mark.parametrize("name", ["addition", "zero", "noise", "vanilla", "sigmoid_mask"])
def test_a_cell_of_a_sweep_is_a_run_of_its_own(tiny_gpt2: LanguageModel, name: str, hooked: bool):
    # A user-defined hook makes the sweep run full forward passes instead of resuming.
    block = tiny_gpt2.model.get_submodule("transformer.h.2")
    handle = block.register_forward_hook(lambda *_: None) if hooked else None
    try:
        found = sweep(tiny_gpt2, SPAIN, ITALY, intervention=name)
        for row, column in ((0, 0), (1, 1), (1, 3), (2, 4), (2, 2)):
            slot = Slot(layer=row, position=column, intervention=name)
            alone = run(tiny_gpt2, Experiment(base=SPAIN, sources=ITALY, slots=[slot]))
            assert torch.allclose(found.logits[row, column], alone.logits[-1].cpu(), atol=1e-5), (
                slot
            )
    finally:
        if handle is not None:
            handle.remove()


@pytest.mark.parametrize(
    ("name", "message"),
    [("mean", "'mean' needs prompts"), ("low_rank_rotated_space", "rank None is invalid for")],
)
def test_a_sweep_refuses_what_it_has_no_options_for(
    tiny_gpt2: LanguageModel, name: str, message: str
):
    with pytest.raises(RequestError, match=message):
        sweep(tiny_gpt2, SPAIN, ITALY, intervention=name)


def test_a_class_that_is_no_intervention_is_refused():
    with pytest.raises(RequestError, match="neither a function nor an Intervention class"):
        register("linear", torch.nn.Linear)  # pyright: ignore[reportArgumentType]
    assert "linear" not in INTERVENTIONS
