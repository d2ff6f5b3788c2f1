"""Experiments on the wire: their sources are a list, as browsers do not keep an object's order.

In serial mode the order of the sources is the chain; a browser puts names that are whole numbers
first.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, PlainSerializer

from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.slot import Slot


class OrderedExperiment(BaseModel):
    """An experiment as JSON: `sources` are pairs of a name and a prompt, in order."""

    base: str
    sources: list[tuple[str, str]] = []
    slots: list[Slot] = []
    mode: Literal["parallel", "serial"] = "parallel"


def _from_wire(value: Any) -> Any:
    """The sources of a JSON object by name; anything else is left to the experiment's checks."""
    if isinstance(value, dict) and isinstance(value.get("sources"), list):
        return {**value, "sources": _by_name(value["sources"])}
    return value


def _by_name(pairs: list[Any]) -> Any:
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not isinstance(pair[0], str):
            raise ValueError("sources must be pairs of a name and a prompt")
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("sources must have names that differ")
    return found


def _to_wire(experiment: Experiment) -> OrderedExperiment:
    return OrderedExperiment.model_construct(
        base=experiment.base,
        sources=list(experiment.sources.items()),
        slots=list(experiment.slots),
        mode=experiment.mode,
    )


WireExperiment = Annotated[
    Experiment,
    BeforeValidator(_from_wire),
    PlainSerializer(_to_wire, return_type=OrderedExperiment),
]
"""An `Experiment` in Python, an `OrderedExperiment` as JSON."""
