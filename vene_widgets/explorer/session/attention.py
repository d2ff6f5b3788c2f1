"""Attention patterns of one layer, of the runs of the experiment on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from vene_widgets.errors import RequestError
from vene_widgets.explorer.session.feature import Changes, JobKind, message_trait
from vene_widgets.explorer.session.history_records import normal_form
from vene_widgets.explorer.session.reading import ReadingFeature
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire.numbers import floats
from vene_widgets.methods.attention import DIFFERENCE, AttentionPattern, attention_steps

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.engine.planning import Plan

MOST_WEIGHTS = 250_000
"""Weights of one layer, of all runs together, that are sent to a browser: 1.3 MB."""


class AttentionFeature(ReadingFeature):
    """Reads a layer's patterns in every run of the experiment, and writes `attention`."""

    name = "attention"
    empty = wire.AttentionGrid(revision=0, note=None, experiment=None, layer=0, heads=0, runs=[])
    traits: ClassVar = {"attention": message_trait(on_page=True)}
    jobs = (JobKind("attention", "The attention could not be read", is_awaited=False),)

    @property
    def changes(self) -> Changes:
        """Read the patterns of a layer."""
        return {wire.ReadAttention: self.begin}

    def begin(self, request: wire.ReadAttention) -> None:
        """Queue a reading of one layer of the experiment on the screen.

        Raises:
            RequestError: a layer that the model lacks, or more weights than the screen can show.
        """
        session = self.session
        layer = session.model.sites.site(request.layer, "block_output").layer
        with session.lock:
            if session.plan is not None:
                _check_size(session.plan, session.model.sites.heads)
            self.begin_reading(
                request,
                lambda plan: attention_steps(session.model, plan.experiment, layer),
                _message,
            )


def _check_size(plan: Plan, heads: int) -> None:
    """Refuse patterns that are too large for a browser.

    Raises:
        RequestError: they are; the message says how large they are.
    """
    lengths = [len(plan.base), len(plan.base), *map(len, plan.sources.values())]
    size = heads * sum(length**2 for length in lengths)
    if size > MOST_WEIGHTS:
        raise RequestError(
            f"the patterns of {heads} heads over {max(lengths)} tokens have {size:,} weights, at "
            f"most {MOST_WEIGHTS:,} are shown: read them with vw.attention, or shorten the prompts."
        )


def _message(found: AttentionPattern, plan: Plan, revision: int) -> wire.AttentionGrid:
    """Patterns of one layer as the screen shows them."""
    return wire.AttentionGrid(
        revision=revision,
        note=None,
        experiment=normal_form(plan),
        layer=found.layers[0],
        heads=len(found.heads),
        runs=[
            wire.AttentionRun(name=name, length=weights.shape[-1], weights=_numbers(weights[0]))
            for name, weights in found.runs.items()
            if name != DIFFERENCE
        ],
    )


def _numbers(weights: Tensor) -> list[float]:
    """Weights in one list, rounded to what the screen can show of them."""
    return floats(weights.double().flatten().mul(1e6).round().div(1e6))
