"""The figure process, started as `python -m vene_widgets.explorer.painter.child`."""

from __future__ import annotations

import gc
import importlib
import sys

from vene_widgets.explorer.painter.drawing import draw
from vene_widgets.explorer.painter.pipe import receive, send


def serve() -> None:
    """Draw the orders from stdin until the parent closes it, and write drawings to stdout.

    A drawing that fails is answered with its reason, as text.
    """
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # a stray print would corrupt the pipe
    importlib.import_module("vene_widgets.figures")  # slow: before the first order, not during it

    # Imported modules are never garbage, and traversing them takes longer than drawing a figure.
    # So they are frozen, and collection waits until an answer is sent.
    gc.collect()
    gc.freeze()
    gc.disable()
    while True:
        try:
            order = receive(stdin)
        except EOFError:
            return
        try:
            answer: object = draw(order)
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        send(stdout, answer)
        gc.collect()  # figures are full of reference cycles; no client waits for this


if __name__ == "__main__":
    serve()
