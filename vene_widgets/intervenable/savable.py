"""SavableModel: the folders of an `IntervenableModel`, in this package's form and in pyvene's."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from vene_widgets.errors import RequestError
from vene_widgets.intervenable import pyvene_folder, pyvene_states, save_load
from vene_widgets.intervenable.config import IntervenableConfig, as_config
from vene_widgets.intervenable.managed import ManagedModel

if TYPE_CHECKING:
    from typing_extensions import Self

    from vene_widgets.intervenable.slots import Slot

_Folder = str | os.PathLike[str]


class SavableModel(ManagedModel):
    """A managed model whose slots and weights are kept in folders.

    Args:
        config: the slots, in any form that `as_config` reads.
        model: the model to run.

    Attributes:
        config: the slots.
    """

    _slots: Sequence[Slot]

    def __init__(self, config: object, model: nn.Module) -> None:
        super().__init__()
        self.config: IntervenableConfig = as_config(config)
        self.model = model

    def _distinct_modules(self) -> dict[int, nn.Module]:
        """Every distinct module among the operators, by the first slot that holds it."""
        modules: dict[int, nn.Module] = {}
        for slot in self._slots:
            module = slot.operator.module
            # Linked slots share a module: compare by identity.
            if module is not None and not any(module is other for other in modules.values()):
                modules[slot.index] = module
        return modules

    def save(
        self,
        folder: _Folder | None = None,
        *,
        save_directory: _Folder | None = None,
        for_pyvene: bool = False,
        save_to_hf_hub: bool = False,
        include_model: bool = False,
    ) -> None:
        """Write the config and every operator's weights.

        Args:
            folder: where to.
            save_directory: the same under pyvene's name.
            for_pyvene: write the files that pyvene reads, `config.json` and one `.bin` per slot
                with weights, in place of this package's JSON and safetensors.
            save_to_hf_hub, include_model: not available.

        Raises:
            RequestError: an operator that is a plain function, which cannot be saved, or one that
                pyvene cannot read back; not one folder.
        """
        folder = _one_folder(folder, save_directory, "save_directory")
        _refuse_hub(save_to_hf_hub, "upload the folder with huggingface_hub.upload_folder")
        _refuse_model(include_model)
        if for_pyvene:
            pyvene_folder.write(Path(folder), self.config, self._slots)
            return
        operators = [slot.operator for slot in self._slots]
        save_load.save(folder, self.config, operators, self._distinct_modules())

    @classmethod
    def load(
        cls,
        folder: _Folder | None = None,
        model: nn.Module | None = None,
        types: Mapping[str, type] | None = None,
        *,
        load_directory: _Folder | None = None,
        from_huggingface_hub: bool = False,
        include_model: bool = False,
    ) -> Self:
        """Read a folder that `save` wrote, here or in pyvene.

        Results of a folder of this package's are bit-equal on the same device.

        Args:
            folder: where it was saved.
            model: the model to run.
            types: user-defined classes of operators, by name.
            load_directory: the folder under pyvene's name.
            from_huggingface_hub, include_model: not available.

        Raises:
            RequestError: missing files, an unknown class, or weights of other shapes.
        """
        folder = _one_folder(folder, load_directory, "load_directory")
        hint = "download the folder with huggingface_hub.snapshot_download"
        _refuse_hub(from_huggingface_hub, hint)
        _refuse_model(include_model)
        if model is None:
            raise RequestError("load needs model, the model to run.")
        path = Path(folder)
        if pyvene_folder.is_pyvenes(path) and not (path / save_load.CONFIG).is_file():
            found = pyvene_folder.read(path, types or {})
            loaded = cls(found.config, model)
            pyvene_folder.fill(loaded._slots, found)
            return loaded
        config, weights = save_load.load(folder, types or {})
        loaded = cls(config, model)
        save_load.load_weights(loaded._distinct_modules(), weights, folder)
        return loaded

    def save_intervention(self, save_directory: _Folder, include_model: bool = True) -> None:
        """Write the weights of the operators that train, in pyvene's form, without a config.

        Args:
            save_directory: where to.
            include_model: accepted; the model's own weights never train here.
        """
        pyvene_states.write_states(Path(save_directory), self._slots)

    def load_intervention(self, load_directory: _Folder, include_model: bool = True) -> None:
        """Read weights that `save_intervention` wrote, here or in pyvene, into the operators.

        Args:
            load_directory: where they are.
            include_model: whether it is an error if the folder has weights of the model itself.

        Raises:
            RequestError: missing files, or weights of other names or shapes.
        """
        path = Path(load_directory) / pyvene_states.MODEL
        if include_model and path.is_file() and pyvene_states.read_state(path):
            raise RequestError(
                f"{path} has weights of the model itself: load them with "
                "model.load_state_dict(..., strict=False), then pass include_model=False."
            )
        pyvene_states.load_states(self._slots, Path(load_directory))


def _one_folder(folder: _Folder | None, other: _Folder | None, name: str) -> _Folder:
    """The folder that was given, under either name."""
    given = [one for one in (folder, other) if one is not None]
    if len(given) != 1:
        raise RequestError(f"expected one folder, as folder or {name}, got {len(given)}.")
    return given[0]


def _refuse_hub(asked: bool, instead: str) -> None:
    if asked:
        raise RequestError(f"nothing is sent or fetched by itself: {instead}.")


def _refuse_model(asked: bool) -> None:
    if asked:
        raise RequestError(
            "include_model=True: runs hold the model's weights constant, so they are no part of "
            "the folder. Save and load the model by its own save_pretrained and from_pretrained."
        )
