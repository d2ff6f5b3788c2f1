"""A second face: pyvene's names over this package's engine.

    from vene_widgets.intervenable import *

Code written for pyvene's tutorials runs with its import lines replaced by this one.
`docs/from_pyvene.md` lists what differs, and why.
"""

from vene_widgets.intervenable.config import (
    IntervenableConfig,
    IntervenableRepresentationConfig,
    RepresentationConfig,
)
from vene_widgets.intervenable.gpt2 import (
    GET_LOC,
    create_gpt2,
    create_gpt2_lm,
    embed_to_distrib,
    format_token,
    sigmoid_boundary,
    top_vals,
)
from vene_widgets.intervenable.model import IntervenableModel, IntervenableModelOutput
from vene_widgets.intervenable.operators import (
    AdditionIntervention,
    BoundlessRotatedSpaceIntervention,
    CollectIntervention,
    ConstantSourceIntervention,
    Intervention,
    LowRankRotatedSpaceIntervention,
    NoiseIntervention,
    PCARotatedSpaceIntervention,
    RotatedSpaceIntervention,
    SigmoidMaskIntervention,
    SourcelessIntervention,
    SubtractionIntervention,
    TrainableIntervention,
    VanillaIntervention,
    ZeroIntervention,
)

__all__ = [
    "GET_LOC",
    "AdditionIntervention",
    "BoundlessRotatedSpaceIntervention",
    "CollectIntervention",
    "ConstantSourceIntervention",
    "IntervenableConfig",
    "IntervenableModel",
    "IntervenableModelOutput",
    "IntervenableRepresentationConfig",
    "Intervention",
    "LowRankRotatedSpaceIntervention",
    "NoiseIntervention",
    "PCARotatedSpaceIntervention",
    "RepresentationConfig",
    "RotatedSpaceIntervention",
    "SigmoidMaskIntervention",
    "SourcelessIntervention",
    "SubtractionIntervention",
    "TrainableIntervention",
    "VanillaIntervention",
    "ZeroIntervention",
    "create_gpt2",
    "create_gpt2_lm",
    "embed_to_distrib",
    "format_token",
    "sigmoid_boundary",
    "top_vals",
]
