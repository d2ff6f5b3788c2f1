"""explore() and from_state(): the two ways to open an explorer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from vene_widgets.experiments.experiment import Experiment, Slot
from vene_widgets.explorer.export import share_token as sharing
from vene_widgets.explorer.session.session import FIRST_WAIT
from vene_widgets.explorer.widget import Explorer
from vene_widgets.models import load

if TYPE_CHECKING:
    from vene_widgets.models import LanguageModel


def explore(
    base: str,
    source: str | Mapping[str, str] = (),  # pyright: ignore[reportArgumentType]
    model: LanguageModel | str | None = None,
    slots: Iterable[Slot] = (),
    *,
    component: str = "block_output",
) -> Explorer:
    """Open the explorer: point at a place in the model and see the next-token distribution change.

    Args:
        base: the prompt whose run is changed.
        source: the prompt whose run is copied from, or several by name.
        model: from `load` or `wrap`, or a name for `load`; None for the built-in model.
        slots: what the experiment begins with.
        component: what the map sweeps at first.

    Raises:
        RequestError: a prompt or slot that does not fit the model.
    """
    if model is None or isinstance(model, str):
        model = load(model) if model else load()
    sources = {"source": source} if isinstance(source, str) else dict(source)
    experiment = Experiment(base=base, sources=sources, slots=tuple(slots))
    return _filled(Explorer(model, experiment, component=component))


def from_state(token: str, model: LanguageModel | str | None = None) -> Explorer:
    """Open the explorer that a token describes.

    Args:
        token: from `Explorer.state()` or the Share button.
        model: None for the model that the token names; yours where only its owner has it.

    Raises:
        RequestError: a damaged token, one of another version or of something else, or one that does
            not fit the model.
    """
    shared = sharing.decode(token)
    chosen = sharing.model_for(shared, model)
    sharing.check(shared, chosen)
    return _filled(Explorer(chosen, shared.experiment, shared.component, shared))


def _filled(explorer: Explorer) -> Explorer:
    """Wait a while for the map, so that what is shown first is whole."""
    explorer._worker.wait("sweep", FIRST_WAIT)
    return explorer
