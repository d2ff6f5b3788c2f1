"""Every family: cells with fixed slots and windows are runs with all of their slots."""

from __future__ import annotations

from by_hand import distance
from families_testing import BASE, ITALY, LONGER, TOLERANCE

import vene_widgets as vw


def test_fixed_slots_and_windows_are_what_runs_give(model: vw.LanguageModel) -> None:
    parts = [name for name in model.sites.components if model.sites.head_count(name) is not None]
    fixed = [
        vw.Slot(layer=0, component="block_input", position=[1, 3], intervention="noise", seed=2),
        vw.Slot(layer=1, position=2, source="other", strength=0.5),
        vw.Slot(layer=1, component="mlp_output", position=[3, 4], source="other"),
        *(vw.Slot(layer=2, component=name, head=0, position="all", intervention="zero")
          for name in parts[:1]),
    ]  # fmt: skip
    sources = {"other": LONGER}
    for component, window in (("block_output", 1), ("mlp_output", 3), ("block_input", 1)):
        found = vw.sweep(model, BASE, ITALY, component, fixed=fixed, sources=sources, window=window)
        for layer, column in ((0, 3), (1, 1), (2, 4)):
            slots = [
                vw.Slot(layer=at, position=column, component=component, source="source")
                for at in found.plan.window_of(layer)
            ]
            experiment = vw.Experiment(
                base=BASE, sources={"source": ITALY, **sources}, slots=[*fixed, *slots]
            )
            own = vw.run(model, experiment).logits
            cell = found.logits[layer, column]
            assert distance(cell, own[-1], own) <= TOLERANCE, (component, layer, column)
