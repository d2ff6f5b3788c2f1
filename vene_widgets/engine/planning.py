"""plan_experiment(): an experiment checked against a model, its positions as integers.

Every check of a request that needs a model starts here and is made once: layers, components and
heads are looked up in `models/sites.py`, positions in `engine/positions.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vene_widgets.engine.edges import plan_edges
from vene_widgets.engine.positions import resolve_positions, source_positions
from vene_widgets.errors import RequestError, shown
from vene_widgets.experiments.components import ATTENTION_WEIGHT
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.slot import weights_key
from vene_widgets.interventions import INTERVENTIONS, Options
from vene_widgets.models.language_model import require_language_model
from vene_widgets.models.weight_site import WeightSite, weight_site

if TYPE_CHECKING:
    from vene_widgets.experiments.slot import Slot
    from vene_widgets.models import LanguageModel, Token
    from vene_widgets.models.sites import Site


@dataclass(frozen=True)
class PlannedSlot:
    """A slot checked against a model: integers only.

    Attributes:
        index: place in `Experiment.slots`, skipped slots counted.
        slot: the slot as the user wrote it.
        site: where it acts.
        source: name of its source; None for interventions that need none.
        base_positions, source_positions: equally long; source position i goes to base position i.
        target: name of the source on whose run it acts (serial mode); None for the base.
        dims: coordinates that may change; None for all.
        mean_positions: the positions in each prompt of `slot.prompts`.
        minus_positions: the same of `slot.minus`.
        source_site: where it reads in the source; None for the same as `site`.
        mean_sites: where it reads in each prompt of `slot.prompts`; empty for the same as `site`.
    """

    index: int
    slot: Slot
    site: Site
    source: str | None
    base_positions: tuple[int, ...]
    source_positions: tuple[int, ...]
    target: str | None = None
    dims: tuple[int, ...] | None = None
    mean_positions: tuple[tuple[int, ...], ...] = ()
    minus_positions: tuple[tuple[int, ...], ...] = ()
    source_site: Site | None = None
    mean_sites: tuple[Site, ...] = ()

    @property
    def read_site(self) -> Site:
        """Where it reads in the source."""
        return self.source_site or self.site

    @property
    def keys(self) -> tuple[int, ...] | None:
        """The keys whose attention weights change; None for other components."""
        return self.site.keys if isinstance(self.site, WeightSite) else None

    @property
    def options(self) -> Options:
        """What its intervention is built from."""
        return Options(self.site.width, self.slot.rank, self.slot.scale, self.slot.seed)

    @property
    def weights_key(self) -> str:
        """Key of its weights: slots with equal keys share them."""
        return weights_key(self.slot, self.index)


@dataclass(frozen=True)
class Plan:
    """An experiment checked against a model.

    Attributes:
        experiment: the request.
        base: tokens of the base prompt.
        sources: name -> tokens of the source prompt.
        slots: every slot, skipped ones too, at their own index.
    """

    experiment: Experiment
    base: tuple[Token, ...]
    sources: Mapping[str, tuple[Token, ...]]
    slots: tuple[PlannedSlot, ...]

    @classmethod
    def of_prompt(cls, prompt: str, tokens: tuple[Token, ...]) -> Plan:
        """The plan of a prompt's run without slots, from its tokens."""
        return cls(Experiment(base=prompt), tokens, {}, ())

    @property
    def live(self) -> tuple[PlannedSlot, ...]:
        """The slots that are not skipped."""
        return tuple(planned for planned in self.slots if not planned.slot.skip)

    def ungrouped(self) -> Plan:
        """The plan of `Experiment.ungrouped()`."""
        experiment = self.experiment.ungrouped()
        slots = zip(self.slots, experiment.slots, strict=True)
        return replace(
            self,
            experiment=experiment,
            slots=tuple(replace(planned, slot=slot) for planned, slot in slots),
        )


def plan_experiment(model: LanguageModel, experiment: Experiment) -> Plan:
    """Check an experiment against a model, and turn every position into an int.

    Raises:
        RequestError: a prompt without tokens or too long, a layer, head or position out of range,
            a token text that does not occur exactly once, unequal numbers of base and source
            positions. The message names the slot.
    """
    if not isinstance(experiment, Experiment):  # pyright: ignore[reportUnnecessaryIsInstance]  # user input
        raise RequestError(
            f"experiment must be an Experiment, got a {type(experiment).__name__}: write "
            "vw.Experiment(base=..., sources=..., slots=[...]), or Experiment.model_validate(data)."
        )
    require_language_model(model)
    base = tuple(model.tokens(experiment.base))
    sources = {name: tuple(model.tokens(text)) for name, text in experiment.sources.items()}
    slots = [
        _plan_slot(model, experiment, base, sources, index)
        for index in range(len(experiment.slots))
    ]
    _check_shared_widths(slots)
    return Plan(experiment, base, sources, tuple(slots))


def _plan_slot(
    model: LanguageModel,
    experiment: Experiment,
    base: tuple[Token, ...],
    sources: Mapping[str, tuple[Token, ...]],
    index: int,
) -> PlannedSlot:
    """Check one slot against the model and the prompts' tokens."""
    slot, name = experiment.slots[index], f"slots[{index}]"
    kind = INTERVENTIONS[slot.intervention]
    source = experiment.source_of(slot, index) if slot.reads_run else None
    target = experiment.target_of(source)
    if slot.component == ATTENTION_WEIGHT:
        return _plan_edges(model, slot, index, base, sources, source, target)
    try:
        site = model.sites.site(slot.layer, slot.component, slot.head)
        dims = slot.dims(kind.size(Options(site.width, slot.rank, slot.scale, slot.seed)))
        read_site = site
        if slot.source_layer is not None:
            read_site = model.sites.site(slot.source_layer, slot.component, slot.head)
    except RequestError as error:
        raise RequestError(f"{name}: {error}") from None
    if slot.vector is not None and len(slot.vector) != site.width:
        raise RequestError(
            f"{name}.vector has {len(slot.vector)} numbers, and {site} is {site.width} wide: "
            "expected as many."
        )
    acts_on, prompt = _acted_on(base, sources, target)
    positions = resolve_positions(slot.position, acts_on, f"{name}.position", prompt, distinct=True)
    wanted = slot.source_position
    if wanted is None:
        wanted = source_positions(slot.position, positions)

    def paired(tokens: tuple[Token, ...], prompt: str) -> tuple[int, ...]:
        found = resolve_positions(wanted, tokens, f"{name}.source_position", prompt)
        if len(found) == 1 and slot.prompts and kind.needs_source:  # one vector for all of them
            found *= len(positions)
        if len(found) != len(positions):
            raise RequestError(
                f"{name} pairs {len(found)} source positions {shown(list(found))} with "
                f"{len(positions)} base positions {shown(list(positions))}: source position i goes "
                "to base position i, so both need the same number."
            )
        return found

    reads_prompts = kind.needs_source or slot.intervention == "mean"

    def in_prompts(prompts: Sequence[str], field: str) -> tuple[tuple[int, ...], ...]:
        return tuple(
            paired(_mean_tokens(model, prompt, f"{name}.{field}"), f"prompt {shown(prompt, 40)}")
            for prompt in prompts
        )

    return PlannedSlot(
        index=index,
        slot=slot,
        site=site,
        source=source,
        base_positions=positions,
        source_positions=() if source is None else paired(sources[source], f"source {source!r}"),
        target=target,
        dims=dims,
        mean_positions=in_prompts(slot.prompts if reads_prompts else (), "prompts"),
        minus_positions=in_prompts(slot.minus if reads_prompts else (), "minus"),
        source_site=None if read_site == site else read_site,
        mean_sites=(read_site,) * len(slot.prompts) if read_site != site else (),
    )


def _plan_edges(
    model: LanguageModel,
    slot: Slot,
    index: int,
    base: tuple[Token, ...],
    sources: Mapping[str, tuple[Token, ...]],
    source: str | None,
    target: str | None,
) -> PlannedSlot:
    """A slot on attention weights: its queries and keys in each prompt that it concerns."""
    name = f"slots[{index}]"
    acts_on, prompt = _acted_on(base, sources, target)

    def site(keys: Sequence[int]) -> WeightSite:
        try:
            return weight_site(model, slot.layer, slot.head, keys)
        except RequestError as error:
            raise RequestError(f"{name}: {error}") from None

    def read(tokens: tuple[Token, ...], prompt: str) -> tuple[tuple[int, ...], WeightSite]:
        found = edges.in_prompt(tokens, name, prompt)
        return found.queries, site(found.keys)

    site(())  # a layer or head that is out of range comes before the positions
    edges = plan_edges(slot.position, slot.source_position, acts_on, name, prompt)
    queries, source_site = (), None
    if source is not None:
        queries, source_site = read(sources[source], f"source {source!r}")
    means = [
        read(_mean_tokens(model, prompt, f"{name}.prompts"), f"prompt {shown(prompt, 40)}")
        for prompt in (slot.prompts if slot.intervention == "mean" else ())
    ]
    return PlannedSlot(
        index=index,
        slot=slot,
        site=site(edges.keys),
        source=source,
        base_positions=edges.queries,
        source_positions=queries,
        target=target,
        mean_positions=tuple(queries for queries, _ in means),
        source_site=source_site,
        mean_sites=tuple(site for _, site in means),
    )


def _acted_on(
    base: tuple[Token, ...], sources: Mapping[str, tuple[Token, ...]], target: str | None
) -> tuple[tuple[Token, ...], str]:
    """Tokens of the prompt on whose run a slot acts, and which one it is."""
    return (base, "base") if target is None else (sources[target], f"source {target!r}")


def _mean_tokens(model: LanguageModel, prompt: str, name: str) -> tuple[Token, ...]:
    """Tokens of one of the prompts over which a mean is taken."""
    try:
        return tuple(model.tokens(prompt))
    except RequestError as error:
        raise RequestError(f"{name}: {error}") from None


def _check_shared_widths(slots: Sequence[PlannedSlot]) -> None:
    """Refuse slots that share weights at sites of different widths."""
    first_with: dict[str, PlannedSlot] = {}
    for planned in slots:
        first = first_with.setdefault(planned.weights_key, planned)
        if first.site.width != planned.site.width:
            raise RequestError(
                f"slots[{planned.index}] and slots[{first.index}] share {planned.weights_key!r}, "
                f"but their sites are {planned.site.width} and {first.site.width} wide; shared "
                "weights need one width."
            )
