"""distribution_dots: probabilities on a log axis."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import plotnine as p9

from vene_widgets.errors import RequestError
from vene_widgets.figures import theme
from vene_widgets.figures.heading import TEXT
from vene_widgets.figures.layout import compose_plot
from vene_widgets.figures.needs import token_labels, validate_frame
from vene_widgets.figures.palette import palette_of
from vene_widgets.figures.room import Made, Room, arrangeable
from vene_widgets.figures.scales import NO_MINOR
from vene_widgets.figures.token_layout import TokenLayout, shared_names


def distribution_dots(
    frame: pd.DataFrame,
    floor: float = 1e-5,
    title: str | None = None,
    *,
    setup: str | None = None,
    style: str = "light",
) -> p9.ggplot:
    """Next-token probabilities on a log axis with a fixed floor: a dot per token and run.

    Dots, because the length of a bar on a log axis has no meaning; a faint line spans a token's
    runs. A fixed floor, so that two figures can be compared. Runs with equal probabilities share a
    dot.

    Args:
        frame: from `frames.token_frame`.
        floor: smallest probability of the axis, above 0 and below 1; smaller ones are drawn there,
            pale.
        title: above the figure.
        setup: what was run, in a line below the title.
        style: `light` or `dark`.

    Raises:
        RequestError: the frame is empty or lacks a required column, the floor is not in (0, 1), or
            an unknown style.

    Example:
        >>> import vene_widgets as vw
        >>> model = vw.load()
        >>> prompts = {"base": "The capital of Spain is", "source": "The capital of Italy is"}
        >>> runs = {name: vw.run(model, vw.Experiment(base=text)) for name, text in prompts.items()}
        >>> logits = {name: run.logits[-1] for name, run in runs.items()}
        >>> frame = vw.frames.token_frame(logits, model.token_text, k=4)
        >>> figure = vw.figures.distribution_dots(frame, floor=1e-4)
    """
    data = validate_frame(frame, "distribution_dots")
    if not 0 < floor < 1:
        raise RequestError(f"floor must be a probability between 0 and 1, got {floor}.")
    palette = palette_of(style)
    tokens, shared = token_labels(data), shared_names(data)
    runs = [*{name: run for run, name in reversed(shared.items())}.values()][::-1]
    data = data[data["run"].isin(runs)]
    colours, shapes = palette.colours_of(runs), theme.run_shapes(runs)
    rows = {key: len(tokens) - i for i, key in enumerate(tokens)}
    # Runs are drawn one below the other within a token's row of height 1, centred on it.
    gap = min(0.2, 0.7 / len(runs))
    offset = {run: gap * ((len(runs) - 1) / 2 - i) for i, run in enumerate(runs)}
    data = data.assign(
        row=data["token_id"].astype(str).map(rows)
        + data["run"].astype(str).map(offset).astype(float),
        value=data["probability"].clip(lower=floor),
        # Without the runs that share another's dots: a scale counts them, too.
        run=pd.Categorical(data["run"].astype(object), categories=runs, ordered=True),
        strength=np.where(data["probability"] < floor, 0.3, 1.0),
    )
    reach = data.groupby("token_id", sort=False)["value"].agg(["min", "max"]).reset_index()
    reach = reach.assign(row=reach["token_id"].astype(str).map(rows).astype(float))
    # A tolerance, as log10 of a power of ten may miss the integer by rounding.
    lowest = math.ceil(math.log10(floor) - 1e-9)
    decades = [10.0**d for d in range(0, lowest - 1, -1 if lowest > -6 else -2)][::-1]
    below = bool((data["probability"] < floor).any())

    def make(room: Room | None) -> Made:
        layout = TokenLayout(frame, "distribution_dots", title, setup, None, room)

        def legend() -> dict[str, Any]:  # two scales must not share one guide
            guide = p9.guide_legend(ncol=layout.legend_columns)
            return {"breaks": runs, "labels": [shared[run] for run in runs], "guide": guide}

        plot = compose_plot(
            data,
            p9.aes("value", "row", color="run"),
            p9.geom_segment(
                p9.aes(x="min", xend="max", y="row", yend="row"),
                data=reach,
                inherit_aes=False,
                color=palette.faint,
                size=1.4,
                na_rm=True,
            ),
            p9.geom_point(p9.aes(shape="run", alpha="strength"), size=2.1, stroke=0, na_rm=True),
            # plotnine merges the legends of two scales with equal names and labels.
            p9.scale_color_manual([colours[run] for run in runs], **legend()),
            p9.scale_shape_manual([shapes[run] for run in runs], **legend()),
            p9.scale_alpha_identity(guide=None),
            p9.scale_x_log10(
                **NO_MINOR,
                breaks=decades,
                labels=[f"{100 * decade:.6g}" for decade in decades],
                limits=(floor, 1),
                expand=(0.02, 0),
            ),
            p9.scale_y_continuous(
                **NO_MINOR,
                breaks=[*rows.values()],
                labels=[*tokens.values()],
                limits=(0.4, len(tokens) + 0.6),
                expand=(0, 0),
            ),
            p9.labs(
                title=layout.heading.title,
                subtitle=layout.heading.subtitle,
                x="P(next token), %, log scale",
                y="",
                caption=f"Pale, at the left edge: less than {100 * floor:.3g} %" if below else None,
            ),
            theme.theme_vene(TEXT, palette),
            theme.sized(*layout.size),
            p9.theme(
                axis_title_y=p9.element_blank(),
                panel_grid_major_x=p9.element_line(color=palette.faint, size=0.5),
                legend_position="top",
                legend_title=p9.element_blank(),
            ),
        )
        return plot, lambda scale: p9.theme()

    return arrangeable(make)
