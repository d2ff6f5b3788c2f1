"""Interventions: the operators that a slot applies at a site, as pure functions of tensors."""

from vene_widgets.interventions.base import Intervention, Options, blend
from vene_widgets.interventions.registry import (
    INTERVENTIONS,
    make,
    register,
    unregister,
)
from vene_widgets.interventions.rotated import (
    BoundlessRotatedSpace,
    LowRankRotatedSpace,
    PCARotatedSpace,
    RotatedSpace,
    SigmoidMask,
)
from vene_widgets.interventions.simple import (
    Addition,
    Collect,
    Mean,
    Noise,
    Subtraction,
    Vanilla,
    Zero,
)

__all__ = [
    "INTERVENTIONS",
    "Addition",
    "BoundlessRotatedSpace",
    "Collect",
    "Intervention",
    "LowRankRotatedSpace",
    "Mean",
    "Noise",
    "Options",
    "PCARotatedSpace",
    "RotatedSpace",
    "SigmoidMask",
    "Subtraction",
    "Vanilla",
    "Zero",
    "blend",
    "make",
    "register",
    "unregister",
]
