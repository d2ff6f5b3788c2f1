"""attention_map: attention weights as queries x keys, one panel per head."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotnine as p9

from vene_widgets.errors import RequestError, choose
from vene_widgets.figures import geoms, theme
from vene_widgets.figures.heading import SMALL, TEXT, heading, title_width
from vene_widgets.figures.labels import label, layer_text, width_of
from vene_widgets.figures.layout import compose_plot
from vene_widgets.figures.map_layout import GAP, LINE, short_number
from vene_widgets.figures.needs import run_names
from vene_widgets.figures.palette import Palette, palette_of
from vene_widgets.figures.room import Made, Room, arrangeable
from vene_widgets.figures.scales import NO_MINOR, ceiling
from vene_widgets.tables.columns import FRAMES
from vene_widgets.tables.token_text import visible

if TYPE_CHECKING:
    from plotnine.ggplot import PlotAddable

MOST_PANELS = 48
"""Heads that a figure shows."""

MOST_TOKENS = 128
"""Tokens of a prompt that a figure shows."""

MOST_TILES = 60_000
"""Weights that a figure shows, all panels together."""

_WORDS = {
    "base": "base run",
    "intervened": "base with the slots in place",
    "difference": "with the slots in place − base run",
}


def attention_map(
    frame: pd.DataFrame,
    run: str | None = None,
    title: str | None = None,
    *,
    setup: str | None = None,
    style: str = "light",
) -> p9.ggplot:
    """Attention weights of one run: a row per query, a column per key, a panel per head.

    Each row says where one token reads. Keys that come after their query have no weight and no
    tile. All panels share one colour scale; of differences, blue is more and orange is less.

    Args:
        frame: from `AttentionPattern.frame`.
        run: which of its runs; None for `intervened` or, without one, the first.
        title: above the figure.
        setup: what was run, in a line below the title.
        style: `light` or `dark`.

    Raises:
        RequestError: the frame is empty or lacks a column, an unknown run or style, or more heads
            or tokens than can be read.

    Example:
        >>> import vene_widgets as vw
        >>> pattern = vw.attention(vw.load(), "The capital of Spain is", layer=3)
        >>> figure = vw.figures.attention_map(pattern.frame)
    """
    palette, data = palette_of(style), _validated(frame)
    names = run_names(data)
    run = choose(run or ("intervened" if "intervened" in names else names[0]), names, "run")
    data = data[data["run"] == run]
    panels, count = _panels(data), int(data["query"].max()) + 1
    _require_readable(len(panels), count)
    is_signed = run == "difference" or bool((data["weight"] < 0).any())
    top = ceiling(float(data["weight"].abs().max()), math.inf)
    if not is_signed and 0.5 < top <= 1:
        top = 1.0
    first: Any = data.drop_duplicates("key").set_index("key")["key_token"]
    texts = [label(visible(str(first[key]))) for key in range(count)]
    titles = [panels[key] for key in sorted(panels)]
    where = pd.Series(list(zip(data["layer"], data["head"], strict=True)), index=data.index)
    data = data.assign(
        panel=pd.Categorical(where.map(panels), titles),
        number=[short_number(weight) for weight in data["weight"]],
        note=_notes(data),
        href="",
        sign=data["weight"].round(3) if is_signed else 0.0,
    )
    data = data[(data["key"] <= data["query"]) | (data["weight"] != 0)]
    heads = int(data["head"].nunique())
    only = titles[0] if len(titles) == 1 else None
    named, unit = _named(run, data, only), "change of weight" if run == "difference" else "weight"

    def make(room: Room | None) -> Made:
        layout = _AttentionLayout(
            texts, titles, heads, [*data["number"]], title, setup, named, room
        )
        shown = [*range(count)][:: layout.every]
        limits = (-0.5, count - 0.5)
        parts: list[PlotAddable] = [
            geoms.Tile(
                p9.aes(fill="weight", label="number", note="note", href="href", sign="sign"),
                color=palette.edge,
                size=0.3 if layout.tile > 0.1 else 0,
                text_size=layout.text_size,
            ),
            _fill_scale(top, is_signed, unit, palette),
            p9.scale_x_continuous(
                **NO_MINOR,
                breaks=shown,
                labels=[texts[n] for n in shown],
                limits=limits,
                expand=(0, 0),
            ),
            p9.scale_y_continuous(
                **NO_MINOR,
                breaks=[-n for n in shown],
                labels=[texts[n] for n in shown],
                limits=(-limits[1], -limits[0]),
                expand=(0, 0),
            ),
            p9.labs(
                title=layout.heading.title,
                subtitle=layout.heading.subtitle,
                x="key: the token that is read",
                y="query: the token that reads",
            ),
            theme.theme_vene(TEXT, palette),
            theme.sized(*layout.size),
        ]
        if only is None:
            parts.append(p9.facet_wrap("panel", ncol=layout.across))
        tiles = data.assign(row=-data["query"])
        if not layout.has_numbers:
            tiles = tiles.assign(number="")
        plot = compose_plot(tiles, p9.aes("key", "row"), *parts)
        return plot, lambda scale: theme.colour_bar(scale * layout.bar) + theme.x_labels(True)

    return arrangeable(make)


def _validated(frame: object) -> pd.DataFrame:
    """Return the frame if it is of attention weights.

    Raises:
        RequestError: no DataFrame, a missing column, or no rows.
    """
    needed = FRAMES["attention_frame"]
    if not isinstance(frame, pd.DataFrame):
        raise RequestError(
            "attention_map: expected a DataFrame from AttentionPattern.frame, got "
            f"{type(frame).__name__}."
        )
    if missing := [column for column in needed if column not in frame.columns]:
        raise RequestError(
            f"attention_map: the frame lacks the columns {', '.join(map(repr, missing))}; expected "
            "those of AttentionPattern.frame."
        )
    if frame.empty:
        raise RequestError("attention_map: the frame is empty; expected at least one row.")
    return frame


def _panels(data: pd.DataFrame) -> dict[tuple[int, int], str]:
    """Titles of the panels by layer and head; the layer is left out where there is only one."""
    pairs = sorted(set(zip(map(int, data["layer"]), map(int, data["head"]), strict=True)))
    if len({layer for layer, _ in pairs}) == 1:
        return {pair: f"head {pair[1]}" for pair in pairs}
    return {pair: f"layer {pair[0]}, head {pair[1]}" for pair in pairs}


def _require_readable(panels: int, tokens: int) -> None:
    """Refuse a figure of more panels or tiles than can be read.

    Raises:
        RequestError: it has more.
    """
    if panels > MOST_PANELS:
        raise RequestError(
            f"attention_map: {panels} heads are too many to read; expected at most {MOST_PANELS}: "
            "choose a layer, or some heads."
        )
    if tokens > MOST_TOKENS or panels * tokens**2 > MOST_TILES:
        raise RequestError(
            f"attention_map: {panels} heads of {tokens} × {tokens} tokens are too many to read; "
            f"expected at most {MOST_TOKENS} tokens and {MOST_TILES:,} weights: choose fewer heads "
            "or a shorter prompt, or read the frame."
        )


def _named(run: str, data: pd.DataFrame, only: str | None) -> str:
    """The label above the panels: what they show, of which run and layer."""
    layers = layer_text(sorted(map(int, data["layer"].unique())))
    what = "change of attention weight" if run == "difference" else "attention weight"
    where = layers if only is None else f"{layers}, {only}"
    return f"{what}, {where}; {_WORDS.get(run, f'run of {label(run)}')}"


def _fill_scale(top: float, is_signed: bool, name: str, palette: Palette) -> PlotAddable:
    """Colours of weights from 0 to `top`, or from its negative, with their bar."""
    parts = (-1.0, -0.5, 0.0, 0.5, 1.0) if is_signed else (0.0, 0.25, 0.5, 0.75, 1.0)
    options: dict[str, Any] = {
        "limits": (-top, top) if is_signed else (0.0, top),
        "breaks": [top * part for part in parts],
        "labels": [f"{top * part:.3g}".replace("-", "−") for part in parts],
        "name": name,
        "guide": p9.guide_colorbar(display="rectangles", nbin=25),
    }
    colours = palette.diverging if is_signed else palette.sequential
    return p9.scale_fill_gradientn(colours, **options)


def _notes(data: pd.DataFrame) -> list[str]:
    """Tooltips: `head 3 of layer 2: ␣is reads ␣Spain, 0.71234`."""
    return [
        f"head {row.head} of layer {row.layer}: {visible(str(row.query_token))} reads "
        f"{visible(str(row.key_token))}, {row.weight:.5g}"
        for row in data.itertuples()
    ]


class _AttentionLayout:
    """Layout of a map of attention, in inches.

    Args:
        texts: labels of the tokens.
        titles: of the panels.
        heads: how many heads there are panels of in each layer.
        numbers: texts of the tiles.
        title, setup: of the figure.
        named: the label above the panels.
        room: to lay it out for; None for as much as it needs.

    Attributes:
        across: panels per row.
        tile: side of a tile.
        every: tokens per label.
        has_numbers: whether the tiles are large enough for their numbers.
        text_size: of these, in points.
        bar: height of the colour bar.
        heading: what stands above the panels.
        size: width and height of the figure.
    """

    def __init__(
        self,
        texts: list[str],
        titles: list[str],
        heads: int,
        numbers: list[str],
        title: str | None,
        setup: str | None,
        named: str,
        room: Room | None,
    ) -> None:
        count, panels = len(texts), len(titles)
        number = width_of(numbers, SMALL) + 0.08
        labels = width_of(texts, SMALL) + 0.1
        sides = 0.3 + labels + 1.25  # axis title and labels on the left, colour bar on the right
        wanted = max(0.34, number) if panels == 1 and count <= 12 else 0.16
        strip = width_of(titles, SMALL) + 0.1 if panels > 1 else 0.0
        least = max(1.1 if panels > 1 else 1.6, strip)
        # The more panels, the smaller: up to a dozen have room for the labels of 20 tokens.
        most = math.inf if panels == 1 else 3.4 if panels <= 4 else 2.85 if panels <= 12 else 1.6
        panel = max(min(wanted * count, most), least)
        width_there = 9.0 if room is None else room.width - sides
        self.across = max(1, min(panels, 6, int((width_there + GAP) / (panel + GAP))))
        if heads < panels:  # a row of panels is a layer, if it can be
            self.across = heads if heads <= self.across else self.across
        elif panels > self.across:  # rows of equal length
            self.across = math.ceil(panels / math.ceil(panels / self.across))
        if room is not None:
            panel = max(least, min(panel, width_there / self.across - GAP))
        down = math.ceil(panels / self.across)
        width = sides + self.across * (panel + GAP)
        if room is None:
            width = max(width, min(title_width(title or ""), 9.0), 3.6)
        else:
            width = max(width, room.width)
        self.heading = heading(title, setup, named, width)
        # A figure that is wider than its panels need has wider tiles, too.
        across = (width - sides) / self.across - GAP
        around = 0.5 + labels + self.heading.height + down * (0.12 + 0.25 * (panels > 1))
        height = panel
        if room is not None:
            height = min(height, max(0.8, (room.height - around) / down))
        self.tile = min(across, height) / count
        self.every = max(1, math.ceil(LINE / (min(across, height) / count) - 1e-9))
        self.has_numbers = self.tile >= LINE and across / count >= number and count <= 12
        self.text_size = SMALL
        self.bar = min(1.5, max(0.7, height * 0.8))
        self.size = round(width, 2), round(around + down * height, 2)
