"""Messages between kernel and figure process, each pickled and prefixed with its length."""

from __future__ import annotations

import pickle
import struct
from typing import IO, Any


def send(stream: IO[bytes] | None, message: object) -> None:
    """Write one message: its length as 8 bytes, then its pickle.

    Raises:
        EOFError: there is no stream.
    """
    if stream is None:
        raise EOFError("no stream")
    data = pickle.dumps(message)
    stream.write(struct.pack("<Q", len(data)) + data)
    stream.flush()


def receive(stream: IO[bytes] | None) -> Any:
    """Read one message.

    Raises:
        EOFError: there is no stream, or the other process has closed it.
    """
    if stream is None:
        raise EOFError("no stream")
    head = stream.read(8)
    if len(head) < 8:
        raise EOFError("stream ended")
    (length,) = struct.unpack("<Q", head)
    data = stream.read(length)
    if len(data) < length:
        raise EOFError("stream ended")
    return pickle.loads(data)  # noqa: S301  # from our own child, through a private pipe
