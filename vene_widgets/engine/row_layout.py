"""row_layout(): which rows run through which block, as index tensors that are made once.

A cell is one change of a base run at one position. Its rows are the positions from there on. Rows
stand cell by cell, cells in network order, so the rows that have joined the batch by some block are
always the first so many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Ints = NDArray[np.int64]


class Changed(Enum):
    """What a cell's change reaches within its own block."""

    BLOCK_OUTPUT = "nothing: it is the block's output"
    OWN_ROW = "its own position"
    ROWS_FROM_HERE = "its own position and later ones"


@dataclass(frozen=True, eq=False)
class Edited:
    """The rows that are changed inside a block.

    Attributes:
        cells: index of each one's cell.
        rows: where it is among the rows of the block, same length.
    """

    cells: Tensor
    rows: Tensor


@dataclass(frozen=True, eq=False)
class BlockRows:
    """The rows that one block runs: those that have joined, then rows that run it alone.

    Attributes:
        layer: the block.
        joined: how many rows have joined by now.
        positions: of every row.
        bases: of every cell, the index of its base run. A row that runs alone is a cell here.
        places: of every row, its cell times the positions of a run plus its position.
        own_sources: of the rows that run alone, where they are among the states of the base runs;
            None if there are none.
        own_starts: of the same rows, where they will be among the joining rows.
        edited: the rows that the block changes inside; None if there are none.
        ends: in the last block, which rows are at the last position, one per cell; else None.
        end_positions: their positions.
        edited_ends: as `edited`, by index into `ends`.
        later: the rows of further changes, by the index of each; `cells` of one are then indices
            into its own places.
        later_ends: as `later`, by index into `ends`.
    """

    layer: int
    joined: int
    positions: Tensor
    bases: Tensor
    places: Tensor
    own_sources: Tensor | None
    own_starts: Tensor | None
    edited: Edited | None
    ends: Tensor | None
    end_positions: Tensor | None
    edited_ends: Edited | None
    later: Mapping[int, Edited]
    later_ends: Mapping[int, Edited]


@dataclass(frozen=True, eq=False)
class RowLayout:
    """The way of all rows through the blocks.

    Attributes:
        blocks: one entry per block, from the first that any row runs.
        sources: of every joining row, where it is among the states of the base runs, flattened from
            `(layers + 1, bases, positions)`.
        starts: of every cell, its changed row, if rows join with the change; else None.
        rest: rows at the last position of the cells that run no whole block, None if there are
            none; in the order of the cells, which are the last ones.
    """

    blocks: tuple[BlockRows, ...]
    sources: Tensor
    starts: Tensor | None
    rest: Tensor | None


def row_layout(
    layers: Sequence[int],
    bases: Sequence[int],
    positions: Sequence[int],
    trace_shape: Sequence[int],
    change: Changed,
    device: torch.device,
    later: Sequence[tuple[int, Sequence[int], Sequence[int]]] = (),
) -> RowLayout:
    """Lay out the rows of some cells.

    Args:
        layers: each cell's block, ascending.
        bases: index of each cell's base run.
        positions: each cell's changed position.
        trace_shape: layers + 1, base runs, and positions of a run.
        change: what the cells' change reaches within its own block.
        device: where the index tensors go, in one copy.
        later: further changes: the block of each, its cells and their positions, equally many.
    """
    builder = _Builder(
        np.asarray(layers, np.int64),
        np.asarray(bases, np.int64),
        np.asarray(positions, np.int64),
        (int(trace_shape[0]), int(trace_shape[1]), int(trace_shape[2])),
        change,
        [
            (layer, np.asarray(cells, np.int64), np.asarray(places, np.int64))
            for layer, cells, places in later
        ],
    )
    return builder.layout(device)


class _Builder:
    """Computes the indices on the host.

    Args:
        layers, bases, positions: of the cells.
        shape: layers + 1, base runs, positions.
        change: what the cells' change reaches within its own block.
        later: further changes: block, cells and positions of each.
    """

    def __init__(
        self,
        layers: Ints,
        bases: Ints,
        positions: Ints,
        shape: tuple[int, int, int],
        change: Changed,
        later: Sequence[tuple[int, Ints, Ints]],
    ) -> None:
        self.later = later
        count, self.base_count, self.length = shape
        self.last = count - 2
        self.layers, self.bases, self.positions, self.change = layers, bases, positions, change
        # The first block that all of a cell's rows run.
        self.first = layers if change is Changed.ROWS_FROM_HERE else layers + 1
        lengths = self.length - positions
        self.stops = np.cumsum(lengths)
        self.starts = self.stops - lengths
        self.cell_of_row = np.repeat(np.arange(len(layers)), lengths)
        offsets = self.starts - positions
        self.row_positions = np.arange(len(self.cell_of_row)) - offsets[self.cell_of_row]
        self.arrays: dict[tuple[int, str], Ints] = {}

    def layout(self, device: torch.device) -> RowLayout:
        """Compute every index, and copy them to the device at once."""
        made, cell = self.arrays, self.cell_of_row
        made[-1, "sources"] = self._sources(self.first[cell], cell, self.row_positions)
        if self.change is Changed.BLOCK_OUTPUT:
            made[-1, "starts"] = self.starts
        if (rest := self.first > self.last).any():
            made[-1, "rest"] = self.stops[rest] - 1
        joined = {layer: self._add_block(layer) for layer in range(self.layers[0], self.last + 1)}
        joined_arrays = np.concatenate(list(made.values()))
        whole = torch.from_numpy(joined_arrays)  # pyright: ignore[reportUnknownMemberType]  # torch's
        parts = torch.split(whole.to(device), [len(array) for array in made.values()])
        tensors = dict(zip(made, parts, strict=True))
        return RowLayout(
            blocks=tuple(_block(layer, count, tensors) for layer, count in joined.items()),
            sources=tensors[-1, "sources"],
            starts=tensors.get((-1, "starts")),
            rest=tensors.get((-1, "rest")),
        )

    def _sources(self, layers: Ints, cells: Ints, positions: Ints) -> Ints:
        """Flat indices into the states of the base runs."""
        return (layers * self.base_count + self.bases[cells]) * self.length + positions

    def _add_block(self, layer: int) -> int:
        """Compute one block's indices; return how many rows have joined."""
        made, change = self.arrays, self.change
        cells = np.arange(int(np.searchsorted(self.first, layer, "right")))
        joined = int(self.stops[cells[-1]]) if len(cells) else 0
        here = np.flatnonzero(self.layers == layer)
        own = here if change is Changed.OWN_ROW else here[:0]
        if layer == self.last:  # at another position, nothing reads it any more
            own = own[self.positions[own] == self.length - 1]
        cell_of_row = np.concatenate(
            [self.cell_of_row[:joined], np.arange(len(cells), len(cells) + len(own))]
        )
        positions = np.concatenate([self.row_positions[:joined], self.positions[own]])
        made[layer, "positions"] = positions
        made[layer, "bases"] = self.bases[np.concatenate([cells, own])]
        made[layer, "places"] = cell_of_row * self.length + positions
        own_rows = np.arange(joined, joined + len(own))
        if len(own):
            made[layer, "own_sources"] = self._sources(
                np.full(len(own), layer), own, self.positions[own]
            )
            made[layer, "own_starts"] = self.starts[own]
            self._add_edited(layer, "edited", own, own_rows)
        elif change is Changed.ROWS_FROM_HERE and len(here):
            self._add_edited(layer, "edited", here, self.starts[here])
        self._add_later(layer, len(cells), own, own_rows)
        if layer == self.last:
            made[layer, "ends"] = np.concatenate([self.stops[cells] - 1, own_rows])
            made[layer, "end_positions"] = np.full(len(cells) + len(own), self.length - 1)
            own_ends = np.arange(len(cells), len(cells) + len(own))
            changed = here[self.positions[here] == self.length - 1]
            if len(own):
                self._add_edited(layer, "edited_ends", own, own_ends)
            elif change is Changed.ROWS_FROM_HERE and len(changed):
                self._add_edited(layer, "edited_ends", changed, changed)
        return joined

    def _add_later(self, layer: int, joined: int, own: Ints, own_rows: Ints) -> None:
        """Compute where further changes of a block meet rows of it.

        Args:
            layer: the block.
            joined: how many cells have joined; they are the first ones.
            own: cells whose row runs this block alone.
            own_rows: where these rows are.
        """
        row_of_own = np.full(len(self.layers), -1)
        row_of_own[own] = own_rows
        end_of_own = np.full(len(self.layers), -1)
        end_of_own[own] = np.arange(joined, joined + len(own))
        for number, (at, cells, positions) in enumerate(self.later):
            if at != layer:
                continue
            begin = self.positions[cells]
            is_joined = (cells < joined) & (positions >= begin)
            is_own = (row_of_own[cells] >= 0) & (positions == begin)
            places = np.flatnonzero(is_joined | is_own)
            rows = np.where(is_own, row_of_own[cells], self.starts[cells] + positions - begin)[
                places
            ]
            if len(places):
                self._add_edited(layer, f"later {number}", places, rows)
            ends = places[positions[places] == self.length - 1]
            if layer == self.last and len(ends):
                at_end = np.where(is_own, end_of_own[cells], cells)[ends]
                self._add_edited(layer, f"later_ends {number}", ends, at_end)

    def _add_edited(self, layer: int, name: str, cells: Ints, rows: Ints) -> None:
        self.arrays[layer, f"{name} cells"] = cells
        self.arrays[layer, f"{name} rows"] = rows


def _block(layer: int, joined: int, tensors: Mapping[tuple[int, str], Tensor]) -> BlockRows:
    """One block's tensors by their names."""

    def edited(name: str) -> Edited | None:
        cells = tensors.get((layer, f"{name} cells"))
        return None if cells is None else Edited(cells, tensors[layer, f"{name} rows"])

    def numbered(name: str) -> dict[int, Edited]:
        found = {
            int(key.split()[1]): edited(key.removesuffix(" cells"))
            for at, key in tensors
            if at == layer and key.split()[0] == name and key.endswith(" cells")
        }
        return {number: one for number, one in found.items() if one is not None}

    return BlockRows(
        layer=layer,
        joined=joined,
        positions=tensors[layer, "positions"],
        bases=tensors[layer, "bases"],
        places=tensors[layer, "places"],
        own_sources=tensors.get((layer, "own_sources")),
        own_starts=tensors.get((layer, "own_starts")),
        edited=edited("edited"),
        ends=tensors.get((layer, "ends")),
        end_positions=tensors.get((layer, "end_positions")),
        edited_ends=edited("edited_ends"),
        later=numbered("later"),
        later_ends=numbered("later_ends"),
    )
