"""A simulated second device: finds code that takes the CPU for granted, without an accelerator.

`second_device.cpp` computes on the CPU and is as strict as CUDA about tensors and generators of
another device. It stays registered for the rest of the process; `pytest --device second` puts the
models of the fixtures on it.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import torch

NAME = "second"
SOURCE = Path(__file__).with_suffix(".cpp")
BUILT = Path(__file__).parents[2] / ".test-output" / "second_device"
"""Compiled libraries, one per state of the source and version of torch; `make clean` removes it."""


class _Module:
    """`torch.second`: what torch asks the module of a device."""

    @staticmethod
    def is_initialized() -> bool:
        return True

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def current_device() -> int:
        return 0

    @staticmethod
    def device_count() -> int:
        return 1

    @staticmethod
    def _is_in_bad_fork() -> bool:
        return False

    class device:  # noqa: N801  # torch's name
        """Context manager of the current device, which is the only one; unpickling enters it."""

        def __init__(self, index: object) -> None:
            self.index = index

        def __enter__(self) -> None:
            """There is nothing to choose."""

        def __exit__(self, *_: object) -> None:
            """There is nothing to undo."""

    @staticmethod
    def manual_seed_all(seed: int) -> None:
        """Its generators are made anew for every draw of ours."""


def compiler() -> str | None:
    """The C++ compiler; None if there is none."""
    return shutil.which("g++") or shutil.which("clang++")


def register() -> None:
    """Build the device if need be, and register it with torch.

    Raises:
        RuntimeError: no C++ compiler, or it fails.
    """
    if hasattr(torch, NAME):
        return
    library = _build()
    utils: Any = torch.utils  # not among its public names
    utils.rename_privateuse1_backend(NAME)
    torch.ops.load_library(str(library))
    torch._register_device_module(NAME, _Module)
    utils.generate_methods_for_privateuse1_backend(for_storage=True)


def _build() -> Path:
    """The compiled library, about ten seconds of work the first time."""
    key = hashlib.sha256(SOURCE.read_bytes() + torch.__version__.encode()).hexdigest()[:16]
    library = BUILT / f"{key}.so"
    if library.exists():
        return library
    program = compiler()
    if program is None:
        raise RuntimeError("no C++ compiler (g++ or clang++) to build the simulated device with")
    BUILT.mkdir(parents=True, exist_ok=True)
    root = Path(torch.__file__).parent
    started = library.with_suffix(".partial")
    command = [
        *(program, "-O1", "-std=c++20", "-shared", "-fPIC"),
        f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
        *(f"-I{root / 'include' / path}" for path in (".", "torch/csrc/api/include")),
        *(str(SOURCE), "-o", str(started), f"-L{root / 'lib'}", "-ltorch_cpu", "-lc10"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the simulated device did not compile:\n{done.stderr[-4000:]}")
    started.replace(library)
    return library
