"""Every panel's numbers as DataFrames and files, unrounded."""

from __future__ import annotations

import contextlib
import io
import re
from csv import QUOTE_NONNUMERIC
from pathlib import Path
from typing import TYPE_CHECKING, cast

from vene_widgets.engine.slot_reports import RECEIPT_COLUMNS, planned_row
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire import views
from vene_widgets.explorer.wire.slot_outcomes import receipts
from vene_widgets.tables.columns import FRAMES
from vene_widgets.tables.files import make_folder, write_all_aside

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

    Raises:
        RequestError: the folder or a file cannot be written; existing files are then as before.
    """
    tables = panel_tables(snapshot)
    contents = {folder / f"{name}.csv": csv(frame) for name, frame in tables.items()}
    is_new = make_folder(folder)
    try:
        write_all_aside(contents)
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    return list(contents)


_FORMULA = re.compile(r"'*[\t\r\n]*[=+\-@＝＋－＠]")
"""How a text begins that a spreadsheet runs as a formula, or that is marked as below."""


def csv(frame: pd.DataFrame) -> bytes:
    """A frame as CSV in UTF-8: numbers with all their digits, texts as they are but for formulas.

    Spreadsheets run a cell that begins with `=`, `+`, `-` or `@`, and tokens and prompts may be
    anybody's. Such a text gets an apostrophe in front (OWASP, "CSV Injection"), also behind tabs
    and line breaks, full-width, or if it has apostrophes already: dropping one apostrophe gives the
    text back. The Parquet files of an archive hold all texts unchanged.

    Read it with `pandas.read_csv(path, keep_default_na=False, na_values=[""])`: by default pandas
    reads a token such as `NA` as missing.
    """
    safe = frame.copy()
    for name in safe.select_dtypes(exclude=["number", "bool"]):
        safe[name] = safe[name].map(_inert)
    # Every text is quoted: a lone carriage return, which is a token, would end its row otherwise.
    text = safe.to_csv(index=False, lineterminator="\n", quoting=QUOTE_NONNUMERIC)
    # A text may hold lone surrogates, which UTF-8 cannot encode.
    return text.encode("utf-8", "backslashreplace")


def _inert(value: object) -> object:
    """A text that no spreadsheet runs; any other value unchanged."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def parquet(frame: pd.DataFrame) -> bytes:
    """A frame as Parquet, without its `attrs`; requires pyarrow."""
    file = io.BytesIO()
    bare = frame.copy()
    bare.attrs = {}
    bare.to_parquet(file, engine="pyarrow", index=False)
    return file.getvalue()
