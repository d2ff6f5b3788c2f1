"""Summaries of sweeps over pairs, and what is written on figures of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from figure_testing import drawn, texts

import vene_widgets as vw
from vene_widgets.tables.columns import COLUMNS, FRAMES

LOOKS: dict[str, Any] = {
    "screen": None,
    "column": vw.theme_paper(columns=1),
    "serif": vw.theme_paper(columns=1, family="serif"),
    "page": vw.theme_paper(columns=2),
    "slide": vw.theme_slide(),
}

WORDS = {"shuffled_pairs": "the source of another pair"}


def summary(
    layers: int = 4,
    places: int = 3,
    metric: str = "recovery",
    heads: int = 0,
    roles: tuple[str, ...] = ("target", "contrast"),
    means: Any = None,
    control: str | None = "shuffled_pairs",
    **attrs: Any,
) -> pd.DataFrame:
    """A summary with means from 0 up to 0.9; place 0 is idle, and a control explains layer 1."""
    rows: list[dict[str, Any]] = []
    for head in range(heads) if heads else [pd.NA]:
        for layer in range(layers):
            for place in range(places):
                for role in roles:
                    mean = 0.9 * len(rows) / max(1, (layers * places * len(roles) * (heads or 1)))
                    row: dict[str, Any] = dict.fromkeys(FRAMES["pair_summary"], 0.5)
                    rows.append(
                        row | {
                            "metric": metric, "component": "mlp_output", "head": head,
                            "layer": layer, "place": str(place), "label": f"position {place}",
                            "role": role, "n": 1000, "units": 119, "mean": mean,
                            "low": mean - 0.02, "high": mean + 0.03, "base_mean": 0.0,
                            "source_mean": 1.0, "effect_possible": place > 0, "control": control,
                            "explained": place == 0 or layer == 1,
                        }
                    )  # fmt: skip
    frame = pd.DataFrame(rows)
    frame = frame.astype({name: COLUMNS[name].dtype for name in frame.columns})
    if means is not None:
        frame["mean"] = np.broadcast_to(means, len(frame)).astype(float)
    frame.attrs.update(
        confidence=0.95, left_out=0, units=119, cluster="base", control_words=WORDS,
        correction="Benjamini-Hochberg", controls=() if control is None else (control,),
        **attrs,
    )  # fmt: skip
    return frame


def said(plot: Any) -> str:
    """Everything that is written on a figure."""
    return " ".join(
        t.get_text().replace("\n", " ").replace("\xa0", " ") for t in texts(drawn(plot))
    )
