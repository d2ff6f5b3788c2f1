"""Recompute only what a change can affect: the forward pass from a changed layer and position on.

Once a block's output has changed at position p, only later blocks can differ, and of them only
positions from p on; keys and values of earlier positions are the base run's. `ResumedBatch` carries
the changed rows of many cells through the blocks at once. Each block is called once, by its own
`forward`, on all rows as if they were one long prompt: whatever the family's block computes, it
computes on each row alone, except attention. There the rows are put beside their base's keys and
values, and the model's own attention function is called on `(cells, heads, positions, d_head)`.

The number of operators depends on the number of layers only, and no step waits for the device.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch.nn import functional

from vene_widgets.engine.attention import Attention, stand_in_for_attention
from vene_widgets.engine.forward import KeysAndValues, apply, block_calls, logits_of
from vene_widgets.engine.hooks import BlockCall, Edit, intervene
from vene_widgets.engine.row_layout import BlockRows, Changed, row_layout
from vene_widgets.errors import RequestError
from vene_widgets.models.sites import Site

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vene_widgets.models import LanguageModel

BY_POSITION: Mapping[str, int] = {"position_ids": 1, "cache_position": 0, "position_embeddings": 1}
"""Arguments of a block with an entry per position, and in which dimension of their tensors."""

MASK = "attention_mask"


@dataclass(frozen=True, eq=False)
class BaseTrace:
    """The plain runs of some bases of one length, as far as resumed runs need them.

    Attributes:
        states: `(layers + 1, bases, positions, d_model)`, every block's input, then the last one's
            output.
        heads: keys and values of every block.
    """

    states: Tensor
    heads: KeysAndValues

    @property
    def length(self) -> int:
        """Positions of each base."""
        return self.states.shape[2]

    @property
    def bytes(self) -> int:
        """Memory held, in bytes."""
        return self.states.numel() * self.states.element_size() + self.heads.bytes


def sites_to_resume(model: LanguageModel) -> list[Site]:
    """The sites that a base run has to record: the residual stream."""
    layers, site = range(model.sites.layers), model.sites.site
    return [site(0, "block_input"), *(site(layer, "block_output") for layer in layers)]


def base_trace(
    model: LanguageModel, states: Mapping[Site, Tensor], heads: KeysAndValues
) -> BaseTrace:
    """Build a `BaseTrace` from plain runs.

    Args:
        model: the model that ran.
        states: site -> `(bases, positions, d_model)`, `sites_to_resume` among them.
        heads: what attention read in these runs.
    """
    return BaseTrace(torch.stack([states[site] for site in sites_to_resume(model)]), heads)


@dataclass(frozen=True, eq=False)
class Cells:
    """Single changes of base runs, in network order.

    Attributes:
        sites: where each changes the run; one component, of all heads, layers ascending.
        bases: index of each one's base run in the trace.
        positions: the changed positions.
        states: the new vectors at the sites, `(cells, width)`.
    """

    sites: Sequence[Site]
    bases: Sequence[int]
    positions: Sequence[int]
    states: Tensor


@dataclass(frozen=True, eq=False)
class LaterChange:
    """A change that some cells have besides their own, wherever their rows come by its site.

    In the blocks before a cell's own change there are no rows: what happens there is in the trace.
    In the same place as a cell's own change, it acts first.

    Attributes:
        site: where.
        cells, positions: equally long; which cells have it, and where.
        change: vectors `(n, width)` and which of `cells` they are `(n,)` -> the new vectors.
    """

    site: Site
    cells: Sequence[int]
    positions: Sequence[int]
    change: Callable[[Tensor, Tensor], Tensor]


class _KeysNoted(Exception):  # no error: it ends a block early
    """Raised where attention would be computed, once keys and values are noted."""


class _Attend(Protocol):
    """What a batch does where a block computes attention: see `Attention` for the shapes."""

    def __call__(
        self, layer: int, own: Attention, query: Tensor, key: Tensor, value: Tensor
    ) -> Tensor: ...


@dataclass(eq=False)
class ResumedBatch:
    """The changed rows of some cells, and their way through the blocks.

    A cell's rows are those from its changed position on. They join the batch at the block where the
    first of them has changed, and until then cost nothing. A change inside a block that cannot
    reach later positions runs that block on its own row only.

    Attributes:
        model: the model; call the batch inside `own_model`.
        trace: the plain runs that everything unchanged is taken from.
        cells: the changes.
        later: further changes, in the order in which they act at one site.
        rows: how many rows each call of a block was given.
    """

    model: LanguageModel
    trace: BaseTrace
    cells: Cells
    later: Sequence[LaterChange] = ()
    rows: list[int] = field(default_factory=list["int"])
    _attend: _Attend | None = None

    def logits(self, order: Sequence[int] | None = None) -> Tensor:
        """Logits `(cells, vocabulary)` at the last position.

        Args:
            order: indices of cells, in the order of the rows; None for that of `cells`.
        """
        with _fused_activations(self.model), stand_in_for_attention(self.model, self._stand_in):
            states = self._last_states()
        if order is not None:  # here, where a row is much shorter than the vocabulary
            states = states.index_select(0, torch.tensor(order, device=states.device))
        return logits_of(self.model, states)

    def _stand_in(
        self, layer: int, own: Attention, query: Tensor, key: Tensor, value: Tensor, mask: object
    ) -> Tensor:
        assert self._attend is not None  # noqa: S101  # `_call` has set it
        return self._attend(layer, own, query, key, value)

    def _last_states(self) -> Tensor:
        """The last block's output `(cells, d_model)` at the last position."""
        model, trace, cells = self.model, self.trace, self.cells
        facts = model.sites.architecture.components[cells.sites[0].component]
        layout = row_layout(
            layers=[site.layer for site in cells.sites],
            bases=cells.bases,
            positions=cells.positions,
            trace_shape=trace.states.shape[:3],
            change=(
                Changed.BLOCK_OUTPUT
                if cells.sites[0].component == "block_output"
                else Changed.ROWS_FROM_HERE
                if facts.reaches_later_positions
                else Changed.OWN_ROW
            ),
            device=trace.states.device,
            later=[(one.site.layer, one.cells, one.positions) for one in self.later],
        )
        calls = _calls_of_blocks(model, trace.length)
        # Every row as it is in the base run where it joins; changed rows are put in.
        plain = trace.states.flatten(0, 2)
        joining = plain.index_select(0, layout.sources)
        if layout.starts is not None:
            joining[layout.starts] = cells.states
        rows = joining[:0]
        for block in layout.blocks:
            if block.joined > len(rows):
                rows = torch.cat([rows, joining[len(rows) : block.joined]])
            if block.own_sources is not None:
                rows = torch.cat([rows, plain.index_select(0, block.own_sources)])
            if not len(rows):
                continue
            run = self._run_last_block if block.ends is not None else self._run_block
            rows = run(block, calls[block.layer], rows)
            if block.own_starts is not None:
                split = len(rows) - len(block.own_starts)
                joining[block.own_starts] = rows[split:]
                rows = rows[:split]
        if layout.rest is not None:  # cells that change the last block's output, or nothing
            rows = torch.cat([rows, joining.index_select(0, layout.rest)])
        return rows

    def _run_block(self, block: BlockRows, call: BlockCall, rows: Tensor) -> Tensor:
        """A block's output on rows `(rows, d_model)`."""
        arguments, mask = _arguments(self.model.block(block.layer), call, block.positions)

        def attend(layer: int, own: Attention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            keys, values = self._beside_base(block, key, value)
            queries = query.new_zeros(*keys.shape[:2], *query.shape[1::2])
            queries.flatten(0, 1).index_copy_(0, block.places, query[0].transpose(0, 1))
            attended = own(
                queries.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2), mask
            )
            return attended.flatten(0, 1).index_select(0, block.places)[None]

        return self._call(block.layer, arguments, rows, attend, self._edits(block))

    def _run_last_block(self, block: BlockRows, call: BlockCall, rows: Tensor) -> Tensor:
        """The last block's output `(cells, d_model)` at the last position.

        The other rows matter for their keys and values only.
        """
        assert block.ends is not None and block.end_positions is not None  # noqa: S101  # ours
        noted: list[Tensor] = []

        def note(layer: int, own: Attention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            noted.extend(self._beside_base(block, key, value))
            raise _KeysNoted

        if len(block.ends) < len(rows):
            arguments, _ = _arguments(self.model.block(block.layer), call, block.positions)
            with contextlib.suppress(_KeysNoted):
                self._call(block.layer, arguments, rows, note, self._edits(block))
            rows = rows.index_select(0, block.ends)
        arguments, mask = _arguments(self.model.block(block.layer), call, block.end_positions)

        def attend(layer: int, own: Attention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            if not noted:  # every row is its cell's last
                noted.extend(self._beside_base(block, key, value))
            keys, values = (t.transpose(1, 2) for t in noted)
            last = None if mask is None else mask[..., -1:, :]
            return own(query.transpose(0, 2), keys, values, last).transpose(0, 1)

        return self._call(block.layer, arguments, rows, attend, self._edits(block, at_ends=True))

    def _beside_base(self, block: BlockRows, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of every cell: the base's, with the cell's own rows in their places.

        Args:
            block: whose.
            key, value: of the cells' rows, `(1, heads, rows, d_head)`.

        Returns:
            Both `(cells, positions, heads, d_head)`.
        """
        heads = self.trace.heads
        keys = heads.keys[block.layer].index_select(0, block.bases)
        values = heads.values[block.layer].index_select(0, block.bases)
        for whole, own in ((keys, key), (values, value)):
            whole.flatten(0, 1).index_copy_(0, block.places, own[0].transpose(0, 1))
        return keys, values

    def _edits(self, block: BlockRows, *, at_ends: bool = False) -> list[Edit]:
        """The changes inside a block, by the rows that they are at."""
        found = [
            Edit(
                self.later[n].site,
                torch.zeros_like(places.rows),
                places.rows,
                partial(_with_places, self.later[n].change, places.cells),
            )
            for n, places in (block.later_ends if at_ends else block.later).items()
        ]
        edited = block.edited_ends if at_ends else block.edited
        if edited is None:
            return found
        states = self.cells.states.index_select(0, edited.cells)
        site = self.model.sites.site(block.layer, self.cells.sites[0].component)
        zeros = torch.zeros_like(edited.rows)
        return [*found, Edit(site, zeros, edited.rows, lambda _vectors: states)]

    def _call(
        self,
        layer: int,
        arguments: tuple[tuple[Any, ...], dict[str, Any]],
        rows: Tensor,
        attend: _Attend,
        edits: Sequence[Edit],
    ) -> Tensor:
        """Call a block by its own `forward` on rows `(rows, d_model)` of any cells."""
        self.rows.append(len(rows))
        self._attend = attend
        args, kwargs = arguments
        if args:
            args = (rows[None], *args[1:])
        else:
            kwargs = {**kwargs, "hidden_states": rows[None]}
        try:
            with intervene(self.model, edits):
                output: Any = apply(self.model.block(layer), *args, **kwargs)
        finally:
            self._attend = None  # it refers to this batch, which need not wait for the collector
        if isinstance(output, torch.Tensor):
            return output[0]
        return output[0][0]


def _with_places(
    change: Callable[[Tensor, Tensor], Tensor], which: Tensor, vectors: Tensor
) -> Tensor:
    return change(vectors, which)


def _calls_of_blocks(model: LanguageModel, length: int) -> list[BlockCall]:
    """How the model calls its blocks for prompts of a length; noted once per state of the model."""
    tree = model.tree
    kept = tree.block_calls
    if kept is None or kept[0] != tree.state or kept[1] != length:
        ids = torch.zeros(1, length, dtype=torch.long, device=model.device)
        tree.block_calls = kept = (tree.state, length, block_calls(model, ids))
    return kept[2]


def _arguments(
    block: nn.Module, call: BlockCall, positions: Tensor
) -> tuple[tuple[tuple[Any, ...], dict[str, Any]], Tensor | None]:
    """A block's arguments for rows at some positions, and the mask that it would have had.

    Args:
        block: the block.
        call: how the model calls it on a whole prompt.
        positions: of the rows, `(rows,)`.

    Raises:
        RequestError: an argument of which it is not known how it belongs to positions.
    """
    mask: Tensor | None = None

    def chosen(name: str, value: Any) -> Any:
        nonlocal mask
        if not _holds_tensors(value):
            return value
        if name == MASK:
            mask = value[:1]
            return None
        if name not in BY_POSITION:
            raise RequestError(f"the blocks of the model take {name!r}, which is not understood")
        choose = partial(torch.index_select, dim=BY_POSITION[name], index=positions)
        return choose(value) if isinstance(value, torch.Tensor) else tuple(map(choose, value))

    names = _parameter_names(type(block))
    args = tuple(chosen(name, value) for name, value in zip(names, call.args, strict=False))
    kwargs = {name: chosen(name, value) for name, value in call.kwargs.items()}
    return (args, kwargs), mask


@cache
def _parameter_names(kind: type[nn.Module]) -> tuple[str, ...]:
    """Names of the parameters of a module's `forward`, in order, without `self`."""
    return tuple(inspect.signature(kind.forward).parameters)[1:]


def _holds_tensors(value: object) -> bool:
    """Whether an argument is a tensor or a tuple of tensors."""
    if isinstance(value, (tuple, list)):
        return any(isinstance(one, torch.Tensor) for one in cast("Sequence[object]", value))
    return isinstance(value, torch.Tensor)


@contextmanager
def _fused_activations(model: LanguageModel) -> Generator[None, None, None]:
    """Let GPT-2's activation take one pass over its tensor instead of eight.

    It is the tanh form of GELU (Hendrycks and Gimpel 2016), which torch has as one operator. Its
    class, whose code was read, says what it computes.
    """
    fused = partial(functional.gelu, approximate="tanh")
    with ExitStack() as stack:
        for layer in range(model.sites.layers):
            for module in model.block(layer).modules():
                if type(module).__name__ == "NewGELUActivation":
                    stack.callback(module.__dict__.pop, "forward", None)
                    module.__dict__["forward"] = fused
        yield
