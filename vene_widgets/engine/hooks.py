"""record() and intervene(): context managers, and the only place that registers hooks.

Both leave the model exactly as it was, also when a registration, a hook or the forward pass fails:
our handles are removed, the user's hooks stay, and every module's train/eval flag is put back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from vene_widgets.models.architectures import Side
from vene_widgets.models.sites import Site, module_at

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vene_widgets.models import LanguageModel


@dataclass(frozen=True)
class Touch:
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
        rows, positions: equally long; vector n is the one of batch row `rows[n]` at `positions[n]`.
        change: the site's vectors `(n, width)` -> the new ones, same shape.
        report: told what happened, when wanted; measuring costs a copy of the tensor.
    """

    site: Site
    rows: Tensor
    positions: Tensor
    change: Callable[[Tensor], Tensor]
    report: Callable[[Touch], None] | None = None


@contextmanager
def undisturbed(model: LanguageModel, *, gradients: bool = False) -> Iterator[None]:
    """Hold the model's lock, in eval mode; put every flag back afterwards.

    With `gradients`, they flow through the run to whatever the hooks bring in; the model's own
    weights are constants in it, so that nothing is ever added to their `.grad`.
    """
    with model.lock, torch.set_grad_enabled(gradients), _constant(model.model, gradients):
        training = [module for module in model.model.modules() if module.training]
        try:
            for module in training:
                module.training = False
            yield
        finally:
            for module in training:
                module.training = True


@contextmanager
def _constant(root: nn.Module, gradients: bool) -> Iterator[None]:
    """Within a run with gradients, the model's weights ask for none."""
    asking = [p for p in root.parameters() if p.requires_grad] if gradients else []
    try:
        for parameter in asking:
            parameter.requires_grad = False
        yield
    finally:
        for parameter in asking:
            parameter.requires_grad = True


@contextmanager
def record(model: LanguageModel, sites: Iterable[Site]) -> Iterator[dict[Site, Tensor]]:
    """Collect the tensors at some sites while the model runs.

    Yields:
        A dict that fills as the model runs: site -> tensor `(batch, positions, width)`. The tensors
        are the model's own; nothing is copied.
    """
    found: dict[Site, Tensor] = {}
    places: dict[tuple[str, Side], list[Site]] = {}
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
def record_head_input(model: LanguageModel) -> Iterator[list[Tensor]]:
    """Collect the last hidden states, `(batch, positions, d_model)`, one entry per forward pass."""
    found: list[Tensor] = []
    place: tuple[str, Side] = (model.sites.architecture.unembedding, "input")
    with _hooked(model.model, {place: found.append}):
        yield found


@contextmanager
def record_calls(
    model: LanguageModel,
) -> Iterator[list[tuple[tuple[Any, ...], dict[str, Any]]]]:
    """Collect what every block is called with: positional, hidden states first, and named.

    Called again with the same, a block does the same.
    """
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
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
            block = module_at(model.model, model.sites.site(layer, "block_output").path)
            handle = block.register_forward_pre_hook(keep, with_kwargs=True)
            stack.callback(handle.remove)
        yield calls


@contextmanager
def intervene(model: LanguageModel, edits: Sequence[Edit]) -> Iterator[None]:
    """Change tensors at some sites while the model runs.

    Different sites act in network order, as the forward pass reaches them; edits at one site act in
    list order, each seeing what the one before left.
    """
    places: dict[tuple[str, Side], list[Edit]] = {}
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
    """Carry out one edit in place on our own copy of the tensor, and report it."""
    site = edit.site
    before = tensor.clone() if edit.report else None
    vectors = tensor[edit.rows, edit.positions, site.start : site.stop]
    new = edit.change(vectors)
    tensor[edit.rows, edit.positions, site.start : site.stop] = new
    if edit.report and before is not None:
        # In float64, which not every device has.
        with torch.no_grad():
            size = (new.cpu().double() - vectors.cpu().double()).norm().item()
            # Undo the edit on a copy: had anything else changed, the copy would not be as before.
            undone = tensor.clone()
            undone[edit.rows, edit.positions, site.start : site.stop] = vectors
            others = torch.equal(undone, before)
        shape = (*tensor.shape[:-1], site.width)
        edit.report(Touch(shape, len(edit.rows), size, others, vectors, new))


@contextmanager
def _hooked(
    root: nn.Module, functions: Mapping[tuple[str, Side], Callable[[Tensor], Tensor | None]]
) -> Iterator[None]:
    """Register one hook per place; the function may return a tensor that replaces the old one.

    Hooks belong to the thread that registered them: when the user's own code calls the model from
    another thread meanwhile, it gets the plain model and leaves no trace in what we record.
    """
    owner = threading.get_ident()

    def ours(function: Callable[[Tensor], Tensor | None]) -> Callable[[Tensor], Tensor | None]:
        return lambda tensor: function(tensor) if threading.get_ident() == owner else None

    with ExitStack() as stack:
        for (path, side), function in functions.items():
            module = module_at(root, path)
            if side == "input":
                hook = _on_input(ours(function))
                handle = module.register_forward_pre_hook(hook, with_kwargs=True)
            else:
                handle = module.register_forward_hook(_on_output(ours(function)))
            stack.callback(handle.remove)
        yield


def _on_input(function: Callable[[Tensor], Tensor | None]) -> Callable[..., Any]:
    """A pre-hook around `function`: hidden states arrive as first argument or by their name."""

    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            new = function(args[0])
            return None if new is None else ((new, *args[1:]), kwargs)
        new = function(kwargs["hidden_states"])
        return None if new is None else (args, {**kwargs, "hidden_states": new})

    return hook


def _on_output(function: Callable[[Tensor], Tensor | None]) -> Callable[..., Any]:
    """A forward hook around `function`: modules return a tensor, or a tuple that begins with it."""

    def hook(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        if isinstance(output, tuple):
            new = function(output[0])
            return None if new is None else (new, *output[1:])
        return function(output)

    return hook
