"""Bases of user-defined interventions under pyvene's names.

Their method is `forward(self, base, source, subspaces=None)`; base and source are
`(batch, units, width)`, subspaces a list per example.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vene_widgets import interventions as engine


class Intervention(nn.Module):
    """Base of user-defined classes: `forward(self, base, source, subspaces=None)` -> new.

    Args:
        fields: what the slot's operator is built from: the representation's fields and `embed_dim`,
            the width of the site.

    Attributes:
        embed_dim, interchange_dim: the width as a tensor, and how many coordinates change; None if
            not given.
        subspace_partition: per subspace, its dims; None if not given.
        source_representation: a constant in place of a source run; None if not given.
        keep_last_dim, use_fast: as given; nothing here reads them.
    """

    is_source_constant = False
    trainable = False
    embed_dim: Tensor | None
    interchange_dim: Tensor | None
    source_representation: Tensor | None

    def __init__(self, **fields: Any) -> None:
        super().__init__()
        self._read(fields)

    def _read(self, fields: Mapping[str, Any]) -> None:
        """Keep what pyvene's classes keep of their arguments."""
        self.keep_last_dim = bool(fields.get("keep_last_dim", False))
        self.use_fast = bool(fields.get("use_fast", False))
        self.subspace_partition = _expanded(fields.get("subspace_partition"))
        width = fields.get("embed_dim")
        for name in ("embed_dim", "interchange_dim"):
            vars(self).pop(name, None)
            if width is None:
                setattr(self, name, None)  # which a class may set to anything
            else:  # derived from the slot, so no part of a saved state
                self.register_buffer(name, torch.as_tensor(width), persistent=False)
        self.source_representation = None
        if fields.get("source_representation") is not None:
            self.set_source_representation(fields["source_representation"])

    def set_source_representation(self, source_representation: Tensor) -> None:
        """Read this constant instead of a source run."""
        self.is_source_constant = True
        del self.source_representation
        # The package's own are saved with their slot, as a slot's constant.
        is_state = not isinstance(self, engine.Intervention)
        self.register_buffer("source_representation", source_representation, persistent=is_state)

    def set_interchange_dim(self, interchange_dim: Any) -> None:
        """Note how many coordinates change, for the class's own `forward`."""
        self.interchange_dim = torch.as_tensor(interchange_dim)


def _expanded(partition: Any) -> list[list[int]] | None:
    """A partition with its ranges written out."""
    if partition is None:
        return None
    is_range = [len(p) == 2 and isinstance(p, (list, tuple)) for p in partition]
    return [
        list(range(*part)) if short else list(part)
        for part, short in zip(partition, is_range, strict=True)
    ]


class LocalistRepresentationIntervention(nn.Module):
    """Mixed into a class that acts on the site's own coordinates."""

    def __init__(self, **_: Any) -> None:
        super().__init__()
        self.is_repr_distributed = False


class DistributedRepresentationIntervention(nn.Module):
    """Mixed into a class that acts in another basis."""

    def __init__(self, **_: Any) -> None:
        super().__init__()
        self.is_repr_distributed = True


class TrainableIntervention(Intervention):
    """Base of user-defined classes with weights."""

    trainable = True

    def tie_weight(self, linked_intervention: nn.Module) -> None:
        """Do nothing, as in pyvene; linked slots hold one and the same module."""


class SharedWeightsTrainableIntervention(TrainableIntervention):
    """Base of user-defined classes with weights that several slots share."""

    shared_weights = True


class BasisAgnosticIntervention(Intervention):
    """Base of user-defined classes that change their basis freely."""

    basis_agnostic = True


class ConstantSourceIntervention(Intervention):
    """Base of user-defined classes that read no source run."""

    is_source_constant = True


class SourcelessIntervention(ConstantSourceIntervention):
    """The same under pyvene's other name."""


@dataclass
class InterventionOutput:
    """What a user-defined class may return: the new vectors, and whatever else it found.

    Attributes:
        output: the new vectors, in the base's shape.
        latent: anything; not read.
    """

    output: Any = None
    latent: Any = None
