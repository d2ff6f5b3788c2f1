"""The operators that a slot may put at a site: pure modules of tensors.

Each takes the base's vectors `(..., width)`, where it needs them the source's, of the same shape,
and a mask of the coordinates that it may change, and returns new vectors of the same shape. They
know nothing of models, layers or positions, and change none of their arguments. Names are pyvene's
(Wu et al. 2024, "pyvene: A Library for Understanding and Improving PyTorch Models via
Interventions"). Some hold weights, and those train with any torch optimiser.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from vene_widgets.errors import RequestError, choose


@dataclass(frozen=True)
class Options:
    """What makes one operator from its class.

    Attributes:
        width: length of the site's vectors.
        rank: columns of a low-rank rotation.
        scale: standard deviation of noise, in the site's own units.
        seed: of the noise and of first weights.
    """

    width: int
    rank: int | None = None
    scale: float = 1.0
    seed: int = 0


class Intervention(nn.Module):
    """An operator at a site.

    Class attributes:
        name: what a slot calls it.
        needs_source: whether it reads a source run.
        formula: in words and symbols, for menus and captions; b is the base, s the source.
        about: what it is for, with its source.
        rotated: whether its mask picks coordinates of its own basis rather than of the site.
    """

    name: ClassVar[str] = ""
    needs_source: ClassVar[bool] = True
    formula: ClassVar[str] = ""
    about: ClassVar[str] = ""
    rotated: ClassVar[bool] = False

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.options = options

    @classmethod
    def size(cls, options: Options) -> int:
        """How many coordinates a mask has."""
        return options.width

    @property
    def trainable(self) -> bool:
        """Whether it has weights that can be trained."""
        return any(parameter.requires_grad for parameter in self.parameters())

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        """The new vectors.

        Args:
            base: `(..., width)`.
            source: `(..., width)`, None where none is needed.
            mask: bool, broadcastable to `(..., size)`: which coordinates may change; None for all.

        Returns:
            `(..., width)`, in the base's number type.
        """
        raise NotImplementedError

    def extra_repr(self) -> str:
        return self.formula


class Vanilla(Intervention):
    """Interchange: the source's coordinates take the place of the base's.

    new = s. Geiger et al. 2021, "Causal Abstractions of Neural Networks".
    """

    name = "vanilla"
    formula = "new = s"
    about = "Interchange: copy the source's state (Geiger et al. 2021)."

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        return _only(mask, base, _like(_given(source), base))


class Addition(Intervention):
    """Activation addition: new = b + s. Turner et al. 2023, "Activation Addition"."""

    name = "addition"
    formula = "new = b + s"
    about = "Add the source's state (activation addition, Turner et al. 2023)."

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        return _only(mask, base, base + _like(_given(source), base))


class Subtraction(Intervention):
    """Activation subtraction: new = b - s."""

    name = "subtraction"
    formula = "new = b − s"
    about = "Subtract the source's state."

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        return _only(mask, base, base - _like(_given(source), base))


class Zero(Intervention):
    """Zero ablation: new = 0."""

    name = "zero"
    needs_source = False
    formula = "new = 0"
    about = "Zero ablation: what happens without this state."

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        return _only(mask, base, torch.zeros_like(base))


class Mean(Intervention):
    """Mean ablation: new = the mean of the given prompts' states at the same place.

    The mean arrives as the source. Wang et al. 2022, "Interpretability in the Wild".
    """

    name = "mean"
    needs_source = False
    formula = "new = mean over the given prompts"
    about = "Mean ablation over given prompts (Wang et al. 2022)."

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        return _only(mask, base, _like(_given(source), base))


class Noise(Intervention):
    """Gaussian noise: new = b + scale · ε, ε standard normal from the slot's seed.

    The same seed gives the same noise at any batch size on any device: vectors are drawn one by
    one, so that fewer positions get the first of those that more positions get, and the batch's
    examples share them. Meng et al. 2022, "Locating and Editing Factual Associations in GPT".
    """

    name = "noise"
    needs_source = False
    formula = "new = b + scale · ε"
    about = "Add Gaussian noise from a seed (causal tracing, Meng et al. 2022)."

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        generator = torch.Generator().manual_seed(self.options.seed)
        count = base.shape[-2] if base.ndim > 1 else 1
        # On the CPU: the same everywhere.
        rows = [torch.randn(base.shape[-1], generator=generator) for _ in range(count)]
        noise = torch.stack(rows) if base.ndim > 1 else rows[0]
        return _only(mask, base, base + self.options.scale * _like(noise, base))


class Collect(Intervention):
    """Change nothing; the run's receipt keeps the vectors."""

    name = "collect"
    needs_source = False
    formula = "new = b"
    about = "Collect the state and leave it as it is."

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        return base


class _Turn(nn.Module):
    """A matrix `(width, rank)`, kept with orthonormal columns by its parametrization."""

    def __init__(self, width: int, rank: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        weight = torch.linalg.qr(torch.randn(width, rank, generator=generator)).Q
        self.weight = nn.Parameter(weight.contiguous())

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self.weight.dtype) @ self.weight


def _orthogonal(width: int, rank: int, seed: int) -> nn.Module:
    """A `_Turn` that stays orthogonal as it trains.

    The parametrization completes the columns to a basis from torch's global random numbers: seeded
    here, so that equal options train equally too, and put back, since they are the user's.
    """
    turn = _Turn(width, rank, seed)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return parametrizations.orthogonal(turn, use_trivialization=True)


def _columns(turn: nn.Module) -> Tensor:
    """The matrix `(width, rank)` of a `_Turn`."""
    weight = turn.weight
    if not isinstance(weight, Tensor):
        raise AssertionError("a rotation without a weight")
    return weight


class RotatedSpace(Intervention):
    """Interchange in a rotated basis: new = (b R, with the chosen coordinates of s R) Rᵀ.

    R is orthogonal, `(width, width)`. Geiger et al. 2023, "Finding Alignments Between
    Interpretable Causal Variables and Distributed Neural Representations".
    """

    name = "rotated_space"
    formula = "new = [b R | s R] Rᵀ"
    about = "Interchange in a learned orthogonal basis (Geiger et al. 2023)."
    rotated = True

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.rotate_layer = _orthogonal(options.width, options.width, options.seed)

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        turned = _only(mask, self.rotate_layer(base), self.rotate_layer(_given(source)))
        return (turned @ _columns(self.rotate_layer).T).to(base.dtype)


class LowRankRotatedSpace(Intervention):
    """Interchange in a low-rank subspace: new = b + (s R − b R, chosen coordinates) Rᵀ.

    R has orthonormal columns, `(width, rank)`; what is orthogonal to them stays the base's. Wu et
    al. 2023, "Interpretability at Scale", and pyvene's class of the same name.
    """

    name = "low_rank_rotated_space"
    formula = "new = b + (s R − b R) Rᵀ"
    about = "Interchange in a learned low-rank subspace (Geiger et al. 2023, Wu et al. 2023)."
    rotated = True

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.rotate_layer = _orthogonal(options.width, self.size(options), options.seed)

    @classmethod
    def size(cls, options: Options) -> int:
        return _rank(cls.name, options.rank, options.width)

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        change = self.rotate_layer(_given(source)) - self.rotate_layer(base)
        change = _only(mask, torch.zeros_like(change), change)
        return (base + change @ _columns(self.rotate_layer).T).to(base.dtype)


class SigmoidMask(Intervention):
    """A soft choice of coordinates: new = (1 − σ(m / T)) b + σ(m / T) s.

    The mask m `(width,)` trains, the temperature T is set as training goes on. De Cao et al. 2020,
    "How do Decisions Emerge across Layers in Neural Models?"; pyvene's class of the same name.
    """

    name = "sigmoid_mask"
    formula = "new = (1 − σ(m/T)) b + σ(m/T) s"
    about = "Interchange of softly chosen coordinates (De Cao et al. 2020)."

    temperature: Tensor

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.mask = nn.Parameter(torch.zeros(options.width))
        self.register_buffer("temperature", torch.tensor(0.01))

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        share = torch.sigmoid(self.mask / self.temperature)
        new = (1 - share) * base + share * _like(_given(source), base)
        return _only(mask, base, new.to(base.dtype))


class BoundlessRotatedSpace(Intervention):
    """A rotated basis whose first coordinates are exchanged, up to a learned boundary.

    new = ((1 − w) b R + w s R) Rᵀ with w_i = σ(i / T) · σ((boundary · width − i) / T). Wu et al.
    2023, "Interpretability at Scale: Identifying Causal Mechanisms in Alpaca".
    """

    name = "boundless_rotated_space"
    formula = "new = ((1 − w) b R + w s R) Rᵀ, w soft up to a learned boundary"
    about = "Rotated interchange with a learned number of coordinates (Wu et al. 2023)."
    rotated = True

    temperature: Tensor

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.rotate_layer = _orthogonal(options.width, options.width, options.seed)
        self.boundary = nn.Parameter(torch.tensor([0.5]))
        self.register_buffer("temperature", torch.tensor(50.0))

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        place = torch.arange(self.options.width, device=base.device)
        end = self.boundary.clamp(1e-3, 1) * self.options.width
        share = torch.sigmoid(place / self.temperature) * torch.sigmoid(
            (end - place) / self.temperature
        )
        one, other = self.rotate_layer(base), self.rotate_layer(_given(source))
        turned = _only(mask, one, (1 - share) * one + share * other)
        return (turned @ _columns(self.rotate_layer).T).to(base.dtype)


class PCARotatedSpace(Intervention):
    """Interchange of principal components: the basis comes from data and does not train.

    With z(x) = (x − mean) / std · Cᵀ: new = [z(b) | z(s)] C · std + mean. What the kept components
    do not span is lost, as in pyvene's class of the same name; with all of them nothing is.
    """

    name = "pca_rotated_space"
    formula = "new = [z(b) | z(s)] C · std + mean"
    about = "Interchange of principal components of given states."
    rotated = True

    components: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        rank = self.size(options)
        self.register_buffer("components", torch.eye(options.width)[:rank].clone())
        self.register_buffer("mean", torch.zeros(options.width))
        self.register_buffer("std", torch.ones(options.width))

    @classmethod
    def size(cls, options: Options) -> int:
        rank = options.width if options.rank is None else options.rank
        return _rank(cls.name, rank, options.width)

    def fit(self, states: Tensor) -> PCARotatedSpace:
        """Take the principal components of states `(n, width)`, each coordinate standardised.

        Raises:
            RequestError: fewer states than components, or just one.
        """
        rank, width = self.components.shape
        if states.ndim != 2 or states.shape[0] < max(rank, 2) or states.shape[1] != width:
            raise RequestError(
                f"states of shape {tuple(states.shape)} do not fit: (n, {width}) "
                f"with n of at least {max(rank, 2)} is needed."
            )
        x = states.detach().float().to(self.mean.device)
        self.mean, self.std = x.mean(0), x.std(0).clamp_min(1e-8)
        self.components = torch.linalg.svd((x - self.mean) / self.std, full_matrices=False).Vh[
            :rank
        ]
        return self

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        one, other = (
            ((x.to(self.mean.dtype) - self.mean) / self.std) @ self.components.T
            for x in (base, _given(source))
        )
        turned = _only(mask, one, other)
        return (turned @ self.components * self.std + self.mean).to(base.dtype)


Function = Callable[[Tensor, "Tensor | None"], Tensor]
"""A user's own operator: base and source `(..., width)` -> new, same shape."""


class _Custom(Intervention):
    """Base of the classes that `register` makes around a user's function."""

    function: ClassVar[Function]

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        # Copies: what a user's function does in place must not reach the run.
        given = None if source is None else source.clone()
        new = type(self).function(base.clone(), given)
        if not isinstance(new, Tensor) or new.shape != base.shape:
            got = tuple(new.shape) if isinstance(new, Tensor) else type(new).__name__
            raise RequestError(
                f"intervention {self.name!r} returned {got}; a tensor of the base's shape "
                f"{tuple(base.shape)} is needed."
            )
        return _only(mask, base, new.to(base.dtype))


INTERVENTIONS: dict[str, type[Intervention]] = {
    kind.name: kind
    for kind in (
        Vanilla,
        Addition,
        Subtraction,
        Zero,
        Mean,
        Noise,
        Collect,
        RotatedSpace,
        LowRankRotatedSpace,
        SigmoidMask,
        BoundlessRotatedSpace,
        PCARotatedSpace,
    )
}
"""Every operator by the name that a slot gives."""

BUILT_IN = tuple(INTERVENTIONS)

USED_BY = {"rank": (LowRankRotatedSpace.name, PCARotatedSpace.name), "scale": (Noise.name,)}
"""Options of a slot that only some of the built-in operators use."""


def ignores(name: str, option: str) -> bool:
    """Whether an operator surely makes nothing of an option; a user's class may use any."""
    known = name in BUILT_IN or issubclass(INTERVENTIONS[name], _Custom)
    return known and name not in USED_BY[option]


def register(
    name: str, operator: Function | type[Intervention], *, needs_source: bool = True
) -> None:
    """Make a user's own function or `Intervention` class known under a name for slots.

    Args:
        name: what slots will call it; a name given before is taken over, a built-in one is not.
        operator: a function `(base, source) -> new` of tensors `(..., width)`, or a class.
        needs_source: whether a function reads a source run.

    Raises:
        RequestError: a built-in name, or something that cannot be called.
    """
    if not name or name in BUILT_IN:
        raise RequestError(
            f"intervention name {name!r} is taken or empty. Choose another than: "
            f"{', '.join(BUILT_IN)}."
        )
    if isinstance(operator, type) and issubclass(operator, Intervention):
        INTERVENTIONS[name] = operator
        return
    if isinstance(operator, type) or not callable(operator):
        raise RequestError(f"operator {operator!r} is neither a function nor an Intervention class")
    body: dict[str, Any] = {
        "name": name,
        "needs_source": needs_source,
        "formula": f"new = {name}(b, s)" if needs_source else f"new = {name}(b)",
        "about": (operator.__doc__ or "A function of the user's own.").strip().split("\n")[0],
        "function": staticmethod(operator),
        "__doc__": operator.__doc__,
    }
    INTERVENTIONS[name] = type(name, (_Custom,), body)


def make(name: str, options: Options) -> Intervention:
    """One operator by its name; equal options give equal weights."""
    return INTERVENTIONS[choose(name, INTERVENTIONS, "intervention")](options)


def blend(base: Tensor, new: Tensor, strength: float) -> Tensor:
    """Base + strength · (new − base): 0 is the base, 1 the intervened vectors, 2 twice the way."""
    return new if strength == 1 else base + strength * (new - base)


def _only(mask: Tensor | None, old: Tensor, new: Tensor) -> Tensor:
    """The new coordinates where the mask says so, the old ones elsewhere, bit for bit."""
    return new if mask is None else torch.where(mask.to(old.device), new, old)


def _rank(name: str, rank: int | None, width: int) -> int:
    if not rank or not 1 <= rank <= width:
        raise RequestError(
            f"rank {rank!r} does not fit {name}: 1 to {width} is needed (the width of the site)."
        )
    return rank


def _like(tensor: Tensor, other: Tensor) -> Tensor:
    return tensor.to(device=other.device, dtype=other.dtype)


def _given(source: Tensor | None) -> Tensor:
    if source is None:
        raise AssertionError("an intervention that reads a source was planned without one")
    return source
