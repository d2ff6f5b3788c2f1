"""Does the notebook's server have the browser's side of widgets? Read from the kernel's side.

The server can run in another environment than the kernel. The browser loads anywidget's and
ipywidgets' modules from the server's environment: without them, or if their versions do not match
the kernel's packages, it shows "Error displaying widget" in place of the explorer.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

MANAGER = "@jupyter-widgets/jupyterlab-manager"
FIRST_MANAGER = 4
"""Its first major version that shows widgets of ipywidgets 8."""

SERVERS = re.compile(r"jupyter(hub-singleuser|-?lab|-notebook)?\b")


def server_problem() -> str | None:
    """What the explorer lacks in the server that started this kernel, and what to install there.

    None if nothing is missing, and also if the server cannot be read: it runs on another machine or
    for another user, is no Jupyter server, or the system has no `/proc`.
    """
    try:
        folders = server_folders(int(os.environ["JPY_PARENT_PID"]))
        return None if folders is None else problem_in(folders)
    except (KeyError, ValueError, OSError):
        return None


def server_folders(process: int) -> list[Path] | None:
    """Where the server that is this process looks for extensions; None if it is no Jupyter server.

    Raises:
        OSError: the process cannot be read.
    """
    about = Path(f"/proc/{process}")
    command = (about / "cmdline").read_bytes().decode(errors="replace").split("\0")
    if any("nbclassic" in word for word in command):  # has extensions of another kind
        return None
    if not any(SERVERS.search(Path(word).name) for word in command[:4]):
        return None
    python = Path(command[0])
    if not python.is_absolute():
        return None
    pairs = (about / "environ").read_bytes().decode(errors="replace").split("\0")
    environment = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    return _data_folders(python.parent.parent, environment)


def problem_in(folders: Sequence[Path]) -> str | None:
    """The same as `server_problem`, of a server that looks for extensions in these folders."""
    kernel = version("anywidget")
    found = _extension(folders, "anywidget")
    if found is None:
        return (
            "The notebook's server has no anywidget, so the browser cannot show the explorer. "
            f"In the server's environment run: pip install anywidget=={kernel} - then restart the "
            "server and reload the page."
        )
    if found.split(".")[:2] != kernel.split(".")[:2]:
        return (
            f"The notebook's server has anywidget {found}, the kernel has {kernel}: unless their "
            "first two numbers are equal, the browser cannot show the explorer. In the server's "
            f"environment run: pip install anywidget=={kernel} - then restart the server and "
            "reload the page."
        )
    widgets = version("ipywidgets")
    manager = _extension(folders, MANAGER)
    is_old = manager is not None and int(manager.split(".")[0]) < FIRST_MANAGER
    if manager is None or (is_old and int(widgets.split(".")[0]) >= 8):
        has = "no ipywidgets" if manager is None else "ipywidgets 7"
        return (
            f"The notebook's server has {has}, the kernel has ipywidgets {widgets}, so the browser "
            "cannot show the explorer. In the server's environment run: "
            f"pip install ipywidgets=={widgets} - then restart the server and reload the page."
        )
    return None


def _data_folders(prefix: Path, environment: Mapping[str, str]) -> list[Path]:
    """Jupyter's data folders of an environment, as `jupyter --paths` lists them there."""
    home = Path(environment.get("HOME", "/nonexistent"))
    own = environment.get("JUPYTER_DATA_DIR", str(home / ".local/share/jupyter"))
    return [
        *map(Path, filter(None, environment.get("JUPYTER_PATH", "").split(os.pathsep))),
        Path(own),
        home / ".local/share/jupyter",
        prefix / "share/jupyter",
        Path("/usr/local/share/jupyter"),
        Path("/usr/share/jupyter"),
    ]


def _extension(folders: Sequence[Path], name: str) -> str | None:
    """The version of an extension of JupyterLab, from the first folder that has it."""
    for folder in folders:
        package = folder / "labextensions" / name / "package.json"
        if package.is_file():
            return str(json.loads(package.read_text(encoding="utf-8"))["version"])
    return None
