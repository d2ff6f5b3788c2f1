"""save() and restore(): an experiment and its trained weights as a folder, without pickle.

Three files: `experiment.json`, `interventions.json` (class, options and tensors of every key) and
`weights.safetensors`. What comes back is bit-equal, on any device.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from vene_widgets import __version__
from vene_widgets.errors import RequestError, choose
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.operators import BUILT_IN
from vene_widgets.interventions import INTERVENTIONS, Intervention, Options

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA = 1
"""Version of the folder's form: counted up when an older package could not read it rightly."""

EXPERIMENT, MODULES, WEIGHTS = "experiment.json", "interventions.json", "weights.safetensors"


def save(
    folder: str | os.PathLike[str],
    experiment: Experiment,
    weights: Mapping[str, Intervention] | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write an experiment and its weights into a new folder, all of it or nothing.

    Args:
        folder: to be made; the folder above it must exist.
        experiment: what is saved.
        weights: its interventions by key, as `run(..., weights=...)` takes them.
        overwrite: replace a folder that `save` wrote before.

    Returns:
        The folder.

    Raises:
        RequestError: a folder that is there already, a key that no slot has, an intervention that
            its slot does not name, or one that is not registered.
    """
    import torch

    target = Path(folder)
    _check_target(target, overwrite)
    names = _names(experiment)
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
            "strides": {part: list(t.stride()) for part, t in state.items() if _is_laid_out(t)},
            "frozen": sorted(n for n, p in module.named_parameters() if not p.requires_grad),
        }
    _write(target, experiment, modules, tensors)
    return target


def restore(folder: str | os.PathLike[str]) -> tuple[Experiment, dict[str, Intervention]]:
    """Read back what `save` wrote.

    Returns:
        The experiment, and its weights by key, on the CPU: move them with `.to(model.device)`.

    Raises:
        RequestError: a file that is missing, from elsewhere, of an unknown schema or changed since,
            or a custom intervention that is not registered in this process.
    """
    path = Path(folder)
    for name in (EXPERIMENT, MODULES, WEIGHTS):
        if not (path / name).is_file():
            raise RequestError(
                f"folder {str(path)!r} has no {name}. A folder that vw.save wrote has "
                f"{EXPERIMENT}, {MODULES} and {WEIGHTS}."
            )
    experiment = _experiment(path / EXPERIMENT)
    read = _content(path / MODULES, "interventions")
    data = (path / WEIGHTS).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if read.get("weights_sha256") != digest:
        raise RequestError(
            f"{path / WEIGHTS} is not the file that was saved with {MODULES}: its SHA-256 is "
            f"{digest}, not {read.get('weights_sha256')}. Restore the whole folder from one save."
        )
    from safetensors.torch import load

    tensors, names = load(data), _names(experiment)
    weights: dict[str, Intervention] = {}
    for key, entry in read["interventions"].items():
        try:
            choose(key, names, "key of weights")
            weights[key] = _module(key, entry, names[key], tensors)
        except RequestError as error:
            raise RequestError(f"{path / MODULES}: {error}") from None
        except (KeyError, TypeError) as error:
            raise RequestError(f"{path / MODULES}: {key!r} is incomplete ({error!r}).") from None
    return experiment, weights


def _names(experiment: Experiment) -> dict[str, str]:
    """Key of weights -> name of its intervention; the keys are those of `PlannedSlot.weights`."""
    return {
        f"link {slot.link}" if slot.link else f"slot {index}": slot.intervention
        for index, slot in enumerate(experiment.slots)
    }


def _is_laid_out(tensor: Tensor) -> bool:
    """Whether a tensor lies in memory in another way than row after row.

    QR and SVD leave matrices column after column; products then sum in another order, so that runs
    are bit-equal only when this is kept. Tensors that share memory among their entries are not.
    """
    return not tensor.is_contiguous() and _strides_fit(tensor, tensor.stride())


def _strides_fit(tensor: Tensor, strides: Sequence[Any]) -> bool:
    """Whether strides give each entry a place of its own, at most a few times what is needed."""
    if len(strides) != tensor.ndim or not all(type(step) is int and step > 0 for step in strides):
        return False
    end = 1
    for step, size in sorted(zip(strides, tensor.shape, strict=True)):
        if size > 1 and step < end:
            return False
        end = max(end, step * (size - 1) + end)
    return end <= 1024 * max(tensor.numel(), 1)


def _laid_out(tensor: Tensor, strides: Sequence[Any] | None) -> Tensor:
    """The same numbers with the strides that they were saved from."""
    import torch

    if strides is None:
        return tensor
    if not _strides_fit(tensor, strides):
        raise RequestError(f"strides {strides!r} do not fit a shape of {tuple(tensor.shape)}.")
    return torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype).copy_(tensor)


def _check_target(target: Path, overwrite: bool) -> None:
    if not target.parent.is_dir():
        raise RequestError(f"folder {str(target.parent)!r} is not there: make it first.")
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise RequestError(
            f"{str(target)!r} is there already: choose another folder, or overwrite=True to "
            "replace what vw.save wrote there."
        )
    known = {EXPERIMENT, MODULES, WEIGHTS}
    if target.is_symlink() or not target.is_dir() or {p.name for p in target.iterdir()} != known:
        raise RequestError(
            f"{str(target)!r} holds something else than what vw.save writes ({', '.join(known)}); "
            "it is left as it is. Choose another folder."
        )


def _write(
    target: Path, experiment: Experiment, modules: dict[str, Any], tensors: dict[str, Tensor]
) -> None:
    """Write a folder beside the target, and give it the target's name once it is whole."""
    from safetensors.torch import save as to_bytes

    data = to_bytes(tensors)
    head = {"schema": SCHEMA, "vene_widgets": __version__}
    # The folder's own contents go through a folder of their own: mkdtemp's is for its owner alone.
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
        except BaseException:
            old.rename(target)
            raise
        shutil.rmtree(old)


def _dump(path: Path, value: Any) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _content(path: Path, part: str) -> dict[str, Any]:
    """A JSON file of ours whose `part` is an object; its schema is checked first."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RequestError(f"{path} is not JSON in UTF-8: {error}.") from None
    if not isinstance(value, dict) or "vene_widgets" not in value or "schema" not in value:
        raise RequestError(f"{path} was not written by vw.save: it has no schema of vene_widgets.")
    schema = value["schema"]
    if type(schema) is not int or schema != SCHEMA:
        raise RequestError(
            f"{path} has schema {schema!r}, written by vene_widgets {value['vene_widgets']}; "
            f"vene_widgets {__version__} reads schema {SCHEMA}. Use the version that wrote it."
        )
    if not isinstance(value.get(part), dict):
        raise RequestError(f"{path} has no object {part!r}.")
    return value


def _experiment(path: Path) -> Experiment:
    value = _content(path, "experiment")["experiment"]
    slots = value.get("slots")
    for index, slot in enumerate(slots if isinstance(slots, list) else ()):
        if isinstance(slot, dict):
            _check_registered(slot.get("intervention", "vanilla"), f"{path}: slots[{index}]")
    try:
        return Experiment.model_validate(value)
    except ValidationError as error:
        raise RequestError(f"{path} holds no valid experiment: {error}") from None


def _check_registered(name: object, what: str) -> None:
    if isinstance(name, str) and name not in INTERVENTIONS:
        raise RequestError(
            f"{what} needs the custom intervention {name!r}, which is not registered here. Before "
            f"restoring, call vw.register({name!r}, ...) with the function or class that it was "
            f"saved with. Registered: {', '.join(INTERVENTIONS)}."
        )


def _module(
    key: str, entry: Mapping[str, Any], wanted: str, tensors: Mapping[str, Tensor]
) -> Intervention:
    """One intervention, made from its options and filled with its tensors."""
    import torch

    name = entry["intervention"]
    _check_registered(name, repr(key))
    kind = INTERVENTIONS[choose(name, (wanted,), f"intervention of {key!r}")]
    if name in BUILT_IN and entry["class"] != kind.__name__:
        raise RequestError(f"{key!r} is a {entry['class']}, but {name!r} is a {kind.__name__}.")
    with torch.random.fork_rng(devices=[]):  # first weights are drawn, and thrown away below
        module = kind(Options(**entry["options"]))
    state = {}
    for part in entry["tensors"]:
        stored = tensors[choose(f"{key}/{part}", tensors, "tensor")]
        state[part] = _laid_out(stored, entry["strides"].get(part))
    try:
        # Assigned, not copied: a tensor keeps the number type that it was saved in.
        module.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise RequestError(
            f"{key!r} does not fit the {kind.__name__} of this process: {error}"
        ) from None
    for part, parameter in module.named_parameters():
        parameter.requires_grad = part not in entry["frozen"]
    return module
