"""Senders and receivers of paths, as users write them: `"9.9"`, `"mlp5"`, `("9.9", "q")`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from vene_widgets.engine.path_passes import Writer
from vene_widgets.errors import RequestError, choose, shown
from vene_widgets.experiments import limits
from vene_widgets.experiments.fields import as_int

if TYPE_CHECKING:
    from vene_widgets.models import LanguageModel
    from vene_widgets.models.sites import Site, Sites

KINDS = ("heads", "mlps", "all")
"""Senders by name: every head, every MLP, or both and the embedding."""

LOGITS = "logits"

INPUTS = {"q": "head_query_output", "k": "head_key_output", "v": "head_value_output"}
"""What of a head may receive -> its component."""

MOST_ENDS = 100_000
"""Most senders or receivers of one request."""

_HEAD = re.compile(r"L?(\d{1,6})[.H](\d{1,6})", re.ASCII)
_MLP = re.compile(r"mlp(\d{1,6})", re.ASCII)

_WRITTEN = "'9.9' or (9, 9) for head 9 of layer 9, 'mlp5' for the MLP of layer 5"


@dataclass(frozen=True)
class Receiver:
    """What receives: one input of a head, or an MLP.

    Attributes:
        name: as frames show it, `"9.9 q"` or `"mlp10"`.
        site: what changes by what it receives: queries, keys or values, or the MLP's output.
        part: `"q"`, `"k"`, `"v"` or `"mlp"`.
    """

    name: str
    site: Site
    part: str


def name_of(writer: Writer) -> str:
    """A sender's name: `"9.9"`, `"mlp5"` or `"embedding"`."""
    if writer.layer < 0:
        return "embedding"
    return f"mlp{writer.layer}" if writer.head is None else f"{writer.layer}.{writer.head}"


def receiver_name(receivers: tuple[Receiver, ...]) -> str:
    """Receivers as frames show them."""
    return " + ".join(receiver.name for receiver in receivers) or LOGITS


def read_senders(model: LanguageModel, senders: object) -> tuple[Writer, ...]:
    """The senders that a caller asked for, in network order.

    Raises:
        RequestError: an unknown name, a head or layer out of range, one twice, or none.
    """
    sites = model.sites
    if isinstance(senders, str) and senders in KINDS:
        heads = [Writer(layer, h) for layer in range(sites.layers) for h in range(sites.heads)]
        mlps = [Writer(layer) for layer in range(sites.layers)]
        every = [Writer(-1), *heads, *mlps]
        return _ordered({"heads": heads, "mlps": mlps, "all": every}[senders])
    if isinstance(senders, str) and _writer(sites, senders) is None:
        choose(senders, (*KINDS, "embedding"), "senders", f"Or names: {_WRITTEN}.")
    given = (
        [senders]
        if _head_place(senders) or isinstance(senders, str)
        else _items(senders, "senders")
    )
    found: list[Writer] = []
    for one in given:
        writer = _writer(sites, one)
        if writer is None:
            raise RequestError(
                f"sender {shown(one)} is not known: write {_WRITTEN}, or 'embedding'."
            )
        found.append(writer)
    _require_distinct([name_of(writer) for writer in found], "senders")
    return _ordered(found)


def read_heads(model: LanguageModel, heads: object) -> tuple[Writer, ...]:
    """Some heads, in network order; there may be none.

    Raises:
        RequestError: an unknown name, a head or layer out of range, or one twice.
    """
    given = (
        [heads] if _head_place(heads) or isinstance(heads, str) else _items(heads, "heads", least=0)
    )
    found: list[Writer] = []
    for one in given:
        writer = _writer(model.sites, one)
        if writer is None or writer.head is None:
            raise RequestError(f"head {shown(one)} is not known: write '9.9' or (9, 9).")
        found.append(writer)
    _require_distinct([name_of(writer) for writer in found], "heads")
    return _ordered(found)


def read_receivers(model: LanguageModel, receivers: object) -> tuple[Receiver, ...]:
    """The receivers that a caller asked for; none stand for the logits.

    Raises:
        RequestError: an unknown name or part, a head or layer out of range, or one twice.
    """
    if isinstance(receivers, str) and receivers == LOGITS:
        return ()
    single = isinstance(receivers, str) or _part(receivers) is not None
    given = [receivers] if single else _items(receivers, "receivers")
    found = [_receiver(model.sites, one) for one in given]
    _require_distinct([receiver.name for receiver in found], "receivers")
    return tuple(found)


def can_reach(model: LanguageModel, writer: Writer, receiver: Receiver) -> bool:
    """Whether a sender writes to the residual stream before a receiver reads it."""
    layer = receiver.site.layer
    if writer.layer != layer or writer.head is None or receiver.part != "mlp":
        return writer.layer < layer
    # In the same block, a head is before the MLP unless both read the block's input.
    return not model.sites.architecture.components["mlp_input"].before_attention


def _receiver(sites: Sites, given: object) -> Receiver:
    part = _part(given)
    if isinstance(given, str) and (match := _MLP.fullmatch(given)):
        layer = _index(int(match[1]), sites.layers, "layer", given)
        return Receiver(f"mlp{layer}", sites.site(layer, "mlp_output"), "mlp")
    if part is None:
        raise RequestError(
            f"receiver {shown(given)} is not known: write 'logits', ('9.9', 'q') with 'q', 'k' or "
            "'v' for an input of a head, or 'mlp10'."
        )
    end: Any = cast("Sequence[object]", given)[0]
    place = _head_place(end)
    if place is None:
        raise RequestError(f"receiver {shown(given)} has no head: write '9.9' or (9, 9).")
    layer = _index(place[0], sites.layers, "layer", given)
    count = sites.heads if part == "q" else sites.key_value_heads
    noun = "head" if count == sites.heads else "key-value head"
    head = _index(place[1], count, noun, given)
    return Receiver(f"{layer}.{head} {part}", sites.site(layer, INPUTS[part], head), part)


def _part(given: object) -> str | None:
    """The part of a head that a receiver names, in a pair of a head and `"q"`, `"k"` or `"v"`."""
    if not isinstance(given, (tuple, list)):
        return None
    several = cast("Sequence[object]", given)
    part = several[1] if len(several) == 2 else None
    return part if isinstance(part, str) and part in INPUTS else None


def _writer(sites: Sites, given: object) -> Writer | None:
    """A sender by name or by layer and head; None if it is neither."""
    if isinstance(given, str) and given == "embedding":
        return Writer(-1)
    if isinstance(given, str) and (match := _MLP.fullmatch(given)):
        return Writer(_index(int(match[1]), sites.layers, "layer", given))
    place = _head_place(given)
    if place is None:
        return None
    layer = _index(place[0], sites.layers, "layer", given)
    return Writer(layer, _index(place[1], sites.heads, "head", given))


def _head_place(given: object) -> tuple[int, int] | None:
    """Layer and head of a head's name, or of a pair of ints; None if it is neither."""
    if isinstance(given, str):
        match = _HEAD.fullmatch(given)
        return None if match is None else (int(match[1]), int(match[2]))
    if getattr(given, "shape", None) == (2,):  # an array or a tensor
        given = tuple(cast("Iterable[object]", given))
    if not isinstance(given, (tuple, list)) or len(cast("Sequence[object]", given)) != 2:
        return None
    try:
        layer, head = map(as_int, cast("Iterable[object]", given))
    except RequestError:
        return None
    return layer, head


def _index(value: int, count: int, noun: str, given: object) -> int:
    """An index, counted from the end if it is negative.

    Raises:
        RequestError: out of range.
    """
    if not -count <= value < count:
        raise RequestError(
            f"{shown(given)}: {noun} {shown(value)} is out of range: the model has {count}, "
            f"0 to {count - 1}."
        )
    return value % count


def _items(given: object, noun: str, least: int = 1) -> tuple[Any, ...]:
    """The items of a list.

    Raises:
        RequestError: no list, too many, or too few.
    """
    found = limits.bounded(cast("Iterable[Any]", given), MOST_ENDS, noun)
    if len(found) < least:
        raise RequestError(f"{noun} must name at least one, got none.")
    return found


def _require_distinct(names: Sequence[str], noun: str) -> None:
    """Check that no name stands there twice.

    Raises:
        RequestError: one does.
    """
    counts = Counter(names)
    twice = next((name for name in names if counts[name] > 1), None)
    if twice is not None:
        raise RequestError(f"{noun} must be distinct: {twice!r} is named twice.")


def _ordered(writers: Iterable[Writer]) -> tuple[Writer, ...]:
    """Writers in network order: in a block, heads before the MLP."""
    return tuple(sorted(writers, key=lambda w: (w.layer, w.head is None, w.head or 0)))
