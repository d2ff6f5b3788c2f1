"""lens(): what every layer would answer, read by the model's own final norm and head.

The logit lens (nostalgebraist 2020, "interpreting GPT: the logit lens"): the residual stream after
a block is put in the place of the last block's output, and the model's own forward does the rest.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from vene_widgets.engine.layer_readings import reading_steps
from vene_widgets.engine.planning import Plan, plan_experiment
from vene_widgets.engine.weights import planned_weights
from vene_widgets.errors import RequestError, shown, validated
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.sweep_request import SweepRequest
from vene_widgets.models.language_model import require_language_model
from vene_widgets.models.unwrapping import PickledWithoutWeights
from vene_widgets.tables.lens_frames import lens_frame

if TYPE_CHECKING:
    import pandas as pd
    from plotnine import ggplot

    from vene_widgets.interventions import Intervention
    from vene_widgets.models import LanguageModel, Token
    from vene_widgets.tables.statistics import CellStatistics

BASE, PATCHED = "base", "patched"
"""Names of the unchanged and of the changed run of the base prompt."""


@dataclass(frozen=True, eq=False)
class Lens(PickledWithoutWeights):
    """What every layer of some runs would answer at every position.

    Logits are not kept; `.frame` is made when it is first read. A pickle of it holds the numbers
    and the tokenizer, not the model's weights.

    Attributes:
        model: the model that ran.
        experiment: the request; of a prompt alone, one without slots.
        tokens: name of each run -> the tokens of its prompt.
        layers: the blocks whose outputs were read.
        targets: ids of the tokens that `.frame` follows; may be empty.
        cells: name of each run -> statistics of its readings, layer by layer, from which `.frame`
            is made.
    """

    model: LanguageModel = field(repr=False)
    experiment: Experiment
    tokens: Mapping[str, tuple[Token, ...]]
    layers: tuple[int, ...]
    targets: tuple[int, ...]
    _plan: Plan = field(repr=False)
    cells: Mapping[str, CellStatistics] = field(repr=False)

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of the runs: `base`, then the sources by their names, then `patched`."""
        return tuple(self.tokens)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per run, layer and position, and per target if there are any.

        Columns as in `tables.lens_frames.lens_frame`: run, layer, position, token, token_id, label,
        best_id, best, best_label, probability (of the best token), changed (is the best token
        another than in base there), kl (KL(run ‖ base) there, in nats); with targets also
        target_id, target, target_label, target_probability, target_rank.
        """
        text = self.model.token_text
        return lens_frame(self.cells, self.tokens, self.layers, self.targets, text)

    def plot(self, title: str | None = None, *, style: str = "light") -> ggplot:
        """The best token of every layer and position, one panel per run (`figures.lens_map`)."""
        from vene_widgets import figures

        setup = figures.runs_setup(self._plan, self.model.name)
        return figures.lens_map(self.frame, title, setup=f"logit lens · {setup}", style=style)

    def __repr__(self) -> str:
        parts: list[str] = []
        for name, cells in self.cells.items():
            best = [int(token) for token in cells.top[:, 0].reshape(len(self.layers), -1)[:, -1]]
            first = next(n for n in range(len(best)) if set(best[n:]) == {best[-1]})
            text = shown(self.model.token_text(best[-1]))
            parts.append(f"{name} {text} from layer {self.layers[first]} on")
        return (
            f"<Lens of {shown(self.experiment.base)}: {len(self.layers)} layers; at the last "
            f"position {', '.join(parts)}>"
        )


def lens(
    model: LanguageModel,
    prompt: str | Experiment,
    *,
    targets: Sequence[str | int] | str | int = (),
    layers: Sequence[int] | int | None = None,
    weights: Mapping[str, Intervention] | None = None,
) -> Lens:
    """Read what every layer would answer, of a prompt or of all runs of an experiment.

    The state after a block takes the place of the last block's output, and the model's own forward
    goes on from there: its final norm, its head, and whatever it does after that. The reading of
    the last layer is therefore the model's answer. Of an experiment, the base run, the source runs
    and the patched run are read.

    Of every reading the most likely token, the targets and KL(run ‖ base) are kept, not the logits.

    Args:
        model: from `load` or `wrap`; it is left exactly as it was.
        prompt: a prompt, whose run is named `base`; or an experiment, whose runs are `base`, one
            per source by its name, whether or not a slot reads it, and `patched`. A serial
            experiment's sources run with the slots that act on them.
        targets: tokens to follow in the frame, by text or id, one or several.
        layers: which blocks, negative from the last; None for all.
        weights: trained interventions by the slot's key, as in `run`.

    Returns:
        The readings; `.frame` has one row per run, layer and position, and per target if there are
        any.

    Raises:
        RequestError: a prompt, layer, target or slot that the model cannot run, a source that is
            named like another run, logits that are NaN or infinite, or a model whose logits depend
            on more than its last block's output.

    References:
        nostalgebraist (2020), "interpreting GPT: the logit lens", LessWrong. Belrose et al. (2023),
        "Eliciting Latent Predictions from Transformers with the Tuned Lens", arXiv 2303.08112, say
        where it misleads.
    """
    require_language_model(model)
    with model.lock:
        steps = lens_steps(model, prompt, targets=targets, layers=layers, weights=weights)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value


def lens_steps(
    model: LanguageModel,
    prompt: str | Experiment,
    *,
    targets: Sequence[str | int] | str | int = (),
    layers: Sequence[int] | int | None = None,
    weights: Mapping[str, Intervention] | None = None,
) -> Generator[float, None, Lens]:
    """`lens` in steps, between which the model is free.

    Yields:
        How much has been read, 0 to 1.

    Raises:
        RequestError: as in `lens`, or the model changed between two steps.
    """
    if isinstance(prompt, str):
        plan = Plan.of_prompt(prompt, tuple(model.tokens(prompt)))
        plans = {BASE: plan}
    elif isinstance(prompt, Experiment):  # pyright: ignore[reportUnnecessaryIsInstance]  # user input
        plan = plan_experiment(model, prompt)
        plans = _plans(plan)
    else:
        raise RequestError(
            f"prompt must be a str or a vw.Experiment, got a {type(prompt).__name__}."
        )
    followed = model.resolve_tokens(targets, "target")
    wanted = _layers(model, layers)
    modules = planned_weights(model, plan, weights)
    model.accept_hooks()
    cells = yield from reading_steps(model, plans, wanted, followed, modules)
    return Lens(
        model=model,
        experiment=plan.experiment,
        tokens={name: each.base for name, each in plans.items()},
        layers=wanted,
        targets=followed,
        _plan=plan,
        cells=cells,
    )


def _layers(model: LanguageModel, layers: Sequence[int] | int | None) -> tuple[int, ...]:
    """The blocks to read.

    Raises:
        RequestError: no layer, a layer twice, or one that the model lacks.
    """
    asked = validated(SweepRequest, layers=layers).layers
    if asked is None:
        return tuple(range(model.sites.layers))
    several = (asked,) if isinstance(asked, int) else asked
    found = tuple(model.sites.site(layer, "block_output").layer for layer in several)
    if not found or len(set(found)) < len(found):
        raise RequestError(
            f"layers {shown(layers)} must be one or more distinct layers from 0 to "
            f"{model.sites.layers - 1}."
        )
    return found


def _plans(plan: Plan) -> dict[str, Plan]:
    """The runs of an experiment by name.

    Raises:
        RequestError: a source has the name of another run.
    """
    experiment = plan.experiment
    for name in experiment.sources:
        if name in (BASE, PATCHED):
            raise RequestError(
                f"source {shown(name)} is named like a run of the lens, whose runs are 'base', the "
                "sources by name, and 'patched'. Give the source another name."
            )
    sources = {name: _plan_of_source(plan, name) for name in experiment.sources}
    plain = replace(plan, slots=())
    return {BASE: plain, **sources, PATCHED: plan}


def _plan_of_source(plan: Plan, name: str) -> Plan:
    """The run of one source: plain, or in serial mode with the slots that act on it."""
    if plan.experiment.mode == "parallel":
        return replace(plan, base=plan.sources[name], slots=())
    names = list(plan.experiment.sources)
    chain = names[: names.index(name) + 1]
    slots = [
        replace(slot, target=None if slot.target == name else slot.target)
        for slot in plan.live
        if slot.target in chain
    ]
    return replace(plan, base=plan.sources[name], slots=tuple(slots))
