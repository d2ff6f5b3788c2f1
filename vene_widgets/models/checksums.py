"""Addresses, samples and checksums of tensors: what a fingerprint compares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

SAMPLES = 64
"""Values of each tensor that a fingerprint sees, evenly spread over its storage."""

CHUNK = 2**20
"""Numbers that one step of a checksum reads."""


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is torch's own class, with one storage that holds its numbers."""
    own_class = type(tensor) in (Tensor, nn.Parameter)
    return own_class and tensor.layout is torch.strided and not tensor.is_quantized


def parts_of(tensor: Tensor) -> list[Tensor]:
    """The tensors that hold a tensor's numbers: of a sparse or packed one, what it is made of."""
    if is_plain(tensor):
        return [tensor]
    parts: list[Any] = []
    if hasattr(tensor, "__tensor_flatten__"):  # torch's protocol for classes of this kind
        names, _ = cast("Any", tensor).__tensor_flatten__()
        parts = [getattr(tensor, name) for name in names]
    elif tensor.layout is torch.sparse_coo:
        parts = [tensor._indices(), tensor._values()]
    elif tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        parts = [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    elif tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        parts = [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]
    return [found for part in parts for found in parts_of(part)] or [tensor]


def _is_readable(tensor: Tensor) -> bool:
    """Whether views of a tensor give its numbers; a class with operators of its own has none."""
    operators: Any = getattr(type(tensor), "__torch_dispatch__", None)
    if operators is not getattr(Tensor, "__torch_dispatch__", None):
        return False
    return tensor.layout is torch.strided and not tensor.is_quantized


def storage_of(tensor: Tensor) -> tuple[object, object]:
    """A tensor's address, and its count of in-place changes; inference tensors have no count."""
    address = tensor.data_ptr() if is_plain(tensor) else id(tensor)
    return address, None if tensor.is_inference() else tensor._version


def samples_of(tensor: Tensor) -> Tensor:
    """A view of `SAMPLES` values, evenly spread over the tensor's storage."""
    flat = tensor.detach()
    if flat.numel() == 0 or not _is_readable(flat):
        return torch.empty(0, dtype=torch.uint8, device="cpu")
    strides = zip(flat.shape, flat.stride(), strict=True)
    span = 1 + sum((size - 1) * stride for size, stride in strides)
    step = max(1, span // SAMPLES)
    return flat.as_strided((min(SAMPLES, span),), (step,), flat.storage_offset())


def bytes_of(samples: list[Tensor]) -> bytes:
    """The present values of the samples."""
    groups: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for sample in samples:
        groups.setdefault((sample.device, sample.dtype), []).append(sample)
    with torch.no_grad():
        joined = [torch.cat(group).contiguous() for group in groups.values()]
        return b"".join(one.view(torch.uint8).cpu().numpy().tobytes() for one in joined)


def chunks_of(tensor: Tensor) -> Iterator[Tensor]:
    """A tensor's numbers as integers of their own width, in flat pieces."""
    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    if tensor.is_meta or not _is_readable(tensor):
        return
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    flat = tensor.reshape(-1).view(integers[tensor.element_size()])
    yield from torch.split(flat, CHUNK)


def weighted_sum(chunk: Tensor) -> int:
    """Sum of the numbers, each times its row and its column in a table of 1024 columns."""
    whole = len(chunk) - len(chunk) % 1024
    table, rest = chunk[:whole].view(-1, 1024), chunk[whole:].to(torch.int64)
    # Each sum modulo 2**64. Numbers that change places change the sum over columns or over rows.
    rows, columns = table.sum(1, dtype=torch.int64), table.sum(0, dtype=torch.int64)
    total = 0
    for factor, sums in ((1, rows), (31, columns), (17, rest)):
        place = torch.arange(1, len(sums) + 1, dtype=torch.int64, device=chunk.device)
        total += factor * int((sums * place).sum())
    return total
