"""write_aside: files that are either written whole or left as they were."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from vene_widgets.errors import RequestError, shown

_CANNOT_SYNC = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}
"""Errors of file systems that do not support flushing, such as some network shares."""


def write_aside(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write a file whole or not at all: a failure leaves an existing file as it was.

    The data go to a temporary file in the same folder, are flushed to the disk, and the file is
    renamed. An existing file keeps its permissions, and a link leads to the new content.

    Args:
        path: of the file; an existing one is replaced.
        data: its content.

    Returns:
        The path.

    Raises:
        RequestError: the file cannot be written; the message gives the path and the reason.
    """
    write_all_aside({Path(path): data})
    return Path(path)


def write_all_aside(contents: Mapping[Path, bytes]) -> None:
    """Write several files; none is replaced before all are on the disk.

    Args:
        contents: path -> content of the file.

    Raises:
        RequestError: as in `write_aside`, of the first file that cannot be written.
    """
    written: list[tuple[Path, Path, Path]] = []  # temporary file, target, path as given
    try:
        for path, data in contents.items():
            try:
                target = _target(path)
                if target is None:
                    path.write_bytes(data)
                    continue
                temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
                written.append((temporary, target, path))
                _write(temporary, data, target)
            except (OSError, ValueError) as error:
                raise _unwritable(path, error) from None
        while written:
            temporary, target, path = written[0]
            try:
                os.replace(temporary, target)  # noqa: PTH105  # the atomic one, by its own name
            except OSError as error:
                raise _unwritable(path, error) from None
            written.pop(0)
    finally:  # also after KeyboardInterrupt
        for temporary, _, _ in written:
            with contextlib.suppress(OSError, ValueError):
                temporary.unlink(missing_ok=True)


def make_folder(folder: Path) -> bool:
    """Create a folder, and those above it, unless it exists. Returns whether it is new.

    Raises:
        RequestError: it cannot be created; the message gives the path and the reason.
    """
    try:
        is_new = not folder.is_dir()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise RequestError(
            f"the folder {shown(str(folder), 300)} cannot be created: {_reason(error)}."
        ) from None
    return is_new


def _target(path: Path) -> Path | None:
    """The file that a path leads to; None for a device or a pipe, which is written directly."""
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        return None
    if target.exists() and not os.access(target, os.W_OK):  # renaming would replace it all the same
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return target


def _write(temporary: Path, data: bytes, target: Path) -> None:
    """Write a new file with the permissions of its target, down to the disk."""
    with temporary.open("xb") as file:
        if target.exists():
            temporary.chmod(target.stat().st_mode & 0o7777)
        file.write(data)
        file.flush()
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in _CANNOT_SYNC:
                raise


def _unwritable(path: Path, error: Exception) -> RequestError:
    return RequestError(f"the file {shown(str(path), 300)} cannot be written: {_reason(error)}.")


def _reason(error: Exception) -> str:
    """Why the system refused, without error numbers and paths."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.rstrip(".")
