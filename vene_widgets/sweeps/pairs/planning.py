"""plan_pairs(): a data set checked against a model, its pairs as integers, in chunks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING

from vene_widgets.errors import RequestError
from vene_widgets.experiments.operators import OPERATORS
from vene_widgets.experiments.pairs import Pair, Target, named_row
from vene_widgets.experiments.token_text import visible
from vene_widgets.sweeps.pairs.chunks import PairChunk, PairRow
from vene_widgets.sweeps.pairs.pair_targets import (
    TargetIds,
    resolved_targets,
    role,
    set_key,
    token_count,
)
from vene_widgets.sweeps.pairs.places import NAMES, resolve_places
from vene_widgets.sweeps.planning import SweepPlan, first_difference, plan_sweep

if TYPE_CHECKING:
    from vene_widgets.experiments.sweep_request import SweepRequest
    from vene_widgets.models import LanguageModel, Token

OWN_TARGETS = 2
"""Tokens that are followed of each pair if none are named (`tables.statistics.default_targets`)."""

UNEQUAL = ("changed", "last")
"""The places of pairs whose bases differ in length, if none are named."""

CPU_OPERATIONS, GPU_OPERATIONS = 1e11, 2e13
"""Multiplications and additions of one chunk: seconds of a CPU core or of an accelerator.

Measured in maps of five tokens: two CPU cores do 2e10 a second with the built-in model, and 8e10
with GPT-2 small; an H100 does 5e12 with GPT-2 small."""

CPU_BYTES, GPU_BYTES = 2**29, 2**32
"""Memory that the states and the logits of one chunk may take."""


@dataclass(frozen=True, eq=False)
class PairPlan:
    """A data set checked against a model.

    Attributes:
        model: the model that will run.
        pairs: as they were given, in order.
        request: component and intervention; of layers, heads and places see below.
        heads: the heads to sweep one after the other; `(None,)` for whole vectors.
        layers: indices of blocks.
        places: names of the places, one per column of a map; an index is written as its digits.
        labels: what a figure calls each of them: the token that all bases have there, or the name.
        mean_tokens: as in `SweepPlan`.
        rows: the pairs as integers.
        names: of sets that are followed in every pair, by what stands for their ids.
    """

    model: LanguageModel = field(repr=False)
    pairs: tuple[Pair, ...] = field(repr=False)
    request: SweepRequest
    heads: tuple[int | None, ...]
    layers: tuple[int, ...]
    places: tuple[str, ...]
    labels: tuple[str, ...]
    mean_tokens: tuple[tuple[int, ...], ...]
    rows: tuple[PairRow, ...] = field(repr=False)
    names: Mapping[int, str] = field(default_factory=dict["int", "str"])

    def target_text(self, key: int) -> str:
        """The text of a token that is followed, or the name of a set."""
        if key < 0:
            return self.names.get(key) or role(set_key(key))
        return self.model.token_text(key)

    @property
    def target_count(self) -> int:
        """How many tokens are followed of each pair."""
        return len(self.rows[0].targets) or OWN_TARGETS

    @property
    def cell_count(self) -> int:
        """Number of cells of one pair's map."""
        return len(self.heads) * len(self.layers) * len(self.places)

    @cached_property
    def reads_source(self) -> bool:
        """Whether the intervention copies from a source."""
        return OPERATORS[self.request.intervention].needs_source

    @property
    def copies(self) -> bool:
        """Whether cells copy the source's states as they are."""
        return self.request.intervention == "vanilla"

    def chunks(
        self, rows: Sequence[PairRow], control: str, sizes: Mapping[tuple[int, int], int]
    ) -> Iterator[PairChunk]:
        """Split pairs into chunks of equal lengths, in the order of the data set.

        Args:
            rows: the pairs, or those of a control.
            control: its name; empty for the sweep itself.
            sizes: from `chunk_sizes`.
        """
        groups: dict[tuple[int, int], list[PairRow]] = {}
        for row in rows:
            groups.setdefault(row.lengths, []).append(row)
        number = 0
        for lengths, group in groups.items():
            for start in range(0, len(group), sizes[lengths]):
                yield PairChunk(
                    number=number,
                    control=control,
                    request=self.request,
                    heads=self.heads,
                    layers=self.layers,
                    mean_tokens=self.mean_tokens,
                    rows=tuple(group[start : start + sizes[lengths]]),
                )
                number += 1

    def chunk_sizes(self, size: int | None = None) -> dict[tuple[int, int], int]:
        """How many pairs of each pair of lengths make a chunk.

        Args:
            size: the same for all; None for what `chunk_size` says.
        """
        firsts = {row.lengths: row for row in reversed(self.rows)}
        return {lengths: size or self.chunk_size(row) for lengths, row in firsts.items()}

    def chunk_size(self, row: PairRow) -> int:
        """How many pairs like this one make a chunk: by arithmetic, so that it is always the same.

        It counts the products of the blocks and of the head, as in `docs/benchmarks.md`.
        """
        sites, is_cpu = self.model.sites, self.model.device.type == "cpu"
        length, width = len(row.base), sites.d_model
        # Copying changes nothing before the prompts differ.
        first = first_difference(row.base, row.source) if self.copies else 0
        columns = [position for position in row.positions if position >= first]
        cells = len(self.heads) * len(self.layers) * len(columns)
        attention = 4 * width * sites.heads * sites.d_head
        block = attention + 3 * width * sites.d_mlp
        token_blocks = sum(
            (length - position) * (sites.layers - layer - 1) * len(self.heads)
            for layer in self.layers
            for position in columns
        )
        plain = (length + len(row.source)) * sites.layers
        head = (cells + 2) * width * sites.vocabulary
        operations = 2 * ((token_blocks + plain) * block + head)
        read = sites.vocabulary + 4 * token_count(row.targets)
        states = 5 * sites.layers * length * width * len(self.heads) + cells * read
        limit = CPU_OPERATIONS if is_cpu else GPU_OPERATIONS
        memory = (CPU_BYTES if is_cpu else GPU_BYTES) // (states * self.model.dtype.itemsize)
        return max(1, min(int(limit // operations), memory))


def plan_pairs(
    model: LanguageModel,
    pairs: tuple[Pair, ...],
    request: SweepRequest,
    heads: tuple[int | None, ...],
    places: Sequence[str | int] | None,
    targets: Sequence[Target] | None,
    names: Mapping[int, str] | None = None,
) -> PairPlan:
    """Check a data set against a model, before anything runs.

    Args:
        model: from `load` or `wrap`.
        pairs: from `experiments.pairs.read_pairs`.
        request: component, layers and intervention.
        heads: the heads to sweep.
        places: the columns of the map; None for every position if all bases have one length, else
            for `UNEQUAL`.
        targets: what to follow in every pair; None for each pair's own.
        names: as in `PairPlan`.

    Raises:
        RequestError: a pair is invalid for the model; the message names its row and the reason.
    """

    @cache  # the pairs of a data set share their prompts and their words
    def tokens(prompt: str) -> tuple[Token, ...]:
        return tuple(model.tokens(prompt))

    @cache
    def ids(prompt: str) -> tuple[int, ...]:
        return tuple(token.id for token in tokens(prompt))

    @cache
    def token_id(token: str | int) -> int:
        return model.resolve_token(token, "target")

    @cache
    def target_ids(own: tuple[Target, ...]) -> tuple[TargetIds, ...]:
        return resolved_targets(own, token_id, model.token_text)

    known: dict[tuple[int, ...], tuple[int, ...]] = {}

    def shared(numbers: tuple[int, ...]) -> tuple[int, ...]:
        """The first tuple with these numbers, so that a million pairs do not hold one each."""
        return known.setdefault(numbers, numbers)

    reads = OPERATORS[request.intervention].needs_source
    lengths: set[int] = set()
    prompts: list[tuple[tuple[Token, ...], tuple[Token, ...]]] = []
    for number, pair in enumerate(pairs):
        with named_row(number):
            if pair.source is None and reads:
                raise RequestError(
                    f"source is missing: intervention {request.intervention!r} reads the run of a "
                    "source prompt. Those that read none: 'zero', 'mean', 'noise'."
                )
            source = pair.base if pair.source is None else pair.source
            prompts.append((tokens(pair.base), tokens(source)))
            lengths.add(len(prompts[-1][0]))
    if places is None:
        places = UNEQUAL if len(lengths) > 1 else range(lengths.copy().pop())
    if not places:
        raise RequestError(
            f"positions must name at least one place: {', '.join(NAMES)}, a column of the pairs, "
            "a token's text or an index."
        )
    rows: list[PairRow] = []
    plan: SweepPlan | None = None
    for number, (pair, (base, source)) in enumerate(zip(pairs, prompts, strict=True)):
        with named_row(number):
            here, there = resolve_places(pair, base, source, places)
            own = tuple(targets) if targets is not None else pair.targets
            if plan is None or request.prompts:
                own_request = request.replace(head=heads[0], positions=here)
                plan = plan_sweep(model, pair.base, pair.source or pair.base, own_request)
                there = plan.source_positions if request.prompts else there
            rows.append(
                PairRow(
                    pair=number,
                    base=ids(pair.base),
                    source=ids(pair.base if pair.source is None else pair.source),
                    targets=target_ids(own),
                    positions=shared(here),
                    source_positions=shared(there),
                    mean_positions=plan.mean_positions,
                )
            )
            _require_as_many_targets(rows)
    assert plan is not None  # noqa: S101  # there is a pair
    return PairPlan(
        model=model,
        pairs=pairs,
        request=request,
        heads=heads,
        layers=plan.layers,
        places=tuple(str(place) for place in places),
        labels=_labels(places, rows, [base for base, _ in prompts]),
        mean_tokens=plan.mean_tokens,
        rows=tuple(rows),
        names=names or {},
    )


def _require_as_many_targets(rows: Sequence[PairRow]) -> None:
    """Check that the last pair has as many targets as the first.

    Raises:
        RequestError: it has more or fewer.
    """
    first, last = len(rows[0].targets), len(rows[-1].targets)
    if first != last:
        raise RequestError(
            f"targets are {last} tokens, but row 0 has {first}: every pair must have as many."
        )


def _labels(
    places: Sequence[str | int], rows: Sequence[PairRow], bases: Sequence[Sequence[Token]]
) -> tuple[str, ...]:
    """What a figure calls each place."""
    labels: list[str] = []
    for column, place in enumerate(places):
        texts = {base[row.positions[column]].text for row, base in zip(rows, bases, strict=True)}
        token = visible(texts.pop()) if len(texts) == 1 else None
        if isinstance(place, str):
            labels.append(place)
        else:
            labels.append(f"position {place}" if token is None else token)
    return tuple(labels)
