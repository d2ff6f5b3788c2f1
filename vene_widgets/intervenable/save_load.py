"""Save and load an `IntervenableModel`: a folder with its slots as JSON, weights as safetensors.

`intervenable.json` has the SHA-256 of its own slots and of the weights, so that any change of the
folder is noticed. Folders of earlier versions have no hashes; they are read as well.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from vene_widgets.errors import RequestError, choose, error_text, shown
from vene_widgets.experiments.limits import DIMS
from vene_widgets.intervenable.built_in import ANY_WIDTH, LIBRARY
from vene_widgets.intervenable.config import (
    IntervenableConfig,
    IntervenableRepresentationConfig,
)
from vene_widgets.intervenable.operators import Operator
from vene_widgets.intervenable.slots import field_of
from vene_widgets.intervenable.subspaces import as_range, list_dims
from vene_widgets.interventions import Intervention, Noise, Options
from vene_widgets.interventions.saved_module import SavedOptions, check_state
from vene_widgets.models.saved_folder import (
    JSON_BYTES,
    check_tensor_file,
    is_json_object,
    json_hash,
    parse_json,
    parse_tensors,
    read_bytes,
    replace_files,
    to_json,
)

SCHEMA = 1
CONFIG, WEIGHTS = "intervenable.json", "interventions.safetensors"

_Key = str | int | float | bool | None
_Size = Annotated[int, Field(ge=0, le=2**24)]
_UNCHECKED_SIZE = 2**16
"""Largest size that a user-defined class is built with if its saved tensors are smaller."""


class _Dims(BaseModel):
    """A subspace of single dims."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    dims: list[int]


class _SavedFields(BaseModel):
    """The fields of a representation that are saved as they are."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    layer: int
    component: str
    unit: str
    max_number_of_units: int
    low_rank_dimension: Annotated[int, Field(ge=0, le=DIMS)] | None
    group_key: _Key
    intervention_link_key: _Key
    latent_dim: _Size | None


class _SavedSlot(_SavedFields):
    """One slot as it is saved."""

    subspace_partition: list[list[int] | _Dims] | None
    intervention: str
    weights: Annotated[int, Field(ge=0)]
    options: SavedOptions | None


class _SavedFolder(BaseModel):
    """The content of `intervenable.json`, hashes left out."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    mode: str
    slots: list[_SavedSlot]


def save(
    folder: str | os.PathLike[str],
    config: IntervenableConfig,
    operators: Sequence[Operator],
    modules: Mapping[int, nn.Module],
) -> None:
    """Write a config and its operators' weights.

    Both files are written aside and then renamed; other files of the folder stay.

    Args:
        folder: created if it does not exist.
        config: the slots.
        operators: one per slot.
        modules: every distinct module by the first slot that holds it.

    Raises:
        RequestError: an operator that is a plain function, or a key that JSON has no type for.
    """
    slots: list[dict[str, Any]] = []
    tensors: dict[str, Tensor] = {}
    for index, (rep, operator) in enumerate(zip(config.representations, operators, strict=True)):
        if operator.module is None:
            raise RequestError(
                f"slot {index} has a plain function, {operator.name}, which cannot be saved. Write "
                "it as a class with forward(self, base, source, subspaces=None)."
            )
        fields: dict[str, Any] = {name: getattr(rep, name) for name in _SavedFields.model_fields}
        check_keys(rep, index)
        partition = field_of(rep, operator, "subspace_partition")
        fields["subspace_partition"] = _partition_to_json(partition)
        if operator.changes_first_only:
            raise RequestError(
                f"slot {index}: its interchange_dim is not saved. Give the slot a "
                "subspace_partition, and the calls subspaces."
            )
        options = None
        if isinstance(operator.core, Intervention) and operator.takes_mask:
            options = asdict(operator.core.options)
            if operator.core.options.width == ANY_WIDTH:
                options["width"] = operator.size
            if operator.size == ANY_WIDTH:  # attention weights: as many as the prompt has tokens
                options = None
                if isinstance(operator.core, Noise):
                    raise RequestError(
                        f"slot {index}: noise is not saved where the width of its vectors is not "
                        "known before a run."
                    )
        slots.append(
            {
                **fields,
                "intervention": operator.name,
                # Linked slots hold one module, whose weights are saved once.
                "weights": next(i for i, module in modules.items() if module is operator.core),
                "options": options,
            }
        )
        constant = field_of(rep, operator, "source_representation")
        if constant is not None:
            tensors[f"source.{index}"] = constant.detach().contiguous().clone()
    for index, module in modules.items():
        for name, tensor in module.state_dict().items():
            tensors[f"slot.{index}.{name}"] = tensor.detach().contiguous().clone()
    data, content = to_bytes(tensors), {"mode": config.mode, "slots": slots}
    try:
        _SavedFolder.model_validate(content)
    except ValidationError as error:
        raise RequestError(f"the config cannot be saved: {error_text(error)}.") from None
    hashes = {"config": json_hash(content), "weights": hashlib.sha256(data).hexdigest()}
    text = to_json({"schema": SCHEMA, **content, "sha256": hashes})
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    replace_files(path, {WEIGHTS: data, CONFIG: text})


def check_keys(rep: IntervenableRepresentationConfig, index: int) -> None:
    """Check that a slot's group and link can be saved.

    Raises:
        RequestError: a key that JSON has no type for.
    """
    for name in ("group_key", "intervention_link_key"):
        key = getattr(rep, name)
        if not isinstance(key, (str, int, float, bool, type(None))):
            raise RequestError(
                f"slot {index}: {name} {key!r} cannot be saved; expected a string or a number."
            )


def load(
    folder: str | os.PathLike[str], types: Mapping[str, type]
) -> tuple[IntervenableConfig, dict[str, Tensor]]:
    """Read the config and the weights that `save` wrote.

    Args:
        folder: where they were saved.
        types: user-defined classes of operators, by name.

    Raises:
        RequestError: missing files, another schema, or an unknown class.
    """
    path = Path(folder)
    for name in (CONFIG, WEIGHTS):
        if not (path / name).is_file():
            raise RequestError(f"folder {os.fspath(folder)!r} has no {name}; save() writes it.")
    content, hashes = _read_config(path / CONFIG)
    check_tensor_file(path / WEIGHTS)
    data = read_bytes(path / WEIGHTS)
    digest = hashlib.sha256(data).hexdigest()
    if hashes is not None and digest != hashes.get("weights"):
        raise RequestError(
            f"{path / WEIGHTS} is not the file that was saved with {CONFIG}: expected SHA-256 "
            f"{shown(hashes.get('weights'))}, got {digest}. Load the whole folder from one save."
        )
    weights = parse_tensors(data, path / WEIGHTS)
    try:
        saved = _SavedFolder.model_validate(content)
        representations = _build_representations(saved.slots, weights, types)
        return IntervenableConfig(representations, mode=saved.mode), weights
    except ValidationError as error:
        raise RequestError(f"{path / CONFIG} is invalid: {error_text(error)}.") from None
    except RequestError as error:
        raise RequestError(f"{path / CONFIG}: {error}") from None


def _read_config(path: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The content of `intervenable.json`, and its hashes; None if an earlier version wrote it.

    Raises:
        RequestError: another schema, or a content that is not the one that was saved.
    """
    content = parse_json(read_bytes(path, JSON_BYTES), path)
    if not is_json_object(content):
        raise RequestError(f"{path} is no JSON object; IntervenableModel.save writes one.")
    schema, hashes = content.pop("schema", None), content.pop("sha256", None)
    if type(schema) is not int or schema != SCHEMA:
        raise RequestError(f"{CONFIG} has schema {shown(schema)}; this version reads {SCHEMA}.")
    if hashes is None:
        return content, None
    if not is_json_object(hashes) or hashes.get("config") != json_hash(content):
        raise RequestError(
            f"{path} was changed since it was saved: its SHA-256 is another. Load the whole "
            "folder from one save."
        )
    return content, hashes


def _build_representations(
    slots: Sequence[_SavedSlot], weights: Mapping[str, Tensor], types: Mapping[str, type]
) -> list[IntervenableRepresentationConfig]:
    """The representations of saved slots, the package's own operators built.

    Args:
        slots: as they were saved.
        weights: the tensors of the folder.
        types: user-defined classes of operators, by name.

    Raises:
        RequestError: an unknown class, or tensors that contradict the slots.
    """
    classes: dict[str, type] = {**LIBRARY, **types}
    holders = [slot.weights for slot in slots]
    states = _split_states(weights, set(holders), len(slots))
    built_in: dict[int, Intervention] = {}
    representations: list[IntervenableRepresentationConfig] = []
    for index, slot in enumerate(slots):
        name, what, first = slot.intervention, f"slot {index}", slot.weights
        hint = "Give your own classes as load(..., types={'Name': Class})."
        choose(name, classes, f"{what}: intervention", hint)
        _check_holder(slots, index)
        fields: dict[str, Any] = {name: getattr(slot, name) for name in _SavedFields.model_fields}
        # Slots without a link share weights if they were built from one ready module.
        if holders.count(first) > 1 and slot.intervention_link_key is None:
            fields["intervention_link_key"] = f"weights of slot {first}"
        if slot.options is not None and name in LIBRARY:
            options = slot.options.options
            if first not in built_in:
                if classes[name] is LIBRARY[name]:
                    check_state(LIBRARY[name], options, states[first], what)
                built_in[first] = classes[name](options)
            fields["intervention"] = built_in[first]
        elif classes[name] is LIBRARY.get(name) and not _is_without_options(LIBRARY[name]):
            raise RequestError(f"{what}: {name} was saved without its options.")
        else:
            _check_sizes(slot, states[first], what)
            fields["intervention_type"] = classes[name]
        fields["subspace_partition"] = _partition_from_json(slot.subspace_partition)
        fields["source_representation"] = weights.get(f"source.{index}")
        representations.append(IntervenableRepresentationConfig(**fields))
    return representations


def _is_without_options(kind: type[Intervention]) -> bool:
    """Whether an operator is the same whatever it is built from."""
    return not kind.state_shapes(Options(1, 1)) and not issubclass(kind, Noise)


def _split_states(
    weights: Mapping[str, Tensor], holders: set[int], count: int
) -> dict[int, dict[str, Tensor]]:
    """The state of every module, by the first slot that holds it.

    Raises:
        RequestError: a tensor that belongs to no slot.
    """
    states: dict[int, dict[str, Tensor]] = {holder: {} for holder in holders}
    starts = {f"slot.{holder}": holder for holder in holders}
    sources = {f"source.{index}" for index in range(count)}
    for name, tensor in weights.items():
        prefix, _, rest = name.removeprefix("slot.").partition(".")
        holder = starts.get(f"slot.{prefix}") if name.startswith("slot.") else None
        if holder is not None:
            states[holder][rest] = tensor
        elif name not in sources:
            raise RequestError(f"no slot has the tensor {shown(name)} of {WEIGHTS}.")
    return states


def _check_holder(slots: Sequence[_SavedSlot], index: int) -> None:
    """Check that a slot shares its weights with a slot of the same operator.

    Raises:
        RequestError: it names a later slot, or one with another operator.
    """
    slot, first = slots[index], slots[index].weights
    holder = slots[first] if first <= index else None
    if holder is None or holder.weights != first:
        raise RequestError(f"slot {index}: weights of slot {first} are not among the slots before.")
    if (holder.intervention, holder.options) != (slot.intervention, slot.options):
        raise RequestError(f"slot {index} shares weights with slot {first}, another operator.")


def _check_sizes(slot: _SavedSlot, state: Mapping[str, Tensor], what: str) -> None:
    """Check the sizes that a user-defined class is built with against its saved tensors.

    Raises:
        RequestError: a size that is larger than all its tensors together.
    """
    limit = max(_UNCHECKED_SIZE, sum(tensor.numel() for tensor in state.values()))
    for name in ("low_rank_dimension", "latent_dim"):
        size = getattr(slot, name)
        if size is not None and size > limit:
            raise RequestError(
                f"{what}: {name} {size} is larger than all tensors that were saved for it."
            )


def load_weights(
    modules: Mapping[int, nn.Module],
    weights: Mapping[str, Tensor],
    folder: str | os.PathLike[str],
) -> None:
    """Load saved weights into freshly built modules.

    Args:
        modules: every distinct module by the first slot that holds it.
        weights: the tensors of a folder, by `slot.{index}.{name}`.
        folder: the folder, for messages.

    Raises:
        RequestError: weights whose names or shapes are not those of the module.
    """
    for index, module in modules.items():
        start = f"slot.{index}."
        state = {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            text = error_text(error)
            raise RequestError(f"folder {os.fspath(folder)!r}, slot {index}: {text}") from None


def _partition_to_json(partition: object) -> list[Any] | None:
    """A partition as JSON: `[start, stop]` for a range, `{"dims": [...]}` for single dims."""
    if partition is None:
        return None
    entries: list[Any] = []
    for entry in cast("Iterable[object]", partition):
        bounds = as_range(entry)
        entries.append({"dims": sorted(list_dims(entry))} if bounds is None else list(bounds))
    return entries


def _partition_from_json(entries: Sequence[list[int] | _Dims] | None) -> list[Any] | None:
    """The inverse: single dims come back as a set, which is never taken for a range."""
    if entries is None:
        return None
    return [entry if isinstance(entry, list) else set(entry.dims) for entry in entries]
