"""path_map, path_bars: direct effects over layer x head, and the strongest paths in order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotnine as p9

from vene_widgets.errors import RequestError, choose
from vene_widgets.figures import geoms, theme
from vene_widgets.figures.bars import signed_bars
from vene_widgets.figures.heading import MARGINS, SMALL, TEXT, heading, lettered, wrap
from vene_widgets.figures.labels import width_of
from vene_widgets.figures.layout import compose_plot
from vene_widgets.figures.map_layout import GAP, LINE
from vene_widgets.figures.notes import exact
from vene_widgets.figures.palette import palette_of
from vene_widgets.figures.scales import NO_MINOR, ceiling, layer_scale, step_of

NEEDED = ("sender_name", "sender", "sender_layer", "sender_head", "receiver")

EFFECTS = {"effect": "effect", "effect_frozen": "effect, norms held"}
"""Columns that can be drawn, and their titles."""

MOST_PANELS = 6
"""Receivers that a figure shows, those with the largest effects."""

FAINT = 0.05
"""Decreases up to this part of the largest effect have no minus sign in print."""


def path_map(
    frame: pd.DataFrame,
    column: str = "effect",
    title: str | None = None,
    *,
    setup: str | None = None,
    style: str = "light",
) -> p9.ggplot:
    """Direct effects of heads and MLPs: layer x head, MLPs in a column beside, a panel a receiver.

    After figure 3 of Wang et al. 2022. Senders that were not patched, or come after the receiver,
    have no tile. The embedding stands below the map.

    Args:
        frame: from `Paths.frame` or `PathMeans.frame`.
        column: `effect` or `effect_frozen`.
        title: above the figure.
        setup: what was run, in a line below the title.
        style: `light` or `dark`.

    Raises:
        RequestError: the frame is empty, lacks a column or holds no number, or an unknown column or
            style.
    """
    palette, data = palette_of(style), _checked(frame, column)
    size: Any = data["value"].abs().groupby(data["receiver"]).max()
    order = [*dict.fromkeys(data["receiver"])]
    shown = order if len(order) <= MOST_PANELS else [*size.nlargest(MOST_PANELS).index]
    receivers = [receiver for receiver in order if receiver in shown]
    data = data[data["receiver"].isin(receivers)]
    names = {r: f"→ {r}" for r in receivers}
    if len(receivers) > 1:
        names = {r: lettered(n, text) for n, (r, text) in enumerate(names.items())}
    data = data.assign(panel=pd.Categorical(data["receiver"].map(names), [*names.values()]))
    embedding = data[data["sender"] == "embedding"]
    tiles = data[data["sender"] != "embedding"]
    if tiles.empty:
        raise RequestError("path_map draws heads and MLPs, and the frame has neither.")
    heads = sorted({int(head) for head in tiles["sender_head"].dropna()})
    layers = sorted({int(layer) for layer in tiles["sender_layer"]})
    has_mlps = bool((tiles["sender"] == "mlp").any())
    count = (heads[-1] - heads[0] + 1) if heads else 0
    beside = (heads[-1] + 1.5) if heads else 0.0  # the MLPs' column
    top = ceiling(float(tiles["value"].abs().max()), math.inf)
    tiles = tiles.assign(
        column=tiles["sender_head"].astype("Float64").fillna(beside).astype(float),
        layer=tiles["sender_layer"].astype(int),
        number=[_text(value) for value in tiles["value"]],
        sign=[-1 if value < -FAINT * top else 0 for value in tiles["value"]],
        note=_notes(tiles),
    )
    across = min(3, len(receivers))
    columns = count + (1.5 if heads and has_mlps else float(has_mlps))
    span = layers[-1] - layers[0] + 1
    number = width_of([*tiles["number"]], SMALL) + 0.08
    is_small = columns <= 17 and span <= 16 and across == 1
    tile = max(0.4, number) if is_small else 0.2 if columns > 20 else 0.26
    row = 0.25 if is_small else 0.2
    panel = max(tile * columns, width_of([*names.values()], SMALL) + 0.1, 1.0)
    width = max(1.75 + across * (panel + GAP), 4.6)
    tile = (width - 1.75) / across / columns
    label = names[receivers[0]] if len(receivers) == 1 else ""
    above = heading(title, setup, label, width)
    every = next(n for n in (1, 2, 4, 8, 16, 32, 64, 128) if n * tile >= 0.22)
    breaks: list[float] = [float(head) for head in heads[::every]]
    labels = [f"{head:.0f}" for head in breaks]
    if has_mlps:
        breaks, labels = [*breaks, beside], [*labels, "MLP"]
    first = heads[0] - 0.5 if heads else beside - 0.5
    last = (beside if has_mlps else heads[-1]) + 0.5
    down = math.ceil(len(receivers) / across)
    height = (
        above.height + 0.65 + down * (max(0.6, row * span) + 0.1 + 0.25 * (down > 1 or across > 1))
    )
    notes: list[str] = []
    if len(embedding):
        ends = zip(embedding["receiver"], embedding["value"], strict=True)
        notes += wrap(
            "embedding " + ", ".join(f"→ {r}: {_text(float(v))}" for r, v in ends),
            width - MARGINS,
            SMALL,
        )
    if len(order) > len(receivers):
        notes.append(f"{len(order) - len(receivers)} receivers with smaller effects are left out")
    bar = min(1.5, max(0.7, row * span))
    caption = "\n".join(notes) or None
    height += 0.17 * len(notes)
    parts: list[Any] = [
        geoms.Tile(
            p9.aes(fill="value", label="number", note="note", sign="sign"),
            color=palette.edge,
            size=0.3,
            text_size=SMALL if is_small else min(SMALL, 6.0),
            page=palette.page,
        ),
        _fill(top, EFFECTS[column], palette.diverging, bar),
        p9.scale_x_continuous(
            **NO_MINOR, breaks=breaks, labels=labels, limits=(first, last), expand=(0, 0)
        ),
        layer_scale(layers, row),
        p9.labs(title=above.title, subtitle=above.subtitle, caption=caption, x="head", y="layer"),
        theme.theme_vene(TEXT, palette),
        theme.sized(round(width, 2), round(height, 2)),
        theme.colour_bar(bar),
    ]
    if len(receivers) > 1:
        parts.append(p9.facet_wrap("panel", ncol=across))
    drawn = tiles if is_small and row >= LINE else tiles.assign(number="")
    return compose_plot(drawn, p9.aes("column", "layer"), *parts)


def path_bars(
    frame: pd.DataFrame,
    column: str = "effect",
    title: str | None = None,
    *,
    setup: str | None = None,
    style: str = "light",
) -> p9.ggplot:
    """Paths as bars with their numbers, in the order of the frame; means with standard errors.

    Args:
        frame: from `Paths.strongest` or `PathMeans.strongest`.
        column, title, setup, style: as in `path_map`.

    Raises:
        RequestError: as in `path_map`.
    """
    data = _checked(frame, column)
    several = data["receiver"].nunique() > 1
    names = [
        f"{sender} → {receiver}" if several else str(sender)
        for sender, receiver in zip(data["sender_name"], data["receiver"], strict=True)
    ]
    axis = EFFECTS[column]
    if "standard_error" in data:
        axis = f"mean {axis} ± standard error"
    if not several:
        axis = f"{axis} → {data['receiver'].iloc[0]}"
    values = [float(v) for v in data["value"]]
    errors = [float(e) for e in data["standard_error"]] if "standard_error" in data else None
    texts = None
    if errors is not None:
        texts = [
            f"{v:+.3g} ± {e:.2g}".replace("-", "−") for v, e in zip(values, errors, strict=True)
        ]
    return signed_bars(
        names, values, axis, texts=texts, errors=errors, title=title, setup=setup, style=style
    )


def _checked(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """The rows that have a number, as `value`.

    Raises:
        RequestError: no rows, a column that is missing, or no number.
    """
    choose(column, EFFECTS, "column")
    if missing := [name for name in (*NEEDED, column) if name not in frame.columns]:
        raise RequestError(
            f"the figure of paths needs column {missing[0]!r}: draw it from Paths.frame."
        )
    data = frame[frame[column].notna()]
    if data.empty:
        raise RequestError(f"the figure of paths needs a number in {column!r}, and there is none.")
    return data.assign(value=data[column].astype(float))


def _notes(tiles: pd.DataFrame) -> list[str]:
    """What is said when a tile is pointed at: the sender and its effect, with all digits."""
    numbers = [exact(value) for value in tiles["value"]]
    if "standard_error" in tiles:
        errors = map(exact, tiles["standard_error"])
        numbers = [f"{number} ± {error}" for number, error in zip(numbers, errors, strict=True)]
    return [f"{n}: {number}" for n, number in zip(tiles["sender_name"], numbers, strict=True)]


def _fill(top: float, name: str, colours: Sequence[str], bar: float) -> Any:
    """The fill scale, symmetric around 0."""
    step = step_of(top)
    if 2 * int(top / step + 1e-9) * LINE > bar:
        step *= 2
    count = int(top / step + 1e-9)
    breaks = [step * n for n in range(-count, count + 1)]
    options: dict[str, Any] = {"guide": p9.guide_colorbar(display="rectangles", nbin=25)}
    return p9.scale_fill_gradientn(
        list(colours),
        limits=(-top, top),
        breaks=breaks,
        labels=[f"{b:+.3g}".replace("-", "−") if b else "0" for b in breaks],
        name=name,
        **options,
    )


def _text(value: float) -> str:
    """An effect with two significant digits: `−0.52`; `0` for nothing."""
    text = f"{value:+.2g}" if abs(value) >= 0.005 else "0"
    return text.replace("-", "−").removeprefix("+")
