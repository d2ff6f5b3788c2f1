"""Rules that the browser implements too: both halves read the same cases, `tests/cases/*.json`.

A case has a name, an input and what is expected.
"""

from __future__ import annotations

import json
import math
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydantic
import pytest
import torch

import vene_widgets as vw
from vene_widgets.engine.planning import plan_experiment
from vene_widgets.engine.positions import align
from vene_widgets.experiments.components import COMPONENTS, component_words, site_words
from vene_widgets.experiments.slot import weights_key
from vene_widgets.explorer.session.compare import sides
from vene_widgets.explorer.session.history_records import normal_form
from vene_widgets.explorer.wire import views
from vene_widgets.explorer.wire.ordered import WireExperiment
from vene_widgets.figures.palette import PALETTES
from vene_widgets.figures.scales import fill_limits
from vene_widgets.models import LanguageModel, Token
from vene_widgets.sentences import nothing_live
from vene_widgets.tables import frames
from vene_widgets.tables.followed import follow_tokens
from vene_widgets.tables.metrics import METRICS
from vene_widgets.tables.number_text import percent, points, significant
from vene_widgets.tables.placebo import placebo_frame
from vene_widgets.tables.statistics import cell_statistics
from vene_widgets.tables.token_text import visible

FOLDER = Path(__file__).parent / "cases"
PROMPTS = {"base": "The capital of Spain is", "sources": {"italy": "The capital of Italy is"}}


def cases(name: str) -> pytest.MarkDecorator:
    """Parametrize a test by the cases of one file."""
    found = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    names = [case["name"] for case in found]
    assert len(set(names)) == len(names) > 0
    return pytest.mark.parametrize(
        ("given", "expected"), [(case["input"], case["expected"]) for case in found], ids=names
    )


def test_both_sides_read_every_file() -> None:
    js = Path(__file__).parents[1] / "js" / "test" / "cases.test.ts"
    for reader in (Path(__file__), js):
        read = re.findall(r'\bcases\(\s*"(\w+)"', reader.read_text(encoding="utf-8"))
        assert set(read) == {file.stem for file in FOLDER.iterdir()}


# prompts -----------------------------------------------------------------------------------------


def tokens(words: str, ids: dict[str, int]) -> tuple[Token, ...]:
    """A token per word; equal words have equal ids."""
    return tuple(
        Token(index, ids.setdefault(word, len(ids)), word)
        for index, word in enumerate(words.split())
    )


@cases("alignment")
def test_alignment(given: dict[str, str], expected: list[int]) -> None:
    ids: dict[str, int] = {}
    found = align(tokens(given["base"], ids), tokens(given["source"], ids))
    assert list(found) == expected


@cases("labels")
def test_labels(given: str, expected: str) -> None:
    assert visible(given) == expected


WIRE: pydantic.TypeAdapter[vw.Experiment] = pydantic.TypeAdapter(WireExperiment)
"""Experiments as JSON, their sources in order."""


# experiments -------------------------------------------------------------------------------------


@cases("defaults")
def test_defaults(given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert WIRE.dump_python(WIRE.validate_python(given), mode="json") == expected


@cases("normal_form")
def test_normal_form(
    capitals: LanguageModel, given: dict[str, dict[str, Any]], expected: dict[str, Any]
) -> None:
    normal: dict[str, vw.Experiment] = {}
    for side in ("left", "right"):
        experiment = WIRE.validate_python({**given["both"], **given[side]})
        plan = plan_experiment(capitals, experiment)
        normal[side] = normal_form(plan)
        slots = views.scene(capitals, plan, revision=0, request=None).slots
        for slot, resolved in zip(slots, expected["resolved"][side], strict=True):
            assert slot.model_dump(include=set(resolved)) == resolved
    assert (normal["left"] == normal["right"]) is expected["same"]
    # Without defaults, as an entry of the history has it on the wire.
    written = WIRE.dump_python(normal["left"], mode="json", exclude_defaults=True)
    assert json.dumps(written) == json.dumps(expected["normal"])


@cases("nothing_live")
def test_without_a_live_slot(given: dict[str, Any], expected: str) -> None:
    slots, has_source, token = given["slots"], given["has_source"], given["token"]
    assert nothing_live(slots, has_source, token, given["probability"]) == expected
    assert visible(token) == given["label"]


@cases("sides")
def test_sides(given: dict[str, Any], expected: list[dict[str, Any]]) -> None:
    past = [
        (e["name"] or f"#{e['number']}", WIRE.validate_python(e["experiment"]))
        for e in given["past"]
    ]
    found = sides(WIRE.validate_python(given["experiment"]), past)
    assert [
        {
            "title": title,
            "shared": side.share_sources,
            "base": side.experiment.base,
            "skips": [slot.skip for slot in side.experiment.slots],
            "groups": [slot.group for slot in side.experiment.slots],
        }
        for title, side in found.items()
    ] == expected


def linked(slots: list[dict[str, Any]], links: list[str | None] | None = None) -> vw.Experiment:
    """An experiment of slots that are given without their layer and position."""
    return vw.Experiment.model_validate(
        {
            **PROMPTS,
            "slots": [
                {"layer": i, "position": 3, **slot, **({} if links is None else {"link": links[i]})}
                for i, slot in enumerate(slots)
            ],
        }
    )


def sharing(experiment: vw.Experiment) -> list[list[int]]:
    """Indices of the slots that share weights, by the first of them."""
    found: dict[str, list[int]] = {}
    for i, slot in enumerate(experiment.slots):
        found.setdefault(weights_key(slot, i), []).append(i)
    return list(found.values())


@cases("links")
def test_links(
    capitals: LanguageModel, given: dict[str, Any], expected: dict[str, list[Any]]
) -> None:
    slots = given["slots"]
    assert sharing(linked(slots)) == expected["sharing"]
    twins: list[list[int]] = [[] for _ in slots]
    for i, j in combinations(range(len(slots)), 2):
        try:
            plan_experiment(
                capitals, linked(slots, ["L" if k in (i, j) else None for k in range(len(slots))])
            )
        except vw.RequestError:
            continue
        twins[i].append(j)
        twins[j].append(i)
    assert [sorted(others) for others in twins] == expected["twins"]


@cases("links")
def test_unlinking_takes_one_slot_out_and_leaves_no_link_of_one(
    given: dict[str, Any], expected: dict[str, list[Any]]
) -> None:
    """Python has no gesture for it: the cases themselves are checked."""
    if "unlink" not in given:
        return
    out, links = given["unlink"], expected["unlinked"]
    left = [[i for i in members if i != out] for members in expected["sharing"]]
    assert sorted(sharing(linked(given["slots"], links))) == sorted(filter(None, [[out], *left]))
    assert all(links.count(link) > 1 for link in links if link is not None)


# numbers -----------------------------------------------------------------------------------------


def logits(p: list[float]) -> torch.Tensor:
    """Logits of a distribution over so many tokens."""
    assert math.isclose(sum(p), 1)
    return torch.tensor(p, dtype=torch.float64).log()


@cases("metrics")
def test_metrics(given: dict[str, list[float] | None], expected: dict[str, float | None]) -> None:
    """Of token 0; the contrast token is 1."""
    base, cell, source = given["base"], given["cell"], given["source"]
    assert base is not None and source is not None
    values = torch.full((len(base),), math.nan) if cell is None else logits(cell)
    frame = frames.sweep_frame(
        values[None, None], logits(base), [0], [Token(0, 7, "x")], [0], [0, 1], str,
        source_logits=logits(source),
    )  # fmt: skip
    assert set(expected) == set(METRICS)
    for name, value in expected.items():
        found = frame[METRICS[name].column].iloc[0]
        if value is None:
            assert pd.isna(found), name
        else:
            assert found == pytest.approx(value, rel=1e-12, abs=1e-14), name


@cases("colours")
def test_colours(given: dict[str, str], expected: list[str]) -> None:
    assert list(getattr(PALETTES[given["theme"]], given["side"])) == expected


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_figures_have_the_colours_of_the_screen(theme: str) -> None:
    styles = (Path(__file__).parent.parent / "js/src/app/base.css").read_text(encoding="utf-8")
    light, dark = styles.split('[data-theme="dark"] > .vene-root {', 1)
    part, palette = {"light": light, "dark": dark}[theme], PALETTES[theme]
    colours = dict(re.findall(r"--vene-(ink|quiet|more|less): (#[0-9a-f]{6});", part))
    assert colours == {
        "ink": palette.ink,
        "quiet": palette.quiet,
        "more": palette.up,
        "less": palette.down,
    }


@cases("limits")
def test_limits(given: dict[str, Any], expected: float) -> None:
    metric = METRICS[given["metric"]]
    column = pd.Series(np.array(given["values"], float))
    (_, high), _ = fill_limits(pd.DataFrame({metric.column: column}), metric)
    assert high == pytest.approx(expected, rel=1e-12)


@cases("differences")
def test_order_of_differences(given: dict[str, list[float]], expected: list[int]) -> None:
    frame = frames.difference_frame(logits(given["before"]), logits(given["after"]), str, k=None)
    assert frame["token_id"].tolist() == expected


@cases("token_rows")
def test_order_of_tokens(given: list[list[float]], expected: list[int]) -> None:
    runs = {str(i): logits(p) for i, p in enumerate(given)}
    frame = frames.token_frame(runs, str, k=len(expected))
    assert frame["token_id"].drop_duplicates().tolist() == expected


@cases("numbers")
def test_numbers(given: dict[str, Any], expected: str) -> None:
    formats = {"percent": percent, "points": points, "significant": significant}
    assert formats[given["as"]](given["value"]) == expected


# words -------------------------------------------------------------------------------------------


@cases("components")
def test_components(given: str, expected: str) -> None:
    assert component_words(given) == expected


@cases("sites")
def test_sites(given: dict[str, Any], expected: str) -> None:
    assert site_words(given["component"], given["layer"], given["head"]) == expected


@pytest.mark.parametrize("name", ["components", "sites"])
def test_every_component_has_a_case(name: str) -> None:
    found = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    given = [case["input"] for case in found]
    assert {*COMPONENTS} <= {x if isinstance(x, str) else x["component"] for x in given}


# controls ----------------------------------------------------------------------------------------


@cases("placebo")
def test_controls_of_a_map(given: dict[str, Any], expected: dict[str, Any]) -> None:
    base, source = (torch.tensor(given[run]).double().log() for run in ("base", "source"))
    ids = [given["target"], given["other"]]

    def levels(own: list[float], cells: list[list[float]]) -> tuple[pd.DataFrame, pd.DataFrame]:
        log_own = torch.tensor(own).double().log()

        def frame(rows: torch.Tensor) -> pd.DataFrame:
            found = cell_statistics(rows, log_own, ids, log_source=source)
            tokens = [Token(n, n, str(n)) for n in range(len(rows))]
            return frames.cells_frame(
                found, base, [0], tokens, range(len(rows)), follow_tokens(ids), str,
                log_source=source,
            )  # fmt: skip

        return frame(torch.tensor(cells).double().log()), frame(log_own.repeat(len(cells), 1))

    controls = {
        name: [levels(draw["base"], draw["cells"]) for draw in draws]
        for name, draws in given["controls"].items()
    }
    found = placebo_frame(levels(given["base"], given["cells"]), controls, given["metric"])
    found = found[found["target_id"].eq(given["target"])]
    for name, own in expected.items():
        rows = found[found["control"].eq(name)]
        assert rows["within"].tolist() == own["within"]
        for column in ("least", "most"):
            assert rows[column].tolist() == pytest.approx(own[column], abs=1e-6)
