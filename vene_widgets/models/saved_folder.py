"""Folders that are saved as a whole: a manifest of their files' hashes, and readers that distrust.

`manifest.json` has the size and SHA-256 of every other file, so that a file that was damaged,
edited or taken from another save is noticed. Readers check sizes before they read, and shapes
before anything is built from them.
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeGuard, cast

from vene_widgets.errors import RequestError, shown

MANIFEST = "manifest.json"

JSON_BYTES = 8_000_000
"""Largest JSON file that is read or written: thousands of slots."""

JSON_DEPTH = 30
"""How deep a JSON file that is read may be nested; saved ones are not half as deep."""

_INT_DIGITS = 40
_SCHEMA = 1


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files and their manifest; see `replace_files`."""
    entries = {name: _entry(data) for name, data in files.items()}
    manifest = to_json({"schema": _SCHEMA, "files": entries})
    replace_files(folder, {**files, MANIFEST: manifest})


def replace_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files, all of them aside before any is renamed to its place.

    Args:
        folder: an existing folder; files of other names stay.
        files: name -> content, in the order in which they are renamed.
    """
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as aside:
        for name, data in files.items():
            (Path(aside) / name).write_bytes(data)
        for name in files:
            (Path(aside) / name).replace(folder / name)


def write_manifest(folder: Path) -> None:
    """Write the manifest of all files that a folder holds already."""
    entries = {
        path.name: {"bytes": path.stat().st_size, "sha256": file_hash(path)}
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != MANIFEST
    }
    replace_files(folder, {MANIFEST: to_json({"schema": _SCHEMA, "files": entries})})


def read_manifest(folder: Path) -> dict[str, dict[str, Any]] | None:
    """Name -> `bytes` and `sha256` of every file; None if the folder has no manifest.

    Raises:
        RequestError: a manifest that is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    data = read_bytes(path, JSON_BYTES)
    value = parse_json(data, path)
    files = value.get("files") if is_json_object(value) and value.get("schema") == _SCHEMA else None
    is_valid = is_json_object(files) and all(map(_is_entry, files.values()))
    if not is_json_object(files) or not is_valid or data != to_json(value):
        raise RequestError(f"{path} is damaged: expected the size and SHA-256 of every file.")
    return files


def read_files(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Read files and compare them with the manifest, if there is one.

    Args:
        folder: where they are.
        names: of the files; a manifest must have exactly these.

    Raises:
        RequestError: a file that is missing, too large, or not the one that was saved.
    """
    manifest, wanted = read_manifest(folder), list(names)
    if manifest is not None and set(manifest) != set(wanted):
        raise RequestError(
            f"{folder / MANIFEST} is damaged: expected the files {', '.join(wanted)}, got "
            f"{', '.join(map(shown, list(manifest)[:8])) or 'none'}."
        )
    content: dict[str, bytes] = {}
    for name in wanted:
        path = folder / name
        limit = JSON_BYTES if name.endswith(".json") else None
        if manifest is None:
            content[name] = read_bytes(path, limit)
            continue
        saved = manifest[name]
        if path.is_file() and path.stat().st_size != saved["bytes"]:
            raise _changed(path, f"{saved['bytes']} bytes", f"{path.stat().st_size}")
        content[name] = read_bytes(path, limit)
        found = _entry(content[name])["sha256"]
        if found != saved["sha256"]:
            raise _changed(path, f"SHA-256 {saved['sha256']}", found)
    return content


def has_saved_sizes(folder: Path) -> bool:
    """Whether a folder has a manifest and every file of it in its size; contents are not read."""
    try:
        manifest = read_manifest(folder)
        return bool(manifest) and all(
            (folder / name).stat().st_size == entry["bytes"] for name, entry in manifest.items()
        )
    except (OSError, RequestError):
        return False


def has_saved_content(folder: Path) -> bool:
    """Whether every file of a folder's manifest has its size and SHA-256."""
    if not has_saved_sizes(folder):
        return False
    manifest = read_manifest(folder) or {}
    return all(file_hash(folder / name) == entry["sha256"] for name, entry in manifest.items())


def read_bytes(path: Path, limit: int | None = None) -> bytes:
    """The content of a file of at most `limit` bytes.

    Raises:
        RequestError: the file is larger, or cannot be read.
    """
    try:
        size = path.stat().st_size
        if limit is not None and size > limit:
            raise RequestError(f"{path} is too large: {size} bytes; expected at most {limit}.")
        return path.read_bytes()
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror or error}.") from None


def to_json(value: object) -> bytes:
    """A value as a readable JSON file.

    Raises:
        RequestError: the file would be larger than readers accept.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    data = f"{text}\n".encode()
    if len(data) > JSON_BYTES:
        raise RequestError(
            f"the JSON to save has {len(data)} bytes; expected at most {JSON_BYTES}. Save fewer "
            "slots, or shorter lists of dims."
        )
    return data


def parse_json(data: bytes, path: Path) -> object:
    """The value of a JSON file: strict JSON, numbers of a sensible size, no key twice.

    Args:
        data: the file's content.
        path: the file, for messages.

    Raises:
        RequestError: anything else.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
            parse_int=_short_int,
        )
    except ValueError as error:
        raise RequestError(f"{path} is not JSON in UTF-8: {str(error)[:120]}.") from None
    except RecursionError:
        value = None
        is_too_deep = True
    else:
        is_too_deep = _depth(value) > JSON_DEPTH
    if is_too_deep:
        raise RequestError(f"{path} is nested too deeply for a file that was saved here.")
    return value


def _depth(value: object) -> int:
    """How deep lists and objects are nested; no recursion, whose limit depends on the Python."""
    deepest, stack = 0, [(value, 0)]
    while stack:
        part, depth = stack.pop()
        deepest = max(deepest, depth)
        if isinstance(part, dict):
            stack += [(inner, depth + 1) for inner in cast("dict[str, object]", part).values()]
        elif isinstance(part, list):
            stack += [(inner, depth + 1) for inner in cast("list[object]", part)]
    return deepest


def is_json_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a value from a JSON file is an object, whose keys are always strings."""
    return isinstance(value, dict)


def check_tensor_file(path: Path) -> None:
    """Check that a safetensors file is as long as its header says, without reading the tensors.

    Raises:
        RequestError: it is not, or there is no such header.
    """
    damaged = RequestError(f"{path} is damaged: expected a safetensors file, complete.")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(size - 8, JSON_BYTES):
                raise damaged
            header = parse_json(file.read(length), path)
    except (OSError, RequestError):
        raise damaged from None
    if not is_json_object(header):
        raise damaged
    ends = [8 + length]
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        offsets: object = entry.get("data_offsets") if is_json_object(entry) else None
        if not isinstance(offsets, list) or len(cast("list[object]", offsets)) != 2:
            raise damaged
        end: object = cast("list[object]", offsets)[1]
        if type(end) is not int:
            raise damaged
        ends.append(8 + length + end)
    if max(ends) != size:
        raise damaged


def parse_tensors(data: bytes, path: Path) -> dict[str, Any]:
    """The tensors of a safetensors file, by name, on the CPU.

    Args:
        data: the file's content.
        path: the file, for messages.

    Raises:
        RequestError: a damaged file.
    """
    from safetensors.torch import load

    try:
        return load(data)
    except Exception as error:  # safetensors' own error type, or torch's for an unknown dtype
        text = " ".join(str(error).split())[:120]
        raise RequestError(f"{path} is no valid safetensors file: {text}.") from None


def json_hash(value: object) -> str:
    """SHA-256 of a JSON value, independent of white space and of the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _entry(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _is_entry(value: object) -> bool:
    return (
        is_json_object(value)
        and type(value.get("bytes")) is int
        and isinstance(value.get("sha256"), str)
    )


def file_hash(path: Path) -> str:
    """SHA-256 of a file, read block by block."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _changed(path: Path, expected: str, got: str) -> RequestError:
    return RequestError(
        f"{path} is not the file that was saved: expected {shown(expected, 90)}, got {got}. Take "
        "the whole folder from one save."
    )


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for key, item in pairs:
        if key in value:
            raise ValueError(f"key {shown(key)} occurs twice")
        value[key] = item
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"number {shown(text)} is out of range")
    return value


def _short_int(text: str) -> int:
    if len(text) > _INT_DIGITS:
        raise ValueError(f"an integer of {len(text)} digits")
    return int(text)
