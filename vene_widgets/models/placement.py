"""Where a model's weights lie and in which number type: names -> torch's own objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vene_widgets.errors import RequestError, choose

if TYPE_CHECKING:
    import torch

DTYPES: tuple[str, ...] = ("float32", "bfloat16", "float16", "float64")


def devices() -> tuple[str, ...]:
    """Names of the devices that this machine offers, best first, without `"auto"`."""
    import torch

    found: list[str] = []
    if torch.cuda.is_available():
        found += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        found.append("mps")
    return (*found, "cpu")


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """Turn a device's name into a device of this machine.

    Args:
        device: `"auto"` takes CUDA, else Apple's MPS, else the CPU.

    Raises:
        RequestError: unknown, or not on this machine; names those that are.
    """
    import torch

    valid = devices()
    if device == "auto":
        return torch.device(valid[0])
    if str(device) not in valid:
        listed = ", ".join(map(repr, ("auto", *valid)))
        raise RequestError(f"device {str(device)!r} is not on this machine. Valid here: {listed}.")
    return torch.device(str(device))


def choose_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """Turn a number type's name into torch's.

    Args:
        dtype: one of `DTYPES`, the torch type itself, or None for float32.
        device: where the numbers will be; MPS has no float64.

    Raises:
        RequestError: unknown, not a floating type, or not to be had on the device.
    """
    import torch

    name = "float32" if dtype is None else str(dtype).removeprefix("torch.")
    names = tuple(n for n in DTYPES if n != "float64" or device.type != "mps")
    return getattr(torch, choose(name, names, "dtype", f"These are the ones for {device}."))


def dtype_option(dtype: torch.dtype) -> dict[str, torch.dtype]:
    """The keyword argument of `from_pretrained`, whose name changed in transformers 4.56."""
    import transformers

    version = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    return {"dtype" if version >= (4, 56) else "torch_dtype": dtype}


def place(model: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """Move a model that we loaded to a device.

    Raises:
        RequestError: the device has too little memory.
    """
    import torch

    try:
        return model.to(device)
    except torch.cuda.OutOfMemoryError as error:
        size = sum(p.numel() * p.element_size() for p in model.parameters()) / 1e9
        raise RequestError(
            f"device {str(device)!r} has too little free memory for the model's {size:.1f} GB. "
            "Valid: device='cpu', a smaller model, or dtype='bfloat16'."
        ) from error
