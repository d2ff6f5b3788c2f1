"""Save and load an `IntervenableModel`: a folder with its slots as JSON, weights as safetensors."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from safetensors.torch import (  # both annotate paths with a bare os.PathLike
    load_file,  # pyright: ignore[reportUnknownVariableType]
    save_file,  # pyright: ignore[reportUnknownVariableType]
)
from torch import Tensor, nn

from vene_widgets.errors import RequestError, choose
from vene_widgets.intervenable.config import (
    IntervenableConfig,
    IntervenableRepresentationConfig,
)
from vene_widgets.intervenable.operators import LIBRARY, Operator
from vene_widgets.intervenable.subspaces import as_range, list_dims
from vene_widgets.interventions import Intervention, Options

SCHEMA = 1
CONFIG, WEIGHTS = "intervenable.json", "interventions.safetensors"
_SAVED_FIELDS = (
    *("layer", "component", "unit", "max_number_of_units", "low_rank_dimension"),
    *("group_key", "intervention_link_key", "latent_dim"),
)


def save(
    folder: str | os.PathLike[str],
    config: IntervenableConfig,
    operators: Sequence[Operator],
    modules: Mapping[int, nn.Module],
) -> None:
    """Write a config and its operators' weights.

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
        fields: dict[str, Any] = {name: getattr(rep, name) for name in _SAVED_FIELDS}
        for name in ("group_key", "intervention_link_key"):
            if not isinstance(fields[name], (str, int, float, bool, type(None))):
                raise RequestError(
                    f"slot {index}: {name} {fields[name]!r} cannot be saved; expected a string or "
                    "a number."
                )
        fields["subspace_partition"] = _partition_to_json(rep.subspace_partition)
        options = None
        if isinstance(operator.core, Intervention) and operator.takes_mask:
            options = asdict(operator.core.options)
        slots.append(
            {
                **fields,
                "intervention": operator.name,
                # Linked slots hold one module, whose weights are saved once.
                "weights": next(i for i, module in modules.items() if module is operator.core),
                "options": options,
            }
        )
        if rep.source_representation is not None:
            tensors[f"source.{index}"] = rep.source_representation.detach().contiguous().clone()
    for index, module in modules.items():
        for name, tensor in module.state_dict().items():
            tensors[f"slot.{index}.{name}"] = tensor.detach().contiguous().clone()
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"schema": SCHEMA, "mode": config.mode, "slots": slots}, indent=2)
    save_file(tensors, path / WEIGHTS)
    (path / CONFIG).write_text(text + "\n", encoding="utf-8")


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
    data: dict[str, Any] = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    if data.get("schema") != SCHEMA:
        raise RequestError(
            f"{CONFIG} has schema {data.get('schema')!r}; this version reads {SCHEMA}."
        )
    weights = load_file(path / WEIGHTS)
    classes: dict[str, type] = {**LIBRARY, **types}
    slots: list[dict[str, Any]] = data["slots"]
    users = Counter(slot["weights"] for slot in slots)  # weights -> how many slots hold them
    built_in: dict[int, Intervention] = {}
    representations: list[IntervenableRepresentationConfig] = []
    for index, slot in enumerate(slots):
        fields = dict(slot)
        name, options = fields.pop("intervention"), fields.pop("options")
        choose(
            name,
            classes,
            f"slot {index}: intervention",
            "Give your own classes as load(..., types={'Name': Class}).",
        )
        first = fields.pop("weights")
        # Slots without a link share weights if they were built from one ready module.
        if users[first] > 1 and fields["intervention_link_key"] is None:
            fields["intervention_link_key"] = f"weights of slot {first}"
        if options is not None and name in LIBRARY:
            if first not in built_in:
                built_in[first] = classes[name](Options(**options))
            fields["intervention"] = built_in[first]
        else:
            fields["intervention_type"] = classes[name]
        fields["subspace_partition"] = _partition_from_json(fields["subspace_partition"])
        fields["source_representation"] = weights.get(f"source.{index}")
        representations.append(IntervenableRepresentationConfig(**fields))
    return IntervenableConfig(representations, mode=data["mode"]), weights


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
            raise RequestError(f"folder {os.fspath(folder)!r}, slot {index}: {error}") from None


def _partition_to_json(partition: object) -> list[Any] | None:
    """A partition as JSON: `[start, stop]` for a range, `{"dims": [...]}` for single dims."""
    if partition is None:
        return None
    entries: list[Any] = []
    for entry in cast("Iterable[object]", partition):
        bounds = as_range(entry)
        entries.append({"dims": sorted(list_dims(entry))} if bounds is None else list(bounds))
    return entries


def _partition_from_json(entries: list[Any] | None) -> list[Any] | None:
    """The inverse: single dims come back as a set, which is never taken for a range."""
    if entries is None:
        return None
    return [entry if isinstance(entry, list) else set(entry["dims"]) for entry in entries]
