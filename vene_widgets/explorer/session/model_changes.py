"""Changes of the model that its fingerprint does not show, and the note on hooks of its own."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from vene_widgets.explorer.session.feature import Feature, Host, JobKind, Start

if TYPE_CHECKING:
    from vene_widgets.explorer.exact_runs import ExactRuns
    from vene_widgets.models.fingerprint import Fingerprint

HOOKS_NOTE = "The model carries hooks or replaced methods of its own: they act in every run."


class ModelChangesFeature(Feature):
    """Reads every number of the model when the worker is idle."""

    jobs = (JobKind("verify", "The model could not be checked", is_awaited=False),)

    def __init__(self, session: Host, start: Start) -> None:
        super().__init__(session, start)
        self._checksum: tuple[Fingerprint, int] | None = None

    def opened(self) -> None:
        """Say that hooks of the model act."""
        if self.session.model.tree.has_additions:
            self.session.set_status(note=HOOKS_NOTE)

    def answered(self, result: ExactRuns, revision: int) -> None:
        """Check the model when there is nothing else to do."""
        self.session.submit("verify", self._verify)

    def _verify(self) -> Generator[None, None, None]:
        """Job: read every number of the model, for changes that no sample shows."""
        session, model = self.session, self.session.model
        state, total = model.fingerprint, None
        for total in model.tree.checksum():
            if total is None:
                yield
        if total is None or model.fingerprint != state:
            return
        before, self._checksum = self._checksum, (state, total)
        if before is not None and before[0] == state and before[1] != total:
            model.tree.weights_changed()
            self._checksum = (model.fingerprint, total)
            session.notice_changes()
