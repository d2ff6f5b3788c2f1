"""The representations of a config as slots of one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vene_widgets.errors import RequestError
from vene_widgets.experiments.components import ATTENTION_WEIGHT
from vene_widgets.intervenable import subspaces
from vene_widgets.intervenable.built_in import LibraryIntervention
from vene_widgets.intervenable.config import (
    IntervenableConfig,
    RepresentationConfig,
    slot_keys,
)
from vene_widgets.intervenable.module_paths import is_path, layer_and_component, site_at
from vene_widgets.intervenable.operators import Operator, build_operator
from vene_widgets.interventions import Options
from vene_widgets.models.weight_site import weight_site

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.models import LanguageModel
    from vene_widgets.models.sites import Site, Sites


@dataclass(frozen=True, eq=False)
class Slot:
    """One representation of the config, checked against the model.

    Attributes:
        index, key: its place in the list, and pyvene's name for it.
        layer, component, unit: its site.
        heads: how many heads the component has, 1 for whole vectors.
        group: index of the source that it reads.
        operator: the operator at the site; linked slots share one.
        parts: the dims of each subspace of its partition; None without a partition.
        constant: a constant in place of a source run; None for a source run.
    """

    index: int
    key: str
    layer: int
    component: str
    unit: str
    heads: int
    group: int
    operator: Operator
    parts: tuple[Sequence[int], ...] | None
    constant: Tensor | None

    @property
    def place_unit(self) -> str:
        """What its locations count: as in pyvene, `pos` counts heads of attention weights."""
        return _place_unit(self.component, self.unit)

    def __str__(self) -> str:
        where = "" if is_path(self.component) else f" of layer {self.layer}"
        return f"slot {self.index} ({self.component}{where})"


def build_slots(config: IntervenableConfig, model: LanguageModel) -> tuple[Slot, ...]:
    """Check every representation of a config against a model and build its slot.

    Raises:
        RequestError: a representation that the model has no site for, or linked slots whose
            interventions, widths or ranks differ.
    """
    groups: dict[Any, int] = {}
    links: dict[Any, tuple[int, Any, Operator]] = {}
    slots: list[Slot] = []
    keys = slot_keys(config.representations)
    pairs = zip(config.representations, config.intervention_types, strict=True)
    for index, (written, kind) in enumerate(pairs):
        what = f"slot {index}"
        rep = _located(written, model.sites)
        # Tagged tuples, so that no group key equals the key of a slot without a group.
        group = ("own", index) if rep.group_key is None else ("group", rep.group_key)
        width = _site_width(rep, model, what)
        given = next(g for g in (rep.intervention, rep.intervention_type, kind) if g is not None)
        link, signature = rep.intervention_link_key, (given, width, rep.low_rank_dimension)
        if link is not None and link in links:
            first, expected, operator = links[link]
            if signature != expected:
                raise RequestError(
                    f"{what} and slot {first} share link {link!r}, so they must have the same "
                    f"intervention, width and rank; got {signature} and {expected}."
                )
        else:
            # Seeded by index: unlinked slots start from different weights, the same ones each time.
            options = Options(width, rep.low_rank_dimension, seed=index)
            fields = {**vars(rep), "embed_dim": width or model.sites.positions}
            operator = build_operator(given, options, fields, what)
            if link is not None:
                links[link] = index, signature, operator
        slots.append(
            Slot(
                index=index,
                key=keys[index],
                layer=rep.layer,
                component=rep.component,
                unit=rep.unit,
                heads=_head_count(rep.component, model.sites),
                group=groups.setdefault(group, len(groups)),
                operator=operator,
                parts=subspaces.read_partition(
                    field_of(rep, operator, "subspace_partition"), operator.size, what
                ),
                constant=field_of(rep, operator, "source_representation"),
            )
        )
    return tuple(slots)


def _located(rep: RepresentationConfig, sites: Sites) -> RepresentationConfig:
    """A representation by layer and component, if its path has such names in the family."""
    if not is_path(rep.component):
        return rep
    found = layer_and_component(rep.component, sites)
    if found is None:
        return rep
    return RepresentationConfig(**{**vars(rep), "layer": found[0], "component": found[1]})


def field_of(rep: RepresentationConfig, operator: Operator, name: str) -> Any:
    """A field of a slot, which a ready operator of the package may bring along."""
    own = getattr(rep, name)
    if own is None and isinstance(operator.core, LibraryIntervention):
        return getattr(operator.core, name)
    return own


def site_of(model: LanguageModel, layer: int, component: str, head: int | None) -> Site:
    """The site of a slot; attention weights and modules given by their path are sites too."""
    if component == ATTENTION_WEIGHT:
        return weight_site(model, layer, head)
    if is_path(component):
        return site_at(component, model)
    return model.sites.site(layer, component, head)


def _place_unit(component: str, unit: str) -> str:
    return "h" if component == ATTENTION_WEIGHT and unit in ("pos", "t") else unit


def _head_count(component: str, sites: Sites) -> int:
    if component == ATTENTION_WEIGHT:
        return sites.heads
    return 1 if is_path(component) else sites.head_count(component) or 1


def _site_width(rep: RepresentationConfig, model: LanguageModel, what: str) -> int:
    """Width of the vectors at a representation's site; `ANY_WIDTH` if it depends on the prompt.

    Raises:
        RequestError: the model has no such site.
    """
    by_head = _place_unit(rep.component, rep.unit) in ("h", "h.pos")
    try:
        # All heads of a component have one width, so head 0 stands for any of them.
        return site_of(model, rep.layer, rep.component, 0 if by_head else None).width
    except RequestError as error:
        hint = ""
        if not by_head and _lacks_head(rep, model.sites):
            hint = " Give the slot unit 'h.pos', heads and positions, or 'h', heads everywhere."
        raise RequestError(f"{what}: {error}{hint}") from None


def _lacks_head(rep: RepresentationConfig, sites: Sites) -> bool:
    """Whether the site exists but for its head: a per-head component."""
    return (
        rep.component in sites.components
        and -sites.layers <= rep.layer < sites.layers
        and sites.head_count(rep.component) is not None
    )
