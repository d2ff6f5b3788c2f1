"""require_runnable(): whether a model can be run as it is now."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from vene_widgets.errors import RequestError, shown
from vene_widgets.models.sites import Sites

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn


def require_runnable(name: str, root: nn.Module, sites: Sites) -> None:
    """Check that a model can be run, and has the sizes that it had when it was wrapped.

    Raises:
        RequestError: it has weights without values, an embedding that rewrites its weights, or
            other sizes; the message says which.
    """
    if any(tensor.is_meta for tensor in (*root.parameters(), *root.buffers())):
        raise RequestError(
            f"model {shown(name)} has weights on the meta device, which have no values. Load all "
            "of it on one device: cpu, cuda or mps."
        )
    for path, module in cast("Iterator[tuple[str, nn.Module]]", root.named_modules()):
        if getattr(module, "max_norm", None) is not None:
            raise RequestError(
                f"model {shown(name)} has max_norm set in {path!r}, which rewrites its weights in "
                "every pass. Set it to None; torch.renorm gives weights of that norm."
            )
    now = Sites(root).counts
    for words, before in sites.counts.items():
        if now[words] != before:
            raise RequestError(
                f"model has {_count(now[words])} {words} now and had {_count(before)} when it was "
                "wrapped: wrap it again."
            )


def _count(number: int | None) -> str:
    return "any number of" if number is None else str(number)
