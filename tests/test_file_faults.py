"""Files under faults: whole or not at all, never a formula, and the notices of what they carry."""

from __future__ import annotations

import csv as csv_module
import errno
import io
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import vene_widgets as vw
from vene_widgets import demo
from vene_widgets.errors import RequestError
from vene_widgets.explorer.export import panel_tables
from vene_widgets.explorer.export.static_files import built
from vene_widgets.figures import files as figure_files
from vene_widgets.tables.files import write_all_aside, write_aside

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"


def refuse(error: BaseException) -> Callable[..., Any]:
    def raises(*_arguments: object, **_named: object) -> Any:
        raise error

    return raises


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
FAULTS = {"flush": "fsync", "rename": "replace"}


@pytest.fixture(params=sorted(FAULTS))
def full_disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full when data are flushed, or when the file is renamed."""
    monkeypatch.setattr(os, FAULTS[request.param], refuse(FULL))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


# ---- write_aside --------------------------------------------------------------------------------


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "new.bin"
    data = bytes(range(256)) * 1000
    assert write_aside(path, data) == path and path.read_bytes() == data
    assert write_aside(str(path), b"") == path and path.read_bytes() == b""
    assert names(tmp_path) == ["new.bin"]


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "old.bin"
    path.write_bytes(b"old")
    with pytest.raises(RequestError) as caught:
        write_aside(path, b"new")
    assert str(caught.value) == f"the file {str(path)!r} cannot be written: {FULL.strerror}."
    assert path.read_bytes() == b"old" and names(tmp_path) == ["old.bin"]
    with pytest.raises(RequestError, match="cannot be written"):
        write_aside(tmp_path / "new.bin", b"new")
    assert names(tmp_path) == ["old.bin"]


def test_a_disk_that_fills_while_data_are_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.FileIO):
        def write(self, data: Any, /) -> int:
            super().write(bytes(data)[:3])
            raise FULL

    monkeypatch.setattr(Path, "open", lambda path, mode: Full(path, mode.replace("b", "")))
    with pytest.raises(RequestError, match="No space left"):
        write_aside(tmp_path / "torso.bin", b"a long text")
    assert names(tmp_path) == []


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", refuse(KeyboardInterrupt()))
    path = tmp_path / "old.bin"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_aside(path, b"new")
    assert path.read_bytes() == b"old" and names(tmp_path) == ["old.bin"]


def test_a_file_system_that_cannot_flush_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", refuse(OSError(errno.EINVAL, "Invalid argument")))
    assert write_aside(tmp_path / "a", b"data").read_bytes() == b"data"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("missing/a.csv", "No such file or directory"),
        ("file/a.csv", "Not a directory"),
        ("folder", "Is a directory"),
        ("n\0l", "embedded null"),
        ("x" * 300, "File name too long"),
    ],
)
def test_a_path_that_cannot_be_written_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("a file")
    Path("folder").mkdir()
    with pytest.raises(RequestError, match=f"cannot be written: {reason}") as caught:
        write_aside(path, b"data")
    assert repr(path) in str(caught.value) or "xxx" in str(caught.value)
    assert "\n" not in str(caught.value) and names(tmp_path) == ["file", "folder"]


def test_several_files_are_replaced_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / name for name in ("one", "two", "three")]
    write_all_aside(dict.fromkeys(paths, b"old"))
    flushes = iter([None, None, FULL])

    def fill_up(_file: int) -> None:
        if error := next(flushes):
            raise error

    monkeypatch.setattr(os, "fsync", fill_up)
    with pytest.raises(RequestError, match="three' cannot be written"):
        write_all_aside(dict.fromkeys(paths, b"new"))
    assert [path.read_bytes() for path in paths] == [b"old"] * 3
    assert names(tmp_path) == ["one", "three", "two"]


def test_permissions_and_links_stay(tmp_path: Path) -> None:
    plain, link = tmp_path / "plain", tmp_path / "link"
    before = os.umask(0o027)
    try:
        write_aside(plain, b"old")
    finally:
        os.umask(before)
    assert stat.S_IMODE(plain.stat().st_mode) == 0o640  # as of any new file
    plain.chmod(0o604)
    link.symlink_to(plain)
    write_aside(link, b"new")
    assert link.is_symlink() and plain.read_bytes() == b"new"
    assert stat.S_IMODE(plain.stat().st_mode) == 0o604


def test_a_read_only_file_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine"
    path.write_bytes(b"old")
    path.chmod(0o444)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anything
    with pytest.raises(RequestError, match="Permission denied"):
        write_aside(path, b"new")
    assert path.read_bytes() == b"old"


def test_a_device_is_written_and_stays_a_device(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_aside(pipe, b"data")
        assert os.read(reader, 10) == b"data" and stat.S_ISFIFO(pipe.stat().st_mode)
    finally:
        os.close(reader)


# ---- every file of the package ------------------------------------------------------------------


@pytest.fixture(scope="module")
def explorer(capitals: vw.LanguageModel) -> Iterator[vw.Explorer]:
    slots = [vw.Slot(layer=0, position=3, source="italy")]
    opened = vw.explore(BASE, {"italy": SOURCE}, capitals, slots=slots)
    opened.wait()
    yield opened
    opened.close()


def save_page(explorer: vw.Explorer, path: Path) -> object:
    return explorer.to_html(path)


def save_figure(explorer: vw.Explorer, path: Path) -> object:
    return explorer.save_figure(path, "difference_panel", dpi=40)


def save_tables(explorer: vw.Explorer, path: Path) -> object:
    return explorer.save_tables(path.parent)


def save_plot(explorer: vw.Explorer, path: Path) -> object:
    return figure_files.save(explorer.figure("difference_panel"), path, dpi=40)


WRITERS = [
    (save_page, "page.html"),
    (save_figure, "figure.png"),
    (save_figure, "figure.zip"),
    (save_tables, "tokens.csv"),
    (save_tables, "verdict.csv"),
    (save_plot, "plot.pdf"),
]


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize(
    ("write", "name"), WRITERS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_full_disk_harms_no_file(
    explorer: vw.Explorer,
    tmp_path: Path,
    write: Callable[[vw.Explorer, Path], object],
    name: str,
) -> None:
    path = tmp_path / name
    path.write_bytes(b"the old file")
    with pytest.raises(RequestError, match=r"csv|page|figure|plot") as caught:
        write(explorer, path)
    assert str(caught.value).endswith(f"cannot be written: {FULL.strerror}.")
    assert path.read_bytes() == b"the old file" and names(tmp_path) == [name]


def test_tables_that_cannot_be_written_leave_no_new_folder(
    explorer: vw.Explorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", refuse(FULL))
    with pytest.raises(RequestError, match="No space left"):
        explorer.save_tables(tmp_path / "tables")
    assert names(tmp_path) == []
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RequestError, match=r"the folder '.*file' cannot be created: "):
        explorer.save_tables(tmp_path / "file")


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_leaves_no_part_of_the_first_notebook(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RequestError, match=r"cannot be written: .* Name another folder: vene-"):
        demo.place_notebooks(tmp_path)
    assert names(tmp_path) == []


# ---- CSV and spreadsheets -----------------------------------------------------------------------

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "'=1", "''-", "-", "="]
PLAIN = ["a=1", " =1", "'", "'tis", "1-1", "", "−1", "␣-"]


def test_no_text_of_a_csv_is_a_formula() -> None:
    frame = pd.DataFrame(
        {
            "token": [*FORMULAS, *PLAIN],
            "run": pd.Categorical([*FORMULAS, *PLAIN]),
            "delta": [-0.25] * len([*FORMULAS, *PLAIN]),
            "rank": pd.array([-1] * len([*FORMULAS, *PLAIN]), dtype="Int64"),
        }
    )
    before = frame.copy()
    text = panel_tables.csv(frame).decode()
    pd.testing.assert_frame_equal(frame, before)
    rows = list(csv_module.DictReader(io.StringIO(text, newline="")))
    assert [row["token"] for row in rows] == [*(f"'{text}" for text in FORMULAS), *PLAIN]
    assert [row["run"] for row in rows] == [row["token"] for row in rows]
    assert {row["delta"] for row in rows} == {"-0.25"} and {row["rank"] for row in rows} == {"-1"}
    # One apostrophe less gives every text back, also those that had some.
    back = [re.sub(r"^'(?='*[\t\r\n]*[=+\-@＝])", "", row["token"]) for row in rows]
    assert back == [*FORMULAS, *PLAIN]


def test_the_name_of_a_run_is_no_formula(capitals: vw.LanguageModel, tmp_path: Path) -> None:
    opened = vw.explore(BASE, {"=HYPERLINK(1)": SOURCE}, capitals)
    try:
        opened.save_tables(tmp_path)
        with zipfile.ZipFile(opened.save_figure(tmp_path / "a.zip", dpi=40)) as packed:
            [name] = [name for name in packed.namelist() if name.endswith("data/tokens.csv")]
            assert packed.read(name) == (tmp_path / "tokens.csv").read_bytes()
    finally:
        opened.close()
    text = (tmp_path / "tokens.csv").read_text("utf-8")
    assert '"\'=HYPERLINK(1)"' in text and '"=' not in text and ",=" not in text


def test_any_token_has_one_cell_of_a_csv() -> None:
    odd = [
        "\r",
        "\n",
        "\r\n",
        "a\rb",
        '"',
        '""',
        ",",
        ";",
        "\t",
        "\u2028",
        "NA",
        "",
        "1",
        "'",
    ]
    frame = pd.DataFrame({"token": odd, "number": range(len(odd))})
    data = panel_tables.csv(frame)
    again = pd.read_csv(io.BytesIO(data), keep_default_na=False, dtype={"token": str})
    assert again["token"].tolist() == odd and again["number"].tolist() == list(range(len(odd)))
    # Some versions of pandas, and Python 3.10, cannot read this one.
    assert panel_tables.csv(pd.DataFrame({"token": ["\0"]})) == b'"token"\n"\0"\n'


# ---- notices of bundled JavaScript --------------------------------------------------------------


NOTICES = [
    "preact",
    "@preact/signals",
    "@preact/signals-core",
    "Copyright (c) 2015-present Jason Miller",
    "Copyright (c) 2022-present Preact Team",
]
PERMISSION = "The above copyright notice and this permission notice shall be included in all"


@pytest.mark.parametrize("name", ["THIRD_PARTY_LICENSES.txt", "page.js", "explorer.js"])
def test_the_bundle_carries_the_notices_of_what_it_contains(name: str) -> None:
    text = built(name)
    for part in [*NOTICES, PERMISSION, 'THE SOFTWARE IS PROVIDED "AS IS"']:
        assert part in text


def test_the_widget_is_plain_code_that_a_reviewer_can_read() -> None:
    text = built("explorer.js")
    assert len(text.encode()) <= 220_000
    # Its sentences stand in it as they are, and it makes no code at run time.
    assert "Click a tile" in text
    for part in ("atob(", "DecompressionStream", "import(", "eval(", "new Function"):
        assert part not in text


def test_a_saved_page_carries_the_notices(explorer: vw.Explorer, tmp_path: Path) -> None:
    text = explorer.to_html(tmp_path / "page.html").read_text("utf-8")
    for part in [*NOTICES, PERMISSION]:
        assert part in text


def test_the_wheel_and_the_sdist_carry_the_notices() -> None:
    project = Path(vw.__file__).parents[1] / "pyproject.toml"
    if not project.exists():
        pytest.skip("not a checkout")
    text = project.read_text("utf-8")
    assert 'artifacts = ["vene_widgets/static/*"]' in text
    for key in ("ensured-targets", "skip-if-exists"):
        [line] = [part for part in text.split("\n\n") if f"{key} = [" in part]
        found = re.search(rf"{key} = \[([^\]]*)\]", line)
        assert found is not None and "vene_widgets/static/THIRD_PARTY_LICENSES.txt" in found[1]
