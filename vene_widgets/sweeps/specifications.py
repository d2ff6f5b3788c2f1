"""specification_curve(): one finding under every defensible choice of how to measure it.

Steegen et al. 2016, "Increasing Transparency Through a Multiverse Analysis"; Simonsohn, Simmons and
Nelson 2020, "Specification curve analysis".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any, cast

import torch

from vene_widgets.engine.running import Run, record_states, run
from vene_widgets.errors import RequestError
from vene_widgets.experiments.components import site_words
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.fields import as_int
from vene_widgets.experiments.pairs import Pair, read_pairs
from vene_widgets.experiments.slot import Slot
from vene_widgets.experiments.synonyms import with_our_names
from vene_widgets.experiments.token_text import visible
from vene_widgets.models.language_model import require_language_model
from vene_widgets.sweeps.pairs.places import resolve_places
from vene_widgets.sweeps.sweep import Cancelled
from vene_widgets.tables.statistics import default_targets, probabilities

if TYPE_CHECKING:
    import pandas as pd
    from plotnine import ggplot
    from torch import Tensor

    from vene_widgets.models import LanguageModel
    from vene_widgets.sweeps.sweep import Event

DIRECTIONS = {
    "restore": "the site gets the source's state where the source's answer is missing",
    "corrupt": "the site loses its state where the source's answer is there",
}
"""Denoising and noising (Heimersheim & Nanda 2024, "How to use and interpret activation patching").
"""

WRONG = {
    "swap": "the other prompt",
    "zero": "zeros",
    "mean": "the mean over prompts",
    "noise": "noise",
}
"""What stands for a missing state."""

METRICS = ("logit_difference", "probability", "log_probability")
"""What the answer is measured by; each as a share of what the two plain runs differ by."""

WINDOWS = (1, 3)
"""Layers that are changed together, the one in question in the middle (Zhang & Nanda 2024)."""

NOISE = 3.0
"""Standard deviations of the noise, of the numbers that it is added to (Meng et al. 2022)."""

NOTHING = 1e-3
"""Effects smaller than this share of the plain runs' difference have no sign."""


@dataclass(frozen=True, eq=False)
class SpecificationCurve:
    """One finding under every defensible choice.

    Attributes:
        frame: one row per specification, smallest effect first: `pair` (its row), `direction` (of
            `DIRECTIONS`), `wrong` (of `WRONG`), `window` (layers), `metric` (of `METRICS`),
            `effect` (share of what the plain runs differ by; positive if the site brings the
            source's answer out).
        site: what was changed, in words.
        left_out: choices that could not be made, with the reason.
    """

    frame: pd.DataFrame = field(repr=False)
    site: str
    left_out: tuple[str, ...] = ()

    @cached_property
    def agreement(self) -> tuple[int, int]:
        """How many specifications have the sign that most have, and how many there are."""
        effect = self.frame["effect"]
        above, below = int((effect > NOTHING).sum()), int((effect < -NOTHING).sum())
        return max(above, below), len(effect)

    @property
    def sentence(self) -> str:
        """The agreement in words."""
        most, count = self.agreement
        middle = float(self.frame["effect"].median())
        return (
            f"{self.site}: same sign in {most} of {count} specifications; median effect "
            f"{100 * middle:.0f} % of the difference between the plain runs."
        )

    def plot(self, title: str | None = None, *, style: str = "light") -> ggplot:
        """Effects in order, and below each the choices it stands for, drawn by plotnine."""
        from vene_widgets import figures

        return figures.specification_plot(
            self.frame, site=self.site, agreement=self.agreement, title=title, style=style
        )

    def __repr__(self) -> str:
        return f"<SpecificationCurve of {self.sentence}>"


def specification_curve(
    model: LanguageModel,
    pairs: pd.DataFrame | Iterable[Any],
    layer: int,
    position: str | int,
    component: str = "block_output",
    *,
    head: int | None = None,
    windows: Sequence[int] = WINDOWS,
    prompts: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
    cancel: Event | None = None,
) -> SpecificationCurve:
    """Run one finding under every choice that a careful reader could have made instead.

    The finding is that a site holds what turns the base's answer into the source's. Each
    specification is one exact run: restore or corrupt × swap, zero, mean, noise × one layer or a
    window × three metrics, for each pair. Restoring after zero, mean or noise is causal tracing
    (Meng et al. 2022): the source prompt with its differing tokens' embeddings replaced, and the
    site put back.

    Args:
        model: from `load` or `wrap`; it is left exactly as it was.
        pairs: `(base, source)`, or several as for `sweep_pairs`: for instance the same words in
            other templates.
        layer: of the site.
        position: of the site in each pair: a name or an index, as in `sweep_pairs`.
        component, head: of the site.
        windows: numbers of layers to change together, odd.
        prompts: of the mean; none for those of the pair. Only those as long as the run's count.
        progress: called with `(runs done, runs in all)`.
        cancel: when set, it stops before its next run and raises `Cancelled`.

    Raises:
        RequestError: a pair, a site or a window that does not fit the model.
        Cancelled: see `cancel`.
    """
    steps = specification_steps(
        model, pairs, layer, position, component, head=head, windows=windows, prompts=prompts
    )
    while True:
        try:
            done, total = next(steps)
        except StopIteration as end:
            return end.value
        if progress is not None and done:
            progress(done, total)
        if cancel and cancel.is_set():
            raise Cancelled(f"stopped after {done} of {total} runs")


def specification_steps(
    model: LanguageModel,
    pairs: pd.DataFrame | Iterable[Any],
    layer: int,
    position: str | int,
    component: str = "block_output",
    *,
    head: int | None = None,
    windows: Sequence[int] = WINDOWS,
    prompts: Sequence[str] = (),
) -> Generator[tuple[int, int], None, SpecificationCurve]:
    """`specification_curve`, one run per step; the model is free between two steps.

    Yields:
        Runs done, and runs in all, before the first run and after each.

    Returns:
        The curve, as the generator's value.
    """
    import pandas as pd

    require_language_model(model)
    named = with_our_names({"component": component, "head": head})
    read = read_pairs(_several(pairs), _columns(pairs, position))
    cases = [
        _Case(model, number, pair, layer, position, named["component"], head, tuple(prompts))
        for number, pair in enumerate(read)
    ]
    sizes = [_window(size) for size in windows]
    rows: list[dict[str, Any]] = []
    left_out: dict[str, None] = {}
    every = list(product(cases, DIRECTIONS, WRONG, sizes))
    for done, (case, direction, wrong, size) in enumerate(every):
        yield done, len(every)
        choice = {"pair": case.number, "direction": direction, "wrong": wrong, "window": size}
        try:
            effects = case.effects(direction, wrong, size)
        except _Impossible as reason:
            left_out[f"{direction} × {wrong}: {reason}"] = None
            continue
        rows += [{**choice, "metric": name, "effect": effect} for name, effect in effects.items()]
    yield len(every), len(every)
    if not rows:
        raise RequestError(f"no specification could be run: {'; '.join(left_out)}.")
    frame = pd.DataFrame(rows).sort_values("effect", kind="stable", ignore_index=True)
    return SpecificationCurve(frame, cases[0].site, tuple(left_out))


class _Impossible(Exception):
    """A choice that cannot be made of this pair; the text says why."""


class _Case:
    """One pair, and the runs of its specifications.

    Args:
        model: the model.
        number: row of the pair.
        pair: its prompts.
        layer, position, component, head: the site.
        prompts: of the mean.
    """

    def __init__(
        self,
        model: LanguageModel,
        number: int,
        pair: Pair,
        layer: int,
        position: str | int,
        component: str,
        head: int | None,
        prompts: tuple[str, ...],
    ) -> None:
        if pair.source is None:
            raise RequestError(f"pairs, row {number}: source is missing.")
        self.number = number
        self._model = model
        self._site = model.sites.site(layer, component, head)
        self._base, self._source = pair.base, pair.source
        base, source = tuple(model.tokens(pair.base)), tuple(model.tokens(pair.source))
        here, there = resolve_places(pair, base, source, [position])
        # Where the site is in each prompt.
        self._at = {self._base: here[0], self._source: there[0]}
        self._lengths = {self._base: len(base), self._source: len(source)}
        self._differing = [n for n in range(len(source)) if _differs(n, source, base)]
        self._prompts = prompts or (self._base, self._source)
        plain = [self._run(Experiment(base=prompt)) for prompt in (self._base, self._source)]
        ids = [model.resolve_token(token, "target") for token in pair.targets[:2]]
        if len(ids) < 2:
            ids = [*default_targets(*(probabilities(one.logits[-1]) for one in plain))]
        self._target, self._contrast = ids
        self._plain = {
            prompt: self._metrics(one)
            for prompt, one in zip((self._base, self._source), plain, strict=True)
        }
        words = site_words(component, self._site.layer, self._site.head)
        self.site = f"{visible(base[here[0]].text)} {words}"

    def effects(self, direction: str, wrong: str, size: int) -> dict[str, float]:
        """The effect by metric, as a share of what the plain runs differ by.

        Raises:
            _Impossible: the choice cannot be made.
        """
        low, high = (self._plain[prompt] for prompt in (self._base, self._source))
        if wrong == "swap" and direction == "restore":
            base, sources = self._base, {"other": self._source}
            slots, before, sign = self._swaps(self._base, self._source, size), low, 1
        elif wrong == "swap":
            base, sources = self._source, {"other": self._base}
            slots, before, sign = self._swaps(self._source, self._base, size), high, -1
        elif direction == "corrupt":
            base, sources = self._source, {}
            slots = [self._ablation(wrong, layer) for layer in self._layers(size)]
            before, sign = high, -1
        else:
            base, sources = self._source, {"other": self._source}
            corruption = self._corruption(wrong)
            broken = self._run(Experiment(base=base, slots=corruption))
            slots = [*corruption, *self._swaps(self._source, self._source, size)]
            before, sign = self._metrics(broken), 1
        after = self._metrics(self._run(Experiment(base=base, sources=sources, slots=slots)))
        found: dict[str, float] = {}
        for metric in METRICS:
            whole = high[metric] - low[metric]
            if abs(whole) < 1e-9 or not math.isfinite(whole):
                raise _Impossible("the plain runs do not differ in it")
            found[metric] = sign * (after[metric] - before[metric]) / whole
        return found

    def _layers(self, size: int) -> Iterator[int]:
        """The layers of a window around the site's."""
        for layer in range(self._site.layer - size // 2, self._site.layer + size // 2 + 1):
            if 0 <= layer < self._model.sites.layers:
                yield layer

    def _swaps(self, into: str, out_of: str, size: int) -> list[Slot]:
        return [
            Slot(
                layer=layer,
                position=self._at[into],
                source_position=self._at[out_of],
                component=self._site.component,
                head=self._site.head,
                source="other",
            )
            for layer in self._layers(size)
        ]

    def _ablation(self, wrong: str, layer: int) -> Slot:
        """Zeros, a mean or noise at the site in the source prompt."""
        site = self._model.sites.site(layer, self._site.component, self._site.head)
        return Slot(
            layer=layer,
            position=self._at[self._source],
            component=site.component,
            head=site.head,
            intervention=wrong,
            **self._options(wrong, site),
        )

    def _corruption(self, wrong: str) -> list[Slot]:
        """Zeros, a mean or noise instead of the embeddings of the source's differing tokens."""
        if not self._differing:
            raise _Impossible("the source has no token that the base lacks")
        site = self._model.sites.site(0, "block_input")
        return [
            Slot(
                layer=0,
                position=self._differing,
                component="block_input",
                intervention=wrong,
                **self._options(wrong, site),
            )
        ]

    def _options(self, wrong: str, site: Any) -> dict[str, Any]:
        """What zeros, a mean or noise need besides the site.

        Raises:
            _Impossible: there are no prompts to take a mean of.
        """
        if wrong == "noise":
            states = record_states(self._model, self._source, [site])[site]
            return {"scale": NOISE * float(states.float().std()), "seed": self.number}
        if wrong != "mean":
            return {}
        length = self._lengths[self._source]
        prompts = tuple(p for p in self._prompts if len(self._model.tokens(p)) == length)
        if len(set(prompts)) < 2:
            raise _Impossible("a mean needs two prompts as long as the source")
        return {"prompts": prompts}

    def _run(self, experiment: Experiment) -> Run:
        return run(self._model, experiment, logits_to_keep=1)

    def _metrics(self, ran: Run) -> dict[str, float]:
        """What the answer is measured by."""
        log_p: Tensor = ran.logits[-1].detach().cpu().to(torch.float64).log_softmax(-1)
        target, contrast = float(log_p[self._target]), float(log_p[self._contrast])
        return {
            "logit_difference": target - contrast,
            "probability": math.exp(target),
            "log_probability": target,
        }


def _differs(index: int, source: Sequence[Any], base: Sequence[Any]) -> bool:
    """Whether a token of the source is not the one that the base has there, from either end."""
    from_end = len(base) - len(source) + index
    places = {index, from_end} if len(base) != len(source) else {index}
    return all(not 0 <= place < len(base) or base[place].id != source[index].id for place in places)


def _several(pairs: Any) -> Any:
    """A table of pairs; one `(base, source)` is a table of one."""
    if not isinstance(pairs, (tuple, list)):
        return pairs
    items = cast("Sequence[Any]", pairs)
    is_one = len(items) == 2 and all(isinstance(item, str) for item in items)
    return [tuple(items)] if is_one else items


def _columns(pairs: Any, position: str | int) -> tuple[str, ...]:
    """The position, if it is the name of a column of the pairs."""
    columns: Any = getattr(pairs, "columns", None)
    if columns is None and isinstance(pairs, (list, tuple)):
        rows = cast("Sequence[Any]", pairs)
        columns = [
            name
            for row in rows
            if isinstance(row, Mapping)
            for name in cast("Mapping[str, Any]", row)
        ]
    is_one = isinstance(position, str) and columns is not None and position in columns
    return (str(position),) if is_one else ()


def _window(size: object) -> int:
    """A number of layers.

    Raises:
        RequestError: not odd, or below 1.
    """
    found = as_int(size)
    if found < 1 or found % 2 == 0:
        raise RequestError(f"windows must be odd numbers of layers from 1, got {found}.")
    return found
