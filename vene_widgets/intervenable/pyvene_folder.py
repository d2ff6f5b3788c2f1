"""Folders in pyvene's form: `config.json`, and `intkey_<slot>.bin` for every slot with tensors.

Classes are those that are built in or passed by the caller; none is imported because a file names
it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from vene_widgets.errors import RequestError, choose, error_text
from vene_widgets.intervenable.bases import TrainableIntervention
from vene_widgets.intervenable.built_in import LIBRARY
from vene_widgets.intervenable.config import (
    IntervenableConfig,
    RepresentationConfig,
    slot_keys,
)
from vene_widgets.intervenable.pyvene_states import (
    file_name,
    load_states,
    read_state,
    state_for_pyvene,
    to_bytes,
)
from vene_widgets.intervenable.save_load import check_keys
from vene_widgets.intervenable.slots import field_of
from vene_widgets.intervenable.unavailable import PLACEHOLDERS
from vene_widgets.models.saved_folder import (
    JSON_BYTES,
    parse_json,
    read_bytes,
    replace_files,
    to_json,
)

if TYPE_CHECKING:
    from vene_widgets.intervenable.slots import Slot

CONFIG = "config.json"

_FIELDS = tuple(field.name for field in fields(RepresentationConfig))
_UNREADABLE = ("CollectIntervention", "NoiseIntervention", "PCARotatedSpaceIntervention")
"""Classes that pyvene writes without what it needs to read them."""


class _Saved(BaseModel):
    """What is read of `config.json`."""

    model_config = ConfigDict(strict=True, frozen=True)

    mode: str
    representations: list[list[Any]]
    intervention_types: list[str]
    intervention_dimensions: list[int | None] | None = None
    intervention_constant_sources: list[bool] | None = None


@dataclass(frozen=True, eq=False)
class PyveneFolder:
    """A folder as it was read.

    Attributes:
        path: where it is.
        config: the slots, with their constants.
        first_dims: per slot, how many coordinates change; None for all.
    """

    path: Path
    config: IntervenableConfig
    first_dims: Sequence[int | None]


def is_pyvenes(folder: Path) -> bool:
    """Whether a folder is one that pyvene wrote."""
    return (folder / CONFIG).is_file()


def read(folder: Path, types: Mapping[str, type]) -> PyveneFolder:
    """Read the slots of a folder.

    Args:
        folder: where it is.
        types: user-defined classes, by name.

    Raises:
        RequestError: a damaged file, or a class that is unknown or cannot be read.
    """
    path = folder / CONFIG
    try:
        saved = _Saved.model_validate(parse_json(read_bytes(path, JSON_BYTES), path))
    except ValidationError as error:
        raise RequestError(f"{path} is no config of pyvene's: {error_text(error)}.") from None
    count = len(saved.representations)
    constant = saved.intervention_constant_sources or [False] * count
    dims = saved.intervention_dimensions or [None] * count
    if {len(saved.intervention_types), len(constant), len(dims)} != {count}:
        raise RequestError(f"{path} has {count} representations, but not as many types.")
    representations: list[RepresentationConfig] = []
    for index, (values, written) in enumerate(
        zip(saved.representations, saved.intervention_types, strict=True)
    ):
        kind = _class_of(written, types, f"{path}, slot {index}")
        given = dict(zip(_FIELDS, values, strict=False))
        needs_constant = constant[index] and not getattr(kind, "is_source_constant", False)
        given |= {"intervention_type": kind, "intervention": None, "source_representation": None}
        try:
            rep = RepresentationConfig(**given)
        except RequestError as error:
            raise RequestError(f"{path}, slot {index}: {error}") from None
        if needs_constant:
            state = read_state(folder / file_name(slot_keys([*representations, rep])[-1]))
            if "source_representation" not in state:
                raise RequestError(f"{path}, slot {index}: its constant source is missing.")
            tensor = state["source_representation"]
            rep = RepresentationConfig(**{**given, "source_representation": tensor})
        representations.append(rep)
    config = IntervenableConfig(representations, mode=saved.mode)
    return PyveneFolder(folder, config, dims)


def fill(slots: Iterable[Slot], folder: PyveneFolder) -> None:
    """Give freshly built operators the weights of a folder."""
    for slot, first in zip(slots, folder.first_dims, strict=True):
        core: Any = slot.operator.core
        if first is not None and hasattr(core, "set_interchange_dim"):
            whole = core.embed_dim
            if whole is None or first < int(whole):
                core.set_interchange_dim(first)
    load_states(slots, folder.path)


def write(folder: Path, config: IntervenableConfig, slots: Sequence[Slot]) -> None:
    """Write slots and weights as pyvene does, for pyvene to read.

    Raises:
        RequestError: an operator that pyvene cannot read back.
    """
    files: dict[str, bytes] = {}
    constant: list[bool] = []
    dims: list[int | None] = []
    for slot, rep in zip(slots, config.representations, strict=True):
        core: Any = slot.operator.module
        name = slot.operator.name
        if core is None or name in _UNREADABLE:
            kind = "a plain function" if core is None else f"{name}, which pyvene cannot read back"
            raise RequestError(f"{slot}: {kind}, cannot be saved for pyvene.")
        if any(True for _ in core.parameters()) and not isinstance(core, TrainableIntervention):
            raise RequestError(
                f"{slot}: pyvene does not save the weights of {name}; derive it from "
                "TrainableIntervention."
            )
        check_keys(rep, slot.index)
        source = field_of(rep, slot.operator, "source_representation")
        state = dict(state_for_pyvene(slot))
        if source is not None:
            state["source_representation"] = source.detach().cpu()
        if source is not None or isinstance(core, TrainableIntervention):
            files[file_name(slot.key)] = to_bytes(state)
        constant.append(source is not None or bool(getattr(core, "is_source_constant", False)))
        first = getattr(core, "interchange_dim", None)
        dims.append(None if first is None else int(first))
    content = {
        "mode": config.mode,
        "representations": [
            _written(rep, slot, _link(slot, slots))
            for rep, slot in zip(config.representations, slots, strict=True)
        ],
        "intervention_types": [_written_class(slot) for slot in slots],
        "intervention_dimensions": dims,
        "intervention_constant_sources": constant,
        "sorted_keys": [slot.key for slot in slots],
    }
    folder.mkdir(parents=True, exist_ok=True)
    replace_files(folder, {**files, CONFIG: to_json(content)})


def _class_of(written: str, types: Mapping[str, type], what: str) -> type:
    """The class that a config names, as in `<class 'pyvene.models.interventions.Name'>`."""
    name = re.sub(r"^<class '|'>$", "", written).rpartition(".")[2]
    if name in types:
        return types[name]
    if name in PLACEHOLDERS:
        PLACEHOLDERS[name]()
    if name in _UNREADABLE:
        raise RequestError(f"{what}: pyvene saves {name} without what it needs to be read.")
    hint = "Give your own classes as load(..., types={'Name': Class})."
    return LIBRARY[choose(name, LIBRARY, f"{what}: intervention", hint)]


def _written_class(slot: Slot) -> str:
    if slot.operator.name in LIBRARY:
        return f"<class 'pyvene.models.interventions.{slot.operator.name}'>"
    return str(type(slot.operator.core))


def _link(slot: Slot, slots: Sequence[Slot]) -> str | None:
    """A key for slots that share one ready operator, which has none."""
    sharing = [one.index for one in slots if one.operator.core is slot.operator.core]
    return f"weights of slot {sharing[0]}" if len(sharing) > 1 else None


def _written(rep: RepresentationConfig, slot: Slot, link: str | None) -> list[Any]:
    """A representation's fields in pyvene's order; classes and tensors are elsewhere."""
    values: dict[str, Any] = {name: getattr(rep, name) for name in _FIELDS}
    if field_of(rep, slot.operator, "source_representation") is not None:
        values["hidden_source_representation"] = True
    if values["intervention_link_key"] is None:
        values["intervention_link_key"] = link
    if slot.parts is not None:
        values["subspace_partition"] = [_written_part(part, slot) for part in slot.parts]
    for name in ("intervention_type", "intervention", "source_representation"):
        values[name] = None
    return list(values.values())


def _written_part(dims: Sequence[int], slot: Slot) -> list[int]:
    """One subspace of a partition: pyvene takes two ints for a range.

    Raises:
        RequestError: two dims that are no range.
    """
    if list(dims) == list(range(dims[0], dims[-1] + 1)):
        return [dims[0], dims[-1] + 1]
    if len(dims) == 2:
        raise RequestError(
            f"{slot}: pyvene takes the subspace {list(dims)} for a range. Put its dims side by "
            "side, or add one more."
        )
    return list(dims)
