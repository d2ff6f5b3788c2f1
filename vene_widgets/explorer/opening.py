"""explore() and from_state(): open an explorer from prompts or from a share token."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from vene_widgets.errors import RequestError
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.slot import Slot
from vene_widgets.explorer.export import share_token
from vene_widgets.explorer.widget import Explorer, open_explorer
from vene_widgets.models import load

if TYPE_CHECKING:
    from vene_widgets.models import LanguageModel


CAPITALS = ("The capital of Spain is", "The capital of Italy is")
"""Base and source of the explorer that opens without prompts."""


def explore(
    base: str | None = None,
    source: str | Mapping[str, str] = MappingProxyType({}),
    model: LanguageModel | str | None = None,
    slots: Iterable[Slot] | Slot = (),
    *,
    component: str = "block_output",
) -> Explorer:
    """Open the explorer: patch a state of the model and see the next-token distribution change.

    Args:
        base: the prompt whose run is changed; None for the built-in pair of prompts, `CAPITALS`.
        source: the prompt whose run is copied from, or several by name.
        model: from `load` or `wrap`, or a name for `load`; None for the built-in model.
        slots: of the first experiment.
        component: the first one that the map sweeps.

    Returns:
        The widget, its map filled if that takes less than 10 seconds.

    Raises:
        RequestError: a prompt or slot that is invalid for the model.
    """
    if base is None:
        if source:
            raise RequestError(
                "base is missing: expected the prompt whose run is changed beside the source. "
                "Without both, the built-in pair opens."
            )
        base, source = CAPITALS
    experiment = Experiment(base=base, sources=source, slots=slots)
    if model is None or isinstance(model, str):
        model = load(model) if model else load()
    return open_explorer(model, experiment, component)


def from_state(token: str, model: LanguageModel | str | None = None) -> Explorer:
    """Open the explorer whose state a share token holds.

    Args:
        token: from `Explorer.state()` or the Share button.
        model: from `load` or `wrap`, or a name for `load`; None for the model that the token names,
            if it is one of `share_token.BUILT_IN`. Nothing else is loaded because a token names it:
            tokens come from other people.

    Returns:
        The widget, its map filled if that takes less than 10 seconds.

    Raises:
        RequestError: a damaged token, one of another version or origin, or one that is invalid for
            the model.
    """
    shared = share_token.decode(token)
    chosen = share_token.model_for(shared, model)
    share_token.check_fits(shared, chosen)
    return open_explorer(chosen, shared.experiment, shared.component, shared)
