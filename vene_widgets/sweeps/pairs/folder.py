"""SweepFolder: the results of a data set in a folder, chunk by chunk, so that a run can go on.

`manifest.json` says what runs; each finished chunk is one Parquet file, written whole or not at
all. A chunk whose file is there is done.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vene_widgets.errors import RequestError, shown
from vene_widgets.sweeps.pairs.effects import role
from vene_widgets.sweeps.pairs.tasks import PairAnswers, PairRow, PairTask, joined
from vene_widgets.tables.files import make_folder, write_aside

if TYPE_CHECKING:
    from vene_widgets.sweeps.pairs.planning import PairPlan

FORMAT = 1
"""Version of the folder's layout."""

MANIFEST = "manifest.json"


class SweepFolder:
    """The finished chunks of one sweep over a data set.

    Args:
        path: of the folder; it is created if need be.
        plan: the data set.
        weights: checksum of the model's weights.
        rows: the pairs of the sweep (`""`) and of its controls, by name.
        seed: of the controls.
        pairs_per_task: as in `sweep_pairs`.

    Raises:
        RequestError: the folder holds another sweep, or cannot be written, or pyarrow is missing.
    """

    def __init__(
        self,
        path: Path,
        plan: PairPlan,
        weights: int,
        rows: Mapping[str, Sequence[PairRow]],
        seed: int,
        pairs_per_task: int | None,
    ) -> None:
        _require_pyarrow()
        self.path = path
        self._plan = plan
        make_folder(path)
        about = _about(plan, weights, rows, seed)
        file = path / MANIFEST
        if file.exists():
            known = _read_manifest(file)
            _require_same(path, known["sweep"], about)
            self.sizes = {_lengths(key): int(size) for key, size in known["chunks"].items()}
            if pairs_per_task not in (None, *self.sizes.values()):
                raise RequestError(
                    f"the sweep in {shown(str(path), 300)} was begun with {self._said_sizes()} "
                    f"pairs per task, not {pairs_per_task}: leave pairs_per_task out, or choose "
                    "another folder."
                )
            return
        self.sizes = plan.chunk_sizes(pairs_per_task)
        manifest = {
            "format": FORMAT,
            "sweep": about,
            "chunks": {f"{base},{source}": size for (base, source), size in self.sizes.items()},
        }
        write_aside(file, json.dumps(manifest, indent=2, ensure_ascii=False).encode())

    def _said_sizes(self) -> str:
        return " and ".join(str(size) for size in sorted(set(self.sizes.values())))

    def has(self, task: PairTask) -> bool:
        """Whether a chunk is done."""
        return self._file(task).exists()

    def write(self, task: PairTask, answers: PairAnswers, notes: Mapping[str, str]) -> None:
        """Keep the answers of one chunk.

        Args:
            task: the chunk.
            answers: its numbers.
            notes: who ran it, for how long; kept as metadata of the file.
        """
        write_aside(self._file(task), to_parquet(self._plan, task, answers, notes))

    def read(self, tasks: Sequence[PairTask], again: Callable[[PairTask], None]) -> PairAnswers:
        """The answers of some chunks.

        Args:
            tasks: all of them done.
            again: runs a chunk, and writes it, whose file turns out to be damaged.
        """
        parts: list[PairAnswers] = []
        for task in tasks:
            try:
                parts.append(from_parquet(self._plan, task, self._file(task).read_bytes()))
            except (OSError, ValueError, KeyError) as error:
                warnings.warn(
                    f"{self._file(task).name} is damaged ({type(error).__name__}): its "
                    f"{len(task.rows)} pairs run again",
                    stacklevel=2,
                )
                again(task)
                parts.append(from_parquet(self._plan, task, self._file(task).read_bytes()))
        return joined(parts)

    def _file(self, task: PairTask) -> Path:
        return self.path / f"{task.control or 'sweep'}-{task.number:06d}.parquet"


def to_parquet(
    plan: PairPlan, task: PairTask, answers: PairAnswers, notes: Mapping[str, str]
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
    positions = np.array([row.positions for row in task.rows], dtype=np.int32)
    partners = np.array([row.source_positions for row in task.rows], dtype=np.int32)
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
    table = pa.table(columns).replace_schema_metadata({"control": task.control, **notes})
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def from_parquet(plan: PairPlan, task: PairTask, data: bytes) -> PairAnswers:
    """The answers in a chunk's file.

    Raises:
        ValueError, KeyError: it is damaged, or of other pairs.
    """
    import pyarrow as pa
    from pyarrow import parquet

    table = parquet.read_table(pa.BufferReader(data))
    columns = {name: table[name].to_numpy() for name in table.column_names if name != "head"}
    cells = (len(plan.heads), len(plan.layers), len(plan.places))
    shape = (len(task.rows), *cells, -1)
    wide = {
        name: values.reshape(shape)
        for name, values in columns.items()
        if name not in ("place", "role")
    }
    pairs = wide["pair"][:, 0, 0, 0, 0]
    if [row.pair for row in task.rows] != pairs.tolist():
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


def _about(
    plan: PairPlan, weights: int, rows: Mapping[str, Sequence[PairRow]], seed: int
) -> dict[str, Any]:
    """What a sweep depends on, as JSON. Controls may be added later, so they are not in it."""
    request = plan.request
    digest = hashlib.sha256()
    for row in rows[""]:
        digest.update(repr(row).encode())
    return {
        "model": plan.model.name,
        "weights": f"{weights:016x}",
        "dtype": str(plan.model.dtype).removeprefix("torch."),
        "component": request.component,
        "heads": list(plan.heads),
        "layers": list(plan.layers),
        "positions": list(plan.places),
        "intervention": request.intervention,
        "prompts": list(request.prompts),
        "pairs": len(plan.rows),
        "digest of the pairs": digest.hexdigest(),
        "seed": seed,
    }


def _read_manifest(file: Path) -> dict[str, Any]:
    """The manifest of a folder.

    Raises:
        RequestError: it cannot be read, or is of another version.
    """
    try:
        known: Any = json.loads(file.read_text("utf-8"))
        if known["format"] != FORMAT or not isinstance(known["chunks"], dict):
            raise ValueError(f"format {shown(known['format'])}")
        dict(known["sweep"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RequestError(
            f"{shown(str(file), 300)} is not the manifest of a sweep over pairs ({error}): choose "
            "another folder."
        ) from None
    return known


def _require_same(path: Path, known: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Check that a folder holds this very sweep.

    Raises:
        RequestError: it holds another; the message says in what it differs.
    """
    for name, value in about.items():
        if known.get(name) != value:
            raise RequestError(
                f"folder {shown(str(path), 300)} holds another sweep: its {name} is "
                f"{shown(known.get(name))}, not {shown(value)}. Choose another folder."
            )


def _lengths(key: str) -> tuple[int, int]:
    base, source = key.split(",")
    return int(base), int(source)


def _require_pyarrow() -> None:
    """Check that Parquet files can be written.

    Raises:
        RequestError: pyarrow is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise RequestError(
            "folder needs pyarrow, which is not installed: pip install 'vene-widgets[scale]'."
        )
