"""Wrong values, mutants of good ones, and what must hold whatever a reader is given."""

from __future__ import annotations

import copy
import json
import math
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from request_testing import LONG, nested

import vene_widgets as vw
from vene_widgets.errors import shown

SECONDS = 2.0
"""Longest processor time of one reading, in this thread: a busy machine does not count."""

BYTES = 32e6
"""Most memory that Python may take for one reading."""

MAX_DEPTH = 12
"""Deepest place of a mutation."""

WORDS_OF_PYTHON = ("Traceback", "pydantic", "validation error", "[type=", "input_value", "KeyError")
"""What no sentence for a user contains."""

_NUMBERS = [
    0,
    1,
    -1,
    3,
    31,
    2**31,
    2**63 - 1,
    2**63,
    -(2**63),
    10**30,
    10**4000,
    0.0,
    1.0,
    0.5,
    1.5,
]
_FLOATS = [math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, -0.0]
_TEXTS = [
    "",
    " ",
    "0",
    "all",
    "1:4",
    "::0",
    "0:50000000",
    "source",
    "\ud800",
    "\0",
    "é",
    "x" * 10**5,
]
_NESTS = [[], {}, [[]], [None], {"": 1}, [0, 0], [10**18], {"a": [0, 2]}, {1: 2}]
JSON_VALUES: list[Any] = [None, True, False, *_NUMBERS, *_FLOATS, *_TEXTS, *_NESTS]
"""Values that JSON can hold as Python reads it: a browser's message, a file, a token."""

PYTHON_VALUES: list[Any] = [
    *(b"x", 1j, (1, 2), {1, 2}, range(3), range(10**12), slice(1, 3), Ellipsis, object, len),
    *(np.int64(2), np.float32(0.5), np.bool_(1), np.str_("a"), np.arange(3), np.zeros((2, 2))),
    *(
        np.array("a"),
        np.array([None]),
        np.array([1.5, math.nan]),
        np.zeros(0),
        np.datetime64("NaT", "ns"),
    ),
    *(torch.tensor(2), torch.arange(3), torch.zeros(2, 2), torch.tensor(math.nan), torch.ones(0)),
    *(10**5000, nested(150), vw.Slot(layer=0, position=0), vw.RequestError("x")),
]
"""Values that only Python code can pass."""

any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.text(st.characters(categories=["Cs", "Cc", "Cf", "Mn"]), max_size=5),
    lambda part: (
        st.lists(part, max_size=5) | st.dictionaries(st.text(max_size=8), part, max_size=5)
    ),
    max_leaves=12,
)


def bad_values(*, python: bool) -> st.SearchStrategy[Any]:
    """Single values, most of them wrong wherever they stand; `python`: not only those of JSON."""
    known = JSON_VALUES + (PYTHON_VALUES if python else [])
    return st.integers(0, len(known) - 1).map(lambda n: copy.deepcopy(known[n])) | any_json


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside dicts and lists, down to `MAX_DEPTH`."""
    if len(path) > MAX_DEPTH:
        return
    items: Any = value.items() if isinstance(value, dict) else ()
    for key, item in enumerate(value) if isinstance(value, list) else items:
        yield (*path, key)
        yield from places(item, (*path, key))


@st.composite
def mutants(draw: st.DrawFn, good: list[Any], *, python: bool = False) -> Any:
    """One of some good values with up to three fields replaced, dropped, added, nested, retyped."""
    value = copy.deepcopy(draw(st.sampled_from(good)))
    for _ in range(draw(st.integers(1, 3))):
        every = list(places(value))
        if not every:
            return value
        path = draw(st.sampled_from(every))
        parent = value
        for key in path[:-1]:
            parent = parent[key]
        kind = draw(st.sampled_from(["replace"] * 4 + ["drop", "add", "nest", "retype", "swap"]))
        if kind == "replace":
            parent[path[-1]] = draw(bad_values(python=python))
        elif kind == "drop":
            del parent[path[-1]]
        elif kind == "add" and isinstance(parent, dict):
            parent[draw(st.text(max_size=8) | st.just(f"{path[-1]}s"))] = draw(
                bad_values(python=python)
            )
        elif kind == "add":
            parent.append(draw(bad_values(python=python)))
        elif kind == "nest":
            parent[path[-1]] = draw(st.sampled_from([[parent[path[-1]]], {"x": parent[path[-1]]}]))
        elif kind == "retype":
            parent[path[-1]] = _retyped(parent[path[-1]])
        else:  # the value of another field
            other: Any = value
            for key in draw(st.sampled_from(every)):
                other = other[key] if _has(other, key) else other
            parent[path[-1]] = copy.deepcopy(other)
    return value


def _has(value: Any, key: Any) -> bool:
    if isinstance(value, list):
        return isinstance(key, int) and key < len(value)
    return isinstance(value, dict) and key in value


def _retyped(value: Any) -> Any:
    """The same value as another type."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int) and abs(value) < 10**300:
        return float(value) if value != 1 else True
    if isinstance(value, (dict, list)):
        return list(value.items()) if isinstance(value, dict) else dict(enumerate(value))
    return list(value[:50]) if isinstance(value, str) else shown(value)


def read_or_refused(read: Callable[[], Any]) -> tuple[Any, str | None]:
    """What `read` returns, or its refusal: one sentence, quick, in little memory, nothing else."""
    tracemalloc.start()
    start = time.thread_time()
    refused = value = None
    try:
        value = read()
    except vw.RequestError as error:
        refused = str(error)
    finally:
        seconds = time.thread_time() - start
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert seconds < SECONDS, f"{seconds:.2f} s"
    assert peak < BYTES, f"{peak / 1e6:.0f} MB"
    if refused is not None:
        check_sentence(refused)
    return value, refused


def check_sentence(text: str, limit: int = 2 * LONG) -> None:
    """Assert that a refusal is one line for a user: two problems of a field each at most."""
    assert text.strip() and "\n" not in text and len(text) <= limit, text
    assert not [words for words in WORDS_OF_PYTHON if words in text], text
    text.encode()


def check_wire(value: Any) -> None:
    """Assert that a browser can read a value: JSON without NaN, in Unicode."""
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
