"""lens_map: the best token of every layer and position, run by run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotnine as p9

from vene_widgets.errors import RequestError
from vene_widgets.figures import geoms, theme
from vene_widgets.figures.heading import SMALL, TEXT, heading, lettered, title_width
from vene_widgets.figures.labels import label, width_of
from vene_widgets.figures.layout import compose_plot
from vene_widgets.figures.map_layout import GAP, LINE, WIDEST, axis_title
from vene_widgets.figures.needs import run_names
from vene_widgets.figures.notes import exact
from vene_widgets.figures.palette import palette_of
from vene_widgets.figures.room import Made, Room, arrangeable
from vene_widgets.figures.scales import NO_MINOR, fill_scale, layer_scale, probability_limit
from vene_widgets.tables.columns import FRAMES
from vene_widgets.tables.metrics import METRICS

if TYPE_CHECKING:
    from plotnine.ggplot import PlotAddable

METRIC = dataclasses.replace(METRICS["probability"], title="P(best token)")
"""What the colours show."""

TILES = (0.42, 0.85)
"""Least and greatest width of a tile that shows its token, in inches."""

INSIDE = 0.08
"""Room beside a token in its tile, in inches."""

SMALLEST = 6.0
"""Least size of type on a tile, in points."""

RING, HALO = 0.9, 2.0
"""Widths of the ring of a changed tile, and of the line in the page's colour below it, in
plotnine's units."""

_PLAIN = "base"


def lens_map(
    frame: pd.DataFrame,
    title: str | None = None,
    *,
    setup: str | None = None,
    style: str = "light",
) -> p9.ggplot:
    """A logit lens: layer x token position, the best token on every tile, one panel per run.

    The patched run stands beside base. Its tiles are ringed where the best token is another than in
    base; sources differ from base anyway, so theirs are not. If the tiles are too narrow for
    tokens, only their colours are shown.

    In an SVG each tile has a tooltip with its layer, position, best token and exact probability.

    Args:
        frame: from `tables.lens_frames.lens_frame`; of several targets, the first one's rows are
            drawn.
        title: above the figure.
        setup: what was run, in a line below the title.
        style: `light` or `dark`.

    Raises:
        RequestError: the frame is empty or lacks a required column, or an unknown style.

    Example:
        >>> import vene_widgets as vw
        >>> readings = vw.lens(vw.load(), "The capital of Spain is")
        >>> figure = vw.figures.lens_map(readings.frame)
    """
    palette, data = palette_of(style), _validated(frame)
    runs = run_names(data)
    runs.sort(key=lambda run: {_PLAIN: 0, "patched": 1}.get(run, 2))
    panels = {run: lettered(n, run) for n, run in enumerate(runs)} if len(runs) > 1 else {}
    # Every panel has its own columns, because every run has its own tokens.
    longest = int(data["position"].max()) + 1
    first = {run: n * 2 * longest for n, run in enumerate(runs)}
    column = data["position"] + data["run"].astype(str).map(first)
    data = data.assign(
        column=column.astype(int),
        panel=pd.Categorical(data["run"].astype(str).map(panels or {runs[0]: ""})),
        note=_notes(data),
        is_ringed=data["changed"].fillna(False).astype(bool) & (data["run"] == "patched"),
    )
    data["panel"] = data["panel"].cat.set_categories([*panels.values()] or [""])
    names = dict(zip(data["column"], data["label"].map(label), strict=True))
    positions = dict(zip(data["column"], data["position"], strict=True))
    limits = 0.0, probability_limit(float(data["probability"].max()))
    ringed = data[data["is_ringed"]]
    caption = "ringed: another token than in base" if len(ringed) else None

    def make(room: Room | None) -> Made:
        layout = _LensLayout(data, panels, title, setup, room)
        between = "  " if layout.has_upright_labels else "\n"
        shown = [c for c in names if (longest - 1 - positions[c]) % layout.every == 0]

        def named(breaks: Sequence[Any]) -> list[str]:
            return [f"{names[round(b)]}{between}{positions[round(b)]}" for b in breaks]

        parts: list[PlotAddable] = [
            geoms.Tile(
                p9.aes(fill="probability", label="text", note="note"),
                color=palette.edge,
                size=0.3,
                text_size=layout.text_size,
                page=palette.page,
            ),
            fill_scale(METRIC, limits, palette, layout.bar),
            p9.scale_x_continuous(**NO_MINOR, breaks=shown, labels=named, expand=(0, 0)),
            layer_scale(layout.layers, layout.row),
            p9.labs(
                title=layout.heading.title,
                subtitle=layout.heading.subtitle,
                caption=caption,
                x="token position",
                y="layer",
            ),
            theme.theme_vene(TEXT, palette),
            theme.sized(*layout.size),
        ]
        if len(ringed):
            inset: Any = {"data": ringed, "fill": None, "width": 0.93, "height": 0.84}
            parts.append(p9.geom_tile(color=palette.page, size=HALO, **inset))
            parts.append(p9.geom_tile(color=palette.runs["intervened"], size=RING, **inset))
        if panels:
            parts.append(p9.facet_wrap("panel", ncol=layout.across, scales="free_x"))
        tiles = data.assign(text=layout.texts)
        labels = theme.x_labels(layout.has_upright_labels)
        plot = compose_plot(tiles, p9.aes("column", "layer"), *parts)
        return plot, lambda scale: labels + theme.colour_bar(scale * layout.bar)

    return arrangeable(make)


def _validated(frame: object) -> pd.DataFrame:
    """The frame's rows of one target, if a figure can be drawn from it.

    Raises:
        RequestError: no DataFrame, a missing column, or no rows.
    """
    if not isinstance(frame, pd.DataFrame):
        raise RequestError(
            f"lens_map: expected a DataFrame from lens(...).frame, got {type(frame).__name__}."
        )
    if missing := [column for column in FRAMES["lens_frame"] if column not in frame.columns]:
        raise RequestError(
            f"lens_map: the frame lacks the columns {', '.join(map(repr, missing))}; expected "
            "those of lens(...).frame."
        )
    if frame.empty:
        raise RequestError("lens_map: the frame is empty; expected rows of lens(...).frame.")
    return frame.drop_duplicates(["run", "layer", "position"])


def _notes(data: pd.DataFrame) -> list[str]:
    """Tooltip of each tile."""
    columns = ["run", "layer", "position", "label", "best_label", "best_id", "probability"]
    return [
        f"{run}, layer {layer}, position {position}: {token}\n"
        f"best token: {best} (id {best_id})\nP = {exact(p)}"
        for run, layer, position, token, best, best_id, p in data[columns].itertuples(
            index=False, name=None
        )
    ]


class _LensLayout:
    """Layout of a lens map, in inches.

    Args:
        data: the rows to be drawn.
        panels: name of the run -> title of its panel; empty for one run.
        title, setup: of the figure.
        room: to lay it out for; None for as much as it needs.

    Attributes:
        layers: ascending.
        texts: of the tiles, in the order of `data`.
        text_size: of these, in points.
        every: positions per x label; the last one has one.
        has_upright_labels: whether the x labels are upright, because they are too wide.
        across: panels per row.
        row: height of a layer.
        bar: height of the colour bar.
        heading: what stands above the panels.
        size: width and height of the figure.
    """

    def __init__(
        self,
        data: pd.DataFrame,
        panels: dict[str, str],
        title: str | None,
        setup: str | None,
        room: Room | None,
    ) -> None:
        self.layers = sorted(map(int, data["layer"].unique()))
        span, count = self.layers[-1] - self.layers[0] + 1, int(data["position"].max()) + 1
        words = [label(text) for text in data["best_label"]]
        ticks = [*map(label, data.drop_duplicates("column")["label"])]
        widest = max(width_of(words, SMALL), width_of(ticks, SMALL))
        sides = 0.6 + max(0.6, width_of([axis_title(METRIC)], SMALL)) + 0.3
        titles = width_of(panels.values(), SMALL) + 0.1 if panels else 0.0
        number = max(1, len(panels))

        inside = WIDEST if room is None else room.width - sides
        wanted = min(TILES[1], max(TILES[0], widest + INSIDE))
        # Narrower tiles rather than another row of panels, and colours alone where no text fits.
        tile = next(
            (t for t in (wanted, 0.8 * wanted, TILES[0], 0.32) if count * t <= inside), 0.18
        )
        panel = max(tile * count, titles, 1.0)
        self.across = max(1, min(number, int((inside + GAP) / (panel + GAP))))
        self.across = math.ceil(number / math.ceil(number / self.across))
        if room is not None:
            panel = max(inside / self.across - GAP, titles, 1.0)
        tile = min(panel / count, 2 * wanted)
        self.has_upright_labels = width_of(ticks, SMALL) + INSIDE > tile
        self.every = max(1, math.ceil(LINE / tile)) if self.has_upright_labels else 1
        below = width_of([f"{tick}  {count}" for tick in ticks], SMALL)
        below = below if self.has_upright_labels else 0.28
        width = sides + self.across * (panel + GAP)
        if room is None:
            width = max(width, title_width(title or ""), 3.2)
        self.heading = heading(title, setup, None, width)

        down = math.ceil(number / self.across)
        around = 0.35 + self.heading.height + down * (0.1 + below + 0.25 * bool(panels))
        self.row = max(0.6 / span, 0.25)
        if room:
            room_for_rows = (room.height - around) / down / span
            self.row = min(self.row, max(0.6 / span, room_for_rows))
        fit = tile - INSIDE
        self.text_size = min(SMALL, max(SMALLEST, SMALL * fit / widest))
        has_texts = self.row >= LINE and fit >= 0.24
        self.texts = [_cut(word, fit, self.text_size) if has_texts else "" for word in words]
        self.bar = min(1.5, max(0.7, self.row * span))
        self.size = round(width, 2), round(around + down * span * self.row, 2)


def _cut(text: str, width: float, size: float) -> str:
    """A label, its end cut off where it is wider than a tile."""
    if width_of([text], size) <= width:
        return text
    plain = text.replace(r"\$", "$")
    while len(plain) > 1 and theme.text_width(f"{plain}…", size) > width:
        plain = plain[:-1]
    return f"{plain}…".replace("$", r"\$")
