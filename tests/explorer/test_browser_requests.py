"""Experiments as the browser sends them: one sentence where they are wrong, sources in order."""

from __future__ import annotations

import json

import pytest
from explorer_testing import BASE, SOURCE
from pydantic import ValidationError

import vene_widgets as vw
from vene_widgets.explorer import Explorer
from vene_widgets.explorer.session.feature_widget import REQUESTS
from vene_widgets.explorer.wire.error_text import error_text


def test_the_browser_is_refused_in_one_sentence() -> None:
    message = {"id": "1", "kind": "experiment", "experiment": {"base": 3, "slots": {"a": 1}}}
    with pytest.raises(ValidationError) as caught:
        REQUESTS.validate_python(message)
    assert error_text(caught.value) == (
        "base: expected a prompt (a str), got 3; slots: expected a Slot or a list of Slots, got "
        "{'a': 1}"
    )


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"kind": "dance"}, "kind: expected one of 'experiment', "),
        ({"kind": "x" * 10**5}, "kind: expected one of 'experiment', "),
        ({"kind": ["experiment"]}, "kind: expected one of 'experiment', "),
        ({}, "kind is missing"),
    ],
)
def test_an_unknown_kind_is_refused_by_name_however_long_it_is(
    fields: dict[str, object], text: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        REQUESTS.validate_python({"id": "1", **fields})
    error = error_text(caught.value)
    assert error.startswith(text) and len(error) < 360
    assert "tag" not in error


def test_sources_keep_their_order_on_the_wire_whatever_their_names() -> None:
    """In serial mode the order of the sources is the chain."""
    explorer = vw.explore("The capital of Spain is", "The capital of Italy is")
    sources = [["2", "The capital of Peru is"], ["1", "The capital of France is"]]
    slot = {"layer": 0, "position": 3, "source": "1", "source_position": 3}
    experiment = {
        "base": "The capital of Spain is",
        "sources": sources,
        "slots": [slot],
        "mode": "serial",
    }
    explorer.receive({"id": "r1", "kind": "experiment", "experiment": experiment})
    explorer.wait()
    assert list(explorer.experiment.sources) == ["2", "1"]
    sent = json.loads(json.dumps(explorer.scene))
    assert sent["experiment"]["sources"] == sources
    assert [source["name"] for source in sent["sources"]] == ["2", "1"]
    assert json.loads(json.dumps(explorer.past))["entries"][-1]["experiment"]["sources"] == sources
    explorer.close()


@pytest.mark.parametrize("sources", [[["a", "x"], ["a", "y"]], [["a"]], ["ab"], [[["a"], "x"]]])
def test_pairs_of_sources_that_make_no_sense_are_refused(sources: object) -> None:
    explorer = vw.explore("The capital of Spain is", "The capital of Italy is")
    replies: list[dict[str, object]] = []
    explorer.send = lambda content, buffers=None: replies.append(content)  # pyright: ignore
    experiment = {"base": "The capital of Spain is", "sources": sources}
    explorer.receive({"id": "r1", "kind": "experiment", "experiment": experiment})
    (reply,) = replies
    assert reply["ok"] is False and "sources" in str(reply["error"])
    explorer.close()


def test_names_that_a_browser_would_sort_keep_their_order(explorer: Explorer) -> None:
    explorer.experiment = vw.Experiment(base=BASE, sources={"b": SOURCE, "1": BASE})
    assert explorer.scene["experiment"]["sources"] == [("b", SOURCE), ("1", BASE)]
    assert [source["name"] for source in explorer.scene["sources"]] == ["b", "1"]
