"""specification_curve(): one finding under every defensible choice of how to measure it.

Steegen et al. 2016, "Increasing Transparency Through a Multiverse Analysis"; Simonsohn, Simmons and
Nelson 2020, "Specification curve analysis".
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any, cast

from vene_widgets.errors import RequestError
from vene_widgets.experiments.fields import as_int
from vene_widgets.experiments.pairs import read_pairs
from vene_widgets.experiments.synonyms import with_our_names
from vene_widgets.models.language_model import require_language_model
from vene_widgets.sweeps.specification_runs import Case, Impossible
from vene_widgets.sweeps.specification_templates import (
    as_template,
    pairs_in_templates,
    read_templates,
)
from vene_widgets.sweeps.sweep import Cancelled

if TYPE_CHECKING:
    import pandas as pd
    from plotnine import ggplot

    from vene_widgets.experiments.pairs import Pair
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

WINDOWS = (1, 3)
"""Layers that are changed together, the one in question in the middle (Zhang & Nanda 2024)."""

NOTHING = 1e-3
"""Effects smaller than this share of the plain runs' difference have no sign."""


@dataclass(frozen=True, eq=False)
class SpecificationCurve:
    """One finding under every defensible choice.

    Attributes:
        frame: one row per specification, smallest effect first: `pair` (its row), `template` (of
            the pair's own words the text that they come from, `""` if no others were given),
            `direction` (of `DIRECTIONS`), `wrong` (of `WRONG`), `window` (layers), `metric` (of
            `METRICS`), `effect` (share of what the plain runs differ by; positive if the site
            brings the source's answer out).
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
    templates: Sequence[str] | str = (),
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
        templates: other words for each pair, with `{}` where base and source differ:
            `"People in {} speak"`. The site must then be at the words that differ or at the last
            token. Templates in which both plain runs have the same answer are left out.
        progress: called with `(runs done, runs in all)`.
        cancel: when set, it stops before its next run and raises `Cancelled`.

    Raises:
        RequestError: a pair, site or window that is invalid for the model.
        Cancelled: see `cancel`.
    """
    steps = specification_steps(
        model,
        pairs,
        layer,
        position,
        component,
        head=head,
        windows=windows,
        prompts=prompts,
        templates=templates,
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
    templates: Sequence[str] | str = (),
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
    cases, left_out = _cases(
        model, read, read_templates(templates), position, layer=layer,
        component=named["component"], head=head, prompts=tuple(prompts),
    )  # fmt: skip
    sizes = [_window(size) for size in windows]
    rows: list[dict[str, Any]] = []
    every = list(product(cases, DIRECTIONS, WRONG, sizes))
    for done, (case, direction, wrong, size) in enumerate(every):
        yield done, len(every)
        choice = {"pair": case.number, "template": case.template}
        choice |= {"direction": direction, "wrong": wrong, "window": size}
        try:
            effects = case.effects(direction, wrong, size)
        except Impossible as reason:
            left_out[f"{direction} × {wrong}: {reason}"] = None
            continue
        rows += [{**choice, "metric": name, "effect": effect} for name, effect in effects.items()]
    yield len(every), len(every)
    if not rows:
        raise RequestError(f"no specification could be run: {'; '.join(left_out)}.")
    frame = pd.DataFrame(rows).sort_values("effect", kind="stable", ignore_index=True)
    return SpecificationCurve(frame, cases[0].site, tuple(left_out))


def _cases(
    model: LanguageModel,
    pairs: Iterable[Pair],
    templates: Sequence[str],
    position: str | int,
    **site: Any,
) -> tuple[list[Case], dict[str, None]]:
    """Each pair in its own words and in each template.

    Returns:
        The cases, and why templates were left out.
    """
    cases: list[Case] = []
    left_out: dict[str, None] = {}
    for number, pair in enumerate(pairs):
        own = as_template(pair.base, pair.source or "")[0] if templates else ""
        cases.append(Case(model, number, pair, own, position=position, **site))
        for text, other in pairs_in_templates(model, pair, position, templates):
            case = Case(model, number, other, text, position="site", **site)
            if case.same_answer:
                left_out[f"{text}: both plain runs answer {case.same_answer}"] = None
            else:
                cases.append(case)
    return cases, left_out


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
