"""Encodings as a tokenizer gives them: checked, on the model's device, and never changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vene_widgets.errors import RequestError

Encoding = dict[str, Any]
_IDS = ("input_ids", "inputs_embeds")


def encoding(given: Any, what: str, device: torch.device) -> Encoding:
    """A copy of an encoding with its tensors on a device.

    Raises:
        RequestError: not a mapping with `input_ids` (or `inputs_embeds`) of shape
            `(batch, tokens)`.
    """
    if isinstance(given, Tensor):
        given = {"input_ids": given}
    if not isinstance(given, Mapping) and not hasattr(given, "items"):
        raise RequestError(
            f"{what} is a {type(given).__name__}; an encoding is needed, as in "
            'tokenizer("…", return_tensors="pt").'
        )
    made = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in given.items()}
    ids = next((made[name] for name in _IDS if made.get(name) is not None), None)
    if not isinstance(ids, Tensor) or ids.ndim < 2:
        got = "nothing" if ids is None else type(ids).__name__
        if isinstance(ids, Tensor):
            got = f"shape {tuple(ids.shape)}"
        raise RequestError(
            f"{what} has {got} as input_ids; a tensor (batch, tokens) is needed: "
            'tokenizer("…", return_tensors="pt").'
        )
    return made


def source_list(given: Any, count: int, device: torch.device) -> list[Encoding | None]:
    """One encoding per group, None where there is none.

    Raises:
        RequestError: another number than of groups.
    """
    if given is None:
        return [None] * count
    if isinstance(given, (str, Tensor)) or hasattr(given, "items"):
        given = [given]
    items = list(given)
    if len(items) == 1:
        items = items * count
    if len(items) != count:
        raise RequestError(
            f"{len(items)} sources for {count} groups: one per group in order of first appearance "
            "(a slot without a group is one of its own), or one for all. None skips."
        )
    return [
        None if item is None else encoding(item, f"sources[{index}]", device)
        for index, item in enumerate(items)
    ]


def token_mask(given: Encoding) -> Tensor:
    """`(batch, tokens)`: nonzero where a token is no padding."""
    ids = next(given[name] for name in _IDS if given.get(name) is not None)
    mask = given.get("attention_mask")
    if mask is None or mask.ndim != 2:
        return torch.ones(ids.shape[:2], dtype=torch.long)
    return mask


def same(one: Encoding, other: Encoding) -> bool:
    """Whether two encodings hold the same numbers, so that one run serves both."""
    if one.keys() != other.keys():
        return False
    return all(
        torch.equal(value, other[name])
        if isinstance(value, Tensor) and isinstance(other[name], Tensor)
        else value is other[name]
        for name, value in one.items()
    )
