"""A second face: pyvene's names over this package's engine.

    from vene_widgets.intervenable import *

Code written for pyvene's tutorials runs with its import lines replaced by this one.
`docs/from_pyvene.md` lists what differs, and why.
"""

from vene_widgets.intervenable.bases import (
    BasisAgnosticIntervention,
    ConstantSourceIntervention,
    DistributedRepresentationIntervention,
    Intervention,
    InterventionOutput,
    LocalistRepresentationIntervention,
    SharedWeightsTrainableIntervention,
    SourcelessIntervention,
    TrainableIntervention,
)
from vene_widgets.intervenable.built_in import (
    AdditionIntervention,
    BoundlessRotatedSpaceIntervention,
    CollectIntervention,
    LowRankRotatedSpaceIntervention,
    NoiseIntervention,
    PCARotatedSpaceIntervention,
    RotatedSpaceIntervention,
    SigmoidMaskIntervention,
    SubtractionIntervention,
    VanillaIntervention,
    ZeroIntervention,
)
from vene_widgets.intervenable.config import (
    IntervenableConfig,
    IntervenableRepresentationConfig,
    RepresentationConfig,
)
from vene_widgets.intervenable.gpt2 import (
    GET_LOC,
    create_gpt2,
    create_gpt2_lm,
    create_gpt_neo,
    create_gpt_neox,
    create_llama,
    create_olmo,
    embed_to_distrib,
    format_token,
    sigmoid_boundary,
    top_vals,
)
from vene_widgets.intervenable.model import (
    IntervenableModel,
    IntervenableModelOutput,
    build_intervenable_model,
)
from vene_widgets.intervenable.unavailable import PLACEHOLDERS
from vene_widgets.intervenable.utilities import (
    closeness_to_permutation_loss,
    count_parameters,
    create_directory,
    get_batch_size,
    get_list_depth,
    harmonic_sigmoid_boundary,
    lsm,
    random_permutation_matrix,
    set_seed,
    sm,
)

globals().update(PLACEHOLDERS)

__all__ = [
    "GET_LOC",
    "AdditionIntervention",
    "BasisAgnosticIntervention",
    "BoundlessRotatedSpaceIntervention",
    "CollectIntervention",
    "ConstantSourceIntervention",
    "DistributedRepresentationIntervention",
    "IntervenableConfig",
    "IntervenableModel",
    "IntervenableModelOutput",
    "IntervenableRepresentationConfig",
    "Intervention",
    "InterventionOutput",
    "LocalistRepresentationIntervention",
    "LowRankRotatedSpaceIntervention",
    "NoiseIntervention",
    "PCARotatedSpaceIntervention",
    "RepresentationConfig",
    "RotatedSpaceIntervention",
    "SharedWeightsTrainableIntervention",
    "SigmoidMaskIntervention",
    "SourcelessIntervention",
    "SubtractionIntervention",
    "TrainableIntervention",
    "VanillaIntervention",
    "ZeroIntervention",
    "build_intervenable_model",
    "closeness_to_permutation_loss",
    "count_parameters",
    "create_directory",
    "create_gpt2",
    "create_gpt2_lm",
    "create_gpt_neo",
    "create_gpt_neox",
    "create_llama",
    "create_olmo",
    "embed_to_distrib",
    "format_token",
    "get_batch_size",
    "get_list_depth",
    "harmonic_sigmoid_boundary",
    "lsm",
    "random_permutation_matrix",
    "set_seed",
    "sigmoid_boundary",
    "sm",
    "top_vals",
]
__all__ += [*PLACEHOLDERS]
