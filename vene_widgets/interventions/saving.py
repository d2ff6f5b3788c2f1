"""save() and restore(): an experiment and its trained weights as a folder, without pickle.

Three files: `experiment.json`, `interventions.json` (class, options and tensors of every key) and
`weights.safetensors`. Restored weights are bit-equal to the saved ones, on any device.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, cast

from pydantic import ValidationError

from vene_widgets import __version__
from vene_widgets.errors import RequestError, choose
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.operators import BUILT_IN
from vene_widgets.experiments.slot import weights_key
from vene_widgets.interventions import INTERVENTIONS, Intervention, Options
from vene_widgets.interventions.base import preserve_random_state

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA = 1
"""Version of the format; increased whenever an older package would misread a new folder."""

EXPERIMENT, MODULES, WEIGHTS = "experiment.json", "interventions.json", "weights.safetensors"


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
        state = module.state_dict()
        for part, tensor in state.items():
            stored = tensor.detach().cpu()
            tensors[f"{key}/{part}"] = stored.clone(memory_format=torch.contiguous_format)
        modules[key] = {
            "intervention": name,
            "class": type(module).__name__,
            "options": asdict(module.options),
            "tensors": sorted(state),
            "strides": {
                part: list(tensor.stride())
                for part, tensor in state.items()
                if _has_permuted_layout(tensor)
            },
            "frozen": sorted(
                part for part, parameter in module.named_parameters() if not parameter.requires_grad
            ),
        }
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
    for name in (EXPERIMENT, MODULES, WEIGHTS):
        if not (path / name).is_file():
            raise RequestError(
                f"folder {str(path)!r} has no {name}. A folder that vw.save wrote has "
                f"{EXPERIMENT}, {MODULES} and {WEIGHTS}."
            )
    experiment = _read_experiment(path / EXPERIMENT)
    modules = _read_json(path / MODULES, "interventions")
    data = (path / WEIGHTS).read_bytes()
    digest, expected = hashlib.sha256(data).hexdigest(), modules.get("weights_sha256")
    if expected != digest:
        raise RequestError(
            f"{path / WEIGHTS} is not the file that was saved with {MODULES}: expected SHA-256 "
            f"{expected}, got {digest}. Restore the whole folder from one save."
        )
    from safetensors.torch import load

    tensors, names = load(data), _intervention_names(experiment)
    weights: dict[str, Intervention] = {}
    for key, entry in modules["interventions"].items():
        try:
            choose(key, names, "key of weights")
            weights[key] = _restore_module(key, entry, names[key], tensors)
        except RequestError as error:
            raise RequestError(f"{path / MODULES}: {error}") from None
        except (KeyError, TypeError) as error:
            raise RequestError(f"{path / MODULES}: {key!r} is incomplete ({error!r}).") from None
    return experiment, weights


def _intervention_names(experiment: Experiment) -> dict[str, str]:
    """Key of weights -> name of its intervention."""
    return {
        weights_key(slot, index): slot.intervention for index, slot in enumerate(experiment.slots)
    }


def _has_permuted_layout(tensor: Tensor) -> bool:
    """Whether a tensor's entries lie in memory in another order than row after row.

    QR and SVD return matrices that are stored column after column. Matrix products sum in an order
    that depends on the layout, so restored runs are bit-equal only with the same strides. Views
    whose entries share memory (`expand`) do not count: they are saved row after row.
    """
    return not tensor.is_contiguous() and _strides_are_valid(tensor.shape, tensor.stride())


def _strides_are_valid(shape: Sequence[int], strides: Sequence[object]) -> bool:
    """Whether strides give each entry its own address, within a reasonable amount of memory."""
    steps = [step for step in strides if type(step) is int and step > 0]
    if len(strides) != len(shape) or len(steps) != len(shape):
        return False
    # Go from the innermost dimension (smallest stride) outwards. `extent` is how many addresses the
    # dimensions so far span; a step of the next one must jump over all of them, or entries overlap.
    extent = 1
    for step, size in sorted(zip(steps, shape, strict=True)):
        if size > 1 and step < extent:
            return False
        # The last of `size` steps starts at step * (size - 1); max() covers a dimension of size 0.
        extent = max(extent, step * (size - 1) + extent)
    # Gaps are fine, but a damaged file must not make us allocate more than 1024 times the entries.
    return extent <= 1024 * max(math.prod(shape), 1)


def _with_strides(tensor: Tensor, strides: Sequence[Any] | None) -> Tensor:
    """Copy a tensor to the strides that it had when it was saved; None returns it unchanged."""
    import torch

    if strides is None:
        return tensor
    if not _strides_are_valid(tensor.shape, strides):
        raise RequestError(
            f"strides {strides!r} are invalid for a tensor of shape {tuple(tensor.shape)}."
        )
    return torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype).copy_(tensor)


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
    files = EXPERIMENT, MODULES, WEIGHTS
    is_folder = target.is_dir() and not target.is_symlink()
    if not is_folder or {path.name for path in target.iterdir()} != set(files):
        raise RequestError(
            f"{str(target)!r} is not a folder that vw.save wrote (expected exactly "
            f"{', '.join(files)}) and was not changed. Choose another folder."
        )


def _write(
    target: Path, experiment: Experiment, modules: dict[str, Any], tensors: dict[str, Tensor]
) -> None:
    """Write a complete folder beside the target, then rename it to the target."""
    from safetensors.torch import save as to_bytes

    data = to_bytes(tensors)
    head = {"schema": SCHEMA, "vene_widgets": __version__}
    # Rename a subfolder, since mkdtemp makes its own folder readable by its owner only.
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as temporary:
        new, old = Path(temporary) / "new", Path(temporary) / "old"
        new.mkdir()
        _dump(new / EXPERIMENT, {**head, "experiment": experiment.model_dump(mode="json")})
        digest = hashlib.sha256(data).hexdigest()
        _dump(new / MODULES, {**head, "weights_sha256": digest, "interventions": modules})
        (new / WEIGHTS).write_bytes(data)
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


def _dump(path: Path, value: object) -> None:
    """Write a JSON file."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _is_json_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a value from a JSON file is an object, whose keys are always strings."""
    return isinstance(value, dict)


def _read_json(path: Path, part: str) -> dict[str, Any]:
    """Read a JSON file that `save` wrote, check its schema and that `part` is an object in it."""
    try:
        value: object = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RequestError(f"{path} is not JSON in UTF-8: {error}.") from None
    if not _is_json_object(value) or "vene_widgets" not in value or "schema" not in value:
        raise RequestError(f"{path} was not written by vw.save: it has no schema of vene_widgets.")
    schema: object = value["schema"]
    if type(schema) is not int or schema != SCHEMA:
        raise RequestError(
            f"{path} has schema {schema!r}, written by vene_widgets {value['vene_widgets']}; "
            f"vene_widgets {__version__} reads schema {SCHEMA}. Use the version that wrote it."
        )
    if not _is_json_object(value.get(part)):
        raise RequestError(f"{path} has no object {part!r}.")
    return value


def _read_experiment(path: Path) -> Experiment:
    """Read and validate an experiment, custom interventions first: their error says what to do."""
    content: dict[str, Any] = _read_json(path, "experiment")["experiment"]
    slots: object = content.get("slots")
    for index, slot in enumerate(cast("list[object]", slots) if isinstance(slots, list) else ()):
        if _is_json_object(slot):
            _check_registered(slot.get("intervention", "vanilla"), f"{path}: slots[{index}]")
    try:
        return Experiment.model_validate(content)
    except ValidationError as error:
        raise RequestError(f"{path} has no valid experiment: {error}") from None


def _check_registered(name: object, what: str) -> None:
    if isinstance(name, str) and name not in INTERVENTIONS:
        raise RequestError(
            f"{what} uses the custom intervention {name!r}, which is not registered here. Before "
            f"restoring, call vw.register({name!r}, ...) with the function or class that it was "
            f"saved with. Registered: {', '.join(INTERVENTIONS)}."
        )


def _restore_module(
    key: str, entry: Mapping[str, Any], expected: str, tensors: Mapping[str, Tensor]
) -> Intervention:
    """Construct one intervention from its options and load its tensors.

    Args:
        key: its key in the weights.
        entry: its description in `interventions.json`.
        expected: the intervention that its slot names.
        tensors: all tensors of the file, `key/part` -> tensor.
    """
    name = entry["intervention"]
    _check_registered(name, repr(key))
    kind = INTERVENTIONS[choose(name, (expected,), f"intervention of {key!r}")]
    if name in BUILT_IN and entry["class"] != kind.__name__:
        raise RequestError(f"{key!r} is a {entry['class']}, but {name!r} is a {kind.__name__}.")
    with preserve_random_state():  # the initial weights are random, but replaced below
        module = kind(Options(**entry["options"]))
    state: dict[str, Tensor] = {}
    for part in entry["tensors"]:
        stored = tensors[choose(f"{key}/{part}", tensors, "tensor")]
        state[part] = _with_strides(stored, entry["strides"].get(part))
    try:
        # Assigned, not copied, so that tensors keep the dtype that they were saved in.
        module.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise RequestError(
            f"{key!r} cannot be loaded into the {kind.__name__} of this process: {error}"
        ) from None
    for part, parameter in module.named_parameters():
        parameter.requires_grad = part not in entry["frozen"]
    return module
