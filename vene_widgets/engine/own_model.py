"""own_model(): the length of a run, on a module tree of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vene_widgets.errors import RequestError
from vene_widgets.models.hooks_of_torch import require_no_global_hook_of
from vene_widgets.models.own_tree import is_for_one_run

if TYPE_CHECKING:
    from types import TracebackType

    from vene_widgets.models import LanguageModel
    from vene_widgets.models.fingerprint import Fingerprint


class ModelChanged(RequestError):
    """The model is no longer the one that a result began with; the result is dropped."""


def require_unchanged(model: LanguageModel, began: Fingerprint, now: Fingerprint) -> None:
    """Check that a model is still in the state in which a result began.

    Raises:
        ModelChanged: it is not; the message says what has changed.
    """
    if (change := began.difference(now)) is not None:
        raise ModelChanged(
            f"{model.name} changed while it ran ({change}): a result would mix two models. Run it "
            "again when the model is at rest."
        )


def model_changed(
    model: LanguageModel, began: Fingerprint, error: Exception
) -> ModelChanged | None:
    """What an error of a run means if its model has changed meanwhile; None if it has not.

    Layers of a model that is being moved or converted do not fit each other, so torch raises
    whatever it finds first.
    """
    if isinstance(error, ModelChanged):
        return error
    try:
        require_unchanged(model, began, model.fingerprint)
    except ModelChanged as changed:
        return changed
    return None


class own_model:  # noqa: N801  # a context manager, used like a function
    """Use `LanguageModel.net` for the length of a run.

    Take the model's lock first:

        with model.lock, torch.no_grad(), own_model(model):
            ...

    The user's model is never touched. A run that ends with an exception, Ctrl-C at any line
    included, may leave hooks in our tree; the next run then makes a new one.

    Args:
        model: the model about to run.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model = model

    def __enter__(self) -> None:
        require_no_global_hook_of(self._model.tree.root)
        self._model.tree.begin()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A tree with copies of values of the user's code is not used again: they may have changed.
        if kind is None and not is_for_one_run(self._model.net):
            self._model.tree.end()
