"""Every panel's numbers as DataFrames and files, unrounded."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, cast

from vene_widgets.engine.slot_reports import RECEIPT_COLUMNS, planned_row
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire import views
from vene_widgets.explorer.wire.slot_outcomes import receipts
from vene_widgets.tables.columns import FRAMES

if TYPE_CHECKING:
    import pandas as pd

    from vene_widgets.engine.planning import PlannedSlot
    from vene_widgets.explorer.export.snapshot import Snapshot

OUTCOME_COLUMNS = (*RECEIPT_COLUMNS, "reason", "words")
"""Columns of the table `receipts`."""


def panel_tables(snapshot: Snapshot) -> dict[str, pd.DataFrame]:
    """Build the frames `tokens`, `difference`, `map`, `receipts` and `verdict`, unrounded.

    An empty panel's frame has its columns and no rows.
    """
    import pandas as pd

    by_figure = snapshot.frames
    empty = pd.DataFrame(columns=list(FRAMES["sweep_frame"]))
    infos = receipts(snapshot.result, snapshot.plan)
    rows = [
        _receipt_row(planned, info)
        for planned, info in zip(snapshot.plan.slots, infos, strict=True)
    ]
    verdicts = [verdict.model_dump() for verdict in views.verdicts(snapshot.result)]
    return {
        "tokens": by_figure["token_heatmap"],
        "difference": by_figure["difference_panel"],
        "map": by_figure["sweep_map"] if len(by_figure["sweep_map"]) else empty,
        "receipts": pd.DataFrame(rows, columns=list(OUTCOME_COLUMNS)),
        "verdict": pd.DataFrame(verdicts, columns=list(wire.Verdict.model_fields)),
    }


def _receipt_row(planned: PlannedSlot, info: wire.ReceiptInfo) -> dict[str, object]:
    """One row of `receipts`: what a slot was meant to do, and what it did."""
    # Lists throughout, as in the columns that come from the wire.
    request = {
        name: list(cast("tuple[object, ...]", value)) if isinstance(value, tuple) else value
        for name, value in planned_row(planned).items()
    }
    return {**request, **info.model_dump(exclude={"index", "idle"})}


def save_tables(snapshot: Snapshot, folder: Path) -> list[Path]:
    """Write every table as CSV into a folder, which is created if it does not exist.

    Returns:
        The files' paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for name, frame in panel_tables(snapshot).items():
        path = folder / f"{name}.csv"
        path.write_bytes(csv(frame))
        paths.append(path)
    return paths


def csv(frame: pd.DataFrame) -> bytes:
    """A frame as CSV in UTF-8: numbers with all their digits, texts unchanged.

    Read it with `pandas.read_csv(path, keep_default_na=False, na_values=[""])`: by default pandas
    reads a token such as `NA` as missing.
    """
    text = frame.to_csv(index=False, lineterminator="\n")
    # A text may hold lone surrogates, which UTF-8 cannot encode.
    return text.encode("utf-8", "backslashreplace")


def parquet(frame: pd.DataFrame) -> bytes:
    """A frame as Parquet, without its `attrs`; requires pyarrow."""
    file = io.BytesIO()
    bare = frame.copy()
    bare.attrs = {}
    bare.to_parquet(file, engine="pyarrow", index=False)
    return file.getvalue()
