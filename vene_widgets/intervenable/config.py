"""Configuration of an `IntervenableModel` under pyvene's names: one representation per slot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast

from vene_widgets.errors import RequestError, choose, shown
from vene_widgets.experiments import limits
from vene_widgets.experiments.components import COMPONENTS
from vene_widgets.experiments.fields import as_ints
from vene_widgets.intervenable.built_in import VanillaIntervention
from vene_widgets.intervenable.locations import UNITS
from vene_widgets.intervenable.module_paths import is_path

if TYPE_CHECKING:
    from torch import Tensor

MODES = ("parallel", "serial")

OLD_NAMES = {
    "intervenable_layer": "layer",
    "intervenable_representation_type": "component",
    "intervenable_unit": "unit",
    "intervenable_low_rank_dimension": "low_rank_dimension",
    "intervenable_model_type": "model_type",
    "intervenable_representations": "representations",
    "intervenable_interventions_type": "intervention_types",
}
"""Names in pyvene's first tutorials -> later names."""


@dataclass(frozen=True)
class _Fields:
    """Fields and defaults of a representation, in pyvene's order."""

    layer: int = 0
    component: str = "block_output"
    unit: str = "pos"
    max_number_of_units: int = 1
    low_rank_dimension: int | None = None
    intervention_type: type | Callable[..., Any] | None = None
    intervention: Any = None
    subspace_partition: Any = None
    group_key: Any = None
    intervention_link_key: Any = None
    moe_key: Any = None
    source_representation: Tensor | None = None
    hidden_source_representation: Any = None
    latent_dim: int | None = None


class IntervenableRepresentationConfig(_Fields):
    """One slot: a site, the operator there, its group and its link.

    Attributes:
        layer, component, unit: the site. `unit` is `pos`, or `t` for every token of the prompt;
            for per-head components `h.pos`, or `h` for heads at every position. A component may be
            a module's path with `.input` or `.output`, which holds the layer.
        max_number_of_units: accepted for compatibility with pyvene; calls may pass any number of
            positions.
        low_rank_dimension: columns of a low-rank rotation, or principal components.
        intervention_type, intervention: a class or a function, or a ready module; None means the
            config's intervention type.
        subspace_partition: one entry per subspace. A list or tuple of two ints is a half-open
            range; a set, a `range`, a tensor, or a list of another length names the dims.
        group_key: slots with one key read one source; any value. None is a group by itself.
        intervention_link_key: slots with one key share their weights, and nothing else.
        source_representation: a constant instead of a source run, broadcast to the site's vectors.
        moe_key, hidden_source_representation, latent_dim: accepted, and passed to user-defined
            classes only.

    The names of pyvene's first tutorials (`intervenable_layer`, ...) are accepted as well.

    Raises:
        RequestError: an unknown name or value, or both intervention and intervention_type.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        names = [field.name for field in fields(_Fields)]
        if len(args) > len(names):
            raise RequestError(
                f"expected at most {len(names)} values for a representation, got {len(args)}."
            )
        given: dict[str, Any] = dict(zip(names, args, strict=False))
        given |= with_new_names(kwargs, names, "representation")
        for name in ("layer", "max_number_of_units", "low_rank_dimension"):
            if name in given:
                given[name] = as_ints(given[name])
        super().__init__(**given)
        if not (isinstance(cast("object", self.component), str) and is_path(self.component)):
            choose(self.component, COMPONENTS, "component")
        choose(self.unit, UNITS, "unit")
        if self.intervention is not None and self.intervention_type is not None:
            raise RequestError(
                "a representation has both intervention and intervention_type; expected one of "
                "them."
            )
        if not isinstance(given.get("layer", 0), int):
            raise RequestError(f"layer must be an int, got {shown(self.layer)}.")
        rank = cast("object", self.low_rank_dimension)
        if rank is not None and not (isinstance(rank, int) and 0 <= rank <= limits.DIMS):
            raise RequestError(
                f"low_rank_dimension must be an int from 1 to {limits.DIMS}, got {shown(rank)}."
            )


RepresentationConfig = IntervenableRepresentationConfig


class IntervenableConfig:
    """The slots, in list order, and how their sources depend on each other.

    Args:
        representations: one or several of them: `RepresentationConfig`s, dicts or tuples.
        intervention_types: the operator of every slot that names none; a list has one per slot.
        mode: `parallel`, all sources run unchanged; or `serial`, slots that read source_0 change
            the run of source_1 and so on, and the last ones change the base.
        model_type, sorted_keys: accepted for compatibility with pyvene, and ignored.

    Raises:
        RequestError: an unknown name, or a number of types that is neither one nor the number of
            slots.
    """

    def __init__(
        self,
        representations: Any = None,
        intervention_types: Any = VanillaIntervention,
        mode: str = "parallel",
        sorted_keys: Any = None,
        model_type: Any = None,
        **old: Any,
    ) -> None:
        valid = ("representations", "intervention_types", "mode", "model_type")
        for name, value in with_new_names(old, valid, "argument of IntervenableConfig").items():
            if name == "representations":
                representations = value
            elif name == "intervention_types":
                intervention_types = value
            else:
                model_type = value
        if representations is None:
            representations = [RepresentationConfig()]
        if isinstance(representations, (RepresentationConfig, Mapping)):
            representations = [representations]
        self.representations = tuple(
            as_representation(given) for given in cast("Iterable[object]", representations)
        )
        count = len(self.representations)
        if isinstance(intervention_types, (list, tuple)):
            types = cast("Sequence[Any]", intervention_types)
            if len(types) != count:
                raise RequestError(
                    f"{len(types)} intervention types for {count} representations; expected one "
                    "type, or one per representation."
                )
            self.intervention_types: tuple[Any, ...] = tuple(types)
        else:
            self.intervention_types = (intervention_types,) * count
        self.mode = choose(mode, MODES, "mode")
        self.model_type = model_type

    def add_intervention(self, representations: Any) -> None:
        """Add slots at the end, for models that are made afterwards.

        Args:
            representations: as for the config itself; each names its own operator.

        Raises:
            RequestError: one that names no operator, or an invalid one; nothing is added then.
        """
        if isinstance(representations, (RepresentationConfig, Mapping)):
            representations = [representations]
        added = tuple(as_representation(one) for one in cast("Iterable[object]", representations))
        for one in added:
            if one.intervention is None and one.intervention_type is None:
                raise RequestError(
                    "add_intervention: a representation needs intervention_type or intervention."
                )
        self.representations += added
        given: list[Any] = [one.intervention_type or type(one.intervention) for one in added]
        self.intervention_types += tuple(given)

    def __repr__(self) -> str:
        lines: list[str] = []
        for slot, kind in zip(self.representations, self.intervention_types, strict=True):
            chosen = slot.intervention or slot.intervention_type or kind
            name = getattr(chosen, "__name__", type(chosen).__name__)
            head = f"  {slot.component} of layer {slot.layer}, unit {slot.unit}, {name}"
            extras = {
                "group": slot.group_key,
                "link": slot.intervention_link_key,
                "rank": slot.low_rank_dimension,
                "partition": slot.subspace_partition,
            }
            details = [f"{key} {value!r}" for key, value in extras.items() if value is not None]
            lines.append(", ".join([head, *details]))
        return "\n".join([f"IntervenableConfig ({self.mode}), {len(lines)} slots:", *lines])


def slot_keys(representations: Iterable[IntervenableRepresentationConfig]) -> list[str]:
    """Every slot's name in pyvene, such as `layer_1_comp_block_output_unit_pos_nunit_1#0`."""
    counts: dict[str, int] = {}
    keys: list[str] = []
    for rep in representations:
        start = "" if is_path(rep.component) else f"layer_{rep.layer}_"
        name = f"{start}comp_{rep.component.replace('.', '_')}_unit_"
        name += f"{rep.unit.replace('.', '_')}_nunit_{rep.max_number_of_units}"
        counts[name] = counts.get(name, -1) + 1
        keys.append(f"{name}#{counts[name]}")
    return keys


def as_config(given: object) -> IntervenableConfig:
    """A config from any of its accepted forms.

    Args:
        given: a config; a representation, dict or tuple; a list of those; or a dict with the
            arguments of `IntervenableConfig`.
    """
    if isinstance(given, IntervenableConfig):
        return given
    if isinstance(given, Mapping):
        arguments = cast("Mapping[str, Any]", given)
        if {"representations", "intervenable_representations"} & {*arguments}:
            return IntervenableConfig(**arguments)
    if isinstance(given, tuple) and given and isinstance(given[0], int):
        return IntervenableConfig([given])  # the fields of one representation, the layer first
    return IntervenableConfig(given)


def as_representation(given: object) -> IntervenableRepresentationConfig:
    """A representation from itself, a dict of its fields, or a tuple of them in order."""
    if isinstance(given, IntervenableRepresentationConfig):
        return given
    if isinstance(given, Mapping):
        return IntervenableRepresentationConfig(**cast("Mapping[str, Any]", given))
    if isinstance(given, (list, tuple)):
        return IntervenableRepresentationConfig(*cast("Sequence[Any]", given))
    raise RequestError(
        f"representation {shown(given)} is a {type(given).__name__}; expected a "
        "RepresentationConfig, a dict of its fields, or a tuple of them in order."
    )


def with_new_names(given: Mapping[str, Any], valid: Iterable[str], what: str) -> dict[str, Any]:
    """Keyword arguments under their later names.

    Args:
        given: the arguments, under old or new names.
        valid: the new names.
        what: the noun for messages.

    Raises:
        RequestError: an unknown name, or an argument under both of its names.
    """
    names = list(valid)
    result: dict[str, Any] = {}
    for name, value in given.items():
        new = choose(OLD_NAMES.get(name, name), names, what)
        if new in result:
            raise RequestError(f"{new!r} is given twice, under its old and its new name.")
        result[new] = value
    return result
