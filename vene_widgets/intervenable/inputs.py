"""Validate the encodings of a tokenizer and copy them to the model's device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor

from vene_widgets.errors import RequestError
from vene_widgets.experiments import limits

Encoding: TypeAlias = dict[str, Any]
"""The model's named inputs: `input_ids`, `attention_mask` and whatever else it takes."""

_TOKENS = ("input_ids", "inputs_embeds")


def to_encoding(given: object, what: str, device: torch.device) -> Encoding:
    """Copy an encoding, with its tensors on a device.

    Args:
        given: a mapping, such as a tokenizer returns, or a tensor of token ids.
        what: the argument's name, for messages.
        device: where the tensors go.

    Raises:
        RequestError: not a mapping with `input_ids` (or `inputs_embeds`) of shape
            `(batch, tokens)`, or an attention mask of another shape.
    """
    if isinstance(given, Tensor):
        given = {"input_ids": given}
    if not isinstance(given, Mapping) and not hasattr(given, "items"):
        raise RequestError(
            f"{what} is a {type(given).__name__}; expected an encoding, as in "
            'tokenizer("…", return_tensors="pt").'
        )
    items = cast("Mapping[str, Any]", given).items()
    encoding = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in items}
    tokens = next((encoding[name] for name in _TOKENS if encoding.get(name) is not None), None)
    if not isinstance(tokens, Tensor) or tokens.ndim < 2:
        actual = "no input_ids"
        if isinstance(tokens, Tensor):
            actual = f"input_ids of shape {tuple(tokens.shape)}"
        elif tokens is not None:
            actual = f"input_ids of type {type(tokens).__name__}"
        raise RequestError(
            f"{what} has {actual}; expected a tensor (batch, tokens), as in "
            'tokenizer("…", return_tensors="pt").'
        )
    if 0 in tokens.shape[:2]:
        raise RequestError(f"{what} has no tokens: its shape is {tuple(tokens.shape)}.")
    mask = encoding.get("attention_mask")
    # With past keys and values, the mask also covers the tokens before.
    is_whole = encoding.get("past_key_values") is None
    if mask is not None and not isinstance(mask, Tensor):
        raise RequestError(
            f"{what} has an attention_mask of type {type(mask).__name__}; expected a tensor "
            "(batch, tokens)."
        )
    if mask is not None and mask.ndim == 2 and is_whole and mask.shape != tokens.shape[:2]:
        raise RequestError(
            f"{what} has an attention_mask of shape {tuple(mask.shape)} for input_ids of shape "
            f"{tuple(tokens.shape)}; expected equal shapes."
        )
    return encoding


def to_source_list(given: object, count: int, device: torch.device) -> list[Encoding | None]:
    """One encoding per group; None skips a group.

    Args:
        given: one encoding, a list of them, or None.
        count: how many groups there are; a single encoding serves all of them.
        device: where the tensors go.

    Raises:
        RequestError: neither one encoding nor one per group.
    """
    if given is None:
        return [None] * count
    if isinstance(given, (str, Tensor)) or hasattr(given, "items"):
        given = [given]
    if not isinstance(given, Iterable):
        raise RequestError(
            f"sources is a {type(given).__name__}; expected an encoding, or a list of them."
        )
    items = list(limits.bounded(cast("Iterable[object]", given), limits.SOURCES, "sources"))
    if len(items) == 1:
        items = items * count
    if len(items) != count:
        raise RequestError(
            f"{len(items)} sources for {count} groups; expected one per group in order of first "
            "appearance (a slot without a group is a group by itself), or one for all. None skips "
            "a group."
        )
    return [
        None if item is None else to_encoding(item, f"sources[{index}]", device)
        for index, item in enumerate(items)
    ]


def token_mask(encoding: Encoding) -> Tensor:
    """The encoding's attention mask `(batch, tokens)`, zero on padding; all ones if it has none."""
    tokens = next(encoding[name] for name in _TOKENS if encoding.get(name) is not None)
    mask = encoding.get("attention_mask")
    if mask is None or mask.ndim != 2:
        return torch.ones(tokens.shape[:2], dtype=torch.long, device="cpu")
    return mask


def are_equal(one: Encoding, other: Encoding) -> bool:
    """Whether two encodings hold the same numbers, so that one run can serve both."""
    if one.keys() != other.keys():
        return False
    return all(
        torch.equal(value, other[name])
        if isinstance(value, Tensor) and isinstance(other[name], Tensor)
        else value is other[name]
        for name, value in one.items()
    )
