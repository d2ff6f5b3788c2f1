"""Files of `torch.save` that pyvene keeps an operator's tensors in: `intkey_<slot>.bin`.

They are read with `weights_only=True`: tensors, and no code.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from vene_widgets.errors import RequestError, error_text, shown
from vene_widgets.intervenable.bases import TrainableIntervention
from vene_widgets.intervenable.built_in import BoundlessRotatedSpaceIntervention
from vene_widgets.models.saved_folder import replace_files

if TYPE_CHECKING:
    from vene_widgets.intervenable.slots import Slot

MODEL = "pytorch_model.bin"
"""Weights of the model itself, beside those of the operators."""

_DERIVED = ("embed_dim", "interchange_dim", "intervention_population", "source_representation")
"""Tensors of pyvene's states that follow from the slot, or are kept with it."""

_OUR_NAMES = {"intervention_boundaries": "boundary"}


def file_name(key: str) -> str:
    """Name of the file of a slot, by its key."""
    return f"intkey_{key}.bin"


def load_states(slots: Iterable[Slot], folder: Path) -> None:
    """Read the weights of every operator that trains.

    Raises:
        RequestError: a file that is missing or damaged, or weights of other names or shapes.
    """
    for slot in slots:
        core = slot.operator.module
        if not isinstance(core, TrainableIntervention):
            continue
        state = read_state(folder / file_name(slot.key))
        own = core.state_dict()
        found = {
            _OUR_NAMES.get(name, name) if name not in own else name: value
            for name, value in state.items()
            if name in own or name not in _DERIVED
        }
        try:
            core.load_state_dict(found)
        except RuntimeError as error:
            raise RequestError(f"{folder}, {slot}: {error_text(error)}") from None


def write_states(folder: Path, slots: Iterable[Slot]) -> None:
    """Write the weights of every operator that trains, without a config."""
    files = {
        file_name(slot.key): to_bytes(state_for_pyvene(slot))
        for slot in slots
        if isinstance(slot.operator.module, TrainableIntervention)
    }
    folder.mkdir(parents=True, exist_ok=True)
    replace_files(folder, files)


def state_for_pyvene(slot: Slot) -> dict[str, Tensor]:
    """The state of an operator under pyvene's names."""
    core = cast("nn.Module", slot.operator.module)
    state = {name: tensor.detach().cpu() for name, tensor in core.state_dict().items()}
    for name in ("embed_dim", "interchange_dim"):
        if isinstance(value := getattr(core, name, None), Tensor):
            state[name] = value.detach().cpu()
    if isinstance(core, BoundlessRotatedSpaceIntervention):
        for theirs, ours in _OUR_NAMES.items():
            state[theirs] = state.pop(ours)
        state["intervention_population"] = core.intervention_population.cpu()
    return state


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that `torch.save` wrote.

    Raises:
        RequestError: a file that is missing or no such file, or a torch that cannot read it safely.
    """
    if _torch_version() < (2, 6):
        raise RequestError(
            f"{path.name} cannot be read safely by torch {torch.__version__}: expected 2.6 or "
            "later, or a folder that save() wrote."
        )
    if not path.is_file():
        raise RequestError(f"folder {shown(str(path.parent))} has no {path.name}.")
    try:
        with zipfile.ZipFile(path) as archive:
            packed = [one for one in archive.infolist() if one.compress_type != zipfile.ZIP_STORED]
        if packed:
            raise RequestError(f"{path} is compressed, which torch.save never does.")
        state: object = torch.load(path, map_location="cpu", weights_only=True)
    except RequestError:
        raise
    except Exception as error:  # whatever a damaged file makes of torch
        raise RequestError(f"{path} cannot be read: {error_text(error)}.") from None
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor)
        for name, value in cast("dict[object, object]", state).items()
    ):
        raise RequestError(f"{path} has no tensors by name.")
    return cast("dict[str, Tensor]", state)


def to_bytes(state: Mapping[str, Tensor]) -> bytes:
    """Tensors as `torch.save` writes them."""
    buffer = io.BytesIO()
    torch.save({name: tensor.contiguous().clone() for name, tensor in state.items()}, buffer)
    return buffer.getvalue()


def _torch_version() -> tuple[int, int]:
    major, minor = re.findall(r"\d+", torch.__version__)[:2]
    return int(major), int(minor)
