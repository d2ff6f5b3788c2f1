"""Machine and package versions of a benchmark run."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("torch", "transformers", "pyvene", "plotnine")


def machine() -> dict[str, str]:
    """Package versions, processor, cores and threads, by name."""
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


def described(here: Mapping[str, str], earlier: Mapping[str, str] | None = None) -> str:
    """The machine as text; with an earlier run's machine, also where that one differed."""
    text = ", ".join(f"{name} {here[name]}" for name in ("python", *PACKAGES) if name in here)
    rest = ", ".join(f"{k}: {v}" for k, v in here.items() if k not in ("python", *PACKAGES))
    lines = [text, rest]
    if earlier is not None:
        other = [f"{k} {earlier.get(k)}" for k in here if earlier.get(k) != here[k]]
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
