"""SweepFolder: the results of a data set in a folder, chunk by chunk, so that a run can go on.

`manifest.json` says what runs; each finished chunk is one Parquet file, written whole or not at
all. A chunk whose file is there is done.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vene_widgets.errors import RequestError, shown
from vene_widgets.sweeps.pairs.chunks import PairAnswers, PairChunk, PairRow
from vene_widgets.sweeps.pairs.gathering import GatheredAnswers
from vene_widgets.sweeps.pairs.parquet_files import from_parquet, to_parquet
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
        pairs_per_chunk: as in `sweep_pairs`.

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
        pairs_per_chunk: int | None,
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
            if pairs_per_chunk not in (None, *self.sizes.values()):
                raise RequestError(
                    f"the sweep in {shown(str(path), 300)} was begun with {self._said_sizes()} "
                    f"pairs per chunk, not {pairs_per_chunk}: leave pairs_per_chunk out, or choose "
                    "another folder."
                )
            return
        self.sizes = plan.chunk_sizes(pairs_per_chunk)
        manifest = {
            "format": FORMAT,
            "sweep": about,
            "chunks": {f"{base},{source}": size for (base, source), size in self.sizes.items()},
        }
        write_aside(file, json.dumps(manifest, indent=2, ensure_ascii=False).encode())

    def _said_sizes(self) -> str:
        return " and ".join(str(size) for size in sorted(set(self.sizes.values())))

    def has(self, chunk: PairChunk) -> bool:
        """Whether a chunk is done."""
        return self._file(chunk).exists()

    def write(self, chunk: PairChunk, answers: PairAnswers, notes: Mapping[str, str]) -> None:
        """Keep the answers of one chunk.

        Args:
            chunk: the chunk.
            answers: its numbers.
            notes: who ran it, for how long; kept as metadata of the file.
        """
        write_aside(self._file(chunk), to_parquet(self._plan, chunk, answers, notes))

    def read(self, chunks: Sequence[PairChunk], again: Callable[[PairChunk], None]) -> PairAnswers:
        """The answers of some chunks.

        Args:
            chunks: all of them done.
            again: runs a chunk, and writes it, whose file turns out to be damaged.
        """
        found = GatheredAnswers(self._plan, _rows_of(chunks))
        for chunk in chunks:
            try:
                found.put(self._read(chunk))
            except (OSError, ValueError, KeyError) as error:
                warnings.warn(
                    f"{self._file(chunk).name} is damaged ({type(error).__name__}): its "
                    f"{len(chunk.rows)} pairs run again",
                    stacklevel=2,
                )
                again(chunk)
                found.put(self._read(chunk))
        return found.read(chunks)

    def _read(self, chunk: PairChunk) -> PairAnswers:
        return from_parquet(self._plan, chunk, self._file(chunk).read_bytes())

    def _file(self, chunk: PairChunk) -> Path:
        return self.path / f"{chunk.control or 'sweep'}-{chunk.number:06d}.parquet"


def _rows_of(chunks: Sequence[PairChunk]) -> list[PairRow]:
    """The pairs of some chunks, in the order of the data set."""
    return sorted((row for chunk in chunks for row in chunk.rows), key=lambda row: row.pair)


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
