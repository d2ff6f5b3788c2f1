"""Operators in the site's own coordinates: interchange, arithmetic, ablation, noise, collect."""

from __future__ import annotations

import torch
from torch import Tensor

from vene_widgets.experiments.operators import OPERATORS
from vene_widgets.interventions.base import (
    ON_CPU,
    Intervention,
    cast_like,
    only_masked,
    require_source,
)


class Vanilla(Intervention):
    """Interchange intervention (activation patching): copy the source's coordinates into the base.

    new = s. Geiger et al. 2021, "Causal Abstractions of Neural Networks".
    """

    name = "vanilla"
    formula = "new = s"
    about = "Interchange: copy the source's state (Geiger et al. 2021)."

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        return only_masked(mask, base, cast_like(require_source(source), base))


class Addition(Intervention):
    """Activation addition: new = b + s. Turner et al. 2023, "Activation Addition"."""

    name = "addition"
    formula = "new = b + s"
    about = "Add the source's state (activation addition, Turner et al. 2023)."

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        return only_masked(mask, base, base + cast_like(require_source(source), base))


class Subtraction(Intervention):
    """Activation subtraction: new = b - s."""

    name = "subtraction"
    formula = "new = b − s"
    about = "Subtract the source's state."

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        return only_masked(mask, base, base - cast_like(require_source(source), base))


class Zero(Intervention):
    """Zero ablation: new = 0."""

    name = "zero"
    needs_source = OPERATORS["zero"].needs_source
    formula = "new = 0"
    about = "Zero ablation: what happens without this state."

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        return only_masked(mask, base, torch.zeros_like(base))


class Mean(Intervention):
    """Mean ablation: new = the mean of the slot's prompts' states at the same site.

    The engine passes the mean as `source`. Wang et al. 2022, "Interpretability in the Wild".
    """

    name = "mean"
    needs_source = OPERATORS["mean"].needs_source
    formula = "new = mean over the given prompts"
    about = "Mean ablation over given prompts (Wang et al. 2022)."

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        return only_masked(mask, base, cast_like(require_source(source), base))


class Noise(Intervention):
    """Gaussian noise: new = b + scale · ε, ε standard normal from the slot's seed.

    The same seed gives the same noise at any batch size on any device. Position i always gets the
    i-th vector of the seed, however many positions there are, and all examples of a batch share
    the vectors. Meng et al. 2022, "Locating and Editing Factual Associations in GPT".
    """

    name = "noise"
    needs_source = OPERATORS["noise"].needs_source
    formula = "new = b + scale · ε"
    about = "Add Gaussian noise from a seed (causal tracing, Meng et al. 2022)."

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        generator = torch.Generator("cpu").manual_seed(self.options.seed)
        count = base.shape[-2] if base.ndim > 1 else 1
        # One call per vector, on the CPU: torch.randn's numbers depend on the tensor's size and
        # on the device.
        width = base.shape[-1]
        rows = [torch.randn(width, generator=generator, **ON_CPU) for _ in range(count)]
        noise = torch.stack(rows) if base.ndim > 1 else rows[0]
        return only_masked(mask, base, base + self.options.scale * cast_like(noise, base))


class Collect(Intervention):
    """Change nothing; the run's record has the vectors (`SlotReport.stats`)."""

    name = "collect"
    needs_source = OPERATORS["collect"].needs_source
    formula = "new = b"
    about = "Collect the state and leave it as it is."

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        return base
