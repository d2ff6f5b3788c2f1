"""One interface for the package's operators, user-defined classes and functions.

A user-defined class has `forward(self, base, source, subspaces=None)`; base and source are
`(batch, units, width)`, subspaces a list per example. The package's own classes take a mask
instead.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from vene_widgets import interventions as engine
from vene_widgets.errors import RequestError, shown
from vene_widgets.intervenable.bases import InterventionOutput
from vene_widgets.intervenable.built_in import ANY_WIDTH, LIBRARY, LibraryIntervention
from vene_widgets.intervenable.subspaces import Subspaces
from vene_widgets.intervenable.unavailable import PLACEHOLDERS
from vene_widgets.interventions.base import conform


@dataclass(frozen=True)
class Batch:
    """Which examples the vectors `(n, width)` of one call belong to.

    Attributes:
        sizes: how many of the vectors belong to each example, in order; they sum to n.
        mask: `(n, size)` of bools, the coordinates that may change; None for all.
        subspaces: per example, the subspaces as the caller passed them; None for all.
        keywords: more arguments of user-defined operators.
        module_inputs: `(n, width)`, what the hooked module got there, for a user-defined operator
            with a parameter `args`; None to pass nothing.
    """

    sizes: tuple[int, ...]
    mask: Tensor | None
    subspaces: Subspaces
    keywords: Mapping[str, Any] = field(default_factory=dict[str, Any])
    module_inputs: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Operator:
    """One slot's operator: a built-in one, a user-defined module, or a function.

    Attributes:
        core: a module, or a plain function `(base, source)` or `(base, source, subspaces)`.
        size: how many coordinates its mask has; `ANY_WIDTH` where that depends on the prompt.
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
            RequestError: a user-defined operator returned neither None nor a tensor of real numbers
                in the base's shape, `(examples, units, width)`.
        """
        if self.takes_mask:
            return self.core(base, source, self._mask(base, batch.mask))
        # User-defined operators expect (examples, units, width). A ragged batch has no such shape,
        # so its examples go one at a time.
        is_even = len(set(batch.sizes)) <= 1
        parts = [sum(batch.sizes)] if is_even else list(batch.sizes)
        examples = len(batch.sizes) if is_even else 1
        bases = torch.split(base, parts)
        sources = [None] * len(parts) if source is None else torch.split(source, parts)
        got = batch.module_inputs
        inputs = [None] * len(parts) if got is None else torch.split(got, parts)
        new: list[Tensor] = []
        for index, (b, s, x) in enumerate(zip(bases, sources, inputs, strict=True)):
            subspaces = batch.subspaces
            if not isinstance(subspaces, Mapping) and subspaces is not None and not is_even:
                subspaces = [subspaces[index]]
            keywords = dict(batch.keywords)
            if x is not None:
                keywords["args"] = x.clone().reshape(examples, -1, x.shape[-1])
            new.append(self._call_user_defined(b, s, subspaces, examples, keywords))
        return torch.cat(new)

    @property
    def changes_first_only(self) -> bool:
        """Whether it changes the first coordinates only, `interchange_dim` of them."""
        if not isinstance(self.core, LibraryIntervention):
            return False
        first = self.core.interchange_dim
        return first is not None and (self.size == ANY_WIDTH or int(first) < self.size)

    def _mask(self, base: Tensor, mask: Tensor | None) -> Tensor | None:
        """The coordinates that may change: without subspaces, the first `interchange_dim`."""
        core: Any = self.core
        if mask is not None or not self.changes_first_only:
            return mask
        size = self.size or base.shape[-1]
        first = torch.arange(size, device="cpu") < int(core.interchange_dim)
        return first.expand(len(base), -1)

    def _call_user_defined(
        self,
        base: Tensor,
        source: Tensor | None,
        subspaces: Subspaces,
        examples: int,
        keywords: Mapping[str, Any],
    ) -> Tensor:
        """Call a user-defined operator in pyvene's shapes.

        Args:
            base: `(n, width)`, equally many vectors of each example.
            source: as base, or None.
            subspaces: per example; passed on only if the operator has a parameter for them.
            examples: how many examples the vectors belong to.
            keywords: passed on as far as it has parameters for them.
        """
        shape = (examples, -1, base.shape[-1])
        # Pass copies, so that operations in place change neither the run nor what is kept of it.
        b = base.clone().reshape(shape)
        s = None if source is None else source.clone().reshape(shape)
        more = {name: value for name, value in keywords.items() if self._takes(name)}
        if subspaces is None or not self._takes_subspaces():
            new: object = self.core(b, s, **more)
        else:
            new = self.core(b, s, copy.deepcopy(subspaces), **more)
        if isinstance(new, InterventionOutput):
            new = new.output
        if new is None:  # as in pyvene, it has nothing to change
            return base
        return conform(new, base.reshape(shape), self.name).reshape(base.shape)

    def _takes(self, keyword: str) -> bool:
        """Whether a user-defined operator has a parameter of this name, or takes any."""
        function: Any = type(self.core).forward if isinstance(self.core, nn.Module) else self.core
        parameters = inspect.signature(function).parameters
        return keyword in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())

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
    if options.width == ANY_WIDTH:
        _require_no_weights(given, what)
    core = _build_core(given, options, fields, what)
    size = options.width
    if options.width == ANY_WIDTH:
        return Operator(core, ANY_WIDTH)
    if isinstance(core, engine.Intervention):
        if core.options.width == ANY_WIDTH:
            return Operator(core, options.width)
        if core.options.width != options.width:
            raise RequestError(
                f"{what}: the given {type(core).__name__} is for vectors of width "
                f"{core.options.width}; the site's width is {options.width}."
            )
        size = core.size(core.options)
    elif options.rank:
        size = options.rank
    return Operator(core, size)


def _require_no_weights(given: object, what: str) -> None:
    """Check that an operator serves vectors whose width is not known before a run.

    Raises:
        RequestError: it is one of the package's, with weights of one width.
    """
    kind = cast("type", given if isinstance(given, type) else type(given))
    has_weights = issubclass(kind, engine.Intervention) and bool(
        kind.state_shapes(engine.Options(1, 1))
    )
    if has_weights:
        raise RequestError(
            f"{what}: {kind.__name__} has weights of one width, but the width of its vectors is "
            "not known before a run. Valid: operators without weights, or a class of your own."
        )


def _build_core(
    given: object, options: engine.Options, fields: Mapping[str, Any], what: str
) -> nn.Module | Callable[..., Any]:
    """The module or function of an operator, see `build_operator`."""
    if isinstance(given, nn.Module):
        return given
    if isinstance(given, type):
        if given in PLACEHOLDERS.values():
            given()  # says why it is not there
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
