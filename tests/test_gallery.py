"""The gallery's pictures are those that its code draws."""

from __future__ import annotations

import io
import re

import gallery
import numpy as np
from PIL import Image

import vene_widgets as vw

FIGURES = 10

LARGEST = 600_000
"""Bytes of all pictures together."""


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=float)


def test_light_pictures_are_what_the_page_draws() -> None:
    drawn = {name: png for name, _, png in gallery.figures(("light",))}
    assert len(drawn) == FIGURES
    for name, png in drawn.items():
        kept, now = pixels((gallery.PICTURES / f"{name}_light.png").read_bytes()), pixels(png)
        assert kept.shape == now.shape, f"{name}: run scripts/gallery.py"
        # Versions of FreeType round edges differently.
        assert np.sqrt(((kept - now) ** 2).mean()) < 6, f"{name}: run scripts/gallery.py"


def test_light_pictures_of_classics_are_what_the_page_draws() -> None:
    drawn = {name: png for name, _, png in gallery.figures(("light",), gallery.CLASSICS)}
    assert set(drawn) == {name for name in vw.classics().names if name != "greater_than"}
    for name, png in drawn.items():
        file = gallery.CLASSICS.with_suffix("") / f"{name}_light.png"
        kept, now = pixels(file.read_bytes()), pixels(png)
        assert kept.shape == now.shape, f"{name}: run scripts/gallery.py"
        assert np.sqrt(((kept - now) ** 2).mean()) < 6, f"{name}: run scripts/gallery.py"


def test_every_picture_is_on_the_page() -> None:
    text = gallery.PAGE.read_text(encoding="utf-8")
    shown = re.findall(r'<img src="gallery/([\w.]+)"', text)
    files = {path.name: path.stat().st_size for path in gallery.PICTURES.iterdir()}
    assert sorted(shown) == sorted(files) and len(files) == FIGURES * len(gallery.STYLES)
    assert sum(files.values()) <= LARGEST


def test_every_picture_of_classics_is_on_the_page() -> None:
    text = gallery.CLASSICS.read_text(encoding="utf-8")
    shown = re.findall(r'<img src="classics/([\w.]+)"', text)
    files = {path.name for path in gallery.CLASSICS.with_suffix("").iterdir()}
    assert sorted(shown) == sorted(files) and len(files) == 2 * len(vw.classics())
    for one in vw.classics():
        assert f"## {one.title}\n" in text and one.question in text and one.see in text
        for form in one.forms:
            assert form.source in text or form.name != "published"
            for name, expected in form.expected.items():
                assert f"| {name} | {expected} |" in text
