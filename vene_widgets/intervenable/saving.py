"""Folders of an `IntervenableModel`: one JSON file for the slots, one safetensors for weights."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vene_widgets.errors import RequestError, choose
from vene_widgets.intervenable.config import (
    IntervenableConfig,
    IntervenableRepresentationConfig,
)
from vene_widgets.intervenable.operators import LIBRARY, Operator
from vene_widgets.interventions import Options

SCHEMA = 1
CONFIG, WEIGHTS = "intervenable.json", "interventions.safetensors"
_PLAIN = (
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
        folder: made where it is missing.
        config: the slots.
        operators: one per slot.
        modules: every distinct module by the first slot that holds it.

    Raises:
        RequestError: a function among the operators, or a key that JSON cannot hold.
    """
    slots, tensors = [], {}
    for index, (rep, operator) in enumerate(zip(config.representations, operators, strict=True)):
        if not operator.is_module:
            raise RequestError(
                f"slot {index} has a plain function, {operator.name}, which cannot be saved. Write "
                "it as a class with forward(self, base, source, subspaces=None)."
            )
        fields = {name: getattr(rep, name) for name in _PLAIN}
        for name in ("group_key", "intervention_link_key"):
            if not isinstance(fields[name], (str, int, float, bool, type(None))):
                raise RequestError(
                    f"slot {index}: {name} {fields[name]!r} cannot be saved; a text or a number can"
                )
        fields["subspace_partition"] = _ranges(rep.subspace_partition)
        slots.append(
            {
                **fields,
                "intervention": operator.name,
                "weights": next(i for i, module in modules.items() if module is operator.core),
                "options": asdict(operator.core.options) if operator.is_library else None,
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
    """The config and the weights that `save` wrote.

    Raises:
        RequestError: files missing, of another schema, or a class that is not known.
    """
    path = Path(folder)
    for name in (CONFIG, WEIGHTS):
        if not (path / name).is_file():
            raise RequestError(f"folder {os.fspath(folder)!r} has no {name}; save() writes it.")
    data = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    if data.get("schema") != SCHEMA:
        raise RequestError(
            f"{CONFIG} has schema {data.get('schema')!r}; this version reads {SCHEMA}."
        )
    weights = load_file(path / WEIGHTS)
    known = {**LIBRARY, **types}
    sharing = Counter(saved["weights"] for saved in data["slots"])
    made: dict[int, Any] = {}
    representations = []
    for index, saved in enumerate(data["slots"]):
        fields = dict(saved)
        name, options = fields.pop("intervention"), fields.pop("options")
        choose(
            name,
            known,
            f"slot {index}: intervention",
            "Give your own classes as load(..., types={'Name': Class}).",
        )
        first = fields.pop("weights")
        if sharing[first] > 1 and fields["intervention_link_key"] is None:
            fields["intervention_link_key"] = f"weights of slot {first}"  # one ready module
        if options is not None and name in LIBRARY:
            if first not in made:
                made[first] = known[name](Options(**options))
            fields["intervention"] = made[first]
        else:
            fields["intervention_type"] = known[name]
        if fields["subspace_partition"] is not None:
            fields["subspace_partition"] = [_dims(entry) for entry in fields["subspace_partition"]]
        fields["source_representation"] = weights.get(f"source.{index}")
        representations.append(IntervenableRepresentationConfig(**fields))
    return IntervenableConfig(representations, mode=data["mode"]), weights


def fill(
    modules: Mapping[int, nn.Module],
    weights: Mapping[str, Tensor],
    folder: str | os.PathLike[str],
) -> None:
    """Put saved weights into fresh modules.

    Raises:
        RequestError: weights that do not fit.
    """
    for index, module in modules.items():
        start = f"slot.{index}."
        state = {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            raise RequestError(f"folder {os.fspath(folder)!r}, slot {index}: {error}") from None


def _ranges(partition: Any) -> Any:
    """A partition as JSON: `[start, stop]` for a range, `{"dims": [...]}` for single dims."""
    if partition is None:
        return None
    saved: list[Any] = []
    for entry in partition:
        if isinstance(entry, (list, tuple)) and len(entry) == 2:
            saved.append([int(entry[0]), int(entry[1])])
        else:
            listed: Any = getattr(entry, "tolist", lambda entry=entry: entry)()
            saved.append({"dims": sorted(int(dim) for dim in listed)})
    return saved


def _dims(entry: Any) -> Any:
    return set(entry["dims"]) if isinstance(entry, dict) else entry
