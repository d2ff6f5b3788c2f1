"""Every operator against its formula in float64, and the properties that all of them share."""

from __future__ import annotations

import pytest
import torch
from interventions_testing import WIDTH, mask_of, matrix, options, vectors
from torch import Tensor

from vene_widgets.errors import RequestError
from vene_widgets.experiments.operators import BUILT_IN
from vene_widgets.interventions import (
    INTERVENTIONS,
    BoundlessRotatedSpace,
    Intervention,
    Options,
    PCARotatedSpace,
    SigmoidMask,
    blend,
    make,
)


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
