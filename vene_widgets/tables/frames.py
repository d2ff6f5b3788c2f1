"""Logits -> tidy pandas DataFrames, with every column, unit and metric documented once.

All statistics are computed in float64 from the logits (log_softmax in double), whatever the model's
own number type. Natural logarithms throughout. Equal logits rank by token id, lower first. Token
ids tell tokens apart, never texts: different ids may share a text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd
import torch

from vene_widgets.errors import RequestError
from vene_widgets.tables.metrics import METRICS as METRICS
from vene_widgets.tables.metrics import Metric as Metric

if TYPE_CHECKING:
    from torch import Tensor

TokenText = Callable[[int], str]
"""A token's exact text by its id."""


class PromptToken(Protocol):
    """What a frame needs of one token of a prompt."""

    @property
    def index(self) -> int: ...
    @property
    def id(self) -> int: ...
    @property
    def text(self) -> str: ...


@dataclass(frozen=True)
class Column:
    """What one column holds. `dtype` is pandas' name; texts are `object` so that any text fits."""

    dtype: str
    unit: str
    meaning: str


COLUMNS: dict[str, Column] = {
    "run": Column("category", "", "name of the run; ordered as the runs were given"),
    "rank": Column("Int64", "1 = most likely", "place in the whole vocabulary; <NA>: not run"),
    "token": Column("object", "", "token text, exact"),
    "token_id": Column("int64", "", "token id"),
    "label": Column("object", "", "token text with spaces and control characters made visible"),
    "probability": Column("float64", "0 to 1", "P(token) in this run or cell"),
    "log_probability": Column("float64", "nats", "ln P(token)"),
    "logit": Column("float64", "", "output of the head for the token, before softmax"),
    "before": Column("float64", "0 to 1", "P(token) before the change"),
    "after": Column("float64", "0 to 1", "P(token) after the change"),
    "delta": Column("float64", "probability", "P after − P before (in a sweep: cell − base)"),
    "log_ratio": Column("float64", "nats", "ln (P after / P before)"),
    "contrast_id": Column(
        "Int64", "", "id of the token that the target is set against: the first other target"
    ),
    "logit_difference": Column(
        "float64", "logits", "logit(target) − logit(contrast) in the cell; NaN without a contrast"
    ),
    "kl": Column(
        "float64",
        "nats",
        "P after · ln (P after / P before): in a difference the token's own part, in a sweep the "
        "sum over the vocabulary, KL(cell ‖ base)",
    ),
    "rank_before": Column("Int64", "1 = most likely", "rank before the change"),
    "rank_after": Column("Int64", "1 = most likely", "rank after the change"),
    "component": Column("object", "", "which tensor was changed"),
    "head": Column("Int64", "from 0", "which head was changed; <NA>: a whole vector"),
    "layer": Column("int64", "from 0", "block in which the cell's state was changed"),
    "position": Column("int64", "from 0", "base position whose state was changed"),
    "source_position": Column("int64", "from 0", "source position that the state came from"),
    "target_id": Column("int64", "", "id of the token whose probability the row follows"),
    "target": Column("object", "", "its text, exact"),
    "target_label": Column("object", "", "its text, made visible"),
    "base_probability": Column("float64", "0 to 1", "P(target) in the unchanged base run"),
    "best_id": Column("Int64", "", "id of the cell's most likely token; <NA>: not run"),
    "best": Column("object", "", "its text, exact; None: not run"),
    "best_probability": Column("float64", "0 to 1", "its probability in the cell"),
}
"""Every column of every frame, whichever function makes it."""

FRAMES: dict[str, tuple[str, ...]] = {
    name: tuple(columns.split())
    for name, columns in {
        "top_frame": "rank token token_id probability logit",
        "token_frame": "run token_id token label probability log_probability logit rank",
        "difference_frame": "token_id token label before after delta log_ratio kl "
        "rank_before rank_after",
        "sweep_frame": "component head layer position token token_id label source_position "
        "target_id target target_label probability base_probability delta log_ratio contrast_id "
        "logit_difference rank kl best_id best best_probability",
    }.items()
}
"""Columns of each frame, in order, by the name of the function that makes it."""


def visible(text: str) -> str:
    r"""A token's text with nothing hidden: `␣` space, `↵` newline, `⇥` tab, `∅` empty.

    The replacement character and whatever Python does not call printable (control, format and
    bidirectional characters, lone surrogates, unassigned ones, spaces other than U+0020) become
    escapes such as `\x1b` or `\u202e`.
    """
    return "".join(_SHOWN.get(c) or (c if c.isprintable() else _escape(c)) for c in text) or "∅"


_SHOWN = {" ": "␣", "\n": "↵", "\t": "⇥", "\ufffd": r"\ufffd"}


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def top_frame(logits: Tensor, token_text: TokenText, k: int = 10) -> pd.DataFrame:
    """The most likely tokens of one distribution.

    Args:
        logits: `(vocabulary,)`.
        token_text: exact text of a token id.
        k: how many; at most the whole vocabulary.

    Returns:
        Columns `rank`, `token`, `token_id`, `probability`, `logit`; most likely first.

    Raises:
        RequestError: logits of another shape or with NaN, or `k` below 1.
    """
    values = _checked(logits)
    ids = _order(values)[: _count(k, len(values))]
    return _table(
        "top_frame",
        rank=range(1, len(ids) + 1),
        token=[token_text(i) for i in ids.tolist()],
        token_id=ids,
        probability=values.log_softmax(-1)[ids].exp(),
        logit=values[ids],
    )


def token_frame(runs: Mapping[str, Tensor], token_text: TokenText, k: int = 10) -> pd.DataFrame:
    """The union of several runs' most likely tokens, in every run.

    Args:
        runs: name of the run -> logits `(vocabulary,)`.
        token_text: exact text of a token id.
        k: how many most likely tokens each run brings into the union.

    Returns:
        One row per token and run: `run` (ordered as given), `token_id`, `token`, `label`,
        `probability`, `log_probability`, `logit`, `rank` (exact, over the whole vocabulary).
        Tokens are ordered by their largest probability in any run, runs as given.

    Raises:
        RequestError: no run, unequal vocabularies, NaN, or `k` below 1.
    """
    if not runs:
        raise RequestError("runs is empty; at least one run is needed to compare tokens.")
    names = list(runs)
    values = [_checked(logits, f"logits of run {name!r}") for name, logits in runs.items()]
    _same_size(dict(zip(names, values, strict=True)))
    ranks = torch.stack([_ranks(v) for v in values])
    stacked = torch.stack(values)
    log_p = stacked.log_softmax(-1)
    count = _count(k, stacked.shape[1])
    union = (ranks <= count).any(0).nonzero()[:, 0]  # by id
    ids = union[_order(log_p[:, union].amax(0))]
    token_ids = ids.repeat_interleave(len(names))
    texts = [token_text(i) for i in token_ids.tolist()]
    return _table(
        "token_frame",
        run=pd.Categorical(names * len(ids), categories=names, ordered=True),
        token_id=token_ids,
        token=texts,
        label=[visible(text) for text in texts],
        probability=log_p[:, ids].T.flatten().exp(),
        log_probability=log_p[:, ids].T.flatten(),
        logit=stacked[:, ids].T.flatten(),
        rank=ranks[:, ids].T.flatten(),
    )


def difference_frame(
    before: Tensor, after: Tensor, token_text: TokenText, k: int | None = 20
) -> pd.DataFrame:
    """What moved between two distributions, the largest part of the KL divergence first.

    Args:
        before, after: logits `(vocabulary,)`.
        token_text: exact text of a token id.
        k: how many tokens; None for the whole vocabulary.

    Returns:
        One row per token: `token_id`, `token`, `label`, `before`, `after`, `delta`, `log_ratio`
        and `kl` (nats; `kl` is the token's own part, P after · ln (P after / P before), whose sum
        over the vocabulary is `kl_divergence`), `rank_before`, `rank_after`. Ordered by |kl|, then
        by the larger probability. `.attrs["kl_divergence"]` is the sum over all tokens.

    Raises:
        RequestError: unequal vocabularies, NaN, or `k` below 1.
    """
    one, other = _checked(before, "before"), _checked(after, "after")
    _same_size({"before": one, "after": other})
    log_before, log_after = one.log_softmax(-1), other.log_softmax(-1)
    p_before, p_after = log_before.exp(), log_after.exp()
    parts = _kl_parts(log_before, log_after)
    likely = _order(torch.maximum(log_before, log_after))  # decides where parts are equal
    ids = likely[_order(parts[likely].abs())][: len(one) if k is None else _count(k, len(one))]
    texts = [token_text(i) for i in ids.tolist()]
    frame = _table(
        "difference_frame",
        token_id=ids,
        token=texts,
        label=[visible(text) for text in texts],
        before=p_before[ids],
        after=p_after[ids],
        delta=(p_after - p_before)[ids],
        log_ratio=(log_after - log_before)[ids],
        kl=parts[ids],
        rank_before=_ranks(one)[ids],
        rank_after=_ranks(other)[ids],
    )
    frame.attrs["kl_divergence"] = max(0.0, parts.sum().item())
    return frame


def kl_divergence(before: Tensor, after: Tensor) -> float:
    """KL(after ‖ before) of two next-token distributions in nats, from logits `(vocabulary,)`.

    Raises:
        RequestError: unequal vocabularies or NaN.
    """
    one, other = _checked(before, "before"), _checked(after, "after")
    _same_size({"before": one, "after": other})
    return max(0.0, _kl_parts(one.log_softmax(-1), other.log_softmax(-1)).sum().item())


def sweep_frame(
    logits: Tensor,
    base_logits: Tensor,
    layers: Sequence[int],
    tokens: Sequence[PromptToken],
    source_positions: Sequence[int],
    targets: Iterable[int],
    token_text: TokenText,
    component: str = "block_output",
    head: int | None = None,
) -> pd.DataFrame:
    """A sweep's cells, followed at some target tokens.

    Args:
        logits: `(layers, positions, vocabulary)`, each cell's at the last position; a cell with
            NaN was not run.
        base_logits: `(vocabulary,)` of the unchanged base run.
        layers: index of each row's block.
        tokens: the base token at each swept position.
        source_positions: the source position paired with each of them.
        targets: ids of the tokens to follow.
        token_text: exact text of a token id.
        component, head: which tensor was changed.

    Returns:
        One row per layer, position and target: `component`, `head`, `layer`, `position`, `token`,
        `token_id`, `label` (of the base token there), `source_position`, `target_id`, `target`,
        `target_label`, `probability`, `base_probability`, `delta`, `log_ratio`, `contrast_id`,
        `logit_difference`, `rank`, `kl` (of the whole distribution), `best_id`, `best`,
        `best_probability`. Cells that were not run have NaN, <NA> or None.

    Raises:
        RequestError: sizes that do not fit together, or a target outside the vocabulary.
    """
    base = _checked(base_logits, "base_logits")
    wanted = [int(target) for target in targets]
    shape = (len(layers), len(tokens), len(base))
    if not (layers and tokens and wanted):
        raise RequestError(
            f"sweep has {len(layers)} layers, {len(tokens)} tokens and {len(wanted)} targets; at "
            "least one of each is needed."
        )
    if tuple(logits.shape) != shape or len(source_positions) != len(tokens):
        raise RequestError(
            f"logits of shape {tuple(logits.shape)} do not fit: {shape[0]} layers, {shape[1]} "
            f"tokens with {len(source_positions)} source positions and a vocabulary of {shape[2]} "
            f"need logits of shape {shape} and one source position per token."
        )
    if outside := [target for target in wanted if not 0 <= target < len(base)]:
        raise RequestError(f"target {outside[0]} is out of range: ids go to {len(base) - 1}.")
    log_base = base.log_softmax(-1)
    # Layer by layer, so that float64 copies stay small beside the logits themselves.
    rows = [_cells(row, log_base, wanted) for row in logits]
    cells = {name: torch.cat([row[name].flatten() for row in rows]) for name in rows[0]}
    each, grid = len(wanted), len(layers) * len(tokens)
    log_p, log_b = cells["log_p"], log_base[wanted].repeat(grid)
    best = [None if i < 0 else i for i in cells["best"].tolist()]
    ranks = [None if rank < 1 else rank for rank in cells["rank"].tolist()]
    contrasts = [next((n for n, u in enumerate(wanted) if u != t), None) for t in wanted]
    against = [n if other is None else other for n, other in enumerate(contrasts)]
    lead = log_p.view(grid, each) - log_p.view(grid, each)[:, against]
    lead[:, [n for n, other in enumerate(contrasts) if other is None]] = float("nan")

    def by_target(values: Sequence[Any]) -> list[Any]:
        return list(values) * grid

    def by_cell(values: Sequence[Any]) -> list[Any]:
        return [value for value in values for _ in range(each)]

    def by_position(values: Sequence[Any]) -> list[Any]:
        return by_cell(list(values) * len(layers))

    target_texts = [token_text(target) for target in wanted]
    return _table(
        "sweep_frame",
        component=[component] * (grid * each),
        head=[head] * (grid * each),
        layer=[int(layer) for layer in layers for _ in range(len(tokens) * each)],
        position=by_position([token.index for token in tokens]),
        token=by_position([token.text for token in tokens]),
        token_id=by_position([token.id for token in tokens]),
        label=by_position([visible(token.text) for token in tokens]),
        source_position=by_position([int(position) for position in source_positions]),
        target_id=by_target(wanted),
        target=by_target(target_texts),
        target_label=by_target([visible(text) for text in target_texts]),
        probability=log_p.exp(),
        base_probability=log_b.exp(),
        delta=log_p.exp() - log_b.exp(),
        log_ratio=log_p - log_b,
        contrast_id=by_target([None if n is None else wanted[n] for n in contrasts]),
        logit_difference=lead.flatten(),
        rank=ranks,
        kl=cells["kl"].repeat_interleave(each),
        best_id=by_cell(best),
        best=by_cell([None if i is None else token_text(i) for i in best]),
        best_probability=cells["best_p"].repeat_interleave(each),
    )


def _cells(logits: Tensor, log_base: Tensor, targets: list[int]) -> dict[str, Tensor]:
    """Statistics of one layer's cells, `(positions, vocabulary)`; not run: NaN, rank 0, best -1."""
    values = _double(logits)
    missing = values.isnan().any(-1)
    log_p = values.log_softmax(-1)
    chosen = values[:, targets]
    ids = torch.arange(values.shape[-1])
    above = [
        (values > x[:, None]).sum(-1) + ((values == x[:, None]) & (ids < t)).sum(-1)
        for t, x in zip(targets, chosen.T, strict=True)
    ]
    rank = torch.stack(above, -1) + 1
    top = values.amax(-1, keepdim=True)
    # The lowest id among the largest; argmax promises no order among equals.
    best = torch.where(values == top, ids, len(ids)).amin(-1)
    best_p = log_p.amax(-1).exp()
    kl = _kl_parts(log_base, log_p).sum(-1).clamp(min=0)
    nan = float("nan")
    return {
        "log_p": log_p[:, targets].masked_fill(missing[:, None], nan),
        "rank": rank.masked_fill(missing[:, None], 0),
        "kl": kl.masked_fill(missing, nan),
        "best": best.masked_fill(missing, -1),
        "best_p": best_p.masked_fill(missing, nan),
    }


def _kl_parts(log_before: Tensor, log_after: Tensor) -> Tensor:
    """P after · ln (P after / P before) of every token; 0 where P after is 0."""
    p = log_after.exp()
    return torch.where(p == 0, 0.0, p * (log_after - log_before))


def _order(values: Tensor) -> Tensor:
    """Indices from the largest value down, lower index first among equals."""
    return torch.sort(values, descending=True, stable=True).indices


def _ranks(values: Tensor) -> Tensor:
    """Place of every index in `_order`, from 1."""
    ranks = torch.empty(len(values), dtype=torch.long)
    ranks[_order(values)] = torch.arange(1, len(values) + 1)
    return ranks


def _double(values: Tensor) -> Tensor:
    """In float64, on the CPU: not every device has float64."""
    return values.detach().cpu().double()


def _checked(logits: Tensor, what: str = "logits") -> Tensor:
    """Logits of one distribution in float64, refused when no distribution can come of them."""
    if logits.ndim != 1 or not len(logits):
        raise RequestError(
            f"{what} of shape {tuple(logits.shape)} do not fit; one distribution `(vocabulary,)` "
            "is needed, for instance run.logits[-1]."
        )
    values = _double(logits)
    if (values == -float("inf")).all():
        raise RequestError(f"{what}: every value is -inf, so there is no distribution.")
    if bad := int((values.isnan() | (values == float("inf"))).sum()):
        raise RequestError(
            f"{what}: {bad} of {len(values)} values are NaN or infinite, so there is no "
            "distribution. Half precision overflows this way: load the model in float32."
        )
    return values


def _same_size(logits: Mapping[str, Tensor]) -> None:
    sizes = {name: len(values) for name, values in logits.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name!r} {size}" for name, size in sizes.items())
        raise RequestError(f"vocabularies differ ({listed}); one vocabulary is needed.")


def _count(k: int, vocabulary: int) -> int:
    if k < 1:
        raise RequestError(f"k={k} does not fit; 1 to {vocabulary} tokens can be listed.")
    return min(k, vocabulary)


def _table(name: str, **columns: Any) -> pd.DataFrame:
    """A frame with the columns of `FRAMES` and the dtypes of `COLUMNS`."""
    values = {
        column: data.numpy() if isinstance(data, torch.Tensor) else data
        for column, data in columns.items()
    }
    series = {c: pd.Series(values[c], dtype=COLUMNS[c].dtype) for c in FRAMES[name]}
    return pd.DataFrame(series)
