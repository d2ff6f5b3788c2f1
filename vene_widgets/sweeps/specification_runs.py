"""Case: one pair of prompts and one site, and the runs of its specifications."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from vene_widgets.engine.running import Run, record_states, run
from vene_widgets.errors import RequestError
from vene_widgets.experiments.components import site_words
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.pairs import Pair
from vene_widgets.experiments.slot import Slot
from vene_widgets.experiments.token_text import visible
from vene_widgets.sweeps.pairs.pair_targets import resolved_targets
from vene_widgets.sweeps.pairs.places import resolve_places
from vene_widgets.tables.statistics import default_targets, probabilities

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.models import LanguageModel

METRICS = ("logit_difference", "probability", "log_probability")
"""What the answer is measured by; each as a share of what the two plain runs differ by."""

NOISE = 3.0
"""Standard deviations of the noise, of the numbers that it is added to (Meng et al. 2022)."""


class Impossible(Exception):
    """A choice that cannot be made of this pair; the text says why."""


class Case:
    """One pair, and the runs of its specifications.

    Attributes:
        site: the site, in words.
        same_answer: the answer of both plain runs; None if they have one each.

    Args:
        model: the model.
        number: row of the pair.
        pair: its prompts.
        template: the text that they come from; empty if no other was given.
        layer, position, component, head: the site.
        prompts: of the mean.
    """

    def __init__(
        self,
        model: LanguageModel,
        number: int,
        pair: Pair,
        template: str,
        layer: int,
        position: str | int,
        component: str,
        head: int | None,
        prompts: tuple[str, ...],
    ) -> None:
        if pair.source is None:
            raise RequestError(f"pairs, row {number}: source is missing.")
        self.number, self.template = number, template
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
        named = pair.targets[:2]
        if len(named) < 2:
            named = default_targets(*(probabilities(one.logits[-1]) for one in plain))
        targets = resolved_targets(
            named, lambda token: model.resolve_token(token, "target"), model.token_text
        )
        self._target, self._contrast = (
            [*one] if isinstance(one, tuple) else [one] for one in targets
        )
        best, other = (int(one.logits[-1].argmax()) for one in plain)
        self.same_answer = visible(model.token_text(best)) if best == other else None
        self._plain = {
            prompt: self._metrics(one)
            for prompt, one in zip((self._base, self._source), plain, strict=True)
        }
        words = site_words(component, self._site.layer, self._site.head)
        self.site = f"{visible(base[here[0]].text)} {words}"

    def effects(self, direction: str, wrong: str, size: int) -> dict[str, float]:
        """The effect by metric, as a share of what the plain runs differ by.

        Raises:
            Impossible: the choice cannot be made.
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
                raise Impossible("the plain runs do not differ in it")
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
            raise Impossible("the source has no token that the base lacks")
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
            Impossible: there are no prompts to take a mean of.
        """
        if wrong == "noise":
            states = record_states(self._model, self._source, [site])[site]
            return {"scale": NOISE * float(states.float().std()), "seed": self.number}
        if wrong != "mean":
            return {}
        length = self._lengths[self._source]
        prompts = tuple(p for p in self._prompts if len(self._model.tokens(p)) == length)
        if len(set(prompts)) < 2:
            raise Impossible("a mean needs two prompts as long as the source")
        return {"prompts": prompts}

    def _run(self, experiment: Experiment) -> Run:
        return run(self._model, experiment, logits_to_keep=1)

    def _metrics(self, ran: Run) -> dict[str, float]:
        """What the answer is measured by."""
        log_p: Tensor = ran.logits[-1].detach().cpu().to(torch.float64).log_softmax(-1)
        target, contrast = (
            float(log_p[several].logsumexp(-1)) for several in (self._target, self._contrast)
        )
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
