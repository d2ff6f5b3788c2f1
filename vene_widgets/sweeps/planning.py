"""plan_sweep(): a sweep checked against a model and its prompts, its cells as integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from vene_widgets.engine.planning import Plan, plan_experiment
from vene_widgets.engine.positions import align, common_ends, resolve_positions
from vene_widgets.errors import RequestError, choose, shown
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.fields import ALL
from vene_widgets.experiments.operators import OPERATORS
from vene_widgets.experiments.sweep_request import SweepRequest
from vene_widgets.interventions import INTERVENTIONS, Options
from vene_widgets.models.language_model import require_language_model
from vene_widgets.models.unwrapping import PickledWithoutWeights

if TYPE_CHECKING:
    from vene_widgets.experiments.slot import Slot
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
        source_positions: the source position that each base position is paired with. Of a `mean`,
            as in a slot: one int for all prompts that it is over, negative from the end.
        first_difference: the first base position that can differ from the source.
        mean_tokens: ids of the tokens of each prompt that a `mean` is over.
        mean_positions: per prompt, the position that each cell reads there.
        fixed: the slots that every cell has as well, as an experiment of its base; None without.
        seeds: of the fixed noise; the numbers are those of the mean over them.
        noise_seed: of a control: each change is replaced by one of the same norm in a random
            direction, drawn from this seed, the cell's layer and its position.
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
    mean_tokens: tuple[tuple[int, ...], ...] = ()
    mean_positions: tuple[tuple[int, ...], ...] = ()
    fixed: Plan | None = None
    seeds: tuple[int, ...] = ()
    noise_seed: int | None = None

    @property
    def first_fixed(self) -> int | None:
        """The first base position that a fixed slot changes; None without."""
        held = self.fixed.live if self.fixed else ()
        return min((p for slot in held for p in slot.base_positions), default=None)

    def window_of(self, layer: int) -> range:
        """The layers that a cell changes."""
        size = self.request.window
        first, stop = layer - size // 2, layer - size // 2 + size
        return range(max(0, first), min(self.model.sites.layers, stop))

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


def plan_sweeps(
    model: LanguageModel,
    base: str,
    source: str,
    request: SweepRequest,
    sources: Mapping[str, str] | None = None,
) -> tuple[SweepPlan, ...]:
    """Plan one sweep, or one per head of a request for all heads; arguments as `plan_sweep`.

    Raises:
        RequestError: also for all heads of a component that has none.
    """
    if request.head != ALL:
        return (plan_sweep(model, base, source, request, sources),)
    require_language_model(model)
    fixed = plan_fixed(model, base, source, request.fixed, sources)
    return tuple(
        replace(
            plan_sweep(model, base, source, request.replace(head=head), fixed=fixed),
            request=request,
        )
        for head in range(head_count(model, request.component, ALL))
    )


def head_count(model: LanguageModel, component: str, head: object) -> int:
    """How many heads a component has.

    Args:
        model: the model.
        component: one of ours.
        head: what was asked for, for the error message.

    Raises:
        RequestError: the model lacks the component, or it has one vector per position.
    """
    sites = model.sites
    choose(component, sites.components, f"component (on {sites.architecture.name})")
    count = sites.head_count(component)
    if count is None:
        raise RequestError(
            f"head {shown(head)} is invalid for component {component!r}, which has one vector per "
            "position. Per-head components: "
            f"{', '.join(c for c in sites.components if c.startswith('head_'))}."
        )
    return count


def plan_fixed(
    model: LanguageModel,
    base: str,
    source: str,
    slots: Sequence[Slot],
    sources: Mapping[str, str] | None = None,
) -> Plan | None:
    """Check the fixed slots of a sweep.

    Args:
        model: the model.
        base, source: the sweep's prompts.
        slots: the slots.
        sources: further source prompts by name. The sweep's own is `"source"`, unless one of these
            has that name.

    Returns:
        None without a slot that acts.

    Raises:
        RequestError: a slot that is invalid for the model; the message names it.
    """
    if all(slot.skip for slot in slots):
        return None
    own = {} if "source" in (sources or {}) else {"source": source}
    try:
        experiment = Experiment(base=base, sources={**own, **(sources or {})}, slots=slots)
        return plan_experiment(model, experiment)
    except RequestError as error:
        raise RequestError(str(error).replace("slots[", "fixed[")) from None


def plan_sweep(
    model: LanguageModel,
    base: str,
    source: str,
    request: SweepRequest | None = None,
    sources: Mapping[str, str] | None = None,
    *,
    fixed: Plan | None = None,
) -> SweepPlan:
    """Check a sweep against a model and its prompts.

    Args:
        model: from `load` or `wrap`.
        base, source: the prompts.
        request: what to sweep; None for `block_output` at every layer and position. Of one head:
            `plan_sweeps` takes all of them.
        sources: for fixed slots, as in `plan_fixed`.
        fixed: the request's fixed slots, if they are planned already.

    Raises:
        RequestError: an invalid component, head, layer, position or intervention, or a `mean`
            without prompts.
    """
    require_language_model(model)
    request = request or SweepRequest()
    kind = INTERVENTIONS[choose(request.intervention, INTERVENTIONS, "intervention")]
    is_mean = request.intervention == "mean"
    if is_mean and not request.prompts:
        raise RequestError(
            "intervention 'mean' needs prompts to take the mean of, got none: pass prompts=[...]"
        )
    if request.prompts and not is_mean:
        raise RequestError(
            f"prompts are for intervention 'mean'; {request.intervention!r} reads none"
        )
    base_tokens, source_tokens = tuple(model.tokens(base)), tuple(model.tokens(source))
    wanted = range(model.sites.layers) if request.layers is None else request.layers
    layers = (wanted,) if isinstance(wanted, int) else wanted
    sites = [
        model.sites.site(layer, request.component, None if request.head == ALL else request.head)
        for layer in layers
    ]
    if len({site.layer for site in sites}) != len(sites):
        raise RequestError(
            f"sweep layers {shown(list(layers))} name a layer twice: expected distinct layers from "
            f"0 to {model.sites.layers - 1}."
        )
    for site in sites:
        kind.size(Options(site.width))  # refuses operators that need more than a width
    positions = resolve_positions(
        tuple(range(len(base_tokens))) if request.positions is None else request.positions,
        base_tokens,
        "sweep positions",
        "base",
        distinct=True,
    )
    prompts = [tuple(model.tokens(prompt)) for prompt in request.prompts]
    mean_positions: tuple[tuple[int, ...], ...] = ()
    if is_mean:
        common = _common_positions(base_tokens, prompts, positions)
        mean_positions = tuple(
            resolve_positions(
                common if request.source_positions is None else request.source_positions,
                tokens,
                "sweep source_positions",
                f"prompt {shown(prompt, 40)}",
            )
            for prompt, tokens in zip(request.prompts, prompts, strict=True)
        )
        partners = common if request.source_positions is None else mean_positions[0]
    elif request.source_positions is None:
        paired = align(base_tokens, source_tokens)
        partners = tuple(paired[position] for position in positions)
    else:
        partners = resolve_positions(
            request.source_positions, source_tokens, "sweep source_positions", "source"
        )
    if {len(partners), *map(len, mean_positions)} != {len(positions)} or not sites or not positions:
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
        first_difference=first_difference(
            [token.id for token in base_tokens], [token.id for token in source_tokens]
        ),
        mean_tokens=tuple(tuple(token.id for token in tokens) for tokens in prompts),
        mean_positions=mean_positions,
        fixed=fixed or plan_fixed(model, base, source, request.fixed, sources),
    )


def pairing_warning(plan: SweepPlan) -> str | None:
    """Which tokens of unequal prompts were paired by their order alone; None if none were.

    Between the prompts' common beginning and end, `align` cannot know which token stands for which:
    of a subject of one token and one of three, it pairs the only one with the first.
    """
    base, source = plan.base, plan.source
    reads_source = OPERATORS[plan.intervention].needs_source
    if not reads_source or len(base) == len(source) or plan.request.source_positions is not None:
        return None
    left, right = common_ends(base, source)
    last, source_last = len(base) - right - 1, len(source) - right - 1
    guessed = [
        (position, partner)
        for position, partner in zip(plan.positions, plan.source_positions, strict=True)
        if left <= position <= last
    ]
    if not guessed:
        return None
    position, partner = guessed[0]
    warning = (
        "the prompts differ in length, and where they differ, tokens are paired by their order "
        f"alone: base position {position} {shown(base[position].text)} with source position "
        f"{partner} {shown(source[partner].text)}. To choose the pairs, pass positions and "
        "source_positions"
    )
    if source_last < left:
        return warning
    return f"{warning}, e.g. [{last}] and [{source_last}] for the last of those tokens"


def _common_positions(
    base: tuple[Token, ...], prompts: Sequence[tuple[Token, ...]], positions: Sequence[int]
) -> tuple[int, ...]:
    """For each base position, one int that names its partner in every prompt, as a slot needs it.

    It counts from the beginning where all prompts pair the position so, else from the end; where a
    prompt has no such position, it names the first one of the shortest prompt.
    """
    paired = [align(base, prompt) for prompt in prompts]
    shortest = min(map(len, prompts))
    return tuple(
        position
        if all(partners[position] == position for partners in paired)
        else max(position - len(base), -shortest)
        for position in positions
    )


def first_difference(base: Sequence[int], source: Sequence[int]) -> int:
    """First position at which two prompts differ; the shorter length if one begins the other."""
    for index, (one, other) in enumerate(zip(base, source, strict=False)):
        if one != other:
            return index
    return min(len(base), len(source))
