"""Behaviour: what a few short passes measured of one state of a model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Behaviour:
    """What was measured of a model (`engine.behaviour.measure`).

    Attributes:
        is_causal: whether no position depends on a later token.
        embeds_alone: whether the first block's input depends on a position's own token only.
        ends_alone: whether the last position's logits depend on the last block's output at that
            position only.
        batches: whether every row of a batch gets the numbers that it gets alone.
        is_family_code: whether only code of the family's own runs, so that what few short rows
            show holds for many long ones; if not, sweeps check each of their batches.
        resume_blocker: why full forward passes are used; None if passes may be resumed.
    """

    is_causal: bool
    embeds_alone: bool
    ends_alone: bool
    batches: bool
    is_family_code: bool
    resume_blocker: str | None
