"""plan_sweep(): a sweep checked against a model and two prompts, its cells as integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vene_widgets.engine.positions import align, resolve_positions
from vene_widgets.errors import RequestError, choose
from vene_widgets.experiments.sweep_request import SweepRequest
from vene_widgets.interventions import INTERVENTIONS, Options
from vene_widgets.models.language_model import require_language_model
from vene_widgets.models.unwrapping import PickledWithoutWeights

if TYPE_CHECKING:
    from vene_widgets.models import LanguageModel, Token
    from vene_widgets.models.architectures import Component
    from vene_widgets.models.sites import Site


@dataclass(frozen=True)
class SweepPlan(PickledWithoutWeights):
    """A sweep checked against a model: what runs, and in which order.

    Attributes:
        model: the model that will run.
        request: what was asked.
        base_prompt, source_prompt: the prompts.
        base, source: their tokens.
        head: index of the head for per-head components, else None.
        layers, positions: the cells' layers and base positions, as ints from 0.
        source_positions: the source position that each base position is paired with.
        first_difference: the first base position that can differ from the source.
    """

    model: LanguageModel = field(repr=False)
    request: SweepRequest
    base_prompt: str
    source_prompt: str
    base: tuple[Token, ...]
    source: tuple[Token, ...]
    head: int | None
    layers: tuple[int, ...]
    positions: tuple[int, ...]
    source_positions: tuple[int, ...]
    first_difference: int

    @property
    def component(self) -> str:
        """Name of the swept component."""
        return self.request.component

    @property
    def intervention(self) -> str:
        """Name of the operator at every cell."""
        return self.request.intervention

    @property
    def component_facts(self) -> Component:
        """What the model's family says about the component."""
        return self.model.sites.architecture.components[self.component]

    @property
    def cell_count(self) -> int:
        """Number of cells."""
        return len(self.layers) * len(self.positions)

    def site(self, layer: int) -> Site:
        """The swept site at one layer."""
        return self.model.sites.site(layer, self.component, self.head)


def plan_sweep(
    model: LanguageModel, base: str, source: str, request: SweepRequest | None = None
) -> SweepPlan:
    """Check a sweep against a model and two prompts.

    Args:
        model: from `load` or `wrap`.
        base, source: the prompts.
        request: what to sweep; None for `block_output` at every layer and position.

    Raises:
        RequestError: an invalid component, head, layer, position or intervention.
    """
    require_language_model(model)
    request = request or SweepRequest()
    kind = INTERVENTIONS[choose(request.intervention, INTERVENTIONS, "intervention")]
    if request.intervention == "mean":
        raise RequestError(
            "intervention 'mean' needs prompts to take the mean of, which a sweep does not have; "
            "run one slot at a time instead."
        )
    base_tokens, source_tokens = tuple(model.tokens(base)), tuple(model.tokens(source))
    layers = range(model.sites.layers) if request.layers is None else request.layers
    sites = [
        model.sites.site(layer, request.component, request.head)
        for layer in ((layers,) if isinstance(layers, int) else layers)
    ]
    for site in sites:
        kind.size(Options(site.width))  # refuses operators that need more than a width
    wanted = request.positions
    positions = resolve_positions(
        tuple(range(len(base_tokens))) if wanted is None else wanted,
        base_tokens,
        "sweep positions",
        "base",
        distinct=True,
    )
    if request.source_positions is None:
        paired = align(base_tokens, source_tokens)
        partners = tuple(paired[position] for position in positions)
    else:
        partners = resolve_positions(
            request.source_positions, source_tokens, "sweep source_positions", "source"
        )
    if len(partners) != len(positions) or not sites or not positions:
        raise RequestError(
            f"sweep has {len(sites)} layers, {len(positions)} positions and {len(partners)} "
            "source positions: it needs at least one layer and one position, and source position "
            "i goes to base position i."
        )
    return SweepPlan(
        model=model,
        request=request,
        base_prompt=base,
        source_prompt=source,
        base=base_tokens,
        source=source_tokens,
        head=sites[0].head,
        layers=tuple(site.layer for site in sites),
        positions=positions,
        source_positions=partners,
        first_difference=_first_difference(base_tokens, source_tokens),
    )


def _first_difference(base: Sequence[Token], source: Sequence[Token]) -> int:
    """First position at which two prompts differ; the shorter length if one begins the other."""
    for index, (one, other) in enumerate(zip(base, source, strict=False)):
        if one.id != other.id:
            return index
    return min(len(base), len(source))
