"""The representations of a config as slots of one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vene_widgets.errors import RequestError
from vene_widgets.intervenable import subspaces
from vene_widgets.intervenable.built_in import LibraryIntervention
from vene_widgets.intervenable.config import IntervenableConfig, RepresentationConfig
from vene_widgets.intervenable.module_paths import is_path, layer_and_component
from vene_widgets.intervenable.operators import Operator, build_operator
from vene_widgets.interventions import Options
from vene_widgets.models.sites import Sites

if TYPE_CHECKING:
    from torch import Tensor


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

    def __str__(self) -> str:
        return f"slot {self.index} ({self.component} of layer {self.layer})"


def build_slots(config: IntervenableConfig, sites: Sites) -> tuple[Slot, ...]:
    """Check every representation of a config against a model's sites and build its slot.

    Raises:
        RequestError: a representation that the model has no site for, or linked slots whose
            interventions, widths or ranks differ.
    """
    groups: dict[Any, int] = {}
    links: dict[Any, tuple[int, Any, Operator]] = {}
    name_counts: dict[str, int] = {}
    slots: list[Slot] = []
    pairs = zip(config.representations, config.intervention_types, strict=True)
    for index, (written, kind) in enumerate(pairs):
        what = f"slot {index}"
        rep = _located(written, sites, what)
        # Tagged tuples, so that no group key equals the key of a slot without a group.
        group = ("own", index) if rep.group_key is None else ("group", rep.group_key)
        width = _site_width(rep, sites, what)
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
            operator = build_operator(given, options, {**vars(rep), "embed_dim": width}, what)
            if link is not None:
                links[link] = index, signature, operator
        start = "" if is_path(written.component) else f"layer_{rep.layer}_"
        name = f"{start}comp_{written.component.replace('.', '_')}_unit_"
        name += f"{rep.unit.replace('.', '_')}_nunit_{rep.max_number_of_units}"
        name_counts[name] = name_counts.get(name, 0) + 1
        slots.append(
            Slot(
                index=index,
                key=f"{name}#{name_counts[name] - 1}",
                layer=rep.layer,
                component=rep.component,
                unit=rep.unit,
                heads=sites.head_count(rep.component) or 1,
                group=groups.setdefault(group, len(groups)),
                operator=operator,
                parts=subspaces.read_partition(
                    field_of(rep, operator, "subspace_partition"), operator.size, what
                ),
                constant=field_of(rep, operator, "source_representation"),
            )
        )
    return tuple(slots)


def _located(rep: RepresentationConfig, sites: Sites, what: str) -> RepresentationConfig:
    """A representation by layer and component; one that names a module by its path has neither."""
    if not is_path(rep.component):
        return rep
    try:
        layer, component = layer_and_component(rep.component, sites)
    except RequestError as error:
        raise RequestError(f"{what}: {error}") from None
    return RepresentationConfig(**{**vars(rep), "layer": layer, "component": component})


def field_of(rep: RepresentationConfig, operator: Operator, name: str) -> Any:
    """A field of a slot, which a ready operator of the package may bring along."""
    own = getattr(rep, name)
    if own is None and isinstance(operator.core, LibraryIntervention):
        return getattr(operator.core, name)
    return own


def _site_width(rep: RepresentationConfig, sites: Sites, what: str) -> int:
    """Width of the vectors at a representation's site.

    Raises:
        RequestError: the model has no such site.
    """
    try:
        # All heads of a component have one width, so head 0 stands for any of them.
        return sites.site(rep.layer, rep.component, 0 if rep.unit == "h.pos" else None).width
    except RequestError as error:
        hint = " (per-head components need unit 'h.pos')" if _lacks_head(rep, sites) else ""
        raise RequestError(f"{what}: {error}{hint}") from None


def _lacks_head(rep: RepresentationConfig, sites: Sites) -> bool:
    """Whether the site exists but for its head: a per-head component at unit `pos`."""
    return (
        rep.unit == "pos"
        and rep.component in sites.components
        and -sites.layers <= rep.layer < sites.layers
        and sites.head_count(rep.component) is not None
    )
