"""One intervention as a JSON entry and tensors, and back; everything is checked before it is built.

An entry is `{"intervention", "class", "options", "tensors", "strides", "frozen"}`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from vene_widgets.errors import RequestError, choose, error_text, listed, shown
from vene_widgets.experiments.limits import DIMS
from vene_widgets.experiments.operators import BUILT_IN
from vene_widgets.interventions.base import Intervention, Options
from vene_widgets.interventions.random_stream import RandomStream
from vene_widgets.interventions.registry import INTERVENTIONS, make

_LARGEST_STRIDE = 2**48
_LARGE = 2**24
"""Entries of a tensor from which on a damaged file must not have it allocated unchecked (64 MB)."""

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

_Width = Annotated[int, Field(ge=1, le=DIMS)]


class SavedOptions(BaseModel):
    """`Options` as they are saved; sizes are limited to those that a site can have."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    width: _Width
    rank: _Width | None = None
    scale: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    seed: Annotated[int, Field(ge=-(2**63), lt=2**64)] = 0

    @property
    def options(self) -> Options:
        """The options themselves."""
        return Options(self.width, self.rank, self.scale, self.seed)


class _Entry(BaseModel):
    """What `describe_module` returns."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    intervention: str
    kind: Annotated[str, Field(alias="class")]
    options: SavedOptions
    tensors: list[str]
    strides: dict[str, list[int]]
    frozen: list[str]


def describe_module(name: str, module: Intervention) -> dict[str, Any]:
    """The entry of a module; its tensors are those of its `state_dict`.

    Args:
        name: the intervention's name in slots.
        module: the module.

    Raises:
        RequestError: options that could not be restored.
    """
    state: dict[str, Tensor] = module.state_dict()
    entry = {
        "intervention": name,
        "class": type(module).__name__,
        "options": asdict(module.options),
        "tensors": sorted(state),
        "strides": {
            part: list(tensor.stride())
            for part, tensor in state.items()
            if _has_permuted_layout(tensor)
        },
        "frozen": sorted(
            part for part, parameter in module.named_parameters() if not parameter.requires_grad
        ),
    }
    try:
        _Entry.model_validate(entry)
    except ValidationError as error:
        raise RequestError(f"intervention {name!r} cannot be saved: {error_text(error)}.") from None
    return entry


def restore_module(
    key: str, entry: object, expected: str, tensors: Mapping[str, Tensor]
) -> Intervention:
    """Build one intervention from its entry and its tensors.

    Args:
        key: its key in the weights.
        entry: what `describe_module` returned, as read from a file.
        expected: the intervention that its slot names.
        tensors: all tensors of the file, `key/part` -> tensor.

    Raises:
        RequestError: an entry that is incomplete or contradicts its slot or its tensors.
    """
    try:
        saved = _Entry.model_validate(entry)
    except ValidationError as error:
        raise RequestError(f"the entry of {shown(key)} is invalid: {error_text(error)}.") from None
    check_registered(saved.intervention, shown(key))
    name = choose(saved.intervention, (expected,), f"intervention of {shown(key)}")
    kind, options = INTERVENTIONS[name], saved.options.options
    if name in BUILT_IN and saved.kind != kind.__name__:
        raise RequestError(
            f"{shown(key)} is a {shown(saved.kind)}, but {name!r} is a {kind.__name__}."
        )
    stored = {
        part: tensors[choose(f"{key}/{part}", tensors, "tensor")] for part in set(saved.tensors)
    }
    if name in BUILT_IN:
        check_state(kind, options, stored, shown(key))
    elif options.width**2 > _LARGE:
        _check_by_rehearsal(kind, options, stored, shown(key))
    for part in saved.strides:
        choose(part, stored, f"strides: tensor of {shown(key)}")
    state = {part: _with_strides(x, saved.strides.get(part)) for part, x in stored.items()}
    module = _build(name, options, shown(key))
    try:
        # Assigned, not copied, so that tensors keep the dtype that they were saved in.
        module.load_state_dict(state, assign=True)
    except Exception as error:  # of torch, or of a user-defined class
        raise RequestError(_mismatch(shown(key), kind, error_text(error))) from None
    parameters = dict(module.named_parameters())
    for part in saved.frozen:
        choose(part, parameters, f"frozen tensor of {shown(key)}")
    for part, parameter in parameters.items():
        parameter.requires_grad = part not in saved.frozen
    return module


def check_registered(name: object, what: str) -> None:
    """Check that an intervention is registered in this process.

    Raises:
        RequestError: it is not; the message says how to register it.
    """
    if isinstance(name, str) and name not in INTERVENTIONS:
        raise RequestError(
            f"{what} uses the custom intervention {shown(name)}, which is not registered here. "
            f"Before restoring, call vw.register({shown(name)}, ...) with the function or class "
            f"that it was saved with. Registered: {listed(INTERVENTIONS)}."
        )


def check_state(
    kind: type[Intervention], options: Options, state: Mapping[str, Tensor], what: str
) -> None:
    """Check the tensors for one of the package's own classes, before anything is built from them.

    Args:
        kind: the class.
        options: its options.
        state: the tensors of its state, by name.
        what: its key, for messages.

    Raises:
        RequestError: other names or shapes than the options require, or no real numbers.
    """
    expected, got = kind.state_shapes(options), {k: tuple(x.shape) for k, x in state.items()}
    if expected != got:
        raise RequestError(
            _mismatch(what, kind, f"expected the tensors {_shapes(expected)}, got {_shapes(got)}")
        )
    for part, tensor in state.items():
        if tensor.dtype not in _DTYPES:
            raise RequestError(_mismatch(what, kind, f"{part} has dtype {tensor.dtype}"))


def _check_by_rehearsal(
    kind: type[Intervention], options: Options, state: Mapping[str, Tensor], what: str
) -> None:
    """Check the tensors of a large user-defined class against one that is built without memory."""
    try:
        with RandomStream(options.seed, device="meta"):
            rehearsed = {k: tuple(x.shape) for k, x in kind(options).state_dict().items()}
    except Exception:  # a constructor that reads its tensors' values cannot be rehearsed
        return
    got = {part: tuple(tensor.shape) for part, tensor in state.items()}
    if rehearsed != got:
        raise RequestError(
            _mismatch(what, kind, f"expected the tensors {_shapes(rehearsed)}, got {_shapes(got)}")
        )


def _build(name: str, options: Options, what: str) -> Intervention:
    """An intervention before its state is loaded; a user-defined constructor may raise anything."""
    try:
        return make(name, options)
    except RequestError as error:
        raise RequestError(f"{what}: {error}") from None
    except Exception as error:
        raise RequestError(
            f"{what}: the constructor of {name!r} raised {error_text(error)}"
        ) from None


def _mismatch(what: str, kind: type, why: str) -> str:
    return f"{what} cannot be loaded into the {kind.__name__} of this process: {why}."


def _shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Names and shapes in one short text."""
    text = ", ".join(f"{part} {shape}" for part, shape in sorted(shapes.items())[:8]) or "none"
    return text if len(text) <= 300 else text[:299] + "…"


def _has_permuted_layout(tensor: Tensor) -> bool:
    """Whether a tensor's entries lie in memory in another order than row after row.

    QR and SVD return matrices that are stored column after column. Matrix products sum in an order
    that depends on the layout, so restored runs are bit-equal only with the same strides. Views
    whose entries share memory (`expand`) do not count: they are saved row after row.
    """
    return not tensor.is_contiguous() and _strides_are_valid(tensor.shape, tensor.stride())


def _strides_are_valid(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether strides give each entry its own address, within a reasonable amount of memory."""
    if len(strides) != len(shape) or min(strides, default=1) < 1:
        return False
    if max(strides, default=1) > _LARGEST_STRIDE:  # of a dimension of size 1, which spans nothing
        return False
    # Go from the innermost dimension (smallest stride) outwards. `extent` is how many addresses the
    # dimensions so far span; a step of the next one must jump over all of them, or entries overlap.
    extent = 1
    for step, size in sorted(zip(strides, shape, strict=True)):
        if size > 1 and step < extent:
            return False
        # The last of `size` steps starts at step * (size - 1); max() covers a dimension of size 0.
        extent = max(extent, step * (size - 1) + extent)
    # Gaps are fine (some rows of an SVD's result have them), but a damaged file must not make us
    # allocate much more memory than its tensors take.
    entries = max(math.prod(shape), 1)
    return extent <= 1024 * entries and extent <= max(entries, _LARGE)


def _with_strides(tensor: Tensor, strides: Sequence[int] | None) -> Tensor:
    """Copy a tensor to the strides that it had when it was saved; None returns it unchanged."""
    if strides is None:
        return tensor
    if not _strides_are_valid(tensor.shape, strides):
        raise RequestError(
            f"strides {shown(strides)} are invalid for a tensor of shape {tuple(tensor.shape)}."
        )
    new = torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype, device="cpu")
    return new.copy_(tensor)
