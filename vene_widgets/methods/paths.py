"""paths(): path patching, the effect that one component has directly on another or on the answer.

Wang et al. 2022, "Interpretability in the Wild: a Circuit for Indirect Object Identification in
GPT-2 small"; Goldowsky-Dill et al. 2023, "Localizing Model Behavior with Path Patching".
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal, overload

import torch

from vene_widgets.engine.own_model import own_model
from vene_widgets.engine.turns import finish, in_turns
from vene_widgets.experiments.pair_arguments import pairs_of
from vene_widgets.experiments.pairs import named_row
from vene_widgets.methods.path_means import PathMeans
from vene_widgets.methods.path_request import Targets, read_requests
from vene_widgets.methods.path_results import Paths

if TYPE_CHECKING:
    import pandas as pd

    from vene_widgets.experiments.fields import Where
    from vene_widgets.models import LanguageModel


@overload
def paths(
    model: LanguageModel,
    base: str,
    source: str,
    *,
    senders: Literal["heads", "mlps", "all"] | str | Sequence[Any] = "heads",
    receivers: str | Sequence[Any] = "logits",
    together: bool = False,
    positions: Where | None = None,
    targets: Targets | None = None,
    norms: Literal["exact", "frozen"] = "exact",
    mlps: Literal["frozen", "recomputed"] = "frozen",
    metric: str = "logit_difference",
) -> Paths: ...


@overload
def paths(
    model: LanguageModel,
    base: Sequence[str] | pd.DataFrame | Iterable[Any],
    source: Sequence[str] | None = None,
    *,
    senders: Literal["heads", "mlps", "all"] | str | Sequence[Any] = "heads",
    receivers: str | Sequence[Any] = "logits",
    together: bool = False,
    positions: Where | None = None,
    targets: Targets | None = None,
    norms: Literal["exact", "frozen"] = "exact",
    mlps: Literal["frozen", "recomputed"] = "frozen",
    metric: str = "logit_difference",
) -> Paths | PathMeans: ...


def paths(
    model: LanguageModel,
    base: str | Sequence[str] | pd.DataFrame | Iterable[Any],
    source: str | Sequence[str] | None = None,
    *,
    senders: Literal["heads", "mlps", "all"] | str | Sequence[Any] = "heads",
    receivers: str | Sequence[Any] = "logits",
    together: bool = False,
    positions: Where | None = None,
    targets: Targets | None = None,
    norms: Literal["exact", "frozen"] = "exact",
    mlps: Literal["frozen", "recomputed"] = "frozen",
    metric: str = "logit_difference",
) -> Paths | PathMeans:
    """Patch single paths: what a sender writes reaches the receiver directly, and nothing else.

    The sender's output is taken from the source run; every other head and MLP between it and the
    receiver keeps what it computes in the base run. Only the receiver's input changes, by what the
    sender adds to the residual stream; from the receiver on, everything is computed anew.

    Args:
        model: from `load` or `wrap`; it is left exactly as it was.
        base, source: prompts of equally many tokens; position i of one stands for position i of the
            other. Or equally many of each, or `base` alone, a table of pairs with `base`, `source`
            and `targets` as for `sweep_pairs`: effects are then means over the pairs.
        senders: `"heads"`, `"mlps"`, `"all"` (both, and the embedding), or names: `"9.9"` or
            `(9, 9)` for a head, `"mlp5"`, `"embedding"`.
        receivers: `"logits"`, or a list of `("9.9", "q")`, with `"q"`, `"k"` or `"v"` for what the
            head computes from its input, and of `"mlp10"`. Of a model whose heads share keys and
            values, `"k"` and `"v"` count key-value heads.
        together: patch all receivers in one run, as Wang et al. do with a class of heads, instead
            of one run for each.
        positions: of the senders, written as in `Slot`; None for all. For the logits only the last
            one counts: the residual stream does not move between positions.
        targets: the target and the contrast token, by text or id, of all pairs; None for those of
            the table, or the token that the source raises most, and the base's answer.
        norms: which numbers count for `share`, `strongest` and `plot`: `"exact"` computes the norm
            before the receiver anew; `"frozen"` holds its scale at the base's. To the logits,
            whatever follows the head is held too, so that effects add up, and the frame has both
            in either case; to other receivers `"frozen"` takes twice as long and gives both.
        mlps: `"frozen"` holds MLPs too, so that a path is one edge of the residual stream
            (Goldowsky-Dill et al.); `"recomputed"` lets them compute anew, so that a path may lead
            through MLPs (Wang et al.).
        metric: `"logit_difference"`, `"logit"`, `"probability"` or `"log_probability"`.

    Returns:
        `Paths` of one pair; of several, `PathMeans`, whose frame also has `n` and `standard_error`.

    Raises:
        RequestError: prompts of unequal length, an unknown sender or receiver, a sender that is not
            before its receiver, an option that has no meaning with the others, a model whose
            residual stream is no sum, or numbers that are not finite.
    """
    requests = read_requests(
        model,
        pairs_of(base, source),
        senders=senders,
        receivers=receivers,
        together=together,
        positions=positions,
        targets=targets,
        norms=norms,
        mlps=mlps,
        metric=metric,
    )
    model.accept_hooks()
    found: list[Paths] = []
    with model.lock, torch.no_grad(), own_model(model):
        for one in requests:
            with nullcontext() if one.row is None else named_row(one.row):
                found.append(finish(one.steps()))
    if len(found) == 1:
        return found[0]
    return PathMeans(model=model, pairs=tuple(found), norms=norms, mlps=mlps)


def path_steps(
    model: LanguageModel, base: str, source: str, **options: Any
) -> Generator[None, None, Paths]:
    """`paths` in steps, between which the model is free.

    Args:
        model, base, source: of one pair.
        options: of `read_requests`.

    Raises:
        RequestError: as in `paths`, or the model changed between two steps.
    """
    (request,) = read_requests(model, pairs_of(base, source), **options)
    model.accept_hooks()
    return (yield from in_turns(model, request.steps()))
