"""Experiments on the wire: their sources are a list, as browsers do not keep an object's order.

In serial mode the order of the sources is the chain; a browser puts names that are whole numbers
first.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

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
    if not isinstance(value, dict):
        return value
    fields = cast("dict[str, Any]", value)
    pairs = fields.get("sources")
    if not isinstance(pairs, list):
        return fields
    return {**fields, "sources": _by_name(cast("list[Any]", pairs))}


def _by_name(pairs: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(cast("list[Any]", pair)) != 2:
            raise ValueError("sources must be pairs of a name and a prompt")
        name, prompt = cast("list[Any]", pair)
        if not isinstance(name, str) or name in found:
            raise ValueError("sources must have names that are texts and differ")
        found[name] = prompt
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
