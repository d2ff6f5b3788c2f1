"""A static picture of the map, for viewers of a saved notebook that run no scripts.

Drawn with matplotlib's objects alone: pyplot's global state belongs to the user, and importing
plotnine would delay the widget's first appearance.
"""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Sequence
from typing import Any

from vene_widgets.experiments.fields import ALL


def draw_map(map_: dict[str, Any], scene: dict[str, Any], sentence: str) -> bytes:
    """Draw the probability of the map's first target as layer × token (or head × token) tiles.

    Args:
        map_: `messages.Map` as a dict, with cells.
        scene: `messages.Scene` as a dict; its base tokens label the columns.
        sentence: the result in words, printed below.

    Returns:
        A PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    by_head = map_["head"] == ALL
    axis = "head" if by_head else "layer"
    rows = sorted({cell["head"] for cell in map_["cells"]}) if by_head else map_["layers"]
    positions: Sequence[int] = map_["positions"]
    ids = [target["token_id"] for target in map_["targets"]]
    n = ids.index(map_["target"])
    target: dict[str, Any] = map_["targets"][n]
    values = {(c[axis], c["position"]): c["probabilities"][n] for c in map_["cells"]}
    # Cells of an unfinished map are NaN, which imshow leaves blank.
    grid = [[values.get((row, p), float("nan")) for p in positions] for row in rows]
    width = min(2.2 + 0.8 * len(positions), 14)  # inches
    # Any: matplotlib's own annotations leave keyword arguments untyped.
    figure: Any = Figure(figsize=(width, 1.6 + 0.34 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(grid, origin="lower", aspect="auto", cmap="cividis", vmin=0, vmax=1)
    labels = [_plain_text(scene["base"][position]["label"]) for position in positions]
    axes.set_xticks(range(len(positions)), labels, rotation=0 if len(positions) < 9 else 60)
    axes.set_yticks(range(len(rows)), [str(row) for row in rows])
    where = f"head of layer {map_['layer']}" if by_head else "layer"
    axes.set_ylabel(f"{where}, {map_['component']}")
    name = _plain_text(target["label"])
    axes.set_title(f"P({name}) with one state changed: {map_['operator']}", fontsize=10, loc="left")
    characters = int(12 * width)  # about 12 per inch at this size
    axes.set_xlabel("\n".join(textwrap.wrap(_plain_text(sentence), characters)), loc="left")
    figure.colorbar(image, ax=axes, fraction=0.05)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A token in a script that the font lacks is drawn as a box; the user need not be warned.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def _plain_text(text: str) -> str:
    """The text with its dollar signs escaped: matplotlib reads `$...$` as a formula."""
    return text.replace("$", r"\$")
