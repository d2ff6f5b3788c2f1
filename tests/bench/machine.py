"""What the numbers were measured on, and with which versions."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("torch", "transformers", "pyvene", "plotnine")


def machine() -> dict[str, str]:
    """Versions, processor and threads."""
    import torch

    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity")
                     else os.cpu_count()),
        "torch threads": str(torch.get_num_threads()),
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "not set"),
    }  # fmt: skip


def described(found: Mapping[str, str], earlier: Mapping[str, str] | None = None) -> str:
    """The machine in lines, and in what an earlier run's machine was another."""
    text = ", ".join(f"{name} {found[name]}" for name in ("python", *PACKAGES) if name in found)
    rest = ", ".join(f"{k}: {v}" for k, v in found.items() if k not in ("python", *PACKAGES))
    lines = [text, rest]
    if earlier is not None:
        other = [f"{k} {earlier.get(k)}" for k in found if earlier.get(k) != found[k]]
        same = "on an equal machine" if not other else f"with {', '.join(other)}"
        lines.append(f"The earlier run was {same}.")
    return "\n".join(lines)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
