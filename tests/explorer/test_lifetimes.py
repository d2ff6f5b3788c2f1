"""Explorers are collected when they are dropped, with all that is theirs."""

from __future__ import annotations

import gc
import threading
import time
import weakref

from explorer_testing import SilentPainter
from model_changes_testing import EXPERIMENT

import vene_widgets as vw
from vene_widgets.explorer import Explorer


def test_explorers_that_are_dropped_are_collected_with_all_that_is_theirs(
    own: vw.LanguageModel, silent_painter: SilentPainter
) -> None:
    from ipywidgets.widgets import widget as registry

    gc.collect()
    threads, widgets = threading.active_count(), len(registry._instances)
    references = []
    for _ in range(12):
        explorer = Explorer(own, EXPERIMENT).wait(60)
        references.append(weakref.ref(explorer))
        layouts = explorer.layout
    del explorer, layouts
    for _ in range(100):
        gc.collect()
        if not any(reference() for reference in references):
            break
        time.sleep(0.05)
    assert [reference for reference in references if reference()] == []
    assert len(registry._instances) == widgets
    for _ in range(100):
        if threading.active_count() <= threads:
            break
        time.sleep(0.05)
    assert threading.active_count() <= threads


def test_a_displayed_explorer_is_held_until_it_is_closed(
    own: vw.LanguageModel, silent_painter: SilentPainter
) -> None:
    explorer = Explorer(own, EXPERIMENT).wait(60)
    explorer._repr_mimebundle_()
    reference = weakref.ref(explorer)
    del explorer
    gc.collect()
    live = reference()
    assert live is not None
    layout = live.layout
    live.close()
    assert layout.comm is None
    del live, layout
    gc.collect()
    assert reference() is None
