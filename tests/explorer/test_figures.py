"""Figures on the screen, and what can be taken from it."""

from __future__ import annotations

import pytest
from explorer_testing import Make, SilentPainter, ask, setting, slot

import vene_widgets as vw
from vene_widgets.explorer.painter.orders import Picture
from vene_widgets.explorer.session.figure import FIGURES


def test_a_late_figure_never_shows(make: Make, silent_painter: SilentPainter) -> None:
    explorer = make()
    order, done = silent_painter.orders[-1]
    assert set(order.frames) == {"token_heatmap", "difference_panel"}
    ask(explorer, **setting(slot()))
    done(Picture(b"old", 1, 1, "old"), None)
    assert explorer.picture == {}
    silent_painter.orders[-1][1](Picture(b"new", 3, 2, "the result"), None)
    assert explorer.picture["png"] == b"new" and explorer.picture["alt"] == "the result"
    assert explorer.picture["revision"] == explorer.scene["revision"]


def test_a_new_map_is_drawn_if_the_figure_is_a_map(
    make: Make, silent_painter: SilentPainter
) -> None:
    explorer = make()
    ask(explorer, kind="sweep", component="mlp_output")
    assert {order.kind for order, _ in silent_painter.orders} == {"result"}
    ask(explorer, kind="figure", figure="sweep_map")
    ask(explorer, kind="sweep", component="attention_output")
    drawn = [order for order, _ in silent_painter.orders if order.kind == "sweep_map"]
    assert [set(order.frames["sweep_map"].component) for order in drawn] == [
        {"mlp_output"},
        {"attention_output"},
    ]


def test_a_figure_that_fails_says_so(make: Make, silent_painter: SilentPainter) -> None:
    explorer = make()
    silent_painter.orders[-1][1](None, "the figure process ended")
    assert "the figure process ended" in explorer.status["error"]
    ask(explorer, **setting(slot()))
    assert explorer.status["error"] is None


@pytest.mark.parametrize("kind", FIGURES)
def test_every_figure_can_be_taken(make: Make, kind: str) -> None:
    explorer = make(slots=[vw.Slot(layer=0, position=3)])
    assert type(explorer.figure(kind)).__module__.startswith("plotnine")


def test_what_is_shown_can_be_taken(make: Make) -> None:
    explorer = make(slots=[vw.Slot(layer=0, position=3)])
    assert list(explorer.runs) == ["base", "source", "intervened"]
    assert set(explorer.frame["run"]) == {"base", "source", "intervened"}
    assert len(explorer.map_frame) == 15 * 2  # the two runs' answers
    assert "<Explorer of 'tiny" in repr(explorer)


def test_viewers_without_scripts_get_a_picture_and_a_sentence(make: Make) -> None:
    explorer = make(slots=[vw.Slot(layer=0, position=3)])
    bundle = explorer._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["image/png"].startswith(b"\x89PNG")
    assert data["text/plain"].startswith("Patching “Spain” with “Italy” after block 0")
    assert "application/vnd.jupyter.widget-view+json" in data
