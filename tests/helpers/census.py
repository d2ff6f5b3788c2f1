"""Census: the global state of the process, to be compared before and after."""

from __future__ import annotations

import asyncio
import builtins
import decimal
import gc
import locale
import logging
import multiprocessing
import os
import random
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

PANDAS_OPTIONS = (
    *("display.max_rows", "display.max_columns", "display.width"),
    *("display.precision", "display.float_format"),
)


def census() -> dict[str, Any]:
    """Everything of the process that a run or an explorer could change."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    hooks = [name for name in vars(nn.modules.module) if name.startswith("_global")]
    loggers = {
        name: (logger.level, logger.disabled, logger.propagate, list(logger.handlers))
        for name, logger in logging.root.manager.loggerDict.items()
        if isinstance(logger, logging.Logger)
    }
    patched = {
        f"{module.__name__}.{name}": id(value)
        for module in (torch, torch.nn.functional, nn.modules.module, threading, warnings)
        for name, value in vars(module).items()
        if callable(value)
    }
    methods = {
        f"{kind.__qualname__}.{name}": id(value)
        for kind in (Tensor, nn.Module, nn.Linear, nn.LayerNorm, nn.Parameter)
        for name, value in vars(kind).items()
        if not name.startswith("_abc")
    }
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "grad": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "anomaly": torch.is_anomaly_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "random": torch.random.get_rng_state().tolist(),
        "numpy random": repr(np.random.get_state()),
        "python random": random.getstate(),
        "threads of torch": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "precision": (
            torch.get_float32_matmul_precision(),
            torch.backends.cuda.matmul.allow_tf32,
            torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction,
            torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction,
            torch.backends.cudnn.allow_tf32,
        ),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "random of CUDA": [state.tolist() for state in cuda_states()],
        "autocast": [torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda")],
        "sdpa": (
            torch.backends.cuda.math_sdp_enabled(),
            torch.backends.cuda.flash_sdp_enabled(),
            torch.backends.cuda.mem_efficient_sdp_enabled(),
        ),
        "hooks": {name: repr(getattr(nn.modules.module, name)) for name in hooks},
        "attention": dict(ALL_ATTENTION_FUNCTIONS._global_mapping),
        "warnings": list(warnings.filters),
        "environment": dict(os.environ),
        "logging": (logging.root.level, list(logging.root.handlers), logging.root.manager.disable),
        "loggers": loggers,
        "threads": {thread.name for thread in threading.enumerate()},
        "patched": patched,
        "methods": methods,
        "trace": (sys.gettrace(), sys.getprofile(), sys.excepthook, threading.excepthook),
        "streams": (sys.stdout, sys.stderr, sys.stdin),
        "collector": (gc.isenabled(), gc.get_threshold(), list(gc.callbacks)),
        "recursion": sys.getrecursionlimit(),
        "folder": Path.cwd(),
        "path": list(sys.path),
        "print options": vars(torch._tensor_str.PRINT_OPTS).copy(),
        "signals": {n: signal.getsignal(n) for n in signal.valid_signals()},
        "hooks of Python": (
            *(sys.unraisablehook, sys.displayhook, sys.breakpointhook, builtins.__import__),
            *(list(sys.meta_path), list(sys.path_hooks), sys.getswitchinterval()),
        ),
        "locale": locale.setlocale(locale.LC_ALL),
        "umask": umask(),
        "event loop": type(asyncio.get_event_loop_policy()),
        "decimals": repr(decimal.getcontext()),
        "start method": multiprocessing.get_start_method(allow_none=True),
        "numpy": (np.geterr(), repr(np.get_printoptions())),
        "pandas": {name: pd.get_option(name) for name in PANDAS_OPTIONS},
        "filled memory": torch.utils.deterministic.fill_uninitialized_memory,
        "flush denormal": torch.tensor(1e-40).mul(1.0).item(),
        "matplotlib": of_matplotlib(),
    }


def cuda_states() -> list[Tensor]:
    """The random states of all CUDA devices, which may be none."""
    return torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def umask() -> int:
    """The mask of new files; it can only be read by writing it."""
    found = os.umask(0o22)
    os.umask(found)
    return found


def of_matplotlib() -> dict[str, Any]:
    """Settings, backend and open figures, if anybody has imported matplotlib."""
    if "matplotlib" not in sys.modules:
        return {}
    import matplotlib as mpl

    pyplot = sys.modules.get("matplotlib.pyplot")
    settings = dict.items(mpl.rcParams)  # reading the backend through `[]` would choose one
    return {
        **{name: repr(value) for name, value in settings},
        "figures": [] if pyplot is None else pyplot.get_fignums(),
    }
