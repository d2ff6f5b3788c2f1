# pyright: basic
# Basic: pyarrow has no types.
"""The answers of a chunk <-> a tidy Parquet file."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vene_widgets.sweeps.pairs.chunks import PairAnswers, PairChunk
from vene_widgets.sweeps.pairs.pair_targets import role

if TYPE_CHECKING:
    from vene_widgets.sweeps.pairs.planning import PairPlan


NUMBERS = (
    *("pair", "target_id", "log_probability", "base_log_probability", "source_log_probability"),
    *("effect_possible", "base_best_id", "source_best_id"),
)
"""The columns that answers are read from; the others are for people and their tools."""


def to_parquet(
    plan: PairPlan, chunk: PairChunk, answers: PairAnswers, notes: Mapping[str, str]
) -> bytes:
    """One chunk as a tidy Parquet file: one row per pair, cell and token followed."""
    import pyarrow as pa
    from pyarrow import parquet

    shape = answers.log_p.shape

    def spread(values: np.ndarray, *axes: int) -> np.ndarray:
        wide = values.reshape([shape[axis] if axis in axes else 1 for axis in range(5)])
        return np.broadcast_to(wide, shape).flatten()

    def names(values: Sequence[str], axis: int) -> Any:
        codes = spread(np.arange(len(values), dtype=np.int32), axis)
        return pa.DictionaryArray.from_arrays(codes, list(values))

    heads = np.array([-1 if head is None else head for head in plan.heads], dtype=np.int32)
    positions = np.array([row.positions for row in chunk.rows], dtype=np.int32)
    partners = np.array([row.source_positions for row in chunk.rows], dtype=np.int32)
    head_of_row = spread(heads, 1)
    columns = {
        "pair": spread(answers.pairs.astype(np.int64), 0),
        "head": pa.array(head_of_row, mask=head_of_row < 0),
        "layer": spread(np.array(plan.layers, dtype=np.int32), 2),
        "place": names(plan.places, 3),
        "position": spread(positions, 0, 3),
        "source_position": spread(partners, 0, 3),
        "role": names([role(n) for n in range(shape[4])], 4),
        "target_id": spread(answers.targets, 0, 4),
        "log_probability": answers.log_p.flatten(),
        "base_log_probability": spread(answers.base_log_p, 0, 4),
        "source_log_probability": spread(answers.source_log_p, 0, 4),
        "effect_possible": spread(answers.effect_possible, 0, 1, 2, 3),
        "base_best_id": spread(answers.base_best, 0),
        "source_best_id": spread(answers.source_best, 0),
    }
    table = pa.table(columns).replace_schema_metadata({"control": chunk.control, **notes})
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def from_parquet(plan: PairPlan, chunk: PairChunk, data: bytes) -> PairAnswers:
    """The answers in a chunk's file.

    Raises:
        ValueError, KeyError: it is damaged, or of other pairs.
    """
    import pyarrow as pa
    from pyarrow import parquet

    names = list(NUMBERS)  # the texts of every row would take most of the memory
    table = parquet.read_table(pa.BufferReader(data), columns=names)
    cells = (len(plan.heads), len(plan.layers), len(plan.places))
    shape = (len(chunk.rows), *cells, -1)
    wide = {name: table[name].to_numpy().reshape(shape) for name in names}
    pairs = wide["pair"][:, 0, 0, 0, 0]
    if [row.pair for row in chunk.rows] != pairs.tolist():
        raise ValueError("its pairs are others")
    first = (slice(None), 0, 0, 0)
    return PairAnswers(
        pairs=pairs,
        targets=wide["target_id"][first],
        base_log_p=wide["base_log_probability"][first],
        source_log_p=wide["source_log_probability"][first],
        base_best=wide["base_best_id"][first][:, 0],
        source_best=wide["source_best_id"][first][:, 0],
        log_p=wide["log_probability"],
        effect_possible=wide["effect_possible"][..., 0],
    )
