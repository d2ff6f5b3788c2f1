"""Pictures of every kind of figure in every style, compared with those in `tests/images`.

Fonts are matplotlib's own, so that only what this package, plotnine or matplotlib draws can differ.
When a figure is meant to look different, renew the pictures, look at them, and commit them:

    VENE_RENEW_IMAGES=1 python -m pytest tests/test_images.py
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import vene_widgets as vw
from vene_widgets import figures
from vene_widgets.figures import theme
from vene_widgets.models import Token
from vene_widgets.tables import frames

FOLDER = Path(__file__).parent / "images"
LARGEST = 20_000
"""Bytes of one picture."""

TOLERANCE = 6.0
"""Root mean square of the differences, 0 to 255: versions of FreeType round edges differently."""

LOOKS: dict[str, tuple[str, Any, int]] = {
    "light": ("light", None, 80),
    "dark": ("dark", None, 80),
    "paper": ("light", lambda: vw.theme_paper(columns=1), 130),
    "slide": ("light", vw.theme_slide, 45),
}
"""Name -> style, theme, resolution."""

SETUP = "“The capital of Spain is” ← “The capital of Italy is” · after block 0: patch · n = 1"
WORDS = [" Madrid", " Rome", " Paris", " Bern", " Oslo", " Riga"]
LOGITS = {
    "base": torch.tensor([5.0, 1.0, 2.0, 0.5, 0.0, -1.0]),
    "source": torch.tensor([1.0, 5.0, 1.5, 0.0, 0.5, -1.0]),
}
PROMPT = [Token(i, i, text) for i, text in enumerate(["The", " capital", " of", " Spain", " is"])]


def intervened(shift: float) -> torch.Tensor:
    return LOGITS["source"] + shift * torch.eye(6)[0]


def difference(shift: float) -> pd.DataFrame:
    return frames.difference_frame(LOGITS["base"], intervened(shift), WORDS.__getitem__, k=4)


def tokens(shift: float) -> pd.DataFrame:
    runs = {**LOGITS, "intervened": intervened(shift)}
    also = difference(shift)["token_id"]
    return frames.token_frame(runs, WORDS.__getitem__, k=4, also=also)


def swept(shift: float, targets: tuple[int, ...] = (0, 1), **where: Any) -> pd.DataFrame:
    """A map of 3 layers and 5 positions, of which the first two can have no effect."""
    steps = torch.linspace(0, 1, 15).view(3, 5, 1).flip(1)
    grid = LOGITS["base"] * (1 - steps) + LOGITS["source"] * steps
    grid[0, :, 0] -= shift
    grid[2, 3] = torch.nan
    frame = frames.sweep_frame(
        grid, LOGITS["base"], [0, 1, 2], PROMPT, range(5), targets, WORDS.__getitem__, **where
    )
    return frame.assign(effect_possible=frame["position"] > 1)


def token_heatmap(shift: float, **options: Any) -> Any:
    return figures.token_heatmap(tokens(shift), title="Runs", setup=SETUP, **options)


def difference_panel(shift: float, **options: Any) -> Any:
    return figures.difference_panel(difference(shift), after="source", setup=SETUP, **options)


def distribution_dots(shift: float, **options: Any) -> Any:
    return figures.distribution_dots(tokens(shift), floor=1e-3, setup=SETUP, **options)


def sweep_map(shift: float, **options: Any) -> Any:
    return figures.sweep_map(swept(shift), "delta", setup=SETUP, **options)


def head_map(shift: float, **options: Any) -> Any:
    each = [
        swept(shift * head - head, (0,), component="head_value_output", head=head)
        for head in range(3)
    ]
    frame = pd.concat(each, ignore_index=True)
    return figures.head_map(frame[frame["position"] > 2], setup=SETUP, **options)


def result(shift: float, look: Any = None, **options: Any) -> Any:
    return figures.result(tokens(shift), difference(shift), setup=SETUP, look=look, **options)


KINDS = {
    make.__name__: make
    for make in (
        token_heatmap, difference_panel, distribution_dots, sweep_map, head_map, result,
    )
}  # fmt: skip


def picture(kind: str, look: str, shift: float = 0.0) -> bytes:
    style, add, dpi = LOOKS[look]
    if kind == "result":
        return figures.png(result(shift, add and add(), style=style), dpi=dpi)
    plot = KINDS[kind](shift, style=style)
    return figures.png(plot if add is None else plot + add(), dpi=dpi)


def pixels(data: bytes) -> np.ndarray[Any, Any]:
    """`(height, width, 3)`."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=float)


def distance(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Root mean square of two pictures' differences; infinite where their sizes differ."""
    return float(np.sqrt(((one - other) ** 2).mean())) if one.shape == other.shape else np.inf


@pytest.fixture(autouse=True)
def own_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Only fonts that come with matplotlib, whatever this machine has."""
    monkeypatch.setattr(theme, "_FALLBACKS", ())
    theme.families.cache_clear()
    assert list(theme.families()) == [theme.SANS]
    yield
    theme.families.cache_clear()


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_figure_looks_as_it_did(kind: str, look: str) -> None:
    path, drawn = FOLDER / f"{kind}_{look}.png", picture(kind, look)
    if os.environ.get("VENE_RENEW_IMAGES"):
        FOLDER.mkdir(exist_ok=True)
        small = Image.open(io.BytesIO(drawn)).convert("RGB").quantize(64)
        small.save(path, optimize=True)
    assert path.stat().st_size <= LARGEST
    assert distance(pixels(drawn), pixels(path.read_bytes())) < TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_another_value_is_another_picture(kind: str) -> None:
    drawn = picture(kind, "light", shift=4.0)
    assert distance(pixels(drawn), pixels((FOLDER / f"{kind}_light.png").read_bytes())) > TOLERANCE


def test_every_picture_is_of_a_figure() -> None:
    wanted = {f"{kind}_{look}.png" for kind in KINDS for look in LOOKS}
    assert {path.name for path in FOLDER.iterdir()} == wanted
