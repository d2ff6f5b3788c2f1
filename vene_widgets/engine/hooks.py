"""record(), intervene() and replay_blocks(): the only place that registers hooks.

They act on the engine's own module tree (`LanguageModel.net`), never on the user's model.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy as shallow_copy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from vene_widgets.engine.attention import hooked_weights
from vene_widgets.errors import RequestError
from vene_widgets.models.architectures import Side
from vene_widgets.models.sites import Site, module_at

if TYPE_CHECKING:
    from torch import nn

    from vene_widgets.models import LanguageModel

Place = tuple[str, Side]
"""What a hook is registered on: a module's path and its input, output or attention weights."""


@dataclass(frozen=True)
class EditStats:
    """What one edit did when its hook fired.

    Attributes:
        shape: of the component's tensor at the site, `(batch, positions, width)`.
        rows: how many vectors were replaced.
        size: Euclidean norm of the change over all of them, in the site's own units.
        others_equal: whether everything else in the hooked tensor is bit-equal to before.
        before, after: the vectors `(n, width)`, with their gradients where the run has any.
    """

    shape: tuple[int, ...]
    rows: int
    size: float
    others_equal: bool
    before: Tensor
    after: Tensor

    def __getstate__(self) -> dict[str, Any]:
        # A graph of gradients can be neither pickled nor copied.
        return {**self.__dict__, "before": self.before.detach(), "after": self.after.detach()}


@dataclass(frozen=True)
class Edit:
    """One change at one site.

    Attributes:
        site: where.
        rows, positions: equally long; vector n belongs to batch row `rows[n]` at `positions[n]`.
        change: the site's vectors `(n, width)` -> the new ones, same shape.
        on_applied: called with the edit's statistics; measuring them costs a copy of the tensor.
    """

    site: Site
    rows: Tensor
    positions: Tensor
    change: Callable[[Tensor], Tensor]
    on_applied: Callable[[EditStats], None] | None = None


@contextmanager
def record(
    model: LanguageModel, sites: Iterable[Site]
) -> Generator[dict[Site, Tensor], None, None]:
    """Collect the tensors at some sites while the model runs.

    Yields:
        A dict that fills as the model runs: site -> tensor `(batch, positions, width)`. The tensors
        are the model's own; nothing is copied, unless the model overwrites it.
    """
    found: dict[Site, Tensor] = {}
    architecture, device = model.sites.architecture, model.device
    places: dict[Place, list[Site]] = {}
    for site in sites:
        places.setdefault(site.place, []).append(site)

    def reader(here: Sequence[Site]) -> Callable[[Tensor], None]:
        def read(tensor: Tensor) -> None:
            for site in here:
                site.check(tensor, 1)
                state = site.read(tensor).to(device)
                overwritten = _below_block(model, site.path) in architecture.overwritten
                found[site] = state.clone() if overwritten else state

        return read

    with _hooked(model, {place: reader(here) for place, here in places.items()}):
        yield found


@contextmanager
def record_nodes(
    model: LanguageModel, sites: Iterable[Site]
) -> Generator[dict[Place, Tensor], None, None]:
    """Collect the hooked tensors at some sites as nodes of the graph of gradients.

    The first one begins the graph, as the model's weights are constants. What reads a node is the
    hooked module (or, of an output, whatever follows it) and nothing else, so that the gradient at
    a node is that of a change by `intervene` at the same place.

    Yields:
        A dict that fills as the model runs: place -> tensor `(batch, positions, size)`.

    Raises:
        RequestError: while the model runs, if it comes through a place twice.
    """
    found: dict[Place, Tensor] = {}
    places: dict[Place, list[Site]] = {}
    for site in sites:
        places.setdefault(site.place, []).append(site)

    def writer(place: Place, here: Sequence[Site]) -> Callable[[Tensor], Tensor]:
        def write(tensor: Tensor) -> Tensor:
            for site in here:
                site.check(tensor, 1)
            if place in found:
                raise RequestError(
                    f"{here[0]} was reached twice in one forward pass of {model.name}, so it has "
                    "no single gradient. Choose another component."
                )
            if tensor.requires_grad:
                node = tensor.clone()
            else:
                node = tensor.detach().clone().requires_grad_()
            found[place] = node
            return node.clone()  # the model may overwrite it

        return write

    with _hooked(model, {place: writer(place, here) for place, here in places.items()}):
        yield found


@contextmanager
def record_final_state(model: LanguageModel) -> Generator[list[Tensor], None, None]:
    """Collect the final norm's output, `(batch, positions, d_model)`, one entry per pass.

    A model without a final norm (some OPT) has the last block's output in its place.
    """
    found: list[Tensor] = []
    last = model.sites.site(model.sites.layers - 1, "block_output")
    norm = model.sites.architecture.final_norm
    place: Place = (norm, "output") if _has_module(model.net, norm) else last.place
    device = model.device
    with _hooked(model, {place: lambda tensor: found.append(tensor.to(device))}):
        yield found


def _has_module(root: nn.Module, path: str) -> bool:
    try:
        root.get_submodule(path)
    except AttributeError:
        return False
    return True


@contextmanager
def replay_blocks(
    model: LanguageModel, outputs: Mapping[int, Tensor | None]
) -> Generator[None, None, None]:
    """Let some blocks return given states instead of computing.

    Hooks on such a block fire as usual; nothing inside it runs.

    Args:
        model: the model about to run.
        outputs: layer -> the block's output `(batch, positions, d_model)`; None for its input.
    """
    with ExitStack() as stack:
        for layer, output in outputs.items():
            block = model.block(layer)
            stack.callback(block.__dict__.pop, "forward", None)
            block.__dict__["forward"] = partial(_replay, output, model.tree.returns_tuples)
        yield


@contextmanager
def note_block_outputs(model: LanguageModel) -> Generator[None, None, None]:
    """Note in `ModelTree.returns_tuples` in which form blocks return their output."""

    def note(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        model.tree.returns_tuples = isinstance(output, tuple)

    with ExitStack() as stack:
        stack.callback(model.block(0).register_forward_hook(note).remove)
        yield


@dataclass(frozen=True, eq=False)
class BlockCall:
    """How a model calls one of its blocks.

    Attributes:
        args, kwargs: by position and by name; hidden states are None.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@contextmanager
def note_block_calls(model: LanguageModel) -> Generator[list[BlockCall], None, None]:
    """Note how every block is called; none of them runs, each returns its input.

    Yields:
        A list that fills as the model runs, one entry per block.
    """
    found: list[BlockCall] = []

    def note(*args: Any, **kwargs: Any) -> Any:
        if args:
            found.append(BlockCall((None, *args[1:]), kwargs))
        else:
            found.append(BlockCall((), {**kwargs, _state_name(kwargs): None}))
        return _replay(None, model.tree.returns_tuples, *args, **kwargs)

    with ExitStack() as stack:
        for layer in range(model.sites.layers):
            block = model.block(layer)
            stack.callback(block.__dict__.pop, "forward", None)
            block.__dict__["forward"] = note
        yield found


def _replay(output: Tensor | None, as_tuple: bool, *args: Any, **kwargs: Any) -> Any:
    """A block's forward that returns a given state, or else its input."""
    if output is None:
        output = args[0] if args else kwargs[_state_name(kwargs)]
    return (output,) if as_tuple else output


@contextmanager
def intervene(model: LanguageModel, edits: Sequence[Edit]) -> Generator[None, None, None]:
    """Change tensors at some sites while the model runs.

    Different sites act in network order, as the forward pass reaches them; edits at one site act in
    list order, each seeing what the one before left. Changes are computed on `model.device`: the
    layers of a model may be on several devices.
    """
    device = model.device
    places: dict[Place, list[Edit]] = {}
    for edit in edits:
        places.setdefault(edit.site.place, []).append(edit)

    def writer(here: Sequence[Edit]) -> Callable[[Tensor], Tensor]:
        def write(tensor: Tensor) -> Tensor:
            new = tensor.to(device, copy=True)
            for edit in here:
                apply_edit(new, edit)
            return new.to(tensor.device)

        return write

    with _hooked(model, {place: writer(here) for place, here in places.items()}):
        yield


@contextmanager
def rewrite_passes(
    model: LanguageModel,
    functions: Mapping[Place, Callable[[Tensor], Tensor | None]],
    *,
    before: Callable[[], None],
    after: Callable[[Any], None] | None = None,
) -> Generator[None, None, None]:
    """Let functions read or replace the tensors at some places in each of several passes.

    Args:
        model: the model about to run, once or more often.
        functions: place -> a function of its tensor `(batch, positions, size)`; it may return a new
            one.
        before: called when a pass begins.
        after: called with the model's output of each pass.
    """

    def begin(_module: nn.Module, _args: tuple[Any, ...]) -> None:
        before()

    def end(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        if after is not None:
            after(output)

    with ExitStack() as stack:
        stack.callback(model.net.register_forward_pre_hook(begin).remove)
        stack.callback(model.net.register_forward_hook(end).remove)
        stack.enter_context(_hooked(model, functions))
        yield


def apply_edit(tensor: Tensor, edit: Edit) -> None:
    """Apply one edit in place to our own copy of the tensor, and measure it if asked."""
    site = edit.site
    if type(site) is not Site:  # counting rows waits for the device
        site.check(tensor, int(edit.rows.max()) + 1)
    before = tensor.clone() if edit.on_applied else None
    vectors = site.read(tensor[edit.rows, edit.positions])
    # A copy: code that writes into it must not falsify what it is compared with.
    new = edit.change(vectors.clone())
    site.write(tensor, edit.rows, edit.positions, new)
    if edit.on_applied and before is not None:
        with torch.no_grad():
            # The norm in float64, on the CPU: not every device has float64.
            change = new.cpu().double() - vectors.cpu().double()
            norm = cast("Tensor", change.norm())  # pyright: ignore[reportUnknownMemberType]  # torch's
            size = float(norm)
            # Undo the edit on a copy: had anything else changed, the copy would not be as before.
            undone = tensor.clone()
            site.write(undone, edit.rows, edit.positions, vectors)
            others_equal = torch.equal(undone, before)
        shape = (*tensor.shape[:2], vectors.shape[-1])
        edit.on_applied(EditStats(shape, len(edit.rows), size, others_equal, vectors, new.clone()))


@contextmanager
def _hooked(
    model: LanguageModel, functions: Mapping[Place, Callable[[Tensor], Tensor | None]]
) -> Generator[None, None, None]:
    """Register one hook per place; the function may return a tensor that replaces the old one."""
    weights = {
        int(path.removeprefix(f"{model.sites.architecture.blocks}.").partition(".")[0]): function
        for (path, side), function in functions.items()
        if side == "weights"
    }
    with ExitStack() as stack:
        if weights:
            stack.enter_context(hooked_weights(model, weights))
        for (path, side), given in functions.items():
            if side == "weights":
                continue
            module, function = module_at(model.net, path), given
            inner = _below_block(model, path)
            if inner in model.sites.architecture.flat:
                block = module_at(model.net, path.removesuffix(f".{inner}"))
                shapes: list[torch.Size] = []
                note = partial(_note_shape, shapes)
                handle = block.register_forward_pre_hook(_on_input(note), with_kwargs=True)
                stack.callback(handle.remove)
                function = partial(_on_rows, given, shapes)
            if side == "input":
                hook = _on_input(function)
                handle = module.register_forward_pre_hook(hook, with_kwargs=True)
            else:
                handle = module.register_forward_hook(_on_output(function))
            stack.callback(handle.remove)
        yield


def _below_block(model: LanguageModel, path: str) -> str:
    """A module's path below its block; empty for the block itself and outside of all blocks."""
    blocks = f"{model.sites.architecture.blocks}."
    return path.removeprefix(blocks).partition(".")[2] if path.startswith(blocks) else ""


def _note_shape(shapes: list[torch.Size], hidden: Tensor) -> None:
    """Note the batch and the positions of a block's input."""
    shapes[:] = [hidden.shape[:2]]


def _on_rows(
    function: Callable[[Tensor], Tensor | None], shapes: Sequence[torch.Size], rows: Tensor
) -> Tensor | None:
    """Call a function of `(batch, positions, size)` on `(batch * positions, size)`."""
    new = function(rows.reshape(*shapes[0], -1))
    return None if new is None else new.flatten(0, 1)


def _on_input(function: Callable[[Tensor], Tensor | None]) -> Callable[..., Any]:
    """A pre-hook around `function`: hidden states come first or by name."""

    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            new = function(args[0])
            return None if new is None else ((new, *args[1:]), kwargs)
        name = _state_name(kwargs)
        new = function(kwargs[name])
        return None if new is None else (args, {**kwargs, name: new})

    return hook


def _state_name(kwargs: Mapping[str, Any]) -> str:
    """Name of the hidden states among arguments that are passed by name: else the first tensor."""
    if "hidden_states" in kwargs:
        return "hidden_states"
    return next(name for name, value in kwargs.items() if isinstance(value, Tensor))


def _on_output(function: Callable[[Tensor], Tensor | None]) -> Callable[..., Any]:
    """A forward hook around `function`.

    Modules return a tensor, or a tuple or an output of transformers that starts with it.
    """

    def hook(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        if isinstance(output, tuple):
            first, *rest = cast("tuple[Any, ...]", output)
            new = function(first)
            return None if new is None else (new, *rest)
        if isinstance(output, Mapping):
            by_name = cast("Mapping[str, Any]", output)
            name, first = next(iter(by_name.items()))
            new = function(first)
            return None if new is None else _with(by_name, name, new)
        return function(output)

    return hook


def _with(output: Any, name: str, new: Tensor) -> Any:
    """A copy of an output of transformers with another tensor in one place."""
    changed = shallow_copy(output)
    changed[name] = new
    return changed
