"""Share: the state of the screen and its history as a short text."""

from __future__ import annotations

from collections.abc import Mapping

from vene_widgets.explorer.export import share_token
from vene_widgets.explorer.session import shared_history
from vene_widgets.explorer.session.feature import Feature, Questions
from vene_widgets.explorer.session.figure import FigureFeature
from vene_widgets.explorer.session.history import HistoryFeature
from vene_widgets.explorer.session.map import MapFeature
from vene_widgets.explorer.wire import messages as wire


class ShareFeature(Feature):
    """Writes share tokens."""

    @property
    def questions(self) -> Questions:
        """The token."""
        return {wire.Share: self._reply}

    def token(self) -> str:
        """The share token of the current state (`share_token.encode`)."""
        session = self.session
        with session.lock:
            return share_token.encode(
                share_token.Shared.of(
                    session.model,
                    session.experiment,
                    session.feature(MapFeature).request,
                    figure=session.feature(FigureFeature).kind,
                    history=shared_history.to_shared(session.feature(HistoryFeature).history),
                )
            )

    def _reply(self, _request: wire.Share) -> Mapping[str, str]:
        return {"text": self.token()}
