"""Random numbers, dtypes and devices are ours: the user's global settings neither change nor enter.

Also what user-defined operators may do to their arguments and return, and copies of operators.
"""

from __future__ import annotations

import copy
import io
import pickle
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import vene_widgets
from vene_widgets.errors import RequestError
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.operators import BUILT_IN
from vene_widgets.experiments.slot import Slot
from vene_widgets.intervenable import bases, operators
from vene_widgets.interventions import (
    INTERVENTIONS,
    Intervention,
    Options,
    PCARotatedSpace,
    make,
    register,
    saving,
    unregister,
)
from vene_widgets.interventions.random_stream import RandomStream

WIDTH, RANK, SEED = 12, 3, 5
ROTATED = ("rotated_space", "low_rank_rotated_space", "boundless_rotated_space")


def options(**more: Any) -> Options:
    return Options(WIDTH, **{"rank": RANK, "scale": 0.7, "seed": SEED, **more})


def vectors(seed: int, count: int = 4) -> Tensor:
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn(count, WIDTH, generator=generator, dtype=torch.float32, device="cpu")


def results(name: str) -> list[Tensor]:
    """Numbers that an operator starts from, gives, and gives after three steps of training."""
    module, base, source = make(name, options()), vectors(1), vectors(2)
    if isinstance(module, PCARotatedSpace):
        module.fit(vectors(3, 40))
    mask = torch.zeros(module.size(module.options), dtype=torch.bool, device="cpu")
    mask[:2] = True
    found = [tensor.clone() for tensor in module.state_dict().values()]
    found += [module(base, source), module(base, source, mask)]
    trained = [p for p in module.parameters() if p.requires_grad]
    if trained:
        optimiser = torch.optim.SGD(trained, lr=0.1)
        for _ in range(3):
            optimiser.zero_grad()
            (module(base, source) ** 2).sum().backward()
            optimiser.step()
        found.append(module(base, source))
    return [tensor.detach() for tensor in found]


def assert_equal(one: list[Tensor], other: list[Tensor]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.dtype == b.dtype and a.device == b.device and torch.equal(a, b)


# ---- the user's random stream -------------------------------------------------------------------

DRAWS: dict[str, Callable[[], Any]] = {
    "randn": lambda: torch.randn(3, 4),
    "rand": lambda: torch.rand(5),
    "randint": lambda: torch.randint(0, 9, (4,)),
    "randperm": lambda: torch.randperm(7),
    "normal": lambda: torch.normal(torch.zeros(3), 1.0),
    "normal of numbers": lambda: torch.normal(0.0, 1.0, (2,)),
    "normal_": lambda: torch.empty(3).normal_(),
    "uniform_": lambda: torch.empty(3).uniform_(),
    "exponential_": lambda: torch.empty(3).exponential_(),
    "random_": lambda: torch.zeros(4).random_(10),
    "bernoulli_": lambda: torch.zeros(9).bernoulli_(0.5),
    "bernoulli": lambda: torch.bernoulli(torch.full((5,), 0.5)),
    "multinomial": lambda: torch.multinomial(torch.ones(5), 3),
    "poisson": lambda: torch.poisson(torch.ones(4)),
    "randn_like": lambda: torch.randn_like(torch.zeros(20)),
    "rand_like": lambda: torch.rand_like(torch.zeros(3)),
    "randint_like": lambda: torch.randint_like(torch.zeros(5), 9),
    "randint_like with bounds": lambda: torch.randint_like(torch.zeros(5), low=3, high=9),
    "Linear": lambda: nn.Linear(4, 5).weight,
    "bias of Linear": lambda: nn.Linear(4, 5).bias,
    "Embedding": lambda: nn.Embedding(3, 4).weight,
    "LSTM": lambda: nn.LSTM(3, 4).weight_hh_l0,
    "orthogonal_": lambda: nn.init.orthogonal_(torch.empty(3, 3)),
    "trunc_normal_": lambda: nn.init.trunc_normal_(torch.empty(9)),
    "sparse_": lambda: nn.init.sparse_(torch.empty(4, 4), 0.5),
    "Normal": lambda: torch.distributions.Normal(0.0, 1.0).sample(),
    "Dirichlet": lambda: torch.distributions.Dirichlet(torch.ones(3)).sample(),
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_stream_is_the_global_one_after_the_same_seed(name: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        expected = DRAWS[name]()
    before = torch.get_rng_state()
    with RandomStream(7):
        found = DRAWS[name]()
    assert torch.equal(found, expected)
    assert torch.equal(torch.get_rng_state(), before)
    with RandomStream(8):
        other = [DRAWS[name]() for _ in range(8)]
    assert not all(torch.equal(found, one) for one in other), "a draw that never varies"


@pytest.mark.parametrize("width", [4, 12])
def test_a_rotation_has_the_numbers_of_a_seeded_global_generator(width: int) -> None:
    """The reference: torch's own parametrization, its columns completed after `manual_seed`."""
    generator = torch.Generator().manual_seed(SEED)
    columns = nn.Linear(3, width, bias=False)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        start = torch.linalg.qr(torch.randn(width, 3, generator=generator)).Q.contiguous()
        columns.weight = nn.Parameter(start)
        torch.manual_seed(SEED)
        expected = parametrizations.orthogonal(columns).state_dict()
    kind = INTERVENTIONS["low_rank_rotated_space"]  # `make` would put a stream around it
    found = kind(Options(width, 3, seed=SEED)).state_dict()
    for name, tensor in expected.items():
        assert torch.equal(found[f"rotate_layer.{name}"], tensor)


@pytest.mark.parametrize("name", ROTATED)
def test_weight_decay_leaves_the_columns_orthonormal(name: str) -> None:
    module = make(name, options())
    start = module.get_submodule("rotate_layer").weight.detach().clone()  # type: ignore[union-attr]
    optimiser = torch.optim.AdamW(module.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(5):
        optimiser.zero_grad()
        (module(vectors(1), vectors(2)) ** 2)[..., :3].sum().backward()
        optimiser.step()
    weight = module.get_submodule("rotate_layer").weight.detach()  # type: ignore[union-attr]
    assert isinstance(weight, Tensor) and not torch.equal(weight, start)
    gram = weight.T @ weight
    assert torch.allclose(gram, torch.eye(len(gram)), atol=1e-5)


def test_another_threads_stream_is_never_touched() -> None:
    """Rotations are made on one thread while the user draws on another, in one seeded stream."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        expected = torch.stack([torch.randn(()) for _ in range(4000)])
        torch.manual_seed(3)
        interval, drawn, failed = sys.getswitchinterval(), [], []
        sys.setswitchinterval(1e-6)
        done = threading.Event()

        def work() -> None:
            try:
                while not done.is_set():
                    INTERVENTIONS["low_rank_rotated_space"](options())
            except BaseException as error:
                failed.append(error)

        worker = threading.Thread(target=work)
        worker.start()
        try:
            drawn = [torch.randn(()) for _ in range(4000)]
        finally:
            done.set()
            worker.join()
            sys.setswitchinterval(interval)
        assert not failed
        assert torch.equal(torch.stack(drawn), expected)


def test_the_package_never_touches_a_global_generator() -> None:
    package = Path(vene_widgets.__file__).parent
    pattern = re.compile(
        r"torch\.(random\.|cuda\.|mps\.)?(manual_seed(_all)?|seed|set_rng_state|get_rng_state"
        r"|fork_rng)\(|default_generator|(np|numpy)\.random\.(seed|set_state)|(?<![.\w])random\.seed\("
    )
    assert pattern.search("torch.manual_seed(0)") and pattern.search("torch.random.fork_rng()")
    found = [
        f"{path.relative_to(package)}:{number}: {line.strip()}"
        for path in sorted(package.rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(re.sub(r"`[^`]*`", "", line))
    ]
    assert found == []


class Drawn(Intervention):
    """A user-defined class whose weights are random."""

    name = "drawn"
    needs_source = False

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.layer = nn.Linear(options.width, options.width)
        self.by = nn.Parameter(torch.randn(options.width))

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        return self.layer(base) * self.by


@pytest.mark.usefixtures("restored_registry")
def test_a_registered_class_draws_from_its_own_seed() -> None:
    register("drawn", Drawn)
    before = torch.get_rng_state()
    one, two, other = (make("drawn", options(seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, two.state_dict()[name])
        assert not torch.equal(tensor, other.state_dict()[name])


@pytest.mark.usefixtures("restored_registry")
def test_restoring_draws_nothing(tmp_path: Path) -> None:
    register("drawn", Drawn)
    slot = Slot(layer=1, position=3, intervention="drawn")
    weights = {"slot 0": make("drawn", options())}
    saving.save(tmp_path / "saved", Experiment(base="a b", slots=[slot]), weights)
    before = torch.get_rng_state()
    back = saving.restore(tmp_path / "saved")[1]["slot 0"]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(back.state_dict()["by"], weights["slot 0"].state_dict()["by"])


# ---- the user's default dtype and device --------------------------------------------------------


@pytest.fixture(params=["float64", "float16", "meta"])
def defaults(request: pytest.FixtureRequest) -> Iterator[Callable[[], None]]:
    """A function that sets another default dtype, or another default device."""
    dtype = torch.get_default_dtype()

    def set_defaults() -> None:
        if request.param == "meta":
            torch.set_default_device("meta")
        else:
            torch.set_default_dtype(getattr(torch, request.param))

    yield set_defaults
    torch.set_default_dtype(dtype)
    torch.set_default_device(None)


@pytest.mark.parametrize("name", BUILT_IN)
def test_defaults_change_no_number(name: str, defaults: Callable[[], None]) -> None:
    expected = results(name)
    defaults()
    assert_equal(results(name), expected)


@pytest.mark.parametrize("name", BUILT_IN)
def test_defaults_change_nothing_that_is_saved(
    name: str, defaults: Callable[[], None], tmp_path: Path
) -> None:
    more: dict[str, Any] = {"prompts": ["a"]} if name == "mean" else {}
    if "rank" in name or name == "pca_rotated_space":
        more["rank"] = RANK
    slot = Slot(layer=1, position=0, intervention=name, **more)
    experiment = Experiment(base="a b", sources="b a", slots=[slot])
    module = make(name, options())
    expected = list(module.state_dict().values())
    defaults()
    saving.save(tmp_path / "saved", experiment, {"slot 0": module})
    back = saving.restore(tmp_path / "saved")[1]["slot 0"]
    assert_equal(list(back.state_dict().values()), expected)
    clone = pickle.loads(pickle.dumps(module))  # noqa: S301
    assert_equal(list(clone.state_dict().values()), expected)


def test_a_default_device_does_not_reach_a_registered_class(restored_registry: Any) -> None:
    register("drawn", Drawn)
    expected = list(make("drawn", options()).state_dict().values())
    torch.set_default_device("meta")
    try:
        assert_equal(list(make("drawn", options()).state_dict().values()), expected)
    finally:
        torch.set_default_device(None)


# ---- what user-defined operators do and return --------------------------------------------------


class Rude(Intervention):
    """It writes into everything that it is given."""

    name = "rude"

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        assert source is not None
        base.mul_(2)
        source.zero_()
        if mask is not None:
            mask.fill_(False)
        return base


class RudeInPyvenesForm(bases.Intervention):
    """The same in pyvene's form."""

    def forward(self, base: Tensor, source: Tensor, subspaces: Any = None) -> Tensor:
        source.zero_()
        subspaces[0].append(7)
        return base.mul_(2)


def test_operations_in_place_stay_in_the_operator() -> None:
    base, source, mask = vectors(1), vectors(2), torch.ones(WIDTH, dtype=torch.bool)
    kept = base.clone(), source.clone(), mask.clone()
    assert torch.equal(Rude(options())(base, source, mask), 2 * base)
    subspaces = [[0], [1]]
    batch = operators.Batch(sizes=(2, 2), mask=None, subspaces=subspaces)
    operator = operators.Operator(RudeInPyvenesForm(), WIDTH)
    assert torch.equal(operator(base, source, batch), 2 * base)
    assert subspaces == [[0], [1]]
    for now, before in zip((base, source, mask), kept, strict=True):
        assert torch.equal(now, before)


def test_gradients_go_through_the_copies() -> None:
    base, source = vectors(1).requires_grad_(), vectors(2)
    module = Drawn(options())
    module(base, source).sum().backward()
    assert base.grad is not None and base.grad.abs().max() > 0
    assert module.by.grad is not None and module.by.grad.abs().max() > 0


def returning(new: Callable[[Tensor], Any]) -> list[Callable[[Tensor], Any]]:
    """Call a user-defined operator that returns `new(base)`, in each of the four forms."""

    class Registered(Intervention):
        name = "odd"

        def forward(self, base: Tensor, source: Any, mask: Any = None) -> Any:
            return new(base)

    class InPyvenesForm(bases.Intervention):
        def forward(self, base: Tensor, source: Any, subspaces: Any = None) -> Any:
            return new(base)

    def odd(base: Tensor, source: Any) -> Any:
        return new(base)

    register("odd", odd)
    batch = operators.Batch(sizes=(4,), mask=None, subspaces=None)
    return [
        lambda base: make("odd", options())(base, None),
        lambda base: Registered(options())(base, None),
        lambda base: operators.Operator(InPyvenesForm(), WIDTH)(base, None, batch),
        lambda base: operators.Operator(odd, WIDTH)(base, None, batch),
    ]


@pytest.mark.usefixtures("restored_registry")
@pytest.mark.parametrize(
    ("new", "message"),
    [
        (lambda b: b + 1j, r"complex numbers \(torch\.complex64\).*\.real"),
        (lambda b: b.tolist(), "returned a list"),
        (lambda b: b.numpy(), "returned a ndarray"),
        (lambda b: None, "returned a NoneType"),
        (lambda b: 3.0, "returned a float"),
        (lambda b: b[..., :3], r"of shape \(.*3\)"),
        (lambda b: b.sum(), r"of shape \(\)"),
        (lambda b: b.to_sparse(), "layout torch.sparse_coo"),
        (lambda b: b.to("meta"), "on meta"),
    ],
)
def test_a_result_that_is_no_state_is_refused(new: Any, message: str) -> None:
    calls = returning(new)
    if new(vectors(1)) is None:  # in pyvene's form, it changes nothing
        for call in calls[2:]:
            assert torch.equal(call(vectors(1)), vectors(1))
        calls = calls[:2]
    for call in calls:
        with pytest.raises(RequestError, match=message) as caught:
            call(vectors(1))
        assert len(str(caught.value)) < 300 and "expected a tensor of the base's shape" in str(
            caught.value
        )


@pytest.mark.usefixtures("restored_registry")
@pytest.mark.parametrize(
    "new",
    [
        lambda b: (b * 3).int(),
        lambda b: b > 0,
        lambda b: b.double() / 3,
        lambda b: b.bfloat16(),
        lambda b: nn.Parameter(b * 2),
        lambda b: (b * 2).t().contiguous().t() if b.ndim == 2 else b * 2,
    ],
    ids=["int", "bool", "float64", "bfloat16", "parameter", "permuted"],
)
def test_a_result_of_another_kind_of_number_is_converted(new: Any) -> None:
    base = vectors(1)
    with torch.no_grad():
        for call in returning(new):
            found = call(base)
            assert torch.equal(found, new(base).detach().to(torch.float32))
            assert found.dtype == torch.float32 and not found.requires_grad


@pytest.mark.usefixtures("restored_registry")
def test_a_result_is_not_the_users_own_tensor() -> None:
    constant = vectors(9)
    for call in returning(lambda base: constant.reshape(base.shape)):
        call(vectors(1)).zero_()
    assert torch.equal(constant, vectors(9))


# ---- copies and pickles -------------------------------------------------------------------------


def used(name: str) -> Intervention:
    module = make(name, options())
    if isinstance(module, PCARotatedSpace):
        module.fit(vectors(3, 40))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.sub_(0.1)  # the diagonal's integer parts are signs
    return module.eval()


def through_torch(module: Intervention) -> Intervention:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


WAYS: dict[str, Callable[[Intervention], Intervention]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda module: pickle.loads(pickle.dumps(module)),  # noqa: S301
    "torch": through_torch,
}


def halfway(base: Tensor, source: Tensor | None) -> Tensor:
    assert source is not None
    return (base + source) / 2


@pytest.mark.usefixtures("restored_registry")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [*BUILT_IN, "halfway", "drawn"])
def test_a_copy_is_equal_and_its_own(name: str, way: str) -> None:
    register("halfway", halfway)
    register("drawn", Drawn)
    module = used(name)
    for parameter in list(module.parameters())[:1]:
        parameter.requires_grad_(False)
    before = torch.get_rng_state()
    other = WAYS[way](module)
    assert torch.equal(torch.get_rng_state(), before)
    assert type(other) is type(module) and other.options == module.options
    assert other.training is False and other.trainable == module.trainable
    base, source = vectors(1), vectors(2)
    assert torch.equal(other(base, source), module(base, source))
    for (key, one), two in zip(module.named_parameters(), other.parameters(), strict=True):
        assert one.requires_grad == two.requires_grad, key
        assert one.stride() == two.stride()
    expected = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    for tensor in other.state_dict().values():
        tensor.zero_()
    for key, tensor in module.state_dict().items():
        assert torch.equal(tensor, expected[key])


@pytest.mark.parametrize("name", ROTATED)
def test_an_unpickled_rotation_trains_on(name: str) -> None:
    module = used(name).train()
    other = WAYS["pickle"](module)
    for one in (module, other):
        optimiser = torch.optim.SGD(one.parameters(), lr=0.1)
        (one(vectors(1), vectors(2)) ** 2).sum().backward()
        optimiser.step()
    for one, two in zip(module.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(other(vectors(1), vectors(2)), used(name)(vectors(1), vectors(2)))


@pytest.mark.usefixtures("restored_registry")
def test_a_function_is_pickled_by_its_name() -> None:
    register("mine", lambda base, source: base + 1)
    module = make("mine", options())
    data = pickle.dumps(module)
    register("mine", lambda base, source: base + 2)
    found = pickle.loads(data)  # noqa: S301
    assert torch.equal(found(vectors(1), None), vectors(1) + 2)
    # A copy is of the module itself, whatever its name stands for by now.
    for one in (copy.deepcopy(module), copy.copy(module)):
        assert torch.equal(one(vectors(1), None), vectors(1) + 1)
    with pytest.raises(RequestError, match=r"'mine' cannot be pickled: .* registered anew"):
        pickle.dumps(module)
    unregister("mine")
    with pytest.raises(RequestError, match=r"'mine', which is not registered.*vw\.register"):
        pickle.loads(data)  # noqa: S301
    assert "mine" not in INTERVENTIONS
