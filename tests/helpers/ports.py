"""A port for a server under test."""

from __future__ import annotations

import socket


def free_port() -> int:
    """Find a port of this machine that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
