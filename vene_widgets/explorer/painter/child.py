"""The figure process, started as `python -m vene_widgets.explorer.painter.child MARKER`."""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import sys
import threading
from queue import SimpleQueue
from typing import IO

from vene_widgets.errors import error_text
from vene_widgets.explorer.painter import pipe
from vene_widgets.explorer.painter.drawing import draw


def serve(marker: bytes) -> None:
    """Draw the orders of the parent and send back the drawings, until the parent ends.

    First come the marker, then one message: None when everything is imported, or the reason for
    the failure as text. A drawing that fails is answered with its reason as well.

    Args:
        marker: random bytes. The parent drops what was printed before them.
    """
    incoming, answers = _private_streams()
    answers.write(marker)
    orders: SimpleQueue[bytes] = SimpleQueue()
    # On a thread, so that the end of the parent is noticed during a drawing, even a hung one.
    threading.Thread(target=_read_orders, args=(incoming, orders), daemon=True).start()
    try:
        figures = importlib.import_module("vene_widgets.figures")
        for name in figures.__all__:  # imports plotnine, which is slow: before the first order
            getattr(figures, name)
    except BaseException as error:
        pipe.send(answers, error_text(error))
        return
    pipe.send(answers, None)

    # Imported modules are never garbage, and traversing them takes longer than drawing a figure.
    # So they are frozen, and collection waits until an answer is sent.
    gc.collect()
    gc.freeze()
    gc.disable()
    while True:
        pipe.send(answers, _answer(orders.get()))
        gc.collect()  # figures are full of reference cycles; no client waits for this


def _private_streams() -> tuple[IO[bytes], IO[bytes]]:
    """The streams from and to the parent, under new descriptors that no other code knows.

    Descriptor 1 then leads to stderr, so that prints, also those of C libraries and of child
    processes, cannot corrupt the answers; descriptor 0 leads to an empty file.
    """
    incoming, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    return incoming, answers


def _read_orders(stream: IO[bytes], orders: SimpleQueue[bytes]) -> None:
    """Queue the parent's orders; end this process when the parent is gone."""
    try:
        while True:
            orders.put(pipe.read(stream))
    except (EOFError, OSError):
        os._exit(0)


def _answer(data: bytes) -> object:
    """The drawing of a pickled order, or the reason for the failure as text."""
    try:
        return draw(pickle.loads(data))  # noqa: S301  # from our own parent
    except BaseException as error:  # also SystemExit: the process must draw the next order
        return error_text(error).removesuffix(".")  # goes on in the screen's sentence


if __name__ == "__main__":
    serve(bytes.fromhex(sys.argv[1]))
