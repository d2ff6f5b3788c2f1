"""Operators under pyvene's names, and one interface for them, user-defined classes and functions.

A user-defined class has `forward(self, base, source, subspaces=None)`; base and source are
`(batch, units, width)`, subspaces a list per example. The package's own classes take a mask
instead.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from vene_widgets import interventions as engine
from vene_widgets.errors import RequestError, shown
from vene_widgets.interventions.base import conform

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
"""Every operator of the package by its name in a saved folder."""


class Intervention(nn.Module):
    """Base of user-defined classes: `forward(self, base, source, subspaces=None)` -> new.

    Args:
        fields: what the slot's operator is built from: the representation's fields and `embed_dim`,
            the width of the site.

    Attributes:
        embed_dim, interchange_dim: the width as a tensor, and how many coordinates change; None if
            not given.
        subspace_partition: per subspace, its dims; None if not given.
        source_representation: a constant in place of a source run; None if not given.
        keep_last_dim, use_fast: as given; nothing here reads them.
    """

    is_source_constant = False
    trainable = False
    embed_dim: Tensor | None
    interchange_dim: Tensor | None
    source_representation: Tensor | None

    def __init__(self, **fields: Any) -> None:
        super().__init__()
        self.keep_last_dim = bool(fields.get("keep_last_dim", False))
        self.use_fast = bool(fields.get("use_fast", False))
        self.subspace_partition = _expanded(fields.get("subspace_partition"))
        width = fields.get("embed_dim")
        for name in ("embed_dim", "interchange_dim"):
            # Derived from the slot, so no part of a saved state.
            tensor = None if width is None else torch.as_tensor(width)
            self.register_buffer(name, tensor, persistent=False)
        self.source_representation = None
        if fields.get("source_representation") is not None:
            self.set_source_representation(fields["source_representation"])

    def set_source_representation(self, source_representation: Tensor) -> None:
        """Read this constant instead of a source run."""
        self.is_source_constant = True
        del self.source_representation
        self.register_buffer("source_representation", source_representation)

    def set_interchange_dim(self, interchange_dim: Any) -> None:
        """Note how many coordinates change, for the class's own `forward`."""
        self.interchange_dim = torch.as_tensor(interchange_dim)


def _expanded(partition: Any) -> list[list[int]] | None:
    """A partition with its ranges written out."""
    if partition is None:
        return None
    is_range = [len(p) == 2 and isinstance(p, (list, tuple)) for p in partition]
    return [
        list(range(*part)) if short else list(part)
        for part, short in zip(partition, is_range, strict=True)
    ]


class LocalistRepresentationIntervention(nn.Module):
    """Mixed into a class that acts on the site's own coordinates."""

    def __init__(self, **_: Any) -> None:
        super().__init__()
        self.is_repr_distributed = False


class DistributedRepresentationIntervention(nn.Module):
    """Mixed into a class that acts in another basis."""

    def __init__(self, **_: Any) -> None:
        super().__init__()
        self.is_repr_distributed = True


class TrainableIntervention(Intervention):
    """Base of user-defined classes with weights."""

    trainable = True

    def tie_weight(self, linked_intervention: nn.Module) -> None:
        """Do nothing, as in pyvene; linked slots hold one and the same module."""


class SharedWeightsTrainableIntervention(TrainableIntervention):
    """Base of user-defined classes with weights that several slots share."""

    shared_weights = True


class BasisAgnosticIntervention(Intervention):
    """Base of user-defined classes that change their basis freely."""

    basis_agnostic = True


class ConstantSourceIntervention(Intervention):
    """Base of user-defined classes that read no source run."""

    is_source_constant = True


class SourcelessIntervention(ConstantSourceIntervention):
    """The same under pyvene's other name."""


@dataclass
class InterventionOutput:
    """What a user-defined class may return: the new vectors, and whatever else it found.

    Attributes:
        output: the new vectors, in the base's shape.
        latent: anything; not read.
    """

    output: Any = None
    latent: Any = None


@dataclass(frozen=True)
class Batch:
    """Which examples the vectors `(n, width)` of one call belong to.

    Attributes:
        sizes: how many of the vectors belong to each example, in order; they sum to n.
        mask: `(n, size)` of bools, the coordinates that may change; None for all.
        subspaces: per example, the subspaces as the caller passed them; None for all.
    """

    sizes: tuple[int, ...]
    mask: Tensor | None
    subspaces: Sequence[Sequence[int]] | None


@dataclass(frozen=True, eq=False)
class Operator:
    """One slot's operator: a built-in one, a user-defined module, or a function.

    Attributes:
        core: a module, or a plain function `(base, source)` or `(base, source, subspaces)`.
        size: how many coordinates its mask has.
    """

    core: nn.Module | Callable[..., Any]
    size: int

    @property
    def module(self) -> nn.Module | None:
        """The operator as a module, which may hold weights; None if it is a function."""
        return self.core if isinstance(self.core, nn.Module) else None

    @property
    def takes_mask(self) -> bool:
        """Whether its forward takes the package's mask rather than pyvene's subspaces."""
        return isinstance(self.core, engine.Intervention) and "subspaces" not in _parameter_names(
            type(self.core).forward
        )

    @property
    def collects(self) -> bool:
        """Whether it only returns the vectors that it reads."""
        return isinstance(self.core, engine.Collect)

    @property
    def needs_source(self) -> bool:
        """Whether it requires a source; for a plain function, a source is optional."""
        if isinstance(self.core, engine.Intervention):
            return self.core.needs_source
        return self.module is not None and not getattr(self.core, "is_source_constant", False)

    @property
    def trainable(self) -> bool:
        """Whether any of its weights requires gradients."""
        return self.module is not None and any(p.requires_grad for p in self.module.parameters())

    @property
    def name(self) -> str:
        """Its name in messages and in a saved folder."""
        for name, kind in LIBRARY.items():
            if type(self.core) is kind:
                return name
        kind_name = type(self.core).__name__
        # A function has a name itself; a module goes by the name of its class.
        return getattr(self.core, "__name__", kind_name) if self.module is None else kind_name

    def __call__(self, base: Tensor, source: Tensor | None, batch: Batch) -> Tensor:
        """Compute the new vectors from the base's and the source's.

        Args:
            base: `(n, width)`.
            source: `(n, width)`, None without a source.
            batch: which examples the vectors belong to.

        Returns:
            `(n, width)`.

        Raises:
            RequestError: a user-defined operator returned no tensor of real numbers in the base's
                shape, `(examples, units, width)`.
        """
        if self.takes_mask:
            return self.core(base, source, batch.mask)
        # User-defined operators expect (examples, units, width). A ragged batch has no such shape,
        # so its examples go one at a time.
        is_even = len(set(batch.sizes)) <= 1
        parts = [sum(batch.sizes)] if is_even else list(batch.sizes)
        examples = len(batch.sizes) if is_even else 1
        bases = torch.split(base, parts)
        sources = [None] * len(parts) if source is None else torch.split(source, parts)
        new: list[Tensor] = []
        for index, (b, s) in enumerate(zip(bases, sources, strict=True)):
            subspaces = batch.subspaces
            if subspaces is not None and not is_even:
                subspaces = [subspaces[index]]
            new.append(self._call_user_defined(b, s, subspaces, examples))
        return torch.cat(new)

    def _call_user_defined(
        self,
        base: Tensor,
        source: Tensor | None,
        subspaces: Sequence[Sequence[int]] | None,
        examples: int,
    ) -> Tensor:
        """Call a user-defined operator in pyvene's shapes.

        Args:
            base: `(n, width)`, equally many vectors of each example.
            source: as base, or None.
            subspaces: per example; passed on only if the operator has a parameter for them.
            examples: how many examples the vectors belong to.
        """
        shape = (examples, -1, base.shape[-1])
        # Pass copies, so that operations in place change neither the run nor what is kept of it.
        b = base.clone().reshape(shape)
        s = None if source is None else source.clone().reshape(shape)
        if subspaces is None or not self._takes_subspaces():
            new: object = self.core(b, s)
        else:
            new = self.core(b, s, copy.deepcopy(subspaces))
        if isinstance(new, InterventionOutput):
            new = new.output
        return conform(new, base.reshape(shape), self.name).reshape(base.shape)

    def _takes_subspaces(self) -> bool:
        """Whether it has a parameter for subspaces, by that name or in third place."""
        if isinstance(self.core, nn.Module):
            names, before = _parameter_names(type(self.core).forward), ("self", "base", "source")
        else:
            names, before = _parameter_names(self.core), ("base", "source")
        return "subspaces" in names or len(names) > len(before)


def build_operator(
    given: object, options: engine.Options, fields: Mapping[str, Any], what: str
) -> Operator:
    """Build an operator from a class, a ready module or a plain function.

    Args:
        given: the class, module or function.
        options: what the package's own classes are built from.
        fields: what a user-defined class is built from, as keyword arguments: the representation's
            fields and `embed_dim`, the width of the site.
        what: the slot, for messages.

    Raises:
        RequestError: none of the three, options that are invalid for the class, or a ready module
            for vectors of another width.
    """
    core = _build_core(given, options, fields, what)
    size = options.width
    if isinstance(core, engine.Intervention):
        if core.options.width != options.width:
            raise RequestError(
                f"{what}: the given {type(core).__name__} is for vectors of width "
                f"{core.options.width}; the site's width is {options.width}."
            )
        size = core.size(core.options)
    elif options.rank:
        size = options.rank
    return Operator(core, size)


def _build_core(
    given: object, options: engine.Options, fields: Mapping[str, Any], what: str
) -> nn.Module | Callable[..., Any]:
    """The module or function of an operator, see `build_operator`."""
    if isinstance(given, nn.Module):
        return given
    if isinstance(given, type):
        if issubclass(given, engine.Intervention):
            try:
                return given(options)
            except RequestError as error:
                raise RequestError(f"{what}: {error}") from None
        if issubclass(given, nn.Module):
            # pyvene's classes differ in what they accept: pass what this one has parameters for.
            parameters = inspect.signature(given.__init__).parameters
            takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
            return given(**{k: v for k, v in fields.items() if takes_all or k in parameters})
    elif callable(given):
        return given
    name = shown(cast("object", given))
    raise RequestError(
        f"{what}: {name} is not an intervention. Valid: {', '.join(LIBRARY)}, a torch "
        "module with forward(self, base, source, subspaces=None), or a function (base, source)."
    )


def _parameter_names(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)
