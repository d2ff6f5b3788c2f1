"""Messages between kernel and figure process, each pickled and prefixed with its length."""

from __future__ import annotations

import io
import pickle
import struct
from typing import IO, Any

MAX_BYTES = 2**30
"""Largest message; a longer one is no message of ours."""


def send(stream: IO[bytes], message: object) -> None:
    """Write one message."""
    write(stream, pickle.dumps(message))


def receive(stream: IO[bytes]) -> Any:
    """Read one message.

    Raises:
        EOFError: the other process has closed the stream.
    """
    return pickle.loads(read(stream))  # noqa: S301  # from our own child, through a private pipe


def write(stream: IO[bytes], data: bytes) -> None:
    """Write one pickled message: its length as 8 bytes, then the data."""
    stream.write(struct.pack("<Q", len(data)) + data)
    stream.flush()


def read(stream: IO[bytes]) -> bytes:
    """Read one pickled message.

    Raises:
        EOFError: the other process has closed the stream.
        ValueError: a length above `MAX_BYTES`.
    """
    (length,) = struct.unpack("<Q", _read_exactly(stream, 8))
    if length > MAX_BYTES:
        raise ValueError(f"expected a message of at most {MAX_BYTES} bytes, got {length}")
    return _read_exactly(stream, length)


def skip_to(stream: io.BufferedReader, marker: bytes) -> None:
    """Read and drop everything up to and including a marker.

    Raises:
        EOFError: the stream ended without it.
    """
    seen = b""
    while True:
        chunk = stream.peek()
        found = (seen + chunk).find(marker)
        if found >= 0:
            _read_exactly(stream, found + len(marker) - len(seen))
            return
        _read_exactly(stream, len(chunk) or 1)
        seen = (seen + chunk)[-(len(marker) - 1) :]


def _read_exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError("stream ended")
    return data
