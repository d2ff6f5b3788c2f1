"""record() and intervene(): context managers, and the only place that registers hooks.

Both leave the model exactly as it was, also when a registration, a hook or the forward pass fails:
our handles are removed and user-defined hooks stay.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch

from vene_widgets.models.architectures import Side
from vene_widgets.models.sites import Site, module_at

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vene_widgets.models import LanguageModel

Place = tuple[str, Side]
"""What a hook is registered on: a module's path and its input or output."""

BlockCall = tuple[tuple[Any, ...], dict[str, Any]]
"""The positional arguments of a block, hidden states first, and the named ones."""


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
        are the model's own; nothing is copied.
    """
    found: dict[Site, Tensor] = {}
    places: dict[Place, list[Site]] = {}
    for site in sites:
        places.setdefault(site.place, []).append(site)

    def reader(here: Sequence[Site]) -> Callable[[Tensor], None]:
        def read(tensor: Tensor) -> None:
            for site in here:
                found[site] = tensor[..., site.start : site.stop]

        return read

    with _hooked(model.model, {place: reader(here) for place, here in places.items()}):
        yield found


@contextmanager
def record_unembedding_input(model: LanguageModel) -> Generator[list[Tensor], None, None]:
    """Collect the last hidden states, `(batch, positions, d_model)`, one entry per forward pass."""
    found: list[Tensor] = []
    place: Place = (model.sites.architecture.unembedding, "input")
    with _hooked(model.model, {place: found.append}):
        yield found


@contextmanager
def record_calls(model: LanguageModel) -> Generator[list[BlockCall], None, None]:
    """Collect the arguments of every block. Called again with them, a block repeats its output."""
    calls: list[BlockCall] = []
    owner = threading.get_ident()

    def keep(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if threading.get_ident() != owner:
            return
        named = dict(kwargs)
        if not args:
            args = (named.pop("hidden_states"),)
        calls.append((args, named))

    with ExitStack() as stack:
        for layer in range(model.sites.layers):
            handle = model.block(layer).register_forward_pre_hook(keep, with_kwargs=True)
            stack.callback(handle.remove)
        yield calls


@contextmanager
def intervene(model: LanguageModel, edits: Sequence[Edit]) -> Generator[None, None, None]:
    """Change tensors at some sites while the model runs.

    Different sites act in network order, as the forward pass reaches them; edits at one site act in
    list order, each seeing what the one before left.
    """
    places: dict[Place, list[Edit]] = {}
    for edit in edits:
        places.setdefault(edit.site.place, []).append(edit)

    def writer(here: Sequence[Edit]) -> Callable[[Tensor], Tensor]:
        def write(tensor: Tensor) -> Tensor:
            new = tensor.clone()
            for edit in here:
                _apply(new, edit)
            return new

        return write

    with _hooked(model.model, {place: writer(here) for place, here in places.items()}):
        yield


def _apply(tensor: Tensor, edit: Edit) -> None:
    """Apply one edit in place to our own copy of the tensor, and measure it if asked."""
    site = edit.site
    before = tensor.clone() if edit.on_applied else None
    vectors = tensor[edit.rows, edit.positions, site.start : site.stop]
    new = edit.change(vectors)
    tensor[edit.rows, edit.positions, site.start : site.stop] = new
    if edit.on_applied and before is not None:
        with torch.no_grad():
            # The norm in float64, on the CPU: not every device has float64.
            change = new.cpu().double() - vectors.cpu().double()
            norm = cast("Tensor", change.norm())  # pyright: ignore[reportUnknownMemberType]  # torch's
            size = float(norm)
            # Undo the edit on a copy: had anything else changed, the copy would not be as before.
            undone = tensor.clone()
            undone[edit.rows, edit.positions, site.start : site.stop] = vectors
            others_equal = torch.equal(undone, before)
        shape = (*tensor.shape[:-1], site.width)
        edit.on_applied(EditStats(shape, len(edit.rows), size, others_equal, vectors, new))


@contextmanager
def _hooked(
    root: nn.Module, functions: Mapping[Place, Callable[[Tensor], Tensor | None]]
) -> Generator[None, None, None]:
    """Register one hook per place; the function may return a tensor that replaces the old one.

    A hook acts only on the thread that registered it: if other code calls the model from another
    thread meanwhile, it gets the plain model and leaves no trace in what we record.
    """
    owner = threading.get_ident()

    def on_own_thread(
        function: Callable[[Tensor], Tensor | None],
    ) -> Callable[[Tensor], Tensor | None]:
        return lambda tensor: function(tensor) if threading.get_ident() == owner else None

    with ExitStack() as stack:
        for (path, side), function in functions.items():
            module = module_at(root, path)
            if side == "input":
                hook = _on_input(on_own_thread(function))
                handle = module.register_forward_pre_hook(hook, with_kwargs=True)
            else:
                handle = module.register_forward_hook(_on_output(on_own_thread(function)))
            stack.callback(handle.remove)
        yield


def _on_input(function: Callable[[Tensor], Tensor | None]) -> Callable[..., Any]:
    """A pre-hook around `function`: hidden states come first or by name."""

    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            new = function(args[0])
            return None if new is None else ((new, *args[1:]), kwargs)
        new = function(kwargs["hidden_states"])
        return None if new is None else (args, {**kwargs, "hidden_states": new})

    return hook


def _on_output(function: Callable[[Tensor], Tensor | None]) -> Callable[..., Any]:
    """A forward hook around `function`: modules return a tensor, or a tuple that starts with it."""

    def hook(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        if isinstance(output, tuple):
            first, *rest = cast("tuple[Any, ...]", output)
            new = function(first)
            return None if new is None else (new, *rest)
        return function(output)

    return hook
