"""The package's operators as pyvene's classes: its names, its keywords and its methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vene_widgets import interventions as engine
from vene_widgets.errors import RequestError, choose
from vene_widgets.intervenable.bases import (
    BasisAgnosticIntervention,
    ConstantSourceIntervention,
    DistributedRepresentationIntervention,
    Intervention,
    LocalistRepresentationIntervention,
    TrainableIntervention,
)

ANY_WIDTH = 0
"""Width of a ready operator without weights, which serves any site."""

_OF_A_SLOT = (
    *("layer", "component", "unit", "max_number_of_units", "intervention_type", "intervention"),
    *("group_key", "intervention_link_key", "moe_key", "hidden_source_representation"),
    *("latent_dim", "use_fast", "keep_last_dim"),
)
"""Keywords that pyvene passes to every class, and that mean nothing here."""

_KEYWORDS = ("embed_dim", "low_rank_dimension", "subspace_partition", "source_representation")


class LibraryIntervention(engine.Intervention, Intervention):
    """What the package's operators have under pyvene's names.

    Args:
        options: what the package builds them from; or else pyvene's keywords.
        fields: `embed_dim`, the width of the site, which operators without weights do not need;
            `low_rank_dimension`; `subspace_partition`, whose entries a call's subspaces select;
            `source_representation`, a constant in place of a source run. `keep_last_dim` and
            `use_fast` are accepted, and so are a slot's other fields.

    Raises:
        RequestError: an unknown keyword, or none that says how large the weights are.
    """

    more_keywords: ClassVar[tuple[str, ...]] = ()

    def __init__(self, options: engine.Options | None = None, **fields: Any) -> None:
        for name in fields.keys() - {*_OF_A_SLOT}:
            choose(name, (*_KEYWORDS, *self.more_keywords), f"keyword of {type(self).__name__}")
        own = self._options(fields) if options is None else options
        super().__init__(own)
        self._read({"embed_dim": own.width or None, **fields})

    @classmethod
    def _options(cls, fields: Mapping[str, Any]) -> engine.Options:
        """What pyvene's keywords say of width and rank."""
        width, rank = fields.get("embed_dim"), fields.get("low_rank_dimension")
        if width is None and cls.state_shapes(engine.Options(1, 1)):
            raise RequestError(
                f"{cls.__name__} has weights, so it needs embed_dim, the width of the site. Or "
                "name the class in the config: then its width is the site's."
            )
        return engine.Options(
            ANY_WIDTH if width is None else int(width), None if rank is None else int(rank)
        )

    def __str__(self) -> str:
        return f"{type(self).__name__}()"


class _WithTemperature(LibraryIntervention):
    """Methods of operators with a soft mask."""

    temperature: Tensor

    def get_temperature(self) -> Tensor:
        """The temperature of the mask; it does not train."""
        return self.temperature

    def set_temperature(self, temp: Tensor | float) -> None:
        """Set the temperature of the mask, also between a pass and its backward pass."""
        value = torch.as_tensor(temp, dtype=torch.float32, device=self.temperature.device)
        self.temperature = value.detach().reshape(()).clone()  # not in place: autograd keeps it


class VanillaIntervention(LibraryIntervention, engine.Vanilla, LocalistRepresentationIntervention):
    """Interchange: copy the source's state into the base."""


class AdditionIntervention(
    LibraryIntervention,
    engine.Addition,
    BasisAgnosticIntervention,
    LocalistRepresentationIntervention,
):
    """Add the source's state to the base's."""


class SubtractionIntervention(
    LibraryIntervention,
    engine.Subtraction,
    BasisAgnosticIntervention,
    LocalistRepresentationIntervention,
):
    """Subtract the source's state from the base's."""


class ZeroIntervention(
    LibraryIntervention,
    engine.Zero,
    ConstantSourceIntervention,
    LocalistRepresentationIntervention,
):
    """Zero ablation; reads no source."""


class CollectIntervention(LibraryIntervention, engine.Collect, ConstantSourceIntervention):
    """Change nothing; the call returns the vectors that it reads."""


class NoiseIntervention(
    LibraryIntervention,
    engine.Noise,
    ConstantSourceIntervention,
    LocalistRepresentationIntervention,
):
    """Add Gaussian noise from a seed, of any shape."""

    more_keywords = ("noise_level", "noise_leve")  # pyvene reads the second spelling

    @classmethod
    def _options(cls, fields: Mapping[str, Any]) -> engine.Options:
        level = fields.get("noise_level", fields.get("noise_leve"))
        found = super()._options(fields)
        return found if level is None else replace(found, scale=float(level))


class RotatedSpaceIntervention(
    LibraryIntervention,
    engine.RotatedSpace,
    TrainableIntervention,
    DistributedRepresentationIntervention,
):
    """Interchange of coordinates of a trained rotation of the site."""


class LowRankRotatedSpaceIntervention(
    LibraryIntervention,
    engine.LowRankRotatedSpace,
    TrainableIntervention,
    DistributedRepresentationIntervention,
):
    """Interchange in a trained subspace of `low_rank_dimension` dims."""


class BoundlessRotatedSpaceIntervention(
    _WithTemperature,
    engine.BoundlessRotatedSpace,
    TrainableIntervention,
    DistributedRepresentationIntervention,
):
    """Interchange in a trained rotation, up to a trained boundary."""

    @property
    def intervention_boundaries(self) -> nn.Parameter:
        """The share of the coordinates that change, `(1,)`."""
        return self.boundary

    @property
    def intervention_population(self) -> Tensor:
        """The coordinates by number, `(width,)`."""
        return torch.arange(self.options.width, device=self.boundary.device)

    def get_boundary_parameters(self) -> nn.Parameter:
        """`intervention_boundaries` under pyvene's other name."""
        return self.boundary

    def set_intervention_boundaries(self, intervention_boundaries: Tensor | float) -> None:
        """Set the share of the coordinates that change."""
        with torch.no_grad():
            self.boundary.fill_(float(intervention_boundaries))


class SigmoidMaskIntervention(
    _WithTemperature, engine.SigmoidMask, TrainableIntervention, LocalistRepresentationIntervention
):
    """Interchange of softly chosen coordinates."""


class PCARotatedSpaceIntervention(
    LibraryIntervention,
    engine.PCARotatedSpace,
    BasisAgnosticIntervention,
    DistributedRepresentationIntervention,
):
    """Interchange of principal components, from `pca` or from `fit`."""

    more_keywords = ("pca", "pca_mean", "pca_std")

    def __init__(self, options: engine.Options | None = None, **fields: Any) -> None:
        super().__init__(options, **fields)
        if "pca" in fields:
            self.components = _as_floats(fields["pca"].components_)
            self.mean = _as_floats(fields.get("pca_mean", 0.0)).expand(self.options.width).clone()
            self.std = _as_floats(fields.get("pca_std", 1.0)).expand(self.options.width).clone()

    @classmethod
    def _options(cls, fields: Mapping[str, Any]) -> engine.Options:
        if "pca" in fields:
            rank, width = fields["pca"].components_.shape
            return engine.Options(int(width), int(rank))
        return super()._options(fields)


def _as_floats(values: Any) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32, device="cpu")


LIBRARY: dict[str, type[LibraryIntervention]] = {
    kind.__name__: kind
    for kind in (
        *(VanillaIntervention, AdditionIntervention, SubtractionIntervention, ZeroIntervention),
        *(CollectIntervention, NoiseIntervention, RotatedSpaceIntervention),
        *(LowRankRotatedSpaceIntervention, BoundlessRotatedSpaceIntervention),
        *(SigmoidMaskIntervention, PCARotatedSpaceIntervention),
    )
}
"""Every operator of the package by its name in a saved folder."""
