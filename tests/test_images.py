"""Pictures of three small figures, compared with those in `tests/images`.

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
import pytest
import torch
from PIL import Image

from vene_widgets import figures
from vene_widgets.figures import theme
from vene_widgets.models import Token
from vene_widgets.tables import frames

FOLDER = Path(__file__).parent / "images"
LARGEST = 20_000
"""Bytes of one picture."""

TOLERANCE = 6.0
"""Root mean square of the differences, 0 to 255: versions of FreeType round edges differently."""

WORDS = [" Madrid", " Rome", " Paris", " Bern", " Oslo", " Riga"]
LOGITS = {
    "base": torch.tensor([5.0, 1.0, 2.0, 0.5, 0.0, -1.0]),
    "source": torch.tensor([1.0, 5.0, 1.5, 0.0, 0.5, -1.0]),
}


def token_heatmap(shift: float = 0.0) -> Any:
    logits = {**LOGITS, "intervened": LOGITS["source"] + shift * torch.eye(6)[0]}
    return figures.token_heatmap(frames.token_frame(logits, WORDS.__getitem__, k=4), title="Runs")


def difference_panel(shift: float = 0.0) -> Any:
    after = LOGITS["source"] + shift * torch.eye(6)[0]
    frame = frames.difference_frame(LOGITS["base"], after, WORDS.__getitem__, k=4)
    return figures.difference_panel(frame, before="base", after="source")


def sweep_map(shift: float = 0.0) -> Any:
    steps = torch.linspace(0, 1, 12).view(3, 4, 1)
    grid = LOGITS["base"] * (1 - steps) + LOGITS["source"] * steps
    grid[0, :, 0] -= shift
    tokens = [Token(i, i, text) for i, text in enumerate(["The", " capital", " of", " Spain"])]
    where = [0, 1, 2, 3]
    frame = frames.sweep_frame(
        grid, LOGITS["base"], [0, 1, 2], tokens, where, [0], WORDS.__getitem__
    )
    return figures.sweep_map(frame, metric="delta")


MADE = {"token_heatmap": token_heatmap, "difference_panel": difference_panel, "map": sweep_map}


def pixels(data: bytes) -> np.ndarray[Any, Any]:
    """`(height, width, 3)`."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=float)


def difference(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
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


@pytest.mark.parametrize("name", MADE)
def test_a_figure_looks_as_it_did(name: str) -> None:
    path, drawn = FOLDER / f"{name}.png", figures.png(MADE[name](), dpi=80)
    if os.environ.get("VENE_RENEW_IMAGES"):
        FOLDER.mkdir(exist_ok=True)
        picture = Image.open(io.BytesIO(drawn)).convert("RGB").quantize(64)
        picture.save(path, optimize=True)
    assert path.stat().st_size < LARGEST
    assert difference(pixels(drawn), pixels(path.read_bytes())) < TOLERANCE


@pytest.mark.parametrize("name", MADE)
def test_another_value_is_another_picture(name: str) -> None:
    drawn = figures.png(MADE[name](shift=4.0), dpi=80)
    assert difference(pixels(drawn), pixels((FOLDER / f"{name}.png").read_bytes())) > TOLERANCE
