"""plan_sweep(): a sweep checked against a model, and which of its cells can matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vene_widgets.engine.planning import align, check_model, resolve_positions
from vene_widgets.errors import RequestError, choose
from vene_widgets.experiments.experiment import plain_ints
from vene_widgets.interventions import INTERVENTIONS, Options

if TYPE_CHECKING:
    from vene_widgets.models import LanguageModel, Token
    from vene_widgets.models.sites import Site

BEFORE_KEYS = ("block_input", "attention_input", "key_output", "value_output")
"""Components whose change at an earlier position still reaches the last one within their block."""

BEFORE_ATTENTION = (*BEFORE_KEYS, "query_output")
"""Components into which nothing of other positions has come within their block."""


@dataclass(frozen=True)
class SweepPlan:
    """A sweep checked against a model: what runs, in which order, and what need not run.

    Attributes:
        base, source: the prompts' tokens.
        layers, positions: the cells' layers and base positions, as ints from 0.
        source_positions: the source position that each base position is paired with.
        first_difference: the first base position that can differ from the source: prompts agree
            before it, so swapping there changes nothing and needs no run.
    """

    model: LanguageModel = field(repr=False)
    base_prompt: str
    source_prompt: str
    base: tuple[Token, ...]
    source: tuple[Token, ...]
    component: str
    head: int | None
    layers: tuple[int, ...]
    positions: tuple[int, ...]
    source_positions: tuple[int, ...]
    first_difference: int
    intervention: str = "vanilla"

    def site(self, layer: int) -> Site:
        """The swept site at one layer."""
        return self.model.sites.site(layer, self.component, self.head)


def plan_sweep(
    model: LanguageModel,
    base: str,
    source: str,
    component: str = "block_output",
    *,
    head: int | None = None,
    layers: Sequence[int] | int | None = None,
    positions: Sequence[int] | int | str | None = None,
    source_positions: Sequence[int] | int | str | None = None,
    intervention: str = "vanilla",
) -> SweepPlan:
    """Check a sweep against a model; arguments as in `sweep`."""
    check_model(model)
    kind = INTERVENTIONS[choose(intervention, INTERVENTIONS, "intervention")]
    if intervention == "mean":
        raise RequestError(
            "intervention 'mean' needs prompts to take the mean of, which a sweep does not have; "
            "run one slot at a time instead."
        )
    base_tokens, source_tokens = tuple(model.tokens(base)), tuple(model.tokens(source))
    wanted = plain_ints(range(model.sites.layers) if layers is None else layers)
    sites = [
        model.sites.site(layer, component, head)
        for layer in ((wanted,) if isinstance(wanted, int) else wanted)
    ]
    for site in sites:
        kind.size(Options(site.width))  # refuses what cannot be made from a width alone
    chosen = plain_ints(range(len(base_tokens)) if positions is None else positions)
    where = resolve_positions(chosen, base_tokens, "sweep.position", "base")
    if source_positions is None:
        paired = align(base_tokens, source_tokens)
        partners = tuple(paired[position] for position in where)
    else:
        partners = resolve_positions(
            plain_ints(source_positions), source_tokens, "sweep.source_position", "source"
        )
    if len(partners) != len(where) or not sites or not where:
        raise RequestError(
            f"sweep has {len(sites)} layers, {len(where)} positions and {len(partners)} source "
            "positions: at least one layer and one position are needed, and source position i "
            "goes to base position i."
        )
    return SweepPlan(
        model=model,
        base_prompt=base,
        source_prompt=source,
        base=base_tokens,
        source=source_tokens,
        component=component,
        head=sites[0].head,
        layers=tuple(site.layer for site in sites),
        positions=where,
        source_positions=partners,
        first_difference=_first_difference(base_tokens, source_tokens),
        intervention=intervention,
    )


def can_matter(checked: SweepPlan, layer: int, column: int) -> bool:
    """Whether a cell's swap can change the answer at the last position at all.

    An interchange cannot where base and source hold the same states; and nothing can in the last
    block after its keys and values are made, unless at the last position.
    """
    if checked.intervention == "vanilla" and holds_the_same(checked, layer, column):
        return False
    early = checked.component.removeprefix("head_") in BEFORE_KEYS
    ends_here = layer == checked.model.sites.layers - 1 and not early
    return not ends_here or checked.positions[column] == len(checked.base) - 1


def holds_the_same(checked: SweepPlan, layer: int, column: int) -> bool:
    """Whether base and source have equal states at a cell's site, whatever the weights are.

    They do where the prompts agree up to there, and before the first attention where just the
    tokens are equal and stand at the same position.
    """
    position, partner = checked.positions[column], checked.source_positions[column]
    if position != partner:
        return False
    if position < checked.first_difference:
        return True
    alone = layer == 0 and checked.component.removeprefix("head_") in BEFORE_ATTENTION
    return alone and checked.base[position].id == checked.source[partner].id


def _first_difference(base: Sequence[Token], source: Sequence[Token]) -> int:
    """First position at which two prompts differ; the shorter length when one begins the other."""
    for index, (one, other) in enumerate(zip(base, source, strict=False)):
        if one.id != other.id:
            return index
    return min(len(base), len(source))
