"""The demo: copies of the notebooks in a folder, and a JupyterLab server that shows them."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
import types
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from vene_widgets.errors import RequestError
from vene_widgets.tables.files import write_aside

FIRST = "01_first_look.ipynb"
"""The notebook that JupyterLab opens."""

LOG = ".jupyterlab.log"
"""The server's log, in the folder of the notebooks."""

TAIL = 20
"""Lines of the log that are printed if the server fails."""

STOP_SECONDS = 10
"""How long the server may take to stop its kernels before it is killed."""


def packaged_notebooks() -> list[Path]:
    """The notebooks, in order: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    found = sorted((package / "notebooks").glob("*.ipynb"))
    return found or sorted((package.parent / "notebooks").glob("*.ipynb"))


def place_notebooks(folder: Path | None) -> Path:
    """Copy the notebooks to a folder in which the user can edit them; print what is copied.

    Existing copies may have the user's edits, so they are never replaced.

    Args:
        folder: the folder, created if missing; None creates `vene-demo`, `vene-demo-2`, ... in the
            current one.

    Returns:
        The folder's absolute path.

    Raises:
        RequestError: the folder is not writable; no partly written file is left then.
    """
    try:
        if folder is None:
            folder = _new_folder(Path.cwd() / "vene-demo")
        folder.mkdir(parents=True, exist_ok=True)
        folder = folder.resolve()
        missing = [path for path in packaged_notebooks() if not (folder / path.name).exists()]
        contents = {folder / path.name: path.read_bytes() for path in missing}
    except OSError as error:
        raise RequestError(
            f"folder {error.filename or folder} cannot be used ({error.strerror}); "
            "name another: vene-widgets demo --folder FOLDER"
        ) from None
    if contents:
        count = "1 notebook" if len(contents) == 1 else f"{len(contents)} notebooks"
        print(f"Copying {count} to {folder}", flush=True)
    else:
        print(f"Opening your notebooks in {folder}", flush=True)
    try:
        for copy, content in contents.items():
            write_aside(copy, content)
    except RequestError as error:
        raise RequestError(
            f"{error} Name another folder: vene-widgets demo --folder FOLDER"
        ) from None
    return folder


def lab_command(folder: Path, *, browser: bool = True, port: int | None = None) -> list[str]:
    """The command that opens a folder's first notebook in JupyterLab with this Python.

    Args:
        folder: absolute path; JupyterLab's root folder.
        browser: whether to open a browser.
        port: port of the server; None leaves the choice to JupyterLab.
    """
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--ServerApp.root_dir={folder}",
        f"--LabApp.default_url=/lab/tree/{FIRST}",
    ]
    if not browser:
        command.append("--no-browser")
    if port is not None:
        command.append(f"--port={port}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # the server refuses to run as root otherwise
    return command


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


def serve(command: list[str], folder: Path) -> int:
    """Run JupyterLab until it ends or this process is interrupted; print its address once.

    Its log goes to the file `LOG` in `folder`. If it fails, the end of the log goes to stderr.

    Returns:
        The exit code: 0 if the server was stopped, by Ctrl-C too; otherwise the server's.
    """
    log = folder / LOG
    print("Starting JupyterLab", flush=True)
    with _create_private(log) as output:
        server = subprocess.Popen(  # noqa: S603
            command,
            cwd=folder,  # `-m` imports from here: a user's file may share a module's name
            env=lab_environment(),
            stdin=subprocess.DEVNULL,  # on Ctrl-C it would ask there whether to stop
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches this process only, which stops the server
        )
    try:
        with _signals_interrupt():
            address = _await_address(server)
            if address is not None:
                print(f"Open {address} (Ctrl-C stops the server)", flush=True)
            code = server.wait()
    except KeyboardInterrupt:
        code = 0
    finally:
        _stop(server)
    if code:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:]
        print("\n".join(tail), file=sys.stderr)
        print(f"vene-widgets: JupyterLab failed; its log is {log}", file=sys.stderr)
    return code


def _create_private(path: Path) -> BinaryIO:
    """Create a file that only this user can read: the server writes its token to its log."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _await_address(server: subprocess.Popen[bytes]) -> str | None:
    """Address of the first notebook, once the server answers; None if it ends before that."""
    from jupyter_core.paths import jupyter_runtime_dir

    # The server writes its address and its token to this file when it starts.
    file = Path(jupyter_runtime_dir()) / f"jpserver-{server.pid}.json"
    while server.poll() is None:
        try:
            info = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # not yet there, or not yet complete
            info = None
        if info is not None and _answers(f"{info['url']}api"):
            token = f"?token={info['token']}" if info.get("token") else ""
            return f"{info['url']}lab/tree/{FIRST}{token}"
        time.sleep(0.1)
    return None


def _answers(url: str) -> bool:
    """Whether a server answers, with a status of any kind."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        direct.open(url, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError as error:
        return isinstance(error.reason, ssl.SSLError)  # a certificate that the user made
    except OSError:
        return False
    return True


@contextmanager
def _signals_interrupt() -> Generator[None]:
    """Treat a request to end this process, and a closed terminal, like Ctrl-C."""

    def interrupt(_signal: int, _frame: types.FrameType | None) -> None:
        raise KeyboardInterrupt

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), interrupt) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server, which ends its kernels."""
    if server.poll() is None:
        server.terminate()
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


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
