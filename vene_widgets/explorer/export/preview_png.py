"""A static picture of the screen, for viewers of a saved notebook that run no scripts.

The map on the left, the answer on the right, in the figures' colours. Drawn with matplotlib's
objects alone: pyplot's global state belongs to the user, and importing plotnine would delay the
widget's first appearance.
"""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Sequence
from typing import Any

from vene_widgets.experiments.components import component_words
from vene_widgets.experiments.fields import ALL
from vene_widgets.figures.palette import LIGHT, ink_on
from vene_widgets.tables.number_text import percent_number, points

ROWS = 6
"""Tokens of the answer that are drawn."""

_TILE, _ROW = (0.62, 0.27)
"""Width of a token's column and height of a row, in inches."""

_LEAST_WIDTH = 4.0
"""Smallest width of the map in inches: its title has to fit."""

_MOST_WIDTH = 9.0
"""Width of the map in inches that is never exceeded; more tokens make narrower columns."""


def draw_screen(
    map_: dict[str, Any], scene: dict[str, Any], answer: dict[str, Any] | None, sentence: str
) -> bytes:
    """Draw the map of its first target, and the answer: P of the base and now, largest ΔP first.

    Args:
        map_: `messages.Map` as a dict, with cells.
        scene: `messages.Scene` as a dict; its base tokens label the columns.
        answer: `messages.Answer` as a dict; None for the map alone.
        sentence: the result in words, printed above; empty for none.

    Returns:
        A PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    axis, across = _axes(map_)
    heads = sorted({cell["head"] for cell in map_["cells"]})
    rows = heads if axis == "head" else map_["layers"]
    changes = _changes(answer)
    columns = [[head] for head in heads] if across == "head" else _columns(map_)
    width = min(_MOST_WIDTH, max(_TILE * len(columns), _LEAST_WIDTH))
    height = _ROW * max(len(rows), len(changes) + 1, 4)
    beside = 4.6 if changes else 0.0
    total = width + 0.9 + beside
    lines = textwrap.wrap(_plain_text(sentence), int(10.5 * total))
    above, below = 0.45 + 0.2 * len(lines), 0.65
    # Any: matplotlib's own annotations leave keyword arguments untyped.
    figure: Any = Figure(figsize=(total, height + above + below), facecolor=LIGHT.page)
    FigureCanvasAgg(figure)
    size = figure.get_size_inches()

    def axes(left: float, wide: float) -> Any:
        return figure.add_axes((left / size[0], below / size[1], wide / size[0], height / size[1]))

    for n, line in enumerate(lines):
        y = 1 - (0.22 + 0.2 * n) / size[1]
        figure.text(0.12 / size[0], y, line, fontsize=10, weight="bold", color=LIGHT.ink)
    _draw_map(axes(0.7, width), map_, scene, rows, columns)
    if changes:
        _draw_answer(axes(width + 2.2, beside - 2.2), changes)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A token in a script that the font lacks is drawn as a box; the user need not be warned.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def _axes(map_: dict[str, Any]) -> tuple[str, str]:
    """The fields of a cell that its row and its column are."""
    if map_["head"] != ALL:
        return "layer", "position"
    return ("layer", "head") if map_["layer"] is None else ("head", "position")


def _columns(map_: dict[str, Any]) -> list[list[int]]:
    """Positions by column; those that the prompts share at their start are one column."""
    positions: Sequence[int] = map_["positions"]
    is_idle = dict.fromkeys(positions, True)
    for cell in map_["cells"]:
        is_idle[cell["position"]] &= cell["idle"] is not None
    shared = 0
    while shared < len(positions) and is_idle[positions[shared]]:
        shared += 1
    if not 1 < shared < len(positions):
        shared = 0
    first = [list(positions[:shared])] if shared else []
    return [*first, *([p] for p in positions[shared:])]


def _draw_map(
    axes: Any,
    map_: dict[str, Any],
    scene: dict[str, Any],
    rows: Sequence[int],
    columns: list[list[int]],
) -> None:
    """Tiles of the first target: filled by probability, hatched where no effect is possible."""
    from matplotlib.colors import LinearSegmentedColormap, to_hex
    from matplotlib.patches import Rectangle

    ids: list[int] = [target["token_id"] for target in map_["targets"]]
    n = ids.index(map_["target"])
    target: dict[str, Any] = map_["targets"][n]
    scale: Any = LinearSegmentedColormap.from_list("more", LIGHT.sequential)
    axis, across = _axes(map_)
    cells = {(cell[axis], cell[across]): cell for cell in map_["cells"]}
    chosen = _chosen(map_, scene)
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            cell = cells.get((row, column[0]))
            if cell is None:
                continue  # of an unfinished map
            value = cell["probabilities"][n]
            is_idle = cell["idle"] is not None
            fill = LIGHT.page if is_idle else to_hex(scale(value))
            tile: Any = Rectangle((x + 0.03, y + 0.04), 0.94, 0.92, facecolor=fill, linewidth=0)
            if is_idle:
                tile.set(hatch="////", edgecolor=LIGHT.hatch)
            axes.add_patch(tile)
            if not is_idle and len(columns) <= _MOST_WIDTH / _TILE:
                ink = ink_on(fill)
                text = percent_number(value)
                axes.text(x + 0.5, y + 0.5, text, fontsize=8, color=ink, ha="center", va="center")
            if (row, column[0]) in chosen:
                ring: Any = Rectangle((x, y), 1, 1, fill=False, edgecolor=LIGHT.ink, linewidth=1.6)
                axes.add_patch(ring)
    axes.set_xlim(0, len(columns))
    axes.set_ylim(0, len(rows))
    base = scene["base"]
    labels = [
        f"{len(column)} in\ncommon" if len(column) > 1 else _plain_text(base[at]["label"])
        for column in columns
        for at in column[:1]
    ]
    where = ""
    if across == "head":
        labels = [f"H{head}" for [head] in columns]
        where = f" at {_plain_text(base[map_['position']]['label'])}"
    rotation = 0 if len(columns) <= _MOST_WIDTH / _TILE else 90
    axes.set_xticks([x + 0.5 for x in range(len(columns))], labels, rotation=rotation, fontsize=8)
    every = max(1, len(rows) // 16)
    shown = range(0, len(rows), every)
    axes.set_yticks([y + 0.5 for y in shown], [str(rows[y]) for y in shown], fontsize=8)
    axes.set_ylabel(f"head of layer {map_['layer']}" if axis == "head" else "layer", fontsize=8)
    name = _plain_text(target["label"])
    title = f"P({name}), %: {component_words(map_['component'])}{where}, {map_['operator']}"
    axes.set_title(title, fontsize=9, loc="left", color=LIGHT.ink)
    _plain(axes)


def _chosen(map_: dict[str, Any], scene: dict[str, Any]) -> set[tuple[int | None, int | None]]:
    """Row and column of the tiles on which a live slot of the experiment lies."""
    axis, across = _axes(map_)
    places = [
        {**slot, "position": position}
        for slot in scene["slots"]
        if not slot["skip"] and slot["component"] == map_["component"]
        for position in slot["base_positions"]
    ]
    fixed = {"head": map_["head"], "layer": map_["layer"], "position": map_["position"]}
    third = ({*fixed} - {axis, across}).pop()  # the same in all tiles
    return {(one[axis], one[across]) for one in places if one[third] == fixed[third]}


def _changes(answer: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The largest changes of an answer; none without a live slot."""
    if not answer or (answer["kl"] is None and not answer["receipts"]):
        return []
    return [row for row in answer["differences"] if row["before"] != row["after"]][:ROWS]


def _draw_answer(axes: Any, changes: list[dict[str, Any]]) -> None:
    """A line per token from its P in the base run to its P now, and ΔP in points."""
    from matplotlib.transforms import blended_transform_factory

    count = len(changes)
    blend = blended_transform_factory(axes.transAxes, axes.transData)
    for n, row in enumerate(changes):
        y = count - n - 0.5
        before, after = row["before"], row["after"]
        colour = LIGHT.up if after > before else LIGHT.down
        axes.plot([0, 1], [y, y], color=LIGHT.faint, linewidth=0.8, zorder=1)
        axes.plot([before, after], [y, y], color=colour, linewidth=2, zorder=2)
        axes.plot([after], [y], "o", color=colour, markersize=6, zorder=3)
        axes.plot([before], [y], "o", mfc=LIGHT.page, mec=colour, mew=1.4, markersize=6, zorder=4)
        text = points(after - before)
        axes.text(1.28, y, text, transform=blend, color=colour, fontsize=8, ha="right", va="center")
    labels = [_plain_text(row["label"]) for row in changes][::-1]
    axes.set_yticks([n + 0.5 for n in range(count)], labels, fontsize=8)
    axes.set_xticks([0, 0.5, 1], ["0", "50", "100"], fontsize=8)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(0, count)
    axes.set_title("○ base  ● now, %      ΔP, points", fontsize=9, loc="left", color=LIGHT.quiet)
    _plain(axes)


def _plain(axes: Any) -> None:
    """No frame, no tick marks, quiet labels."""
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, colors=LIGHT.ink)
    axes.yaxis.label.set_color(LIGHT.quiet)


def _plain_text(text: str) -> str:
    """The text with its dollar signs escaped: matplotlib reads `$...$` as a formula."""
    return text.replace("$", r"\$")
