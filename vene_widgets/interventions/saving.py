"""save() and restore(): an experiment and its trained weights as a folder, without pickle.

Four files: `experiment.json`, `interventions.json` (class, options and tensors of every key),
`weights.safetensors`, and `manifest.json` with the SHA-256 of the others, so that any change is
noticed. Restored weights are bit-equal to the saved ones, on any device. Folders of schema 1 have
no manifest, only the hash of the weights in `interventions.json`; they are read as well.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from vene_widgets import __version__
from vene_widgets.errors import RequestError, choose, error_text, shown
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.slot import weights_key
from vene_widgets.interventions.base import Intervention
from vene_widgets.interventions.registry import INTERVENTIONS
from vene_widgets.interventions.saved_module import (
    check_registered,
    describe_module,
    restore_module,
)
from vene_widgets.models.saved_folder import (
    JSON_BYTES,
    MANIFEST,
    check_tensor_file,
    is_json_object,
    parse_json,
    parse_tensors,
    read_bytes,
    read_files,
    to_json,
    write_files,
)

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA = 2
"""Version of the format; increased whenever an older package would misread a new folder."""

_READ_SCHEMAS = (1, 2)

EXPERIMENT, MODULES, WEIGHTS = "experiment.json", "interventions.json", "weights.safetensors"
FILES = EXPERIMENT, MODULES, WEIGHTS


def save(
    folder: str | os.PathLike[str],
    experiment: Experiment,
    weights: Mapping[str, Intervention] | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write an experiment and its weights to a new folder; a failure leaves nothing behind.

    Args:
        folder: the folder to create; its parent must exist.
        experiment: the experiment to save.
        weights: its interventions by key, as `run(..., weights=...)` takes them.
        overwrite: replace a folder that `save` wrote before.

    Returns:
        The folder.

    Raises:
        RequestError: the folder exists already, a key that no slot has, or an intervention of
            another class than its slot's.
    """
    import torch

    target = Path(folder)
    _check_target(target, overwrite)
    names = _intervention_names(experiment)
    tensors: dict[str, Tensor] = {}
    modules: dict[str, Any] = {}
    for key, module in (weights or {}).items():
        name = names[choose(key, names, "key of weights")]
        if type(module) is not INTERVENTIONS[name]:
            raise RequestError(
                f"weights {key!r} are a {type(module).__name__}, but its slot names {name!r}, a "
                f"{INTERVENTIONS[name].__name__}."
            )
        for part, tensor in module.state_dict().items():
            stored = tensor.detach().cpu()
            tensors[f"{key}/{part}"] = stored.clone(memory_format=torch.contiguous_format)
        modules[key] = describe_module(name, module)
    _write(target, experiment, modules, tensors)
    return target


def restore(folder: str | os.PathLike[str]) -> tuple[Experiment, dict[str, Intervention]]:
    """Read back what `save` wrote.

    Returns:
        The experiment, and its weights by key, on the CPU: move them with `.to(model.device)`.

    Raises:
        RequestError: a file that is missing, was not written by `save`, has an unknown schema or
            was changed since, or a custom intervention that is not registered in this process.
    """
    path = Path(folder)
    for name in FILES:
        if not (path / name).is_file():
            raise RequestError(
                f"folder {str(path)!r} has no {name}. A folder that vw.save wrote has "
                f"{', '.join(FILES)} and {MANIFEST}."
            )
    # The schema first: it decides what the rest must look like.
    saved = _read_json(path / EXPERIMENT, "experiment")
    modules = _read_json(path / MODULES, "interventions")
    check_tensor_file(path / WEIGHTS)
    files = read_files(path, FILES)
    _check_hashes(path, saved["schema"], modules, files[WEIGHTS])
    experiment = _read_experiment(path / EXPERIMENT, saved["experiment"])
    tensors, names = parse_tensors(files[WEIGHTS], path / WEIGHTS), _intervention_names(experiment)
    weights: dict[str, Intervention] = {}
    used: set[str] = set()
    for key, entry in modules["interventions"].items():
        try:
            choose(key, names, "key of weights")
            weights[key] = restore_module(key, entry, names[key], tensors)
        except RequestError as error:
            raise RequestError(f"{path / MODULES}: {error}") from None
        used |= {f"{key}/{part}" for part in entry["tensors"]}
    for name in tensors.keys() - used:
        raise RequestError(f"{path / MODULES} lists no tensor {shown(name)}, which {WEIGHTS} has.")
    return experiment, weights


def _check_hashes(path: Path, schema: int, modules: Mapping[str, Any], data: bytes) -> None:
    """Check that a folder is whole: `read_files` has compared its files with the manifest, if any.

    Raises:
        RequestError: files of different saves, or the manifest of a newer save is missing.
    """
    if schema != modules["schema"]:
        raise RequestError(
            f"{path / EXPERIMENT} has schema {schema}, {MODULES} has {modules['schema']}. Take "
            "the whole folder from one save."
        )
    if schema > 1 and not (path / MANIFEST).is_file():
        raise RequestError(f"folder {str(path)!r} has no {MANIFEST}, which vw.save writes.")
    digest, expected = hashlib.sha256(data).hexdigest(), modules.get("weights_sha256")
    if schema == 1 and expected != digest:
        raise RequestError(
            f"{path / WEIGHTS} is not the file that was saved with {MODULES}: expected SHA-256 "
            f"{shown(expected)}, got {digest}. Restore the whole folder from one save."
        )


def _intervention_names(experiment: Experiment) -> dict[str, str]:
    """Key of weights -> name of its intervention."""
    return {
        weights_key(slot, index): slot.intervention for index, slot in enumerate(experiment.slots)
    }


def _check_target(target: Path, overwrite: bool) -> None:
    """Check that a folder may be written: it is new, or `save` wrote it and it may be replaced."""
    if not target.parent.is_dir():
        raise RequestError(f"folder {str(target.parent)!r} does not exist: create it first.")
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise RequestError(
            f"{str(target)!r} already exists: choose another folder, or overwrite=True to "
            "replace what vw.save wrote there."
        )
    is_folder = target.is_dir() and not target.is_symlink()
    if not is_folder or {path.name for path in target.iterdir()} - {MANIFEST} != set(FILES):
        raise RequestError(
            f"{str(target)!r} is not a folder that vw.save wrote (expected exactly "
            f"{', '.join((*FILES, MANIFEST))}) and was not changed. Choose another folder."
        )


def _write(
    target: Path, experiment: Experiment, modules: dict[str, Any], tensors: dict[str, Tensor]
) -> None:
    """Write a complete folder beside the target, then rename it to the target."""
    from safetensors.torch import save as to_bytes

    head = {"schema": SCHEMA, "vene_widgets": __version__}
    files = {
        EXPERIMENT: to_json({**head, "experiment": experiment.model_dump(mode="json")}),
        MODULES: to_json({**head, "interventions": modules}),
        WEIGHTS: to_bytes(tensors),
    }
    # Rename a subfolder, since mkdtemp makes its own folder readable by its owner only.
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as temporary:
        new, old = Path(temporary) / "new", Path(temporary) / "old"
        new.mkdir()
        write_files(new, files)
        if not target.exists():
            new.rename(target)
            return
        target.rename(old)
        try:
            new.rename(target)
        except BaseException:  # put the old folder back, also after KeyboardInterrupt
            old.rename(target)
            raise
        shutil.rmtree(old)


def _read_json(path: Path, part: str) -> dict[str, Any]:
    """Read a JSON file that `save` wrote, check its schema and that `part` is an object in it."""
    value = parse_json(read_bytes(path, JSON_BYTES), path)
    if not is_json_object(value) or "vene_widgets" not in value or "schema" not in value:
        raise RequestError(f"{path} was not written by vw.save: it has no schema of vene_widgets.")
    schema: object = value["schema"]
    if type(schema) is not int or schema not in _READ_SCHEMAS:
        raise RequestError(
            f"{path} has schema {shown(schema)}, written by vene_widgets "
            f"{shown(value['vene_widgets'])}; vene_widgets {__version__} reads schemas "
            f"{' and '.join(map(str, _READ_SCHEMAS))}. Use the version that wrote it."
        )
    if not is_json_object(value.get(part)):
        raise RequestError(f"{path} has no object {part!r}.")
    return value


def _read_experiment(path: Path, content: dict[str, Any]) -> Experiment:
    """Validate an experiment, custom interventions first: their error says what to do."""
    slots: object = content.get("slots")
    for index, slot in enumerate(cast("list[object]", slots) if isinstance(slots, list) else ()):
        if is_json_object(slot):
            check_registered(slot.get("intervention", "vanilla"), f"{path}: slots[{index}]")
    try:
        return Experiment.model_validate(content)
    except (ValidationError, RequestError) as error:
        raise RequestError(f"{path} has no valid experiment: {error_text(error)}") from None
