"""The figure: the current kind of plotnine figure of every answer, and figures to export."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from vene_widgets.errors import RequestError, choose
from vene_widgets.explorer.exact_runs import ExactRuns
from vene_widgets.explorer.export.file_name import file_name
from vene_widgets.explorer.export.snapshot import Snapshot
from vene_widgets.explorer.painter import shared as shared_painter
from vene_widgets.explorer.painter.drawing import figure_of
from vene_widgets.explorer.painter.orders import Drawing, DrawnFiles, FigureOrder, Picture
from vene_widgets.explorer.session.answer import AnswerFeature
from vene_widgets.explorer.session.feature import Changes, Feature, Host, Start, message_trait
from vene_widgets.explorer.session.map import MapFeature
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.figures.setup_lines import runs_setup
from vene_widgets.tables.frames import target_first
from vene_widgets.tables.metrics import METRICS

if TYPE_CHECKING:
    import pandas as pd
    import plotnine as p9

    from vene_widgets.explorer.painter.painter import Painter

FIGURES: tuple[wire.FigureKind, ...] = get_args(wire.FigureKind)
"""Kinds of figure; the screen shows the first one at first."""


class FigureFeature(Feature):
    """Draws the current kind of figure, and writes `picture`.

    Attributes:
        kind: the kind of figure on the screen.
        style: whether the screen is light or dark; its figure is alike. Files are for a white page.
    """

    traits: ClassVar = {"picture": message_trait(on_page=True)}

    def __init__(self, session: Host, start: Start) -> None:
        super().__init__(session, start)
        self.kind: wire.FigureKind = FIGURES[0] if start.shared is None else start.shared.figure
        self.style: wire.FigureStyle = "light"
        self._painter: Painter | None = None
        session.feature(MapFeature).on_full.append(self._map_filled)

    @property
    def changes(self) -> Changes:
        """Another kind of figure."""
        return {wire.SetFigure: self.set_kind}

    def set_kind(self, request: wire.SetFigure) -> None:
        """Draw this kind of figure, of the current answer and of every later one."""
        if (request.figure, request.style) == (self.kind, self.style):
            return
        self.kind, self.style = request.figure, request.style
        self._draw_again()

    def snapshot(
        self, kind: str | None, theme: str | p9.theme = "screen", metric: str = "probability"
    ) -> Snapshot:
        """The state on the screen and a figure of it; waits for its answer and its map.

        Args:
            kind: of the figure; None for the kind on the screen.
            theme: of the figure.
            metric: of a `sweep_map`.

        Raises:
            RequestError: an unknown kind or metric, or a map that is not full.
        """
        name = choose(kind or self.kind, FIGURES, "figure")
        choose(metric, METRICS, "metric")
        session = self.session
        answers, map_feature = session.feature(AnswerFeature), session.feature(MapFeature)
        while True:
            session.worker.wait("sweep")
            result = answers.result
            with session.lock:
                if answers.latest_revision != session.revision or session.worker.is_busy("sweep"):
                    continue  # another experiment has begun
                plan, table = session.plan, map_feature.table()
                sweep, revision = map_feature.swept, session.revision
                break
        assert plan is not None  # noqa: S101  # an answer implies a plan
        if name == "sweep_map" and table.empty:
            raise RequestError("there is no map to draw: the sweep has not been completed")
        order = dataclasses.replace(self._order(name, result, metric), theme=theme)
        frames = {
            "token_heatmap": result.token_frame.copy(),
            "difference_panel": result.difference_frame.copy(),
            "sweep_map": table,
        }
        return Snapshot(session.model, plan, result, frames, sweep, order, revision)

    def draw_files(self, order: FigureOrder, request: str) -> Mapping[str, bytes]:
        """Draw an order that lists formats; blocks until it is drawn.

        Args:
            order: the figure and its formats.
            request: id of the browser's request.

        Returns:
            Format -> the file's bytes.

        Raises:
            RequestError: it could not be drawn.
        """
        drawing = self._draw_and_wait(request, order)
        assert isinstance(drawing, DrawnFiles)  # noqa: S101  # the order lists formats
        return drawing.files

    def draw_for_page(self) -> dict[str, Any] | None:
        """The figure of the result on the screen; None if it could not be drawn."""
        answers = self.session.feature(AnswerFeature)
        revision, kind = answers.latest_revision, self.kind
        try:
            drawing = self._draw_and_wait("page", self._screen_order(kind, answers.result))
        except RequestError:
            return None
        return self._message(revision, kind, drawing) if isinstance(drawing, Picture) else None

    def opened(self) -> None:
        """Share the painter."""
        self._painter = shared_painter.acquire(self.session)

    def answered(self, result: ExactRuns, revision: int) -> None:
        """Draw an answer."""
        self._draw(result, revision)

    def close(self, session: Host) -> None:
        """Drop the orders, and release the painter."""
        shared_painter.release(session)

    def _draw(self, result: ExactRuns, revision: int) -> None:
        """Order the current kind of figure; the answer does not wait for it."""
        kind, painter = self.kind, self._painter
        if painter is None or (
            kind == "sweep_map" and not self.session.feature(MapFeature).is_full
        ):
            return

        reference = weakref.ref(self.session)  # a painter must not keep an explorer alive

        def on_drawn(drawing: Drawing | None, error: str | None) -> None:
            live = reference()
            if live is not None:
                self._show(live, kind, revision, drawing, error)

        painter.draw(id(self.session), self._screen_order(kind, result), on_drawn)

    def _draw_again(self) -> None:
        """Order the current kind of figure of the latest answer, if there is one."""
        answers = self.session.feature(AnswerFeature)
        if answers.latest is not None:
            self._draw(answers.latest, answers.latest_revision)

    def _map_filled(self) -> None:
        if self.kind == "sweep_map":
            self._draw_again()

    def _draw_and_wait(self, name: str, order: FigureOrder) -> Drawing:
        """Draw an order; `name` tells it from other orders of this explorer."""
        assert self._painter is not None  # noqa: S101  # there is one from `opened` on
        return self._painter.draw_and_wait((id(self.session), name), order)

    def _screen_order(self, kind: str, result: ExactRuns) -> FigureOrder:
        """The order for the picture on the screen, light or dark as the screen is."""
        order, is_dark = self._order(kind, result), self.style == "dark"
        theme = "dark" if is_dark else "screen"
        return dataclasses.replace(order, key=f"{order.key} {theme}", theme=theme)

    def _order(self, kind: str, result: ExactRuns, metric: str = "probability") -> FigureOrder:
        """The order for a kind of figure; its key is a hash of its content.

        Its frames are copies: figures and tables made of them are the user's to change.
        """
        session = self.session
        frames: dict[str, pd.DataFrame] = {}
        options: dict[str, Any] = {}
        if kind == "result":
            frames["token_heatmap"] = result.panels_frame.copy()
        if kind in ("token_heatmap", "distribution_dots"):
            frames[kind] = result.token_frame.copy()
        if kind in ("result", "difference_panel"):
            frames["difference_panel"] = result.difference_frame.copy()
            options = {"before": "base", "after": result.compared_title}
        if kind == "sweep_map":
            swept = session.feature(MapFeature)
            table = swept.table()
            # As on the screen: t of a pair, and the one token of a map of all heads.
            if swept.target is not None and (
                METRICS[metric].of_pair or figure_of(kind, table) == "head_map"
            ):
                table = target_first(table, swept.target)
            frames["sweep_map"] = table
            options = {"metric": metric, "setup": swept.setup}
        else:
            options["setup"] = runs_setup(result.plan, session.model.name)
        content = pickle.dumps((kind, options, [frame.to_csv() for frame in frames.values()]))
        return FigureOrder(hashlib.sha256(content).hexdigest(), kind, frames, options)

    def _show(
        self,
        session: Host,
        kind: wire.FigureKind,
        revision: int,
        drawing: Drawing | None,
        error: str | None,
    ) -> None:
        """Show a drawn figure, or why there is none, unless the screen has moved on."""
        if not session.is_open or revision != session.revision or kind != self.kind:
            return
        if isinstance(drawing, Picture):
            self.write("picture", self._message(revision, kind, drawing))
            return
        session.set_status(error=f"The figure could not be drawn: {error}. Numbers are unaffected.")

    def _message(self, revision: int, kind: wire.FigureKind, picture: Picture) -> dict[str, Any]:
        """`messages.Figure` as a dict; its bytes travel beside the JSON."""
        figure = wire.Figure(
            revision=revision,
            kind=kind,
            style=self.style,
            name=file_name(kind, self.session.plan, revision),
            alt=picture.alt,
            width=picture.width,
            height=picture.height,
            png=None,
        )
        return {**figure.model_dump(), "png": picture.png}
