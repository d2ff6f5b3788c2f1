"""plan(): an experiment checked against a model, its positions as integers.

Nothing downstream has to ask again: every check of a request that needs a model stands here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vene_widgets.errors import RequestError
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.interventions import INTERVENTIONS, Options
from vene_widgets.models import LanguageModel

if TYPE_CHECKING:
    from vene_widgets.experiments.experiment import Slot
    from vene_widgets.models import Token
    from vene_widgets.models.sites import Site


@dataclass(frozen=True)
class PlannedSlot:
    """A slot checked against a model: integers only.

    Attributes:
        index: place in `Experiment.slots`, skipped slots counted.
        slot: the slot as the user wrote it.
        site: where it acts.
        source: name of its source, None for interventions that need none.
        base_positions, source_positions: equally long; source position i goes to base position i.
        target: name of the source on whose run it acts (serial mode); None for the base.
        dims: coordinates that may change; None for all.
        means: for `mean`, the positions in each prompt of `slot.prompts`.
    """

    index: int
    slot: Slot
    site: Site
    source: str | None
    base_positions: tuple[int, ...]
    source_positions: tuple[int, ...]
    target: str | None = None
    dims: tuple[int, ...] | None = None
    means: tuple[tuple[int, ...], ...] = ()

    @property
    def options(self) -> Options:
        """What its intervention is made from."""
        return Options(self.site.width, self.slot.rank, self.slot.scale, self.slot.seed)

    @property
    def weights(self) -> str:
        """Key of its weights: slots with equal keys share them."""
        return f"link {self.slot.link}" if self.slot.link else f"slot {self.index}"


@dataclass(frozen=True)
class Plan:
    """An experiment checked against a model.

    Attributes:
        experiment: what was asked.
        base: tokens of the base prompt.
        sources: name -> tokens of the source prompt.
        slots: every slot, skipped ones too, at their own index.
    """

    experiment: Experiment
    base: tuple[Token, ...]
    sources: Mapping[str, tuple[Token, ...]]
    slots: tuple[PlannedSlot, ...]

    @property
    def live(self) -> tuple[PlannedSlot, ...]:
        """The slots that act."""
        return tuple(planned for planned in self.slots if not planned.slot.skip)


def plan(model: LanguageModel, experiment: Experiment) -> Plan:
    """Check an experiment against a model, and turn every position into an int.

    Raises:
        RequestError: a prompt without tokens or too long, a layer, head or position out of range,
            a token text that does not occur exactly once, unequal numbers of base and source
            positions. The message names the slot.
    """
    if not isinstance(experiment, Experiment):
        raise RequestError(
            f"experiment is a {type(experiment).__name__}; an Experiment is needed: "
            "vw.Experiment(base=..., sources=..., slots=[...]), or Experiment.model_validate(data)."
        )
    check_model(model)
    base = tuple(model.tokens(experiment.base))
    sources = {name: tuple(model.tokens(text)) for name, text in experiment.sources.items()}
    slots = [
        _plan_slot(model, experiment, base, sources, index)
        for index in range(len(experiment.slots))
    ]
    _links_have_one_width(slots)
    return Plan(experiment, base, sources, tuple(slots))


def check_model(model: object) -> None:
    """Refuse what `load` or `wrap` did not make, for instance a model's name."""
    if not isinstance(model, LanguageModel):
        raise RequestError(
            f"model is a {type(model).__name__}; what vw.load(name) or vw.wrap(model, tokenizer) "
            "gives is needed."
        )


def _plan_slot(
    model: LanguageModel,
    experiment: Experiment,
    base: tuple[Token, ...],
    sources: Mapping[str, tuple[Token, ...]],
    index: int,
) -> PlannedSlot:
    """One slot checked against the model and the prompts' tokens."""
    slot, what = experiment.slots[index], f"slots[{index}]"
    kind = INTERVENTIONS[slot.intervention]
    name = experiment.source_of(slot, index) if kind.needs_source else None
    target = experiment.target_of(name)
    try:
        site = model.sites.site(slot.layer, slot.component, slot.head)
        options = Options(site.width, slot.rank, slot.scale, slot.seed)
        dims = slot.dims(kind.size(options))
    except RequestError as error:
        raise RequestError(f"{what}: {error}") from None
    acts_on = (base, "base") if target is None else (sources[target], f"source {target!r}")
    positions = resolve_positions(slot.position, acts_on[0], f"{what}.position", acts_on[1])
    wanted = slot.source_position
    if wanted is None:
        wanted = positions if isinstance(slot.position, str) else slot.position

    def paired(tokens: tuple[Token, ...], prompt: str) -> tuple[int, ...]:
        found = resolve_positions(wanted, tokens, f"{what}.source_position", prompt)
        if len(found) != len(positions):
            raise RequestError(
                f"{what} pairs {len(found)} source positions {list(found)} with {len(positions)} "
                f"base positions {list(positions)}: source position i goes to base position i, so "
                "both need the same number."
            )
        return found

    return PlannedSlot(
        index=index,
        slot=slot,
        site=site,
        source=name,
        base_positions=positions,
        source_positions=() if name is None else paired(sources[name], f"source {name!r}"),
        target=target,
        dims=dims,
        means=tuple(
            paired(_mean_tokens(model, prompt, what), f"prompt {prompt!r}")
            for prompt in (slot.prompts if slot.intervention == "mean" else ())
        ),
    )


def _mean_tokens(model: LanguageModel, prompt: str, what: str) -> tuple[Token, ...]:
    """Tokens of one of the prompts that a mean is taken over."""
    try:
        return tuple(model.tokens(prompt))
    except RequestError as error:
        raise RequestError(f"{what}.prompts: {error}") from None


def _links_have_one_width(slots: Sequence[PlannedSlot]) -> None:
    widths: dict[str, PlannedSlot] = {}
    for planned in slots:
        first = widths.setdefault(planned.weights, planned)
        if first.site.width != planned.site.width:
            raise RequestError(
                f"slots[{planned.index}] and slots[{first.index}] share {planned.weights!r}, but "
                f"their sites are {planned.site.width} and {first.site.width} wide; shared weights "
                "need one width."
            )


def resolve_positions(
    positions: int | tuple[int, ...] | str, tokens: tuple[Token, ...], what: str, prompt: str
) -> tuple[int, ...]:
    """Positions as a user may write them -> distinct ints from 0.

    Args:
        positions: an int, several, or a token's text.
        tokens: the prompt's tokens.
        what: the field's name for the message; `prompt` says which prompt it is about.

    Raises:
        RequestError: out of range, named twice, or a text that does not occur exactly once.
    """
    listed = ", ".join(f"{token.index} {token.text!r}" for token in tokens)
    if isinstance(positions, str):
        found = [token.index for token in tokens if token.text == positions]
        if len(found) != 1:
            count = "does not occur" if not found else f"occurs {len(found)} times, at {found},"
            raise RequestError(
                f"{what} {positions!r} {count} in the {prompt}: a token's text must occur once. "
                f"Tokens: {listed}."
            )
        return (found[0],)
    given = (positions,) if isinstance(positions, int) else positions
    count = len(tokens)
    for position in given:
        if not isinstance(position, int):
            raise RequestError(
                f"{what} {position!r} is not an int. Valid: an int, a list of ints, or one token's "
                f"text. Tokens: {listed}."
            )
        if not -count <= position < count:
            raise RequestError(
                f"{what} {position} is out of range: the {prompt} has {count} tokens, "
                f"0 to {count - 1} (or -{count} to -1 from the end). Tokens: {listed}."
            )
    resolved = tuple(position % count for position in given)
    if what.endswith(".position") and len(set(resolved)) != len(resolved):
        raise RequestError(f"{what} {list(given)} names a position twice in the {prompt}.")
    return resolved


def align(base: tuple[Token, ...], source: tuple[Token, ...]) -> tuple[int, ...]:
    """For each base position, the source position that a sweep pairs it with.

    Equal lengths pair one to one. Otherwise the common beginning pairs from the left, the common
    end from the right, and what lies between pairs in order, its rest with the last differing token
    of the source.

    Returns:
        Source positions, one per base position.
    """
    n, m = len(base), len(source)
    if n == m:
        return tuple(range(n))
    shorter = min(n, m)
    left = 0
    while left < shorter and base[left].id == source[left].id:
        left += 1
    right = 0
    while right < shorter - left and base[n - 1 - right].id == source[m - 1 - right].id:
        right += 1
    middle = [min(i, max(m - right - 1, 0)) for i in range(left, n - right)]
    return (*range(left), *middle, *range(m - right, m))
