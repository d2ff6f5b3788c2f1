"""A map of all heads of all layers at one token: what it sweeps, keeps, writes and draws."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from explorer_testing import BASE, SOURCE, Make, ask, setting

import vene_widgets as vw
from vene_widgets.explorer.export.preview_png import draw_screen
from vene_widgets.explorer.session.figure import FigureFeature
from vene_widgets.explorer.session.map import MapFeature

COMPONENT = "head_attention_value_output"
KEYS = ["layer", "head", "position", "target_id"]
NUMBERS = ["probability", "delta", "log_ratio", "kl", "recovery"]


def sweep_heads(explorer: vw.Explorer, position: int | None = None, **more: Any) -> dict[str, Any]:
    """Ask for the map."""
    return ask(explorer, kind="sweep", component=COMPONENT, head="all", position=position, **more)


@pytest.mark.parametrize(("asked", "position"), [(None, 4), (3, 3), (4, 4)])
def test_each_cell_is_that_of_a_sweep_over_heads(
    make: Make, asked: int | None, position: int
) -> None:
    explorer = make()
    assert sweep_heads(explorer, asked)["ok"]
    sent, sites = explorer.map, explorer.model.sites
    assert (sent["head"], sent["layer"], sent["position"]) == ("all", None, position)
    assert (sent["layers"], sent["positions"]) == ([*range(sites.layers)], [position])
    assert sent["done"] == sent["total"] == sites.layers * sites.heads
    found = vw.sweep(explorer.model, BASE, SOURCE, COMPONENT, head="all", positions=position)
    own, other = (
        frame.sort_values(KEYS)[[*KEYS, *NUMBERS]] for frame in (explorer.map_frame, found.frame)
    )
    np.testing.assert_allclose(own.to_numpy(float), other.to_numpy(float), atol=1e-5)
    place = [target["token_id"] for target in sent["targets"]].index(found.targets[0])
    rows = found.frame[found.frame["target_id"] == found.targets[0]]
    expected = rows.set_index(["layer", "head"])["probability"]
    for cell in sent["cells"]:
        value = cell["probabilities"][place]
        assert value == pytest.approx(expected[cell["layer"], cell["head"]], abs=1e-6)


def test_a_component_with_heads_opens_with_all_of_them(tiny_gpt2: vw.LanguageModel) -> None:
    explorer = vw.explore(BASE, SOURCE, tiny_gpt2, component=COMPONENT).wait(30)
    try:
        sent = explorer.map
        assert (sent["head"], sent["layer"], sent["position"]) == ("all", None, 4)
        assert ask(explorer, kind="sweep", component=COMPONENT, head=1)["ok"]
        assert (explorer.map["head"], explorer.map["position"]) == (1, None)
    finally:
        explorer.close()


def test_the_last_token_stays_the_last_and_another_stays_where_it_is(make: Make) -> None:
    explorer = make()
    longer = "In Europe, the capital of Spain is"
    last = len(explorer.model.tokens(longer)) - 1
    for asked, then in ((None, last), (4, last), (3, 3)):
        assert sweep_heads(explorer, asked)["ok"]
        assert ask(explorer, **setting(base=longer))["ok"]
        assert explorer.map["position"] == then
        assert ask(explorer, **setting())["ok"]
        assert explorer.map["position"] == (4 if asked != 3 else 3)
    assert ask(explorer, **setting(base=longer))["ok"]
    assert sweep_heads(explorer, 5)["ok"]
    assert ask(explorer, **setting())["ok"]  # has no position 5
    assert explorer.map["position"] == 4


def test_a_position_that_is_not_there_is_refused_and_the_map_stays(make: Make) -> None:
    explorer = make()
    before = explorer.map
    reply = sweep_heads(explorer, 9)
    assert (
        not reply["ok"] and "positions 9 is out of range: the base has 5 tokens" in reply["error"]
    )
    assert explorer.map is before


def test_pairs_made_by_hand_are_those_of_the_position(make: Make) -> None:
    explorer = make()
    assert sweep_heads(explorer, 3, source_positions=[0, 1, 2, 1, 4])["ok"]
    assert explorer.map["source_positions"] == [1]
    own = explorer.map_frame.sort_values(KEYS)["probability"]
    found = vw.sweep(
        explorer.model, BASE, SOURCE, COMPONENT, head="all", positions=3, source_positions=1
    )
    np.testing.assert_allclose(own, found.frame.sort_values(KEYS)["probability"], atol=1e-5)


def test_it_is_kept_in_a_token_and_with_held_slots(make: Make) -> None:
    held = vw.Slot(layer=1, component="mlp_output", position=3, intervention="zero", hold=True)
    explorer = make(slots=[held])
    assert sweep_heads(explorer, 3)["ok"]
    assert 'head="all"' in explorer.map["code"] and "positions=3" in explorer.map["code"]
    again = vw.from_state(explorer.state(), explorer.model).wait(30)
    try:
        assert again.map["cells"] == explorer.map["cells"]
        assert (again.map["position"], again.map["layer"]) == (3, None)
    finally:
        again.close()


def test_its_figure_archive_and_picture(capitals: vw.LanguageModel, tmp_path: Path) -> None:
    explorer = vw.explore(BASE, {"italy": SOURCE}, capitals, slots=vw.Slot(layer=0, position=3))
    try:
        explorer.wait(60)
        assert sweep_heads(explorer, 3)["ok"]
        figure: Any = explorer.figure("sweep_map")
        assert (figure.labels.x, figure.labels.y) == ("head", "layer")
        with zipfile.ZipFile(explorer.save_figure(tmp_path / "map.zip", "sweep_map")) as packed:
            texts = {
                name.split("/", 1)[1]: packed.read(name).decode()
                for name in packed.namelist()
                if name.endswith((".py", ".txt"))
            }
        assert "at ␣Spain (position 3) at each layer and head of the base" in texts["caption.txt"]
        space: dict[str, Any] = {}
        exec(texts["code.py"], space)  # noqa: S102
        own = explorer.map_frame.sort_values(KEYS)["probability"]
        other = space["sweep"].frame.sort_values(KEYS)["probability"]
        np.testing.assert_allclose(own, other, atol=1e-5)
        # The token of the screen, in the figure and in the code's.
        wanted = explorer.model.token_text(explorer.map["target"])
        for one in (figure, space["figure"]):
            assert set(one.data["target"]) == {wanted} == {" Rome"}
        alt = vw.figures.alt_text(explorer.map_frame, "sweep_map", metric="delta")
        assert "6 and 4 heads" not in alt and "4 heads at ␣Spain (3)" in alt
        best = explorer.map_frame.query("target == ' Rome'").nlargest(1, "delta").iloc[0]
        assert f"at head {best['head']}, layer {best['layer']}" in alt
        png = draw_screen(explorer.map, explorer.scene, explorer.answer, "")
        assert png.startswith(b"\x89PNG")
    finally:
        explorer.close()


def test_a_page_without_a_map_has_no_figure_of_it(capitals: vw.LanguageModel) -> None:
    explorer = vw.explore(BASE, SOURCE, capitals).wait(60)
    try:
        assert ask(explorer, kind="figure", figure="sweep_map")["ok"]
        explorer.feature(MapFeature).model_changed()  # the map is dropped
        assert explorer.feature(FigureFeature).draw_for_page() is None
    finally:
        explorer.close()
