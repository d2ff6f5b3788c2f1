"""The operators under pyvene's names, and one way to call them, users' own ones and functions too.

A user's class has `forward(self, base, source, subspaces=None)`; base and source are
`(batch, units, width)`, subspaces a list per example. The package's own take a mask instead.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vene_widgets import interventions as engine
from vene_widgets.errors import RequestError

VanillaIntervention = engine.Vanilla
AdditionIntervention = engine.Addition
SubtractionIntervention = engine.Subtraction
ZeroIntervention = engine.Zero
CollectIntervention = engine.Collect
NoiseIntervention = engine.Noise
RotatedSpaceIntervention = engine.RotatedSpace
LowRankRotatedSpaceIntervention = engine.LowRankRotatedSpace
BoundlessRotatedSpaceIntervention = engine.BoundlessRotatedSpace
SigmoidMaskIntervention = engine.SigmoidMask
PCARotatedSpaceIntervention = engine.PCARotatedSpace

LIBRARY: dict[str, type[engine.Intervention]] = {
    "VanillaIntervention": VanillaIntervention,
    "AdditionIntervention": AdditionIntervention,
    "SubtractionIntervention": SubtractionIntervention,
    "ZeroIntervention": ZeroIntervention,
    "CollectIntervention": CollectIntervention,
    "NoiseIntervention": NoiseIntervention,
    "RotatedSpaceIntervention": RotatedSpaceIntervention,
    "LowRankRotatedSpaceIntervention": LowRankRotatedSpaceIntervention,
    "BoundlessRotatedSpaceIntervention": BoundlessRotatedSpaceIntervention,
    "SigmoidMaskIntervention": SigmoidMaskIntervention,
    "PCARotatedSpaceIntervention": PCARotatedSpaceIntervention,
}
"""Every operator of the package by the name that a saved folder gives it."""


class Intervention(nn.Module):
    """Base for a user's own class: `forward(self, base, source, subspaces=None)` -> new."""

    is_source_constant = False

    def __init__(self, **_: Any) -> None:
        super().__init__()


class TrainableIntervention(Intervention):
    """Base for a user's own class with weights."""


class ConstantSourceIntervention(Intervention):
    """Base for a user's own class that reads no source run."""

    is_source_constant = True


class SourcelessIntervention(ConstantSourceIntervention):
    """The same under pyvene's other name."""


@dataclass(frozen=True)
class Batch:
    """Which examples the vectors `(n, width)` of one call belong to.

    Attributes:
        sizes: how many of the vectors each example has, in order; they sum to n.
        mask: `(n, size)` of bools, the coordinates that may change; None for all.
        subspaces: per example, the subspaces as the caller wrote them; None for all.
    """

    sizes: tuple[int, ...]
    mask: Tensor | None
    subspaces: Sequence[Sequence[int]] | None


@dataclass(frozen=True, eq=False)
class Operator:
    """One slot's operator, whatever it is made from.

    Attributes:
        core: a module, or a plain function `(base, source)` or `(base, source, subspaces)`.
        size: how many coordinates its mask has.
    """

    core: Any
    size: int

    @property
    def is_module(self) -> bool:
        """Whether it is a module, and so may hold weights."""
        return isinstance(self.core, nn.Module)

    @property
    def is_library(self) -> bool:
        """Whether its forward takes the package's own mask."""
        return isinstance(self.core, engine.Intervention) and "subspaces" not in _names(
            type(self.core).forward
        )

    @property
    def collects(self) -> bool:
        """Whether it only hands the vectors over."""
        return isinstance(self.core, engine.Collect)

    @property
    def needs_source(self) -> bool:
        """Whether it cannot act without a source; a plain function may."""
        if isinstance(self.core, engine.Intervention):
            return self.core.needs_source
        return self.is_module and not getattr(self.core, "is_source_constant", False)

    @property
    def trainable(self) -> bool:
        """Whether it has weights that ask for gradients."""
        return self.is_module and any(p.requires_grad for p in self.core.parameters())

    @property
    def name(self) -> str:
        """Its name for people, and in a saved folder."""
        for name, kind in LIBRARY.items():
            if type(self.core) is kind:
                return name
        return type(self.core).__name__ if self.is_module else self.core.__name__

    def __call__(self, base: Tensor, source: Tensor | None, batch: Batch) -> Tensor:
        """New vectors `(n, width)` from the base's and the source's.

        Raises:
            RequestError: a user's operator returned something of another shape.
        """
        if self.is_library:
            return self.core(base, source, batch.mask)
        even = len(set(batch.sizes)) <= 1  # else one example at a time
        parts = [sum(batch.sizes)] if even else list(batch.sizes)
        examples = len(batch.sizes) if even else 1
        sources = source.split(parts) if source is not None else [None] * len(parts)
        new = []
        for index, (b, s) in enumerate(zip(base.split(parts), sources, strict=True)):
            rows = batch.subspaces
            if rows is not None and not even:
                rows = [rows[index]]
            new.append(self._user(b, s, rows, examples))
        return torch.cat(new)

    def _user(self, base: Tensor, source: Tensor | None, rows: Any, examples: int) -> Tensor:
        shape = (examples, -1, base.shape[-1])
        b = base.reshape(shape)
        s = None if source is None else source.reshape(shape)
        called = type(self.core).forward if self.is_module else self.core
        plain = rows is None or not (
            "subspaces" in (names := _names(called)) or len(names) > (3 if self.is_module else 2)
        )
        new = self.core(b, s) if plain else self.core(b, s, rows)
        if not isinstance(new, Tensor) or new.shape != b.shape:
            got = tuple(new.shape) if isinstance(new, Tensor) else type(new).__name__
            raise RequestError(
                f"intervention {self.name} returned {got}; a tensor of the base's shape "
                f"{tuple(b.shape)}, (examples, units, width), is needed."
            )
        return new.reshape(base.shape).to(base.dtype)


def build(given: Any, options: engine.Options, metadata: dict[str, Any], what: str) -> Operator:
    """An operator from a class, a ready module or a plain function.

    Args:
        given: the class, module or function.
        options: what the package's own classes are made from.
        metadata: what a user's class is made from, as keyword arguments: the representation's
            fields and `embed_dim`, the width of the site.
        what: whose it is, for the message.
    """
    if isinstance(given, type) and issubclass(given, engine.Intervention):
        try:
            core: Any = given(options)
        except RequestError as error:
            raise RequestError(f"{what}: {error}") from None
    elif isinstance(given, type) and issubclass(given, nn.Module):
        names = _names(given.__init__)
        takes_all = any(
            p.kind is p.VAR_KEYWORD for p in inspect.signature(given.__init__).parameters.values()
        )
        core = given(**{k: v for k, v in metadata.items() if takes_all or k in names})
    elif isinstance(given, nn.Module) or (callable(given) and not isinstance(given, type)):
        core = given
    else:
        raise RequestError(
            f"{what}: {given!r} is no intervention. Valid: {', '.join(LIBRARY)}, a torch module "
            "with forward(self, base, source, subspaces=None), or a function (base, source)."
        )
    size = options.width
    if isinstance(core, engine.Intervention):
        if core.options.width != options.width:
            raise RequestError(
                f"{what}: the given {type(core).__name__} is for vectors of width "
                f"{core.options.width}, the site's have {options.width}."
            )
        size = core.size(core.options)
    elif options.rank:
        size = options.rank
    return Operator(core, size)


def _names(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)
