"""Exports: unrounded numbers, and a caption whose claims are the run's."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from explorer_testing import ask

import vene_widgets as vw
from vene_widgets.explorer.export import archive
from vene_widgets.tables.metrics import METRICS

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"
SLOTS = [
    vw.Slot(layer=0, position=3, source="italy", group="g"),
    vw.Slot(layer=2, position=4, source="italy", group="g", skip=True),
]


@pytest.fixture(scope="module")
def explorer(capitals: vw.LanguageModel) -> Iterator[vw.Explorer]:
    opened = vw.explore(BASE, {"italy": SOURCE}, capitals, slots=SLOTS)
    yield opened
    opened.close()


def read(data: bytes, dtype: Any = None) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(data), keep_default_na=False, na_values=[""], dtype=dtype)


@pytest.fixture(scope="module")
def zipped(explorer: vw.Explorer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = explorer.save_figure(tmp_path_factory.mktemp("zipped") / "all.zip")
    with zipfile.ZipFile(path) as packed:
        assert packed.testzip() is None
        return {name.split("/", 1)[1]: packed.read(name) for name in packed.namelist()}


@pytest.mark.parametrize(
    ("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("PDF", b"%PDF")]
)
def test_the_suffix_says_what_is_written(
    explorer: vw.Explorer, tmp_path: Path, suffix: str, start: bytes
) -> None:
    path = explorer.save_figure(tmp_path / f"figure.{suffix}", "token_heatmap", dpi=60)
    assert path.read_bytes().startswith(start)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"path": "a.jpeg"}, r"format '.jpeg'.*'.png', '.svg', '.pdf', '.zip'"),
        ({"path": "noname"}, r"format ''.*'.zip'"),
        ({"path": "a.pdf", "kind": "heatmap"}, "figure 'heatmap'.*'token_heatmap'"),
        ({"path": "a.pdf", "theme": "print"}, "theme 'print'.*'screen', 'dark', 'paper', 'slide'"),
        ({"path": "a.pdf", "metric": "p"}, "metric 'p'.*'log_ratio'"),
    ],
)
def test_refusals_name_what_is_valid_and_write_nothing(
    explorer: vw.Explorer, tmp_path: Path, request_: dict[str, Any], message: str
) -> None:
    with pytest.raises(vw.RequestError, match=message):
        explorer.save_figure(tmp_path / request_.pop("path"), **request_)
    assert list(tmp_path.iterdir()) == []


def test_tables_hold_every_panel_unrounded(explorer: vw.Explorer) -> None:
    tables = explorer.tables()
    assert list(tables) == ["tokens", "difference", "map", "receipts", "verdict"]
    pd.testing.assert_frame_equal(tables["map"], explorer.map_frame)
    tokens = tables["tokens"]
    grouped = tokens[tokens["run"] == "grouped"]
    exact = explorer.run.frame.set_index("token_id")["probability"]
    wanted = exact[grouped["token_id"]].to_numpy()
    assert grouped["probability"].to_numpy() == pytest.approx(wanted, abs=1e-7)
    assert tables["receipts"]["slot"].tolist() == [0, 1]
    assert tables["receipts"]["skipped"].tolist() == [False, True]
    assert tables["verdict"]["max_abs"].tolist() == [explorer.answer["verdicts"][0]["max_abs"]]


def test_csv_gives_every_number_back(explorer: vw.Explorer, tmp_path: Path) -> None:
    paths = explorer.save_tables(tmp_path / "new" / "tables")
    assert [path.stem for path in paths] == list(explorer.tables())
    for path, frame in zip(paths, explorer.tables().values(), strict=True):
        again = read(path.read_bytes(), dtype=str)
        assert list(again) == list(frame)
        for name in frame.select_dtypes("float"):
            assert [float(text) for text in again[name]] == frame[name].tolist()


def test_csv_holds_any_token() -> None:
    odd = ["NA", " ", "\n", '"', ",", "null", " =1+1", "\u202e", "a\r\nb", "🎉"]
    frame = pd.DataFrame({"token_id": range(len(odd)), "token": odd})
    assert read(archive.csv(frame))["token"].tolist() == odd


def test_everything_is_in_the_zip(explorer: vw.Explorer, zipped: dict[str, bytes]) -> None:
    for name in explorer.tables():
        assert len(read(zipped[f"data/{name}.csv"])) == len(explorer.tables()[name])
        if archive.find_spec("pyarrow"):
            stored = pd.read_parquet(io.BytesIO(zipped[f"data/{name}.parquet"]))
            assert list(stored) == list(explorer.tables()[name])
    assert zipped["figure.png"].startswith(b"\x89PNG")
    assert zipped["figure.pdf"].startswith(b"%PDF") and b"<svg" in zipped["figure.svg"]
    assert zipped["code.py"].decode() == explorer.code()
    assert vw.Experiment(**json.loads(zipped["experiment.json"])) == explorer.experiment


@pytest.mark.parametrize(
    "error",
    [
        ImportError("libarrow.so: cannot open shared object file"),
        AttributeError("_ARRAY_API not found"),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    ],
)
def test_a_broken_pyarrow_costs_only_the_parquet_files(
    explorer: vw.Explorer,
    zipped: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(archive, "find_spec", lambda _name: True)
    monkeypatch.setattr(pd.DataFrame, "to_parquet", fail)
    with zipfile.ZipFile(explorer.save_figure(tmp_path / "broken.zip", dpi=60)) as file:
        found = {name.partition("/")[2]: file.read(name) for name in file.namelist()}
    assert str(error) in found.pop("data/parquet.txt").decode()
    assert found.keys() == {name for name in zipped if not name.endswith(".parquet")}


def test_equal_states_give_equal_zips(explorer: vw.Explorer, tmp_path: Path) -> None:
    one, other = (
        explorer.save_figure(tmp_path / name, "difference_panel", dpi=60).read_bytes()
        for name in ("one.zip", "other.zip")
    )
    assert one == other


def test_the_caption_says_how_the_figure_was_made(
    explorer: vw.Explorer, zipped: dict[str, bytes]
) -> None:

    caption = zipped["caption.txt"].decode()
    assert caption.count("\n") == 1 and zipped["caption.tex"].decode().count("\n") == 1
    frame = explorer.tables()["difference"]
    for part in (
        f"Model: capitals (float32, {explorer.model.device.type}).",
        f"base “{BASE}”; italy “{SOURCE}”",
        "slot 0 patch after block 0, position 3, from italy at 3, group g;",
        "slot 1 patch after block 2, position 4, from italy at 4, group g (skipped)",
        "KL(grouped ‖ base) = Σ P after · ln (P after / P before) over the vocabulary",
        f"here {frame.attrs['kl_divergence']:.3g} nats",
        "exact runs",
        explorer.answer["verdicts"][0]["words"],
        f"vene_widgets {vw.__version__}, torch {version('torch')}",
        f"transformers {version('transformers')}, plotnine {version('plotnine')}",
    ):
        assert part in caption
    assert "preview" not in caption


def test_a_map_is_a_preview_and_its_code_sweeps(explorer: vw.Explorer, tmp_path: Path) -> None:
    path = explorer.save_figure(tmp_path / "map.zip", "sweep_map", metric="log_ratio", dpi=60)
    with zipfile.ZipFile(path) as packed:
        held = {name.split("/", 1)[1]: packed.read(name).decode("latin1") for name in
                packed.namelist()}  # fmt: skip
        caption = packed.read(f"{packed.namelist()[0].split('/')[0]}/caption.txt").decode()
    metric = METRICS["log_ratio"]
    assert f"{metric.title} = {metric.formula}, in nats; t is ␣Madrid or ␣Rome." in caption
    assert "batched preview" in caption and "exact" not in caption
    names: dict[str, Any] = {}
    exec(held["code.py"].replace("print(", "str("), names)  # noqa: S102
    columns = ["layer", "position", "target_id", "log_ratio"]
    followed: Any = explorer.map_frame
    pd.testing.assert_frame_equal(
        names["sweep"].frame[columns], followed[columns], rtol=0, atol=1e-4
    )
    assert names["figure"].data["value"].notna().all()


def test_a_map_of_two_tokens_compares_them_as_the_screen_does(
    explorer: vw.Explorer, tmp_path: Path
) -> None:
    metric = "logit_difference"
    shown: Any = explorer.map
    path = explorer.save_figure(tmp_path / "map.zip", "sweep_map", metric=metric, dpi=60)
    with zipfile.ZipFile(path) as packed:
        held = {name.split("/", 1)[1]: packed.read(name) for name in packed.namelist()}
    assert "; t is ␣Rome, u is ␣Madrid." in held["caption.txt"].decode()
    names: dict[str, Any] = {}
    exec(held["code.py"].decode().replace("print(", "str("), names)  # noqa: S102
    figure: Any = explorer.figure("sweep_map", metric=metric)
    for drawn in (names["figure"].data, figure.data):
        assert {*drawn["target_id"]} == {shown["target"]}


def test_latex_has_no_command_of_a_prompt() -> None:
    caption = archive.latex("100\u00a0% of $x_1$ & {a}\\b #~^ ␣Rome\n<|end|>")
    assert caption == (
        r"100~\% of \$x\_1\$ \& \{a\}\textbackslash{}b \#\textasciitilde{}\textasciicircum{} "
        r"\textvisiblespace{}Rome \textless{}\textbar{}end\textbar{}\textgreater{}"
    )


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"component": "mlp_output", "intervention": "zero"}, "Intervention: zero, each tile"),
        (
            {"component": "block_output", "intervention": "mean"},
            "Intervention: mean over 2 prompts, each tile",
        ),
        (
            {"component": "head_value_output", "head": "all", "layer": 2},
            "head value of layer 2 at each head and token position of the base, patched from",
        ),
    ],
)
def test_the_code_of_any_map_gives_its_numbers(
    capitals: vw.LanguageModel, tmp_path: Path, asked: dict[str, Any], says: str
) -> None:
    opened = vw.explore(BASE, SOURCE, capitals)
    try:
        assert ask(opened, kind="sweep", **asked)["ok"]
        path = opened.save_figure(tmp_path / "map.zip", "sweep_map", dpi=60)
        with zipfile.ZipFile(path) as packed:
            held = {Path(name).name: packed.read(name).decode("latin1") for name in
                    packed.namelist()}  # fmt: skip
        assert says in held["caption.txt"]
        names: dict[str, Any] = {}
        exec(held["code.py"].replace("print(", "str("), names)  # noqa: S102
        columns = ["layer", "head", "position", "target_id", "probability"]
        pd.testing.assert_frame_equal(
            names["sweep"].frame[columns], opened.map_frame[columns], rtol=0, atol=1e-4
        )
        # Positions at which no effect is possible share a column.
        drawn = names["figure"].data
        frame = opened.map_frame
        possible = frame["effect_possible"]
        assert len(drawn[~drawn["hatch"]]) == possible.sum()
    finally:
        opened.close()


def test_without_a_source_the_map_zeroes(capitals: vw.LanguageModel, tmp_path: Path) -> None:
    alone = vw.explore(BASE, {}, capitals)
    try:
        text = alone.save_figure(tmp_path / "a.svg", "sweep_map").read_text(encoding="utf-8")
        assert "<svg" in text
        assert len(alone.tables()["map"]) == 2 * 6 * 5
        assert list(alone.tables()["map"]) == list(vw.frames.FRAMES["sweep_frame"])
        assert alone.save_figure(tmp_path / "a.zip", dpi=60).stat().st_size > 1000
    finally:
        alone.close()


# ---- from the screen ----------------------------------------------------------------------------


class Wire:
    """The messages that the browser would receive, by request."""

    def __init__(self, explorer: vw.Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.replies: dict[str, tuple[dict[str, Any], list[bytes] | None]] = {}
        self._came = threading.Condition()
        self._explorer = explorer
        monkeypatch.setattr(explorer, "send", self._send)

    def _send(self, content: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        with self._came:
            self.replies[content["id"]] = (content, buffers)
            self._came.notify_all()

    def ask(self, name: str, **fields: Any) -> tuple[dict[str, Any], list[bytes] | None]:
        self._explorer.receive({"id": name, "kind": "take", **fields})
        with self._came:
            assert self._came.wait_for(lambda: name in self.replies, 60)
        return self.replies[name]


def test_a_file_travels_as_the_buffer_of_its_reply(
    explorer: vw.Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = Wire(explorer, monkeypatch)
    for kind, start in (("pdf", b"%PDF"), ("svg", b"<?xml"), ("zip", b"PK"), ("png", b"\x89PNG")):
        content, buffers = wire.ask(kind, figure="difference_panel", format=kind, dpi=60)
        assert content["ok"] and content["file"].endswith(f".{kind}"), content
        assert buffers is not None and len(buffers) == 1 and buffers[0].startswith(start)


def test_a_file_that_cannot_be_made_is_refused_with_its_reason(
    explorer: vw.Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = Wire(explorer, monkeypatch)
    for name, fields in {
        "format": {"figure": "result", "format": "jpeg"},
        "kind": {"figure": "map", "format": "pdf"},
        "dpi": {"figure": "result", "format": "png", "dpi": 100_000},
    }.items():
        content, buffers = wire.ask(name, **fields)
        assert not content["ok"] and content["error"] and buffers is None


def test_a_file_waits_for_the_running_answer(
    explorer: vw.Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = Wire(explorer, monkeypatch)
    before = explorer.experiment
    explorer.experiment = before.replace(slots=before.slots[:1])
    content, buffers = wire.ask("after", figure="token_heatmap", format="zip", dpi=60)
    assert content["ok"] and buffers
    packed = zipfile.ZipFile(io.BytesIO(buffers[0]))
    [name] = [name for name in packed.namelist() if name.endswith("experiment.json")]
    assert vw.Experiment(**json.loads(packed.read(name))) == explorer.experiment
    explorer.experiment = before
    explorer.wait()


def test_without_a_slot_the_first_source_is_compared_by_its_own_name(
    capitals: vw.LanguageModel,
) -> None:
    two = vw.explore(BASE, {"italy": SOURCE, "france": "The capital of France is"}, capitals)
    try:
        italy, base = (two.runs[name].logits[-1] for name in ("italy", "base"))
        frame = two.tables()["difference"]
        assert frame.attrs["kl_divergence"] == pytest.approx(
            vw.frames.kl_divergence(base, italy), abs=1e-4
        )
        subtitle = two.figure("difference_panel").labels.subtitle
        assert subtitle is not None and "● italy" in subtitle.replace("\u00a0", " ")
    finally:
        two.close()
