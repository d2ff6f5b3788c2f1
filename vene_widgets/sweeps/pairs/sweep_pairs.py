"""sweep_pairs(): one slot moved over the layers and positions of many pairs of prompts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from vene_widgets.errors import RequestError, choose, validated
from vene_widgets.experiments.fields import as_int
from vene_widgets.experiments.pairs import RESERVED, read_pairs, rows_of
from vene_widgets.experiments.sweep_request import SweepRequest
from vene_widgets.models.language_model import require_language_model
from vene_widgets.sweeps.following import Targets, followed_sets
from vene_widgets.sweeps.pairs.controls import checked_controls, control_rows
from vene_widgets.sweeps.pairs.effects import PAIR_METRICS, contrast_missing
from vene_widgets.sweeps.pairs.folder import SweepFolder
from vene_widgets.sweeps.pairs.model_source import model_source, weights_checksum
from vene_widgets.sweeps.pairs.pair_run import PairRun
from vene_widgets.sweeps.pairs.planning import PairPlan, plan_pairs
from vene_widgets.sweeps.pairs.results import KEEP, PairSweep
from vene_widgets.sweeps.pairs.running import Memory, Runner, Store
from vene_widgets.sweeps.pairs.workers import Workers
from vene_widgets.sweeps.sweep import heads_of

if TYPE_CHECKING:
    import pandas as pd

    from vene_widgets.models import LanguageModel
    from vene_widgets.sweeps.sweep import Event


def sweep_pairs(
    model: LanguageModel,
    pairs: pd.DataFrame | Iterable[Any],
    component: str = "block_output",
    *,
    head: int | Sequence[int] | Literal["all"] | None = None,
    layers: Sequence[int] | int | None = None,
    positions: Sequence[str | int] | str | int | None = None,
    intervention: str = "vanilla",
    prompts: Sequence[str] | str = (),
    targets: Targets = None,
    metric: str | None = None,
    keep: str = "all",
    controls: Sequence[str] | str | None = None,
    cluster: str | None = "base",
    seed: int = 0,
    client: object = None,
    folder: str | os.PathLike[str] | None = None,
    pairs_per_chunk: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancel: Event | None = None,
) -> PairSweep:
    """Move one slot over every layer and position of many pairs of prompts.

    Pairs whose prompts are equally long run as one batch, chunk by chunk: memory does not grow with
    the number of pairs, except for the few numbers that are kept of each.

    Args:
        model: from `load` or `wrap`; it is left exactly as it was.
        pairs: a DataFrame or a list of dicts, one row per pair: `base` and `source`, the tokens to
            follow as `targets` (or `target` and `contrast`), and columns that name positions. The
            first target is the one that patching should bring out, as a rule the source's answer;
            the second is its contrast, the base's. A list of tokens in the place of a token is a
            set, whose probabilities are added. Without targets, each pair follows the token
            that its source raises most and its base's answer. `vene_widgets.tasks` makes such
            tables.
        component: the tensor that is swapped, as in `Slot`.
        head: of a per-head component: one, several, or `"all"`.
        layers: which layers, None for all.
        positions: the columns of the map, the same in all pairs: `"first"`, `"changed"` (the last
            token of the stretch in which base and source differ), `"last"`, a column of `pairs`, a
            token's text or an index. A column `subject` holds an index, or a text of the base, of
            which the last token counts; `source_subject` beside it says where it is in the source.
            None for every position if all bases have one length, else `["changed", "last"]`.
        intervention, prompts: the operator at every cell, as in `sweep`.
        targets: tokens to follow in every pair instead of its own, or sets of tokens by name,
            `{"right": [" Rome", …], "wrong": [" Madrid", …]}`, the target first.
        metric: what is averaged: `"recovery"`, `"logit_difference"`, `"probability"`, `"delta"`,
            `"log_ratio"`. None for recovery, or delta if pairs have one target or no source.
        keep: which pairs count: `"all"`, `"preferred"` (each plain run prefers its own answer to
            the other's) or `"top"` (its own answer is its likeliest token). It can be changed
            later (`PairSweep.counting`), and every figure says how many were left out.
        controls: the same sweep with something wrong put in: `"shuffled_pairs"` (the source of
            another pair), `"random_source"`, `"matched_noise"` (a random change of the same norm),
            `"shuffled_weights"`. Each costs as much as the sweep. None for the first, or noise if
            the intervention reads no source; `()` for none.
        cluster: column of `pairs`: pairs with the same value there are not independent, and are
            resampled together. None if all are independent.
        seed: of controls, resampling and permutations.
        client: where chunks run: a `dask.distributed.Client`, or an executor of
            `concurrent.futures`. None for this process. A worker loads the model once, from where
            it was loaded here; one that was wrapped is saved to `folder` for them.
        folder: where results are kept as Parquet files, one per chunk, with a manifest. A sweep
            that was stopped goes on from what is there, and one that is done is only read.
        pairs_per_chunk: pairs that run as one chunk; None for as many as take a few seconds.
        progress: called with `(pairs done, pairs in all)`, those of controls counted too.
        cancel: when set, the sweep stops before its next chunk and raises `Cancelled`.

    Raises:
        RequestError: a value that is invalid for the model; for a pair, the message names its row.
        Cancelled: see `cancel`.
    """
    run = prepare_pairs(
        model, pairs, component, head=head, layers=layers, positions=positions,
        intervention=intervention, prompts=prompts, targets=targets, metric=metric, keep=keep,
        controls=controls, cluster=cluster, seed=seed, client=client, folder=folder,
        pairs_per_chunk=pairs_per_chunk,
    )  # fmt: skip
    run.runner.run(run.all_chunks, progress, cancel)
    return run.result()


def prepare_pairs(
    model: LanguageModel,
    pairs: pd.DataFrame | Iterable[Any],
    component: str = "block_output",
    *,
    head: int | Sequence[int] | Literal["all"] | None = None,
    layers: Sequence[int] | int | None = None,
    positions: Sequence[str | int] | str | int | None = None,
    intervention: str = "vanilla",
    prompts: Sequence[str] | str = (),
    targets: Targets = None,
    metric: str | None = None,
    keep: str = "all",
    controls: Sequence[str] | str | None = None,
    cluster: str | None = "base",
    seed: int = 0,
    client: object = None,
    folder: str | os.PathLike[str] | None = None,
    pairs_per_chunk: int | None = None,
    split: int = 1,
) -> PairRun:
    """Check the arguments of `sweep_pairs` and cut the data set into chunks; nothing runs.

    Args:
        model, pairs, component, head, layers, positions, intervention, prompts, targets, metric,
            keep, controls, cluster, seed, client, folder, pairs_per_chunk: as in `sweep_pairs`.
        split: by what a chunk is smaller than it would be, where neither its size is given nor a
            folder holds chunks.

    Raises:
        RequestError: see `sweep_pairs`.
    """
    require_language_model(model)
    plan, table = planned(
        model, pairs, component, head=head, layers=layers, positions=positions,
        intervention=intervention, prompts=prompts, targets=targets,
    )  # fmt: skip
    names = checked_controls(controls, plan.reads_source)
    _check(plan, table, metric, keep, cluster)
    if pairs_per_chunk is not None and as_int(pairs_per_chunk) < 1:
        raise RequestError(f"pairs_per_chunk must be at least 1, got {pairs_per_chunk}.")
    if (seed := as_int(seed)) < 0:
        raise RequestError(f"seed must be 0 or more, got {seed}.")
    model.accept_hooks()
    every = {"": plan.rows} | {name: control_rows(plan, name, seed) for name in names}
    path = None if folder is None else Path(folder).expanduser()
    workers = None if client is None else Workers(client)
    weights = 0 if path is None and workers is None else weights_checksum(model)
    sizes = plan.chunk_sizes(pairs_per_chunk)
    if pairs_per_chunk is None:
        sizes = {lengths: max(1, size // split) for lengths, size in sizes.items()}
    if path is None:
        store: Store = Memory(plan, every)
    else:
        store = SweepFolder(path, plan, weights, every, seed, pairs_per_chunk)
        sizes = store.sizes
    chunks = {name: list(plan.chunks(rows, name, sizes)) for name, rows in every.items()}
    source = None
    if workers is not None and not workers.shares_memory:
        source = model_source(model, plan.rows[0].base, seed, weights, path)
    runner = Runner(model, seed, store, workers, source)
    return PairRun(
        plan=plan, pairs=table, metric=metric, keep=keep, cluster=cluster, seed=seed,
        chunks=chunks, store=store, runner=runner,
    )  # fmt: skip


def planned(
    model: LanguageModel,
    pairs: object,
    component: str,
    *,
    head: int | Sequence[int] | Literal["all"] | None,
    layers: Sequence[int] | int | None,
    positions: Sequence[str | int] | str | int | None,
    intervention: str,
    prompts: Sequence[str] | str,
    targets: Targets,
) -> tuple[PairPlan, pd.DataFrame]:
    """Check the arguments of `sweep_pairs` against the model; the pairs also as a table."""
    heads = tuple(heads_of(model, component, head))
    fields: dict[str, Any] = {
        "component": component,
        "head": heads[0],
        "layers": layers,
        "intervention": intervention,
        "prompts": prompts,
    }
    request = validated(SweepRequest, **fields)
    places = [positions] if isinstance(positions, (str, int)) else positions
    places = None if places is None else [_place(place) for place in places]
    table = _table(pairs)
    columns = [
        place
        for place in places or ()
        if isinstance(place, str) and place in table.columns and place not in RESERVED
    ]
    read = read_pairs(table, columns)
    if isinstance(targets, Mapping):
        sets = followed_sets(model, cast("Mapping[object, Any]", targets))
        plan = plan_pairs(model, read, request, heads, places, sets.members, sets.names)
    else:
        followed = None if targets is None else model.resolve_tokens(targets, "target")
        plan = plan_pairs(model, read, request, heads, places, followed)
    return plan, table


def _place(place: object) -> str | int:
    return place if isinstance(place, str) else as_int(place)


def _table(pairs: object) -> pd.DataFrame:
    """A data set as a table of its own, rows numbered from 0."""
    import pandas as pd

    if isinstance(pairs, pd.DataFrame):
        return pairs.reset_index(drop=True)
    return pd.DataFrame(list(rows_of(pairs)))


def _check(
    plan: PairPlan, table: pd.DataFrame, metric: str | None, keep: str, cluster: str | None
) -> None:
    """Check, before anything runs, what is only used afterwards.

    Raises:
        RequestError: an unknown name, or one that the pairs do not allow.
    """
    count = len(plan.rows[0].targets) or 2
    choose(keep, KEEP, "keep")
    if metric is not None:
        needs = PAIR_METRICS[choose(metric, PAIR_METRICS, "metric")].needs_contrast
        if needs and count < 2:
            raise contrast_missing(f"metric {metric!r}")
        if metric == "recovery" and any(pair.source is None for pair in plan.pairs):
            raise RequestError(
                "metric 'recovery' is relative to the run of a source, and pairs have none. "
                "Metrics without: 'logit_difference', 'probability', 'delta', 'log_ratio'."
            )
    if keep != "all" and count < 2:
        raise contrast_missing(f"keep={keep!r}")
    if cluster is not None:
        choose(cluster, [str(name) for name in table.columns], "cluster")
