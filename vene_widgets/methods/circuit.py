"""circuit(): how much of a behaviour some heads carry, alone and by their absence.

Wang et al. 2022, "Interpretability in the Wild" (faithfulness by mean ablation of all other heads);
Mueller et al. 2025, "MIB: A Mechanistic Interpretability Benchmark" (faithfulness between two
baselines).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import torch

from vene_widgets.engine.forward import last_position_logits, record_prompt, token_batch
from vene_widgets.engine.own_model import own_model
from vene_widgets.engine.path_passes import require_rows, with_heads_ablated
from vene_widgets.errors import RequestError, choose, shown
from vene_widgets.experiments.fields import as_prompts
from vene_widgets.experiments.pair_arguments import lone_tokens, pairs_of
from vene_widgets.experiments.pairs import Pair, named_row
from vene_widgets.methods.answer_metric import (
    METRICS,
    answer_metric,
    require_finite,
    resolve_targets,
)
from vene_widgets.methods.path_ends import name_of, read_heads
from vene_widgets.models.language_model import require_language_model
from vene_widgets.models.unwrapping import PickledWithoutWeights
from vene_widgets.tables.columns import COLUMNS, FRAMES
from vene_widgets.tables.statistics import checked_distribution, default_targets, probabilities

if TYPE_CHECKING:
    import pandas as pd
    from plotnine import ggplot
    from torch import Tensor

    from vene_widgets.models import LanguageModel

ABLATIONS = {
    "mean": "the mean over the sources",
    "zero": "zeros",
    "source": "the source's values",
}
"""What takes the place of a head's output."""

KEPT = ("all heads", "only these", "all but these", "no heads")
"""Which heads keep their own output, in the order of the frame."""


@dataclass(frozen=True, eq=False)
class Circuit(PickledWithoutWeights):
    """What some heads do alone, and what the others do without them.

    Attributes:
        model: the model that ran.
        pairs: base and source prompts; source is None where there was none.
        heads: the heads, `9.9` for head 9 of layer 9.
        ablation: what took the place of the other heads' output.
        metric: name of what was measured.
        values: the metric of each pair, `(pairs, 4)` in the order of `KEPT`.
    """

    model: LanguageModel = field(repr=False)
    pairs: tuple[tuple[str, str | None], ...]
    heads: tuple[str, ...]
    ablation: str
    metric: str
    values: tuple[tuple[float, ...], ...] = field(repr=False)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Four rows: all heads, only these, all but these, no heads.

        Columns: `heads_kept`, `value` (mean of the metric over the pairs), `faithfulness` (value /
        value with all heads; Wang et al.), `faithfulness_normalised` (1 with all heads, 0 with
        none; Mueller et al.).
        """
        import pandas as pd

        means = [sum(column) / len(self.values) for column in zip(*self.values, strict=True)]
        whole, nothing = means[0], means[-1]
        nan = float("nan")
        rows = [
            (
                kept,
                value,
                value / whole if whole else nan,
                (value - nothing) / (whole - nothing) + 0.0 if whole != nothing else nan,
            )
            for kept, value in zip(KEPT, means, strict=True)
        ]
        frame = pd.DataFrame(rows, columns=list(FRAMES["circuit_frame"]))
        return frame.astype({name: COLUMNS[name].dtype for name in frame.columns})

    @property
    def faithfulness(self) -> float:
        """Metric with only these heads / metric of the whole model."""
        return float(self.frame["faithfulness"].iloc[1])

    def plot(self, title: str | None = None, *, style: str = "light") -> ggplot:
        """The metric of the four runs as bars, drawn by plotnine (`figures.circuit_bars`)."""
        from vene_widgets import figures

        return figures.circuit_bars(self.frame, title=title, setup=self.setup, style=style)

    @property
    def setup(self) -> str:
        """What was done, in one line."""
        base, source = self.pairs[0]
        prompts = f"base “{base}”" + (f" · source “{source}”" if source is not None else "")
        if len(self.pairs) > 1:
            prompts = f"{len(self.pairs)} pairs, such as {prompts}"
        shown_heads = ", ".join(self.heads[:8]) + (", …" if len(self.heads) > 8 else "")
        return (
            f"{prompts} · heads {shown_heads or 'none'}; output of the others replaced by "
            f"{ABLATIONS[self.ablation]}, at every token · {METRICS[self.metric]} · "
            f"{self.model.name} · n = {len(self.pairs)}"
        )

    def __repr__(self) -> str:
        values = self.frame["value"]
        return (
            f"<Circuit of {len(self.heads)} heads, {len(self.pairs)} pairs, {self.ablation} "
            f"ablation: {self.metric} {values[0]:.3g}, only these {values[1]:.3g}, all but these "
            f"{values[2]:.3g}; faithfulness {self.faithfulness:.3g}>"
        )


def circuit(
    model: LanguageModel,
    base: str | Sequence[str] | pd.DataFrame | Iterable[Any],
    source: str | Sequence[str] | None = None,
    *,
    heads: Sequence[Any] | str,
    ablation: Literal["mean", "zero", "source"] = "mean",
    prompts: Sequence[str] | str = (),
    targets: Sequence[Any] | None = None,
    metric: str = "logit_difference",
) -> Circuit:
    """Run the base with only some heads, and with all but these, and compare with the whole model.

    The output of every other head (`head_attention_value_output`, at all tokens) is replaced; MLPs
    and the heads that stay compute anew from what they then get.

    Args:
        model: from `load` or `wrap`; it is left exactly as it was.
        base, source: prompts, one or equally many of each; or `base` alone: a table of pairs with
            `base`, `source` and `targets`, as for `sweep_pairs`.
        heads: the circuit: `"9.9"` or `(9, 9)` for head 9 of layer 9.
        ablation: what takes the place of a head's output: its `"mean"` over the sources of all
            pairs, token by token; `"zero"`; or that of the pair's `"source"`. The mean over one
            prompt is that prompt's own output.
        prompts: of the mean, instead of the sources.
        targets: the target and the contrast token, by text or id, for all pairs. None for the
            base's answer against the source's: by the table, where `target` is the source's answer
            and `contrast` the base's, or by the plain runs.
        metric: `"logit_difference"`, `"logit"`, `"probability"` or `"log_probability"`.

    Raises:
        RequestError: an unknown head, ablation or metric, prompts of unequal length, a source that
            is missing, or numbers that are not finite.
    """
    require_language_model(model)
    choose(ablation, ABLATIONS, "ablation")
    choose(metric, METRICS, "metric")
    chosen = read_heads(model, heads)
    others = as_prompts(prompts)
    if others and ablation != "mean":
        raise RequestError(f"prompts are for ablation 'mean'; {ablation!r} reads none.")
    pairs = pairs_of(base, source)
    needed = 2 if metric == "logit_difference" else 1
    if targets is not None:
        resolve_targets(model, targets, needed, metric)
    named: list[tuple[str | int, ...]] = []
    for number, pair in enumerate(pairs):
        with named_row(number):
            named.append(() if targets is not None else lone_tokens(pair.targets[:2])[::-1])
            if named[-1]:
                resolve_targets(model, named[-1], needed, metric)
        _require_source(pair, number, ablation, bool(others), targets is not None)
    ids = [_ids(model, pair.base) for pair in pairs]
    sources = [None if p.source is None else _ids(model, p.source) for p in pairs]
    means = [_ids(model, prompt) for prompt in others]
    _require_lengths(ids, sources, means, ablation)
    model.accept_hooks()
    values: list[tuple[float, ...]] = []
    sites = [
        model.sites.site(layer, "attention_value_output") for layer in range(model.sites.layers)
    ]
    with model.lock, torch.no_grad(), own_model(model):
        first = last_position_logits(model, token_batch(model, ids[0]))[0]
        checked_distribution(first, "logits of the base run")
        require_rows(model)

        def attended(prompt: tuple[int, ...]) -> Tensor:
            found = record_prompt(model, prompt, sites)
            return torch.stack([found[site][0] for site in sites])

        known: Tensor | None = None
        if ablation == "mean":
            total, several = None, means or [one for one in sources if one is not None]
            for prompt in several:
                one = attended(prompt).float()
                total = one if total is None else total + one
            assert total is not None  # noqa: S101  # `_require_source` has seen one
            known = total / len(several)
        for own, prompt, other in zip(named, ids, sources, strict=True):
            if ablation == "source" and other is not None:
                known = attended(other)
            logits, plain = with_heads_ablated(model, prompt, other, chosen, known)
            answers = targets if targets is not None else own
            measure = answer_metric(model, metric, answers or _answers(*plain), *plain)
            numbers = measure(logits)
            require_finite(numbers, "metric")
            values.append(tuple(float(number) for number in numbers))
    return Circuit(
        model=model,
        pairs=tuple((pair.base, pair.source) for pair in pairs),
        heads=tuple(map(name_of, chosen)),
        ablation=ablation,
        metric=metric,
        values=tuple(values),
    )


def _answers(base_logits: Tensor, source_logits: Tensor | None) -> tuple[int, ...]:
    """The base's answer, and the token that the source raises most."""
    assert source_logits is not None  # noqa: S101  # `_require_source` has seen one
    for logits, name in ((base_logits, "base"), (source_logits, "source")):
        checked_distribution(logits, f"logits of the {name} run")
    return default_targets(probabilities(base_logits), probabilities(source_logits))[::-1]


def _require_source(
    pair: Pair, number: int, ablation: str, has_prompts: bool, has_targets: bool
) -> None:
    """Check that there is a source where one is read.

    Raises:
        RequestError: there is none.
    """
    reads = ablation == "source" or (ablation == "mean" and not has_prompts)
    if pair.source is None and (reads or not (has_targets or pair.targets)):
        why = f"ablation {ablation!r} reads its run" if reads else "targets are not named"
        raise RequestError(f"source of pair {number} is missing, and {why}.")


def _ids(model: LanguageModel, prompt: str) -> tuple[int, ...]:
    return tuple(token.id for token in model.tokens(prompt))


def _require_lengths(
    bases: Sequence[tuple[int, ...]],
    sources: Sequence[tuple[int, ...] | None],
    means: Sequence[tuple[int, ...]],
    ablation: str,
) -> None:
    """Check that what replaces a head's output has as many tokens as the base.

    Raises:
        RequestError: it has not.
    """
    if ablation == "zero":
        return
    for number, (base, source) in enumerate(zip(bases, sources, strict=True)):
        others = [source] if ablation == "source" else [*(means or sources)]
        wrong = {len(other) for other in others if other is not None} - {len(base)}
        if wrong:
            raise RequestError(
                f"base of pair {number} has {len(base)} tokens, and a prompt whose values replace "
                f"its heads' has {shown(min(wrong))}: ablation {ablation!r} needs equally many. "
                "Use ablation 'zero', or prompts of one length."
            )
