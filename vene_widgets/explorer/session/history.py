"""The history: the strip of answered experiments, to return to and to name."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from vene_widgets.explorer.session import shared_history
from vene_widgets.explorer.session.feature import Changes, Feature, Host, Start, message_trait
from vene_widgets.explorer.session.history_records import History
from vene_widgets.explorer.wire import messages as wire

if TYPE_CHECKING:
    from vene_widgets.engine.planning import Plan


class HistoryFeature(Feature):
    """Keeps the answered experiments, and writes `past`.

    Attributes:
        history: the entries; the session's lock guards them.
    """

    traits: ClassVar = {"past": message_trait(on_page=True)}

    def __init__(self, session: Host, start: Start) -> None:
        super().__init__(session, start)
        self.history = History()
        if start.shared is not None:
            self.history = shared_history.from_shared(start.shared, session.model)

    @property
    def changes(self) -> Changes:
        """The name of an entry."""
        return {wire.NameEntry: lambda request: self.name(request.number, request.name)}

    def record(self, plan: Plan, answer: wire.Answer) -> None:
        """Add an answered experiment."""
        final = answer.runs[-1 if plan.experiment.live else 0]
        with self.session.lock:
            self.history.add(plan, answer.sentence, final.top[0], answer.revision)
            self.write("past", self.history.to_wire())

    def name(self, number: int, name: str | None) -> None:
        """Name an entry, or remove its name.

        Raises:
            RequestError: no such entry, a name that is taken or reserved, or one name too many.
        """
        with self.session.lock:
            self.history.name(number, name)
            self.write("past", self.history.to_wire())

    def close(self, session: Host) -> None:
        """Drop the entries."""
        self.history.clear()
