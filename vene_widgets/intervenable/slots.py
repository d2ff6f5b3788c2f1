"""The config's representations as slots that fit a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vene_widgets.errors import RequestError
from vene_widgets.intervenable import subspaces
from vene_widgets.intervenable.config import IntervenableConfig
from vene_widgets.intervenable.operators import Operator, build
from vene_widgets.interventions import Options
from vene_widgets.models.sites import Sites


@dataclass(frozen=True, eq=False)
class Slot:
    """One representation of the config, ready to act.

    Attributes:
        index, key: its place in the list, and its name as pyvene makes it.
        layer, component, unit: its site.
        heads: how many heads the component has, 1 for whole vectors.
        group: index of the source that it reads.
        operator: what it does; linked slots hold the same one.
        parts: the dims of each subspace of its partition.
        constant: what stands for a source run, if anything does.
    """

    index: int
    key: str
    layer: int
    component: str
    unit: str
    heads: int
    group: int
    operator: Operator
    parts: tuple[tuple[int, ...], ...] | None
    constant: Any

    def __str__(self) -> str:
        return f"slot {self.index} ({self.component} of layer {self.layer})"


def build_slots(config: IntervenableConfig, sites: Sites) -> tuple[Slot, ...]:
    """Every representation of a config as a slot of a model.

    Raises:
        RequestError: one does not fit the model, or shares a link with another of another kind.
    """
    groups: dict[Any, int] = {}
    links: dict[Any, tuple[int, Any, Operator]] = {}
    seen: dict[str, int] = {}
    slots = []
    pairs = zip(config.representations, config.intervention_types, strict=True)
    for index, (rep, kind) in enumerate(pairs):
        what = f"slot {index}"
        own = ("own", index) if rep.group_key is None else ("group", rep.group_key)
        try:
            width = sites.site(rep.layer, rep.component, 0 if rep.unit == "h.pos" else None).width
        except RequestError as error:
            hint = (
                " (per-head components need unit 'h.pos')" if "needs a head" in str(error) else ""
            )
            raise RequestError(f"{what}: {error}{hint}") from None
        given = next(g for g in (rep.intervention, rep.intervention_type, kind) if g is not None)
        link, signature = rep.intervention_link_key, (given, width, rep.low_rank_dimension)
        if link is not None and link in links:
            first, expected, operator = links[link]
            if signature != expected:
                raise RequestError(
                    f"{what} and slot {first} share link {link!r}, but not their intervention, "
                    f"width and rank: {signature} and {expected}."
                )
        else:
            # Slots without a link begin with different weights, the same ones every time.
            options = Options(width, rep.low_rank_dimension, seed=index)
            operator = build(given, options, {**vars(rep), "embed_dim": width}, what)
            if link is not None:
                links[link] = index, signature, operator
        name = f"layer_{rep.layer}_comp_{rep.component}_unit_{rep.unit.replace('.', '_')}"
        name = f"{name}_nunit_{rep.max_number_of_units}"
        seen[name] = seen.get(name, -1) + 1
        slots.append(
            Slot(
                index=index,
                key=f"{name}#{seen[name]}",
                layer=rep.layer,
                component=rep.component,
                unit=rep.unit,
                heads=sites.head_count(rep.component) or 1,
                group=groups.setdefault(own, len(groups)),
                operator=operator,
                parts=subspaces.partition(rep.subspace_partition, operator.size, what),
                constant=rep.source_representation,
            )
        )
    return tuple(slots)
