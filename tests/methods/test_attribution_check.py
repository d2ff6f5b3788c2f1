"""Attribution.against(): estimates beside a sweep, and the figures of both."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import ITALY, SPAIN
from figure_testing import colours_at, drawn
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex

import vene_widgets as vw
from vene_widgets.figures.palette import PALETTES
from vene_widgets.models import wrap
from vene_widgets.tables.attribution import correlations
from vene_widgets.tables.number_text import NO_BREAK

HEADS: dict[str, Any] = {"component": "head_value_output", "head": "all"}
FIXED: dict[str, Any] = {"fixed": [vw.Slot(layer=5, position=2, intervention="zero")]}
"""A slot that does not change the base's answer."""


@pytest.mark.parametrize("options", [{}, HEADS, {"layers": [4, 1], "positions": [-1, 3]}])
@pytest.mark.parametrize("metric", ["logit_difference", "probability", "log_probability"])
def test_exact_effects_are_the_sweeps(
    capitals: vw.LanguageModel, options: dict[str, Any], metric: Any
):
    swept = vw.sweep(capitals, SPAIN, ITALY, **options)
    found = vw.attribute(capitals, SPAIN, ITALY, **options, metric=metric)
    check = found.against(swept)
    log_p = swept.logits.double().log_softmax(-1)
    if options is HEADS:
        log_p = log_p.transpose(0, 1)
    base = found.base_logits.double().log_softmax(-1)
    rome, madrid = (capitals.resolve_token(text) for text in (" Rome", " Madrid"))
    if metric == "probability":
        exact = log_p[..., rome].exp() - base[rome].exp()
    elif metric == "log_probability":
        exact = log_p[..., rome] - base[rome]
    else:
        exact = log_p[..., rome] - log_p[..., madrid] - (base[rome] - base[madrid])
    assert list(check.frame["exact"]) == pytest.approx(exact.flatten().tolist(), abs=1e-5)
    assert list(check.frame["estimate"]) == list(found.frame["estimate"])
    keys = ["head", "layer", "position"]
    assert check.frame[keys].equals(found.frame[keys])
    assert list(check.frame.columns) == list(vw.frames.FRAMES["attribution_check_frame"])


def test_correlations_are_those_of_scipy(capitals: vw.LanguageModel):
    from scipy import stats

    check = vw.attribute(capitals, SPAIN, ITALY).against(vw.sweep(capitals, SPAIN, ITALY))
    live = check.frame[check.frame["effect_possible"]]
    assert check.cells == len(live) == 11
    exact, estimate = live["exact"], live["estimate"]
    assert check.correlation == pytest.approx(stats.pearsonr(exact, estimate)[0])
    assert check.rank_correlation == pytest.approx(stats.spearmanr(exact, estimate)[0])
    assert f"r = {check.correlation:.3f}" in repr(check)


def test_correlations_that_do_not_exist_are_nan():
    frame = pd.DataFrame({"exact": [1.0, 1.0], "estimate": [1.0, 2.0], "effect_possible": True})
    assert np.isnan(correlations(frame)[0]) and correlations(frame)[2] == 2
    assert np.isnan(correlations(frame.head(1))[1])


def test_false_negatives_are_large_effects_with_small_or_opposite_estimates(
    capitals: vw.LanguageModel,
):
    found, swept = vw.attribute(capitals, SPAIN, ITALY), vw.sweep(capitals, SPAIN, ITALY)
    for share, kept in ((0.25, 0.5), (0.25, 0.1), (0.0, 0.9), (1.0, 1.0)):
        check = found.against(swept, share=share, kept=kept)
        frame = check.frame[check.frame["effect_possible"]]
        exact, estimate = frame["exact"], frame["estimate"]
        large = exact.abs() >= share * exact.abs().max()
        wanted = frame[large & (estimate * np.sign(exact) < kept * exact.abs())]
        missed = check.false_negatives
        assert set(zip(missed["layer"], missed["position"], strict=True)) == set(
            zip(wanted["layer"], wanted["position"], strict=True)
        )
        assert missed["exact"].abs().is_monotonic_decreasing
    everything = found.against(swept, share=0, kept=0.9).false_negatives
    assert ((everything["exact"] < 0) & (everything["estimate"] > 0)).any()  # the other direction
    assert len(everything) > len(found.against(swept).false_negatives) > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"component": "mlp_output"}, r"its component is 'mlp_output', that of the .*'block_out"),
        ({"layers": [1]}, r"its layers is \(1,\)"),
        ({"positions": [-1]}, r"its positions is \(4,\)"),
        ({"intervention": "addition"}, r"its intervention is 'addition'"),
        ({"source": "The capital of France is"}, r"its source prompt is 'The capital of France"),
        (HEADS, r"its head is \[0, 1, 2, 3\], that of the attribution \[None\]"),
        ({"window": 3}, r"its window is 3, that of the attribution 1"),
        (FIXED, r"its number of fixed slots is 1, that of the attribution 0"),
        ({"targets": [" Paris"]}, r"did not follow ' Rome', .* targets=\[' Rome', ' Madrid'\]"),
    ],
)
def test_a_sweep_of_another_request_is_refused(
    capitals: vw.LanguageModel, change: dict[str, Any], message: str
):
    found = vw.attribute(capitals, SPAIN, ITALY)
    options: Any = {"source": ITALY, **change}
    other = vw.sweep(capitals, SPAIN, **options)
    with pytest.raises(vw.RequestError, match=message) as caught:
        found.against(other)
    assert "\n" not in str(caught.value)


def test_a_sweep_with_matched_noise_is_refused(capitals: vw.LanguageModel):
    swept = vw.sweep(capitals, SPAIN, ITALY)
    control = vw.placebo(swept, controls="matched_noise", draws=1).controls["matched_noise"][0]
    with pytest.raises(vw.RequestError, match="its seed of matched noise is 0"):
        vw.attribute(capitals, SPAIN, ITALY).against(control)


def test_other_refusals(capitals: vw.LanguageModel):
    found = vw.attribute(capitals, SPAIN, ITALY)
    with pytest.raises(vw.RequestError, match=r"takes the result of vw\.sweep, got a DataFrame"):
        found.against(found.frame)  # pyright: ignore[reportArgumentType]
    swept = vw.sweep(capitals, SPAIN, ITALY)
    with pytest.raises(vw.RequestError, match="share must be a number from 0 to 1, got 25"):
        found.against(swept, share=25)
    changed = wrap(copy.deepcopy(capitals.model), capitals.tokenizer, "changed")
    changed.model.transformer.h[2].mlp.c_proj.bias.data[3] += 5
    with pytest.raises(vw.RequestError, match="the model has changed"):
        vw.attribute(changed, SPAIN, ITALY, targets=[" Rome", " Madrid"]).against(swept)


# ---- figures -------------------------------------------------------------------------------------


def tiles(figure: Any) -> list[tuple[float, float, str]]:
    """Centre's x, width and colour of every filled tile of the first panel."""
    found: list[tuple[float, float, str]] = []
    for collection in figure.axes[0].collections:
        if not isinstance(collection, PolyCollection):
            continue
        for path, colour in zip(
            collection.get_paths(), np.atleast_2d(collection.get_facecolor()), strict=False
        ):
            x = np.asarray(path.vertices)[:, 0]
            found.append(((x.min() + x.max()) / 2, x.max() - x.min(), to_hex(colour)))
    return found


@pytest.mark.parametrize("style", ["light", "dark"])
def test_a_map_of_estimates_says_what_was_done(capitals: vw.LanguageModel, style: str):
    found = vw.attribute(capitals, SPAIN, ITALY, steps=2)
    figure: Any = found.plot("Where it is", style=style)
    subtitle = figure.labels.subtitle.replace("\n", " ")
    for said in (
        "“The capital of Spain is” ← “The capital of Italy is”",
        "residual stream, after block: patch, estimated by the mean gradient of 2 steps",
        "estimated change of logit(␣Rome) − logit(␣Madrid), base −7.07, source 7.38",
    ):
        assert said in subtitle
    drawn_values = figure.data.set_index(["layer", "position"])["value"]
    assert drawn_values[(5, 4)] == pytest.approx(float(found.estimates[5, 4]))
    assert figure.layers[0].geom.params["page"] == PALETTES[style].page
    assert drawn(figure)


def test_the_halves_of_a_tile_are_exact_and_estimate(capitals: vw.LanguageModel):
    check = vw.attribute(capitals, SPAIN, ITALY).against(vw.sweep(capitals, SPAIN, ITALY))
    figure: Any = check.plot()
    assert "r = 0.69, ρ = 0.88, 11 cells" in figure.labels.subtitle.replace(NO_BREAK, " ")
    assert "ringed (4): exact effect at least 25" in figure.labels.caption
    data = figure.data.set_index(["layer", "position", "x"])["value"]
    cell: Any = check.frame.set_index(["layer", "position"]).loc[(1, 3)]
    left, right = sorted(x for layer, position, x in data.index if (layer, position) == (1, 3))
    assert data[(1, 3, left)] == pytest.approx(cell["exact"])
    assert data[(1, 3, right)] == pytest.approx(cell["estimate"])
    made = tiles(drawn(figure))
    limit = 15.0
    wanted = [
        to_hex(colours_at([(cell[name] / limit + 1) / 2], PALETTES["light"].diverging)[0])
        for name in ("exact", "estimate")
    ]
    assert set(wanted) <= {colour for _, _, colour in made}
    assert len({round(width, 2) for _, width, _ in made}) == 2  # halves, and whole ones


@pytest.mark.parametrize("style", ["light", "dark"])
def test_maps_of_heads_have_a_panel_per_token(capitals: vw.LanguageModel, style: str):
    found = vw.attribute(capitals, SPAIN, ITALY, **HEADS, metric="probability")
    check = found.against(vw.sweep(capitals, SPAIN, ITALY, **HEADS))
    for figure in (found.plot(style=style), check.plot(style=style)):
        assert figure.labels.x == "head"
        assert "of P(␣Rome), base 0.08" in figure.labels.subtitle
        assert len(drawn(figure).axes) >= 2
    one = vw.attribute(capitals, SPAIN, ITALY, "head_value_output", head="all", layers=3)
    assert one.plot().labels.y == "head"
    swept = vw.sweep(capitals, SPAIN, ITALY, "head_value_output", head="all", layers=3)
    assert drawn(one.against(swept).plot())


def test_figures_refuse_other_frames(capitals: vw.LanguageModel):
    swept = vw.sweep(capitals, SPAIN, ITALY, layers=[1])
    with pytest.raises(vw.RequestError, match=r"attribution_map: the frame lacks .*'estimate'"):
        vw.figures.attribution_map(swept.frame)
    found = vw.attribute(capitals, SPAIN, ITALY, layers=[1])
    with pytest.raises(vw.RequestError, match=r"check_map: the frame lacks .*'exact'.*against"):
        vw.figures.attribution_check_map(found.frame)
    with pytest.raises(vw.RequestError, match="style"):
        found.plot(style="sepia")
    with pytest.raises(vw.RequestError, match="empty"):
        vw.figures.attribution_map(found.frame.head(0))
