"""Step: one step of a story, as a lecturer writes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vene_widgets.errors import RequestError, choose
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.slot import Slot
from vene_widgets.tables.metrics import METRICS

MAX_CHOICES = 9
"""Choices of one step: each is picked by a letter or a digit."""


class Step(BaseModel):
    """One step of a story: an experiment, a text about it and a question to the audience.

        vw.Step("Early", [vw.Slot(layer=0, position=" Spain")], question="What comes next?",
                choices=["Madrid", "Rome"], answer="Rome")

    Attributes:
        title: the step's heading.
        experiment: an `Experiment`, or only its slots: the prompts are then those of the step
            before, and at the first step those on the screen. Without slots the base runs
            unchanged.
        text: a few sentences below the title.
        question: shown before the answer is revealed.
        choices: up to nine answers to choose from, by letter, digit or click; they require a
            question.
        answer: the correct choice, marked at the reveal; None if there is none.
        target: the token that the map shows at this step, by its exact text or its id; None for the
            map's own choice.
        metric: what the map shows, a key of `vw.METRICS`; None for the probability.
        pins: what the map keeps in view, as `(layer, position)`; None in place of one pins a whole
            row or column.

    Raises:
        RequestError: an invalid field, or both `experiment` and `slots` are given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: Annotated[str, Field(min_length=1)]
    experiment: Experiment | tuple[Slot, ...] = ()
    text: str = ""
    question: Annotated[str, Field(min_length=1)] | None = None
    choices: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    answer: str | None = None
    target: str | int | None = None
    metric: str | None = None
    pins: Annotated[tuple[tuple[int | None, int | None], ...], Field(max_length=6)] = ()

    @field_validator("metric")
    @classmethod
    def _check_metric(cls, value: str | None) -> str | None:
        return None if value is None else choose(value, METRICS, "metric")

    def __init__(
        self,
        title: str,
        experiment: Experiment | Slot | Iterable[Slot] | Mapping[str, Any] = (),
        **fields: Any,
    ) -> None:
        if "slots" in fields:
            if experiment != ():
                raise RequestError("a step takes an experiment or slots, not both")
            experiment = fields.pop("slots")
        try:
            super().__init__(title=title, experiment=_experiment_or_slots(experiment), **fields)
        except ValidationError as error:
            raise RequestError(rule_text(error)) from None

    @model_validator(mode="after")
    def _check_choices(self) -> Step:
        """Refuse choices without a question, too many or repeated ones, and a foreign answer."""
        if self.choices and self.question is None:
            raise ValueError(f"choices {list(self.choices)} require a question; pass question=...")
        if len(self.choices) > MAX_CHOICES or len(set(self.choices)) < len(self.choices):
            raise ValueError(
                f"choices {list(self.choices)} must be at most {MAX_CHOICES} and all different"
            )
        if self.answer is not None:
            choose(self.answer, self.choices, "answer", "It must be one of the step's choices.")
        return self


def _experiment_or_slots(given: object) -> object:
    """Turn a slot or an iterable of slots into a tuple; anything else is left to validation."""
    if isinstance(given, Slot):
        return (given,)
    if isinstance(given, (Experiment, Mapping, str)) or not isinstance(given, Iterable):
        return cast("object", given)
    return tuple(cast("Iterable[object]", given))


def rule_text(error: Exception) -> str:
    """The rule that a step breaks, after the field that breaks it."""
    if not isinstance(error, ValidationError):
        return str(error)
    # `experiment` is a union, so pydantic reports problems with both of its branches. The branch
    # that was validated to the greater depth is the one that was meant.
    problem = max(error.errors(), key=lambda problem: len(problem["loc"]))
    branches = ("Experiment", "tuple[Slot, ...]")
    where = ".".join(str(part) for part in problem["loc"] if part not in branches)
    text = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {text}" if where else text
