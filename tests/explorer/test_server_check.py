"""A server without the browser's side of widgets is named in words, and only such a one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from vene_widgets.explorer import server_check

ANYWIDGET, IPYWIDGETS = version("anywidget"), version("ipywidgets")


def server(folder: Path, **versions: str) -> Path:
    """A data folder whose labextensions have these versions."""
    names = {"anywidget": "anywidget", "manager": server_check.MANAGER}
    for key, value in versions.items():
        extension = folder / "labextensions" / names[key]
        extension.mkdir(parents=True)
        (extension / "package.json").write_text(json.dumps({"version": value}))
    return folder


@pytest.mark.parametrize(
    ("versions", "words"),
    [
        ({"manager": "5.0.0"}, ["no anywidget", f"pip install anywidget=={ANYWIDGET}"]),
        ({"manager": "5.0.0", "anywidget": "0.1.0"}, ["anywidget 0.1.0", f"has {ANYWIDGET}"]),
        ({"anywidget": ANYWIDGET}, ["no ipywidgets", f"pip install ipywidgets=={IPYWIDGETS}"]),
        ({"anywidget": ANYWIDGET, "manager": "3.1.0"}, ["has ipywidgets 7"]),
    ],
)
def test_a_problem(tmp_path: Path, versions: dict[str, str], words: list[str]) -> None:
    problem = server_check.problem_in([server(tmp_path, **versions)]) or ""
    assert all(word in problem for word in words), problem


def test_no_problem(tmp_path: Path) -> None:
    whole = server(tmp_path / "whole", anywidget=ANYWIDGET, manager="5.0.0")
    assert server_check.problem_in([tmp_path / "none", whole]) is None
    patch = ".".join([*ANYWIDGET.split(".")[:2], "99"])
    other = server(tmp_path / "other", anywidget=patch, manager="5.0.0")
    assert server_check.problem_in([other]) is None


def test_which_parents_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A parent that is no Jupyter server is not blamed; one that is, is read where it runs."""
    if not Path("/proc/self/environ").exists():
        pytest.skip("no /proc")
    code = "import sys; print(flush=True); sys.stdin.read()"
    for name, problem in [("jupyter-lab", True), ("code-server", False), ("nbclassic", False)]:
        environment = {**os.environ, "JUPYTER_PATH": str(server(tmp_path / name, manager="5.0.0"))}
        prefix = tmp_path / f"{name}-prefix" / "bin"
        prefix.mkdir(parents=True)
        with subprocess.Popen(
            [str(prefix / "python"), "-c", code, name],
            executable=sys.executable,
            env={**environment, "HOME": str(tmp_path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            monkeypatch.setenv("JPY_PARENT_PID", str(process.pid))
            assert bool(server_check.server_problem()) is problem, name
            process.communicate()
    monkeypatch.delenv("JPY_PARENT_PID")
    assert server_check.server_problem() is None
