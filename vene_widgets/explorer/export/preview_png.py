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


def draw_map(map_: dict[str, Any], scene: dict[str, Any], sentence: str) -> bytes:
    """Draw the probability of the source's most likely token as layer × token tiles.

    Args:
        map_: `messages.Map` as a dict, with cells.
        scene: `messages.Scene` as a dict; its base tokens label the columns.
        sentence: the result in words, printed below.

    Returns:
        A PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    layers: Sequence[int] = map_["layers"]
    positions: Sequence[int] = map_["positions"]
    target: dict[str, Any] = max(map_["targets"], key=lambda target: target["source"])
    n = map_["targets"].index(target)
    values = {(c["layer"], c["position"]): c["probabilities"][n] for c in map_["cells"]}
    # Cells of an unfinished map are NaN, which imshow leaves blank.
    grid = [[values.get((layer, p), float("nan")) for p in positions] for layer in layers]
    width = min(2.2 + 0.8 * len(positions), 14)  # inches
    # Any: matplotlib's own annotations leave keyword arguments untyped.
    figure: Any = Figure(figsize=(width, 1.6 + 0.34 * len(layers)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(grid, origin="lower", aspect="auto", cmap="cividis", vmin=0, vmax=1)
    labels = [_plain_text(scene["base"][position]["label"]) for position in positions]
    axes.set_xticks(range(len(positions)), labels, rotation=0 if len(positions) < 9 else 60)
    axes.set_yticks(range(len(layers)), [str(layer) for layer in layers])
    axes.set_ylabel(f"layer, {map_['component']}")
    name = _plain_text(target["label"])
    axes.set_title(f"P({name}) after swapping the state at one place", fontsize=10, loc="left")
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
