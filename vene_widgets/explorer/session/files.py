"""Files: downloads of the figure, made one after the other beside everything else."""

from __future__ import annotations

from vene_widgets.explorer.export import archive
from vene_widgets.explorer.session.feature import Feature, Host, Questions, Start
from vene_widgets.explorer.session.figure import FigureFeature
from vene_widgets.explorer.session.file_queue import FileQueue
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire.error_text import error_text


class FilesFeature(Feature):
    """Makes the files that the browser takes, and replies with them."""

    def __init__(self, session: Host, start: Start) -> None:
        super().__init__(session, start)
        self._queue = FileQueue()

    @property
    def questions(self) -> Questions:
        """A file of the figure."""
        return {wire.TakeFigure: self.take}

    def take(self, request: wire.TakeFigure) -> None:
        """Queue a file; the reply follows when it is made.

        Raises:
            RequestError: too many files are waiting.
        """
        session = self.session  # held by the job
        self._queue.submit(lambda: _send_file(session, request))

    def close(self, session: Host) -> None:
        """Drop the files that wait."""
        self._queue.close()


def _send_file(session: Host, request: wire.TakeFigure) -> None:
    """Make a file and send it; on the files' thread, as it waits for answer and painter."""
    data: list[bytes] | None = None
    figure = session.feature(FigureFeature)
    try:
        snapshot = figure.snapshot(request.figure)
        order = archive.file_order(snapshot, request.format, request.dpi)
        files = figure.draw_files(order, request.id)
        data = [archive.file_bytes(snapshot, request.format, files)]
        reply = wire.Reply(id=request.id, ok=True, file=f"{snapshot.name}.{request.format}")
    except Exception as error:
        data = None
        reply = wire.Reply(id=request.id, ok=False, error=error_text(error))
    if session.is_open:
        session.send(reply.model_dump(), data)
