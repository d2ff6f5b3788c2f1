"""A still picture of the map, for viewers of a saved notebook that run no script.

Drawn with matplotlib's objects alone: no pyplot, so nothing of the user's own plotting is touched,
and no plotnine, whose import would delay the widget's first appearance.
"""

from __future__ import annotations

import io
import textwrap
import warnings
from typing import Any


def png(map_: dict[str, Any], scene: dict[str, Any], sentence: str) -> bytes:
    """Draw the source's answer as layer × token tiles.

    Args:
        map_: `messages.Map` as a dict, with cells.
        scene: `messages.Scene` as a dict; its base tokens label the columns.
        sentence: the result in words, printed below.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    layers, positions = map_["layers"], map_["positions"]
    target = max(map_["targets"], key=lambda target: target["source"])
    n = map_["targets"].index(target)
    values = {(c["layer"], c["position"]): c["probabilities"][n] for c in map_["cells"]}
    grid = [[values.get((layer, p), float("nan")) for p in positions] for layer in layers]
    width = 2.2 + 0.8 * len(positions)
    figure = Figure(figsize=(min(width, 14), 1.6 + 0.34 * len(layers)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(grid, origin="lower", aspect="auto", cmap="cividis", vmin=0, vmax=1)
    labels = [scene["base"][position]["label"].replace("$", r"\$") for position in positions]
    axes.set_xticks(range(len(positions)), labels, rotation=0 if len(positions) < 9 else 60)
    axes.set_yticks(range(len(layers)), [str(layer) for layer in layers])
    axes.set_ylabel(f"layer, {map_['component']}")
    name = target["label"].replace("$", r"\$")
    axes.set_title(f"P({name}) after swapping the state at one place", fontsize=10, loc="left")
    columns = int(12 * min(width, 14))
    axes.set_xlabel("\n".join(textwrap.wrap(sentence.replace("$", r"\$"), columns)), loc="left")
    figure.colorbar(image, ax=axes, fraction=0.05)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A token in a script that the font lacks is drawn as a box; that is no news to the user.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()
