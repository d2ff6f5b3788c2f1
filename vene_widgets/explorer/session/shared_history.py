"""The history in a share token: which entries are shared, and how they are restored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vene_widgets.engine.planning import plan_experiment
from vene_widgets.errors import RequestError
from vene_widgets.explorer.export.share_token import Shared, SharedEntry
from vene_widgets.explorer.session.history_records import History
from vene_widgets.explorer.wire.messages import Candidate
from vene_widgets.tables.token_text import visible

if TYPE_CHECKING:
    from vene_widgets.models import LanguageModel

MAX_UNNAMED = 20
"""Entries without a name that a token contains, the newest ones; all named ones are shared."""


def from_shared(shared: Shared, model: LanguageModel) -> History:
    """Restore the history of a token for a model.

    Raises:
        RequestError: an entry that the model cannot run.
    """
    history = History()
    for n, past in enumerate(shared.history):
        if past.token_id >= model.sites.vocabulary:
            raise RequestError(
                f"history entry {n} of the token names token id {past.token_id}; {model.name} has "
                f"{model.sites.vocabulary} tokens. Is this the model that the token was made with?"
            )
        top = Candidate(
            token_id=past.token_id,
            label=visible(model.token_text(past.token_id)),
            probability=past.probability,
            logit=0.0,  # not shared, and not shown in the history
            rank=1,
        )
        history.add(plan_experiment(model, past.experiment), past.sentence, top, 0)
        history.name(history.records[-1].number, past.name)
    return history


def to_shared(history: History) -> tuple[SharedEntry, ...]:
    """The entries to share: all with a name, and the newest of the others."""
    unnamed = [record.number for record in history.records if not record.entry.name]
    dropped = set(unnamed[:-MAX_UNNAMED])
    return tuple(
        SharedEntry(
            name=record.entry.name,
            experiment=record.entry.experiment,
            sentence=record.entry.sentence,
            token_id=record.top.token_id,
            probability=record.top.probability,
        )
        for record in history.records
        if record.number not in dropped
    )
