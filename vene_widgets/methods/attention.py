"""attention(): which tokens attend to which, in a prompt or in an experiment."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from vene_widgets.engine.forward import record_prompt
from vene_widgets.engine.own_model import own_model, require_unchanged
from vene_widgets.engine.planning import Plan, plan_experiment
from vene_widgets.engine.running import record_plan
from vene_widgets.engine.slot_reports import require_fired
from vene_widgets.errors import RequestError, choose, shown
from vene_widgets.experiments import limits
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.fields import as_ints
from vene_widgets.models.language_model import require_language_model
from vene_widgets.models.unwrapping import PickledWithoutWeights
from vene_widgets.models.weight_site import WeightSite, weight_site

if TYPE_CHECKING:
    import pandas as pd
    from plotnine import ggplot
    from torch import Tensor

    from vene_widgets.models import LanguageModel, Token
    from vene_widgets.models.fingerprint import Fingerprint
    from vene_widgets.models.sites import Site

BASE, INTERVENED, DIFFERENCE = "base", "intervened", "difference"
"""Names of runs: the base without slots, the base with them, the second minus the first."""


@dataclass(frozen=True, eq=False)
class AttentionPattern(PickledWithoutWeights):
    """Attention weights of a prompt, or of the runs of an experiment.

    A pickle of it holds the numbers and the tokenizer, not the model's weights.

    Attributes:
        model: the model that ran.
        plan: the experiment, checked; without slots for a prompt.
        layers, heads: which were read, from 0.
        runs: name of the run -> its weights, a float32 tensor `(layers, heads, queries, keys)` on
            the CPU. `base`; of an experiment also `intervened`, the base with the slots in place,
            every source without slots by its name, and `difference`, intervened − base.
        tokens: name of the run -> tokens of its prompt.
    """

    model: LanguageModel = field(repr=False)
    plan: Plan
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    runs: Mapping[str, Tensor]
    tokens: Mapping[str, tuple[Token, ...]]

    @property
    def weights(self) -> Tensor:
        """`(layers, heads, queries, keys)` of the prompt, or of the base with its slots in place.

        float32, on the CPU. Every row sums to 1 unless a slot changed it.
        """
        return self.runs.get(INTERVENED, self.runs[BASE])

    def __getitem__(self, layer: int) -> Tensor:
        """`weights` of one layer that was read, `(heads, queries, keys)`.

        Raises:
            RequestError: it was not read.
        """
        if layer not in self.layers:
            raise RequestError(
                f"layer {shown(layer)} was not read. Layers of this pattern: {list(self.layers)}."
            )
        return self.weights[self.layers.index(layer)]

    @property
    def difference(self) -> Tensor:
        """Intervened − base, `(layers, heads, queries, keys)`.

        Raises:
            RequestError: it is of a prompt, not of an experiment.
        """
        if DIFFERENCE not in self.runs:
            raise RequestError(
                f"there is no difference: {self.plan.experiment.base!r} ran without slots. Pass "
                "vw.attention an experiment."
            )
        return self.runs[DIFFERENCE]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per run, layer, head, query and key (`tables.attention_frame`).

        Raises:
            RequestError: more rows than a table may have; the message says how many.
        """
        from vene_widgets.tables.attention_frame import attention_frame

        rows = sum(weights.numel() for weights in self.runs.values())
        if rows > limits.ATTENTION_ROWS:
            raise RequestError(
                f"the frame would have {rows:,} rows, at most {limits.ATTENTION_ROWS:,} are "
                "possible: choose a layer or a head, or read .weights."
            )
        texts = {run: [token.text for token in found] for run, found in self.tokens.items()}
        return attention_frame(self.runs, texts, self.layers, self.heads)

    def plot(
        self, title: str | None = None, *, run: str | None = None, style: str = "light"
    ) -> ggplot:
        """Query × key maps, one panel per head (`figures.attention_map`).

        Args:
            title: above the figure.
            run: a key of `runs`; None for that of `weights`.
            style: `light` or `dark`.

        Raises:
            RequestError: an unknown run or style, or more panels or tokens than can be read.
        """
        from vene_widgets import figures

        name = choose(run or (INTERVENED if INTERVENED in self.runs else BASE), self.runs, "run")
        setup = figures.attention_setup(self.plan, self.model.name, name)
        return figures.attention_map(self.frame, name, title, setup=setup, style=style)

    def __repr__(self) -> str:
        count = len(self.tokens[BASE])
        return (
            f"<AttentionPattern of {shown(self.plan.experiment.base, 60)}: layers "
            f"{list(self.layers)}, heads {list(self.heads)}, {count} tokens; "
            f"runs {', '.join(self.runs)}>"
        )


def attention(
    model: LanguageModel,
    what: str | Experiment,
    layer: int | Sequence[int] | None = None,
    head: int | Sequence[int] | None = None,
) -> AttentionPattern:
    """Read attention patterns: how much each token attends to each, after the softmax.

    Weight (q, k) of a head is softmax over k of (query q · key k · scale + mask), and the head's
    output at q is the sum over k of weight (q, k) · value k (Vaswani et al. 2017, "Attention Is All
    You Need"). They are the model's own, whatever attention function it runs with: scales, caps,
    windows and shared keys are in them. A weight says where a head reads, not what that does to the
    answer (Jain and Wallace 2019, "Attention is not Explanation"): to measure that, cut the edge
    with a slot on `attention_weight`.

    Args:
        model: from `load` or `wrap`; it is left exactly as it was.
        what: a prompt, or an experiment. Of an experiment the base is read with and without its
            slots, and every source without slots (in serial mode, too).
        layer: which blocks, negative from the last; None for all.
        head: which query heads, negative from the last; None for all.

    Raises:
        RequestError: an invalid prompt, experiment, layer or head; a family whose attention cannot
            be reached; more weights than can be read at once; or weights that are NaN.
    """
    require_language_model(model)
    with model.lock:
        steps = attention_steps(model, what, layer, head)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value


def attention_steps(
    model: LanguageModel,
    what: str | Experiment,
    layer: int | Sequence[int] | None = None,
    head: int | Sequence[int] | None = None,
) -> Generator[None, None, AttentionPattern]:
    """`attention` in steps, a run each; in between the model is free.

    Raises:
        RequestError: as in `attention`, or the model changed between two steps.
    """
    if not isinstance(what, (str, Experiment)):  # pyright: ignore[reportUnnecessaryIsInstance]  # user input
        raise RequestError(f"what must be a str or a vw.Experiment, got a {type(what).__name__}.")
    experiment = Experiment(base=what) if isinstance(what, str) else what
    plan = plan_experiment(model, experiment)
    layers = _chosen(layer, model.sites.layers, "layer")
    heads = _chosen(head, model.sites.heads, "head")
    sites = [weight_site(model, one, None) for one in layers]
    is_prompt = isinstance(what, str)
    tokens = {BASE: plan.base}
    if not is_prompt:
        tokens[INTERVENED] = plan.base
        if taken := {BASE, INTERVENED, DIFFERENCE} & {*plan.sources}:
            raise RequestError(
                f"source {shown(min(taken))} has the name of another run: rename it. Runs are "
                f"{BASE!r}, {INTERVENED!r}, {DIFFERENCE!r}, and one for each source."
            )
        tokens |= plan.sources
    size = sum(len(found) ** 2 for found in tokens.values()) * model.sites.heads * len(layers)
    if size > limits.ATTENTION_WEIGHTS:
        raise RequestError(
            f"{len(layers)} layers of {model.name} have {size:,} attention weights for "
            f"{' and '.join(f'{len(found)}' for found in tokens.values())} tokens, at most "
            f"{limits.ATTENTION_WEIGHTS:,} can be read at once: choose fewer layers."
        )
    model.accept_hooks()
    runs: dict[str, Tensor] = {}
    known: dict[tuple[int, ...], Tensor] = {}

    state: Fingerprint | None = None
    for name, found in tokens.items():
        ids = tuple(token.id for token in found)
        if name == INTERVENED:
            runs[name] = torch.empty(0)  # its place; it runs last
            continue
        if ids not in known:
            with model.lock, torch.no_grad(), own_model(model):
                state = state or model.tree.state
                require_unchanged(model, state, model.tree.state)
                known[ids] = _stacked(model, record_prompt(model, ids, sites), sites, heads)
            yield
        runs[name] = known[ids]
    if not is_prompt:
        with model.lock:
            run, recorded = record_plan(model, plan, sites, logits_to_keep=1, state=state)
        require_fired(run.record, model.name)
        runs[INTERVENED] = _stacked(model, recorded, sites, heads)
        runs[DIFFERENCE] = runs[INTERVENED] - runs[BASE]
        tokens[DIFFERENCE] = plan.base
    return AttentionPattern(model, plan, layers, heads, runs, tokens)


def _stacked(
    model: LanguageModel,
    found: Mapping[Site, Tensor],
    sites: Sequence[WeightSite],
    heads: Sequence[int],
) -> Tensor:
    """The weights of some layers, `(layers, heads, queries, keys)`.

    Raises:
        RequestError: one is NaN.
    """
    parts: list[Tensor] = []
    for site in sites:
        rows = found[site][0].float().cpu()  # (queries, heads * keys)
        weights = rows.view(len(rows), model.sites.heads, -1).transpose(0, 1)[list(heads)]
        if not bool(weights.isfinite().all()):
            raise RequestError(
                f"the attention weights of layer {site.layer} of {model.name} are NaN: something "
                "before them overflowed, or its weights are broken."
            )
        parts.append(weights)
    return torch.stack(parts)


def _chosen(value: Any, count: int, what: str) -> tuple[int, ...]:
    """Layers or heads as ints from 0, each once.

    Raises:
        RequestError: another type, none, out of range, or named twice.
    """
    if value is None:
        return tuple(range(count))
    try:
        given = as_ints(value)
    except RequestError as error:
        raise RequestError(f"{what}: {error}.") from None
    if isinstance(given, str):
        raise RequestError(f"{what}: expected an int or a list of ints, got {shown(value)}.")
    wanted = given if isinstance(given, tuple) else (given or 0,)
    if any(not -count <= one < count for one in wanted):
        wrong = next(one for one in wanted if not -count <= one < count)
        raise RequestError(
            f"{what} {shown(wrong)} is out of range: the model has {count} {what}s, 0 to "
            f"{count - 1} (or -{count} to -1 from the end)."
        )
    found = tuple(one % count for one in wanted)
    if not found or len(set(found)) != len(found):
        raise RequestError(
            f"{what} {shown(list(wanted))} is invalid: expected one or more distinct {what}s, 0 to "
            f"{count - 1}."
        )
    return found
