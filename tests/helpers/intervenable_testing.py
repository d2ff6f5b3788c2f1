"""Encodings and configs that several tests of pyvene's names share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vene_widgets.intervenable import (
    AdditionIntervention,
    BoundlessRotatedSpaceIntervention,
    CollectIntervention,
    ConstantSourceIntervention,
    IntervenableConfig,
    LowRankRotatedSpaceIntervention,
    NoiseIntervention,
    PCARotatedSpaceIntervention,
    RepresentationConfig,
    RotatedSpaceIntervention,
    SigmoidMaskIntervention,
    SubtractionIntervention,
    TrainableIntervention,
    VanillaIntervention,
    ZeroIntervention,
)

WHERE: dict[str, Any] = {"sources->base": 4}
VECTOR = torch.linspace(-1, 1, 24)
SPAIN, ITALY = "The capital of Spain is", "The capital of Italy is"
TOLERANCE = 1e-5
LIBRARY = [
    *(VanillaIntervention, AdditionIntervention, SubtractionIntervention, ZeroIntervention),
    *(CollectIntervention, NoiseIntervention, RotatedSpaceIntervention),
    *(LowRankRotatedSpaceIntervention, BoundlessRotatedSpaceIntervention),
    *(SigmoidMaskIntervention, PCARotatedSpaceIntervention),
]


def ids(rows: int, tokens: int = 6, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    found = torch.randint(1, 250, (rows, tokens), generator=generator)
    return {"input_ids": found, "attention_mask": torch.ones_like(found)}


def on(model: Any, encoding: Any) -> dict[str, Tensor]:
    """An encoding on a model's device, for calls that nothing of ours sees."""
    return {name: tensor.to(model.device) for name, tensor in encoding.items()}


def plain(model: Any, encoding: Any) -> Any:
    """The output of a model's own call."""
    return model(**on(model, encoding))


def slots(*layers: int, kind: Any = VanillaIntervention, **fields: Any) -> IntervenableConfig:
    representations = [RepresentationConfig(layer, **fields) for layer in layers]
    return IntervenableConfig(representations, intervention_types=kind)


class Scale(ConstantSourceIntervention):
    """A user-defined class without a source."""

    def __init__(self, embed_dim: int, **_: Any) -> None:
        super().__init__()
        self.width = embed_dim

    def forward(self, base: Tensor, source: Any = None, subspaces: Any = None) -> Tensor:
        assert base.shape[-1] == self.width and base.ndim == 3
        return base * 3


class Mix(TrainableIntervention):
    """A user-defined class with a weight, which records its subspaces."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self.share = nn.Parameter(torch.tensor(0.25))
        self.seen: Any = None

    def forward(self, base: Tensor, source: Tensor, subspaces: Any = None) -> Tensor:
        self.seen = subspaces
        return base + self.share * (source - base)


def built(pv: Any, model: Any, kind: str = "BoundlessRotatedSpaceIntervention") -> Any:
    """One slot at layer 1, by either library."""
    fields = {"layer": 1, "low_rank_dimension": 3}
    return pv.IntervenableModel(pv.IntervenableConfig([fields], getattr(pv, kind)), model)


def loss_of(built: Any, *call: Any, **named: Any) -> Tensor:
    return built(*call, **named)[1].logits[:, -1].log_softmax(-1)[:, 7].sum()
