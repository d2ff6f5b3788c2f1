"""placebo(): the same map where it should show nothing, and what of the real one is left."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from vene_widgets.engine.planning import plan_experiment
from vene_widgets.errors import RequestError, choose, shown
from vene_widgets.experiments.fields import as_int
from vene_widgets.experiments.operators import OPERATORS
from vene_widgets.methods.attribution_check import base_differs
from vene_widgets.methods.placebo_results import Placebo
from vene_widgets.models import Token
from vene_widgets.sweeps.averages import with_seeds
from vene_widgets.sweeps.pairs.controls import (
    CONTROLS,
    differences,
    ordinary_tokens,
    shuffled_twin,
    twin_steps,
)
from vene_widgets.sweeps.planning import SweepPlan, first_difference
from vene_widgets.sweeps.preparing import prepare_sweep
from vene_widgets.sweeps.results import HeadSweep, Sweep
from vene_widgets.sweeps.sweep import Cancelled, Event, run_plans

if TYPE_CHECKING:
    from vene_widgets.models import LanguageModel

PLACEBOS = tuple(name for name in CONTROLS if name != "shuffled_pairs")
"""Controls that one pair of prompts can have."""

MOST_DRAWS = 1000
"""How often a control may be drawn."""


def placebo(
    sweep: Sweep | HeadSweep,
    *,
    controls: Iterable[str] | str | None = None,
    draws: int = 5,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    cancel: Event | None = None,
) -> Placebo:
    """Run a sweep again where it should show nothing, several times for each control.

    A tile that lights up as much under a control says nothing about what the control took away: a
    saliency map that looks the same with random weights shows the architecture and the input, not
    what was learned (Adebayo et al. 2018, "Sanity Checks for Saliency Maps").

    Each control is the sweep with one thing replaced:

    - `random_source`: the tokens in which the source differs from the base, by random tokens, as
      many; of a source that is the base itself, all of them. Special tokens are not drawn.
    - `shuffled_weights`: the model, by a copy with the numbers of each weight in random order. The
      model itself is not changed.
    - `matched_noise`: each change of a state, by one of the same norm in a random direction.

    Args:
        sweep: from `vw.sweep`, of one head or several. It is not run again.
        controls: which, one or several; None for `random_source`, or where no source is read
            `matched_noise`, and `shuffled_weights`.
        draws: how often each is drawn, with tokens, orders or directions of its own.
        seed: of the draws.
        progress: called with `(draws done, draws in all)`.
        cancel: when set, the run stops before its next draw and raises `Cancelled`.

    Raises:
        RequestError: an unknown control, one that the sweep cannot have, no memory for a copy of
            the model, or a model that has changed since the sweep.
        Cancelled: see `cancel`.

    Example:
        >>> import vene_widgets as vw
        >>> swept = vw.sweep(vw.load(), "The capital of Spain is", "The capital of Italy is")
        >>> checked = vw.placebo(swept)
        >>> beyond = checked.frame.query("effect_possible and not within")
    """
    if not isinstance(sweep, (Sweep, HeadSweep)):  # pyright: ignore[reportUnnecessaryIsInstance]  # user input
        raise RequestError(f"placebo() takes the result of vw.sweep, got a {type(sweep).__name__}.")
    sweeps = sweep.sweeps if isinstance(sweep, HeadSweep) else (sweep,)
    first, plans = sweeps[0], [one.plan for one in sweeps]
    names = checked_placebos(controls, first.plan)
    count, began = _checked_draws(draws), _checked_seed(seed)
    model = first.plan.model
    model.accept_hooks()
    _require_unchanged(first)
    found: dict[str, tuple[Sweep | HeadSweep, ...]] = {}
    done, total = 0, count * len(names)
    for name in names:
        ran: list[Sweep | HeadSweep] = []
        for draw in range(count):
            if cancel and cancel.is_set():
                raise Cancelled(f"placebo stopped before draw {draw} of {name!r}")
            drawn = control_plans(plans, name, began + draw)
            groups = with_seeds(drawn, first.plan.seeds or None)
            several = run_plans(
                groups, None, first.recovery, first.keep_bytes, None, None, None, control_of=first
            )
            ran.append(HeadSweep(several) if isinstance(sweep, HeadSweep) else several[0])
            done += 1
            if progress:
                progress(done, total)
        found[name] = tuple(ran)
    return Placebo(sweep, found, began)


def checked_placebos(names: Iterable[str] | str | None, plan: SweepPlan) -> tuple[str, ...]:
    """The controls to run.

    Args:
        names: as in `placebo`.
        plan: the sweep, or one of its heads.

    Raises:
        RequestError: none, an unknown one, or one that changes a source that is not read.
    """
    reads_source = OPERATORS[plan.intervention].needs_source
    if names is None:
        return ("random_source" if reads_source else "matched_noise", "shuffled_weights")
    several = (names,) if isinstance(names, str) else tuple(names)
    found = tuple(dict.fromkeys(choose(name, PLACEBOS, "control") for name in several))
    if not found:
        raise RequestError(f"controls must name at least one of {', '.join(map(repr, PLACEBOS))}.")
    if not reads_source and "random_source" in found:
        raise RequestError(
            f"control 'random_source' changes the source, which intervention "
            f"{plan.intervention!r} does not read. Valid: 'matched_noise', 'shuffled_weights'."
        )
    return found


def control_plans(plans: Sequence[SweepPlan], name: str, seed: int) -> list[SweepPlan]:
    """The sweeps of one draw of a control.

    Args:
        plans: of the sweep, one per head.
        name: one of `PLACEBOS`.
        seed: of the draw.

    Raises:
        RequestError: no memory for a copy of the model.
    """
    if name == "shuffled_weights":
        return on_twin(plans, shuffled_twin(plans[0].model, seed))
    if name == "matched_noise":
        return [replace(plan, noise_seed=seed << 32) for plan in plans]
    tokens = _random_source(plans[0], seed)
    differs = first_difference([t.id for t in plans[0].base], [t.id for t in tokens])
    text = "".join(token.text for token in tokens)
    return [
        replace(plan, source=tokens, source_prompt=text, first_difference=differs) for plan in plans
    ]


def control_plan_steps(
    plans: Sequence[SweepPlan], name: str, seed: int
) -> Generator[None, None, list[SweepPlan]]:
    """`control_plans` in steps between which the model is free."""
    if name != "shuffled_weights":
        return control_plans(plans, name, seed)
    return on_twin(plans, (yield from twin_steps(plans[0].model, seed)))


def on_twin(plans: Sequence[SweepPlan], twin: LanguageModel) -> list[SweepPlan]:
    """The same sweeps on another model of the same shape and tokenizer."""
    held = plans[0].fixed
    fixed = None if held is None else plan_experiment(twin, held.experiment)
    return [replace(plan, model=twin, fixed=fixed) for plan in plans]


def _random_source(plan: SweepPlan, seed: int) -> tuple[Token, ...]:
    """The source's tokens, with random ones where it differs from the base.

    Neither the source's own token nor the base's is drawn at its place.
    """
    base, source = ([token.id for token in tokens] for tokens in (plan.base, plan.source))
    words, generator = ordinary_tokens(plan.model), np.random.default_rng(seed)
    for place in differences(base, source) or range(len(source)):
        known = [source[place], *base[place : place + 1]]
        others = words[~np.isin(words, known)]
        source[place] = int(generator.choice(others if len(others) else words))
    text = plan.model.token_text
    return tuple(Token(n, token, text(token)) for n, token in enumerate(source))


def _require_unchanged(sweep: Sweep) -> None:
    """Check that the model still gives the base run of a sweep.

    Raises:
        RequestError: it does not.
    """
    if sweep.plan.seeds:
        return  # its base run is a mean over them
    if base_differs(prepare_sweep(sweep.plan).base_logits.cpu(), sweep.base_logits):
        raise RequestError(
            "the sweep's base run gave other logits than the model gives now, which has changed "
            "since. Run vw.sweep again."
        )


def _checked_draws(draws: object) -> int:
    try:
        found = as_int(draws)
    except RequestError:
        found = 0
    if not 1 <= found <= MOST_DRAWS:
        raise RequestError(f"draws {shown(draws)} must be an int from 1 to {MOST_DRAWS}.")
    return found


def _checked_seed(seed: object) -> int:
    try:
        found = as_int(seed)
    except RequestError:
        found = -1
    if not 0 <= found < 2**31:
        raise RequestError(f"seed {shown(seed)} must be an int from 0 to {2**31 - 1}.")
    return found
