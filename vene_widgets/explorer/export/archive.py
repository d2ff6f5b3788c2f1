"""The ZIP of a figure: all formats, its data, its code and its caption."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from vene_widgets.codegen.script import script
from vene_widgets.codegen.sweep_code import sweep_lines
from vene_widgets.errors import RequestError, choose
from vene_widgets.explorer.export.caption import caption, latex
from vene_widgets.explorer.export.panel_tables import csv, panel_tables, parquet
from vene_widgets.explorer.painter.drawing import figure_of
from vene_widgets.tables.metrics import METRICS

if TYPE_CHECKING:
    from vene_widgets.explorer.export.snapshot import Snapshot
    from vene_widgets.explorer.painter.orders import FigureOrder

SUFFIXES = (".png", ".svg", ".pdf", ".zip")
"""Formats of `save_figure`."""


def suffix_of(path: Path) -> str:
    """The format that a file's name stands for, without its dot.

    Raises:
        RequestError: not one of `SUFFIXES`.
    """
    return choose(path.suffix.lower(), SUFFIXES, "format")[1:]


def file_order(snapshot: Snapshot, suffix: str, dpi: float) -> FigureOrder:
    """The order for the drawings that a file of this format needs."""
    formats = ("png", "svg", "pdf") if suffix == "zip" else (suffix,)
    key = f"{snapshot.order.key} {suffix} {dpi}"  # distinct from the key of the screen's picture
    return replace(snapshot.order, key=key, formats=formats, dpi=dpi)


def file_bytes(snapshot: Snapshot, suffix: str, files: Mapping[str, bytes]) -> bytes:
    """The exported file's bytes, from the drawings made for it, by format."""
    return build_zip(snapshot, files) if suffix == "zip" else files[suffix]


def build_zip(snapshot: Snapshot, files: Mapping[str, bytes]) -> bytes:
    """Pack a figure in several formats with its data, code and caption.

    Equal snapshots and drawings give equal bytes.
    """
    text = caption(snapshot)
    contents: dict[str, bytes] = {
        **{f"figure.{name}": data for name, data in files.items()},
        "caption.txt": f"{text}\n".encode(),
        "caption.tex": f"\\caption{{{latex(text)}}}\n".encode(),
        "experiment.json": f"{snapshot.result.experiment.model_dump_json(indent=1)}\n".encode(),
    }
    try:
        contents["code.py"] = code(snapshot).encode()
    except RequestError as error:
        contents["code.txt"] = f"There is no code for this experiment: {error}\n".encode()
    frames = panel_tables(snapshot)
    contents |= {f"data/{name}.csv": csv(frame) for name, frame in frames.items()}
    if find_spec("pyarrow"):
        try:
            contents |= {f"data/{name}.parquet": parquet(frame) for name, frame in frames.items()}
        # The CSV files hold everything: whatever a broken or old pyarrow raises costs nothing else.
        except Exception as error:
            reason = f"Parquet files are left out, pyarrow failed: {error}\n"
            contents["data/parquet.txt"] = reason.encode("utf-8", "backslashreplace")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in contents.items():
            # ZipInfo's default time is 1980, so that equal contents give equal archives.
            entry = zipfile.ZipInfo(f"{snapshot.name}/{name}")
            entry.external_attr = 0o644 << 16
            is_compressed = name.endswith((".png", ".pdf", ".parquet"))
            method = zipfile.ZIP_STORED if is_compressed else zipfile.ZIP_DEFLATED
            archive.writestr(entry, data, method)
    return file.getvalue()


def _targets(snapshot: Snapshot, drawn: str) -> list[int] | None:
    """Ids of the map's tokens, the one that is drawn or compared first; None if any order does."""
    if drawn != "head_map" and not METRICS[snapshot.order.options["metric"]].of_pair:
        return None
    return [*map(int, snapshot.order.frames["sweep_map"]["target_id"].unique())]


def code(snapshot: Snapshot) -> str:
    """The script that reproduces the result, and for a map the sweep too."""
    text = script(snapshot.model, snapshot.plan)
    if snapshot.order.kind != "sweep_map":
        return text
    metric = snapshot.order.options["metric"]
    drawn = figure_of("sweep_map", snapshot.frames["sweep_map"])
    figure = f"figure = vw.figures.{drawn}(sweep.frame, metric={metric!r})"
    lines = [*sweep_lines(snapshot.sweep, _targets(snapshot, drawn)), figure]
    return "\n".join([text, *lines, ""])
