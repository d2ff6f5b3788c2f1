"""Device and dtype of a model's weights: names -> torch objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vene_widgets.errors import RequestError, choose

if TYPE_CHECKING:
    import torch

DTYPES: tuple[str, ...] = ("float32", "bfloat16", "float16", "float64")


def devices() -> tuple[str, ...]:
    """Names of this machine's devices, fastest first, without `"auto"`."""
    import torch

    accelerators: list[str] = []
    if torch.cuda.is_available():
        accelerators += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        accelerators.append("mps")
    return (*accelerators, "cpu")


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """Resolve a device name to a device of this machine.

    Args:
        device: a name or device; `"auto"` takes CUDA, else Apple's MPS, else the CPU.

    Raises:
        RequestError: unknown, or unavailable on this machine; the message lists the valid ones.
    """
    import torch

    valid = devices()
    if device == "auto":
        return torch.device(valid[0])
    if str(device) not in valid:
        listed = ", ".join(map(repr, ("auto", *valid)))
        raise RequestError(
            f"device {str(device)!r} is unavailable on this machine. Valid here: {listed}."
        )
    return torch.device(str(device))


def choose_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """Resolve a dtype name to a torch dtype.

    Args:
        dtype: one of `DTYPES`, the torch dtype itself, or None for float32.
        device: the device of the weights; MPS has no float64.

    Raises:
        RequestError: unknown, not a floating-point dtype, or unavailable on the device.
    """
    import torch

    name = "float32" if dtype is None else str(dtype).removeprefix("torch.")
    names = tuple(n for n in DTYPES if n != "float64" or device.type != "mps")
    return getattr(torch, choose(name, names, "dtype", f"These are the dtypes on {device}."))


def dtype_option(dtype: torch.dtype) -> dict[str, torch.dtype]:
    """The dtype as keyword argument of `from_pretrained`, which transformers 4.56 renamed."""
    import transformers

    version = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    return {"dtype" if version >= (4, 56) else "torch_dtype": dtype}


def place(model: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """Move a model that `load` just read to a device.

    Raises:
        RequestError: the device has too little free memory.
    """
    import torch

    try:
        return model.to(device)
    except torch.cuda.OutOfMemoryError as error:
        size = sum(weight.numel() * weight.element_size() for weight in model.parameters()) / 1e9
        raise RequestError(
            f"device {str(device)!r} has too little free memory for the model's {size:.1f} GB. "
            "Valid: device='cpu', a smaller model, or dtype='bfloat16'."
        ) from error
