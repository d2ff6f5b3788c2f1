"""Names of pyvene that this package does not have: each says so where it is used.

A notebook that imports everything must not go on with another class of the same name, nor stop at a
`NameError` that explains nothing.
"""

from __future__ import annotations

from typing import Any, NoReturn

from vene_widgets.errors import RequestError

REASONS = {
    "SkipIntervention": "skipping a module's computation; a VanillaIntervention at the module's "
    "output, with a source that has the wanted state, does the same",
    "AutoencoderIntervention": "autoencoders; write a TrainableIntervention whose forward encodes, "
    "swaps and decodes",
    "JumpReLUAutoencoderIntervention": "autoencoders; write a TrainableIntervention whose forward "
    "encodes, swaps and decodes",
    "SigmoidMaskRotatedSpaceIntervention": "a mask in a rotated basis; valid are "
    "SigmoidMaskIntervention and BoundlessRotatedSpaceIntervention",
    "CausalModel": "causal models and their data; any data set of encodings works",
    "IntervenableNdifModel": "remote models; load the model here",
    "GRUConfig": "recurrent models",
    "create_gru": "recurrent models",
    "create_gru_lm": "recurrent models",
    "create_gru_classifier": "recurrent models",
    "create_mlp_classifier": "classifiers of vectors",
    "create_blip": "models of images",
    "create_blip_itm": "models of images",
    "create_llava": "models of images",
    "create_backpack_gpt2": "Backpack models",
    "type_to_module_mapping": "pyvene's tables of modules; the page on model families lists "
    "what there is",
    "type_to_dimension_mapping": "pyvene's tables of modules; the page on model families lists "
    "what there is",
    "get_type_from_string": "classes from strings; pass the class",
}
"""Name -> what is not available, and what is valid instead."""


class _Refusing(type):
    """Classes that say why they are not there, whatever is done with them."""

    def __call__(cls, *_: Any, **__: Any) -> NoReturn:
        _refuse(cls.__name__)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_"):  # what a notebook or a debugger asks of any object
            raise AttributeError(name)
        _refuse(cls.__name__)


def _refuse(name: str) -> NoReturn:
    raise RequestError(f"{name} of pyvene is not available here: {REASONS[name]}.")


def _init_subclass(cls: type, **_: Any) -> NoReturn:
    _refuse(next(base.__name__ for base in cls.__mro__ if base.__name__ in REASONS))


PLACEHOLDERS: dict[str, type] = {
    name: _Refusing(
        name,
        (),
        {"__init_subclass__": classmethod(_init_subclass), "__doc__": f"Not available: {reason}."},
    )
    for name, reason in REASONS.items()
}
"""Name -> a class that raises a `RequestError` when it is called, derived from or read."""
