"""Tooltips and links of an SVG's tiles: token, id, run, exact value; no token's text is markup."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest
import torch

import vene_widgets as vw
from vene_widgets import figures
from vene_widgets.models import Token
from vene_widgets.tables import frames

SVG = "{http://www.w3.org/2000/svg}"
ODD = ["<script>alert(1)</script>", '" onload="x', "&amp;", "\x1b\u202e", " $x$", "{token}", "🎉"]
LOGITS = torch.tensor([3.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.0])


def token_frame() -> Any:
    runs = {"base": LOGITS, "a <b> run": LOGITS.flip(0)}
    return frames.token_frame(runs, ODD.__getitem__, k=len(ODD))


def sweep_frame() -> Any:
    grid = torch.stack([LOGITS.roll(n) for n in range(6)]).unflatten(0, (3, 2))
    grid[2, 1] = float("nan")
    tokens = [Token(n, n, ODD[n]) for n in (0, 1)]
    return frames.sweep_frame(grid, LOGITS, [0, 1, 2], tokens, [0, 1], [0, 2], ODD.__getitem__)


def tiles(svg: str) -> list[tuple[str, ET.Element]]:
    """Title and element of everything that has one."""
    root = ET.fromstring(svg)  # noqa: S314  # our own
    found = []
    for element in root.iter():
        title = element.find(f"{SVG}title")
        if title is not None and element.find(f"{SVG}path") is not None:
            found.append((title.text or "", element))
    return found


def test_the_tooltip_of_a_heatmaps_tile_is_token_id_run_and_exact_value() -> None:
    frame = token_frame()
    said = [title for title, _ in tiles(figures.svg(figures.token_heatmap(frame)))]
    assert len(said) == len(frame)
    for title, row in zip(said, frame.itertuples(), strict=True):
        assert title.split("\n") == [
            f"{row.label} (id {row.token_id})",
            f"run: {row.run}",
            f"P = {row.probability!r}",
        ]


@pytest.mark.parametrize("metric", ["probability", "delta", "rank", "kl"])
def test_the_tooltip_of_a_maps_tile_is_its_place_target_and_exact_value(metric: str) -> None:
    frame = sweep_frame()
    said = [title for title, _ in tiles(figures.svg(figures.sweep_map(frame, metric=metric)))]
    ran = frame[frame[metric].notna()]
    if metric == "kl":
        ran = ran[ran["target_id"] == 0]
    assert len(said) == len(ran) == (5 if metric == "kl" else 10)
    wanted = set()
    for row in ran.itertuples():
        value = int(row.rank) if metric == "rank" else getattr(row, metric)
        value = 0 if value == 0 else value
        wanted.add((f"layer {row.layer}, position {row.position}: {row.label} (id {row.token_id})",
                    str(value)))  # fmt: skip
    got = {(t.split("\n")[0], t.split(" = ")[-1].removesuffix(" nats")) for t in said}
    assert got == wanted


def test_numbers_on_tiles_let_the_pointer_through_and_nothing_is_left_of_the_marks() -> None:
    svg = figures.svg(figures.token_heatmap(token_frame()))
    assert svg.count('<g pointer-events="none">') == len(token_frame())
    assert "vene-note" not in svg and "<a " not in svg
    assert "<script" not in svg and "\x1b" not in svg


def test_an_address_is_filled_and_quoted() -> None:
    href = "https://example.org/{token_id}?t={token}&run={run}"
    found = tiles(figures.svg(figures.token_heatmap(token_frame(), href=href)))
    links = {element.get("href") for _, element in found}
    assert all(element.tag == f"{SVG}a" for _, element in found)
    assert "https://example.org/4?t=%20%24x%24&run=a%20%3Cb%3E%20run" in links
    assert "https://example.org/1?t=%22%20onload%3D%22x&run=base" in links
    assert {element.get("rel") for _, element in found} == {"noopener"}


def test_a_map_leads_somewhere_too() -> None:
    svg = figures.svg(figures.sweep_map(sweep_frame(), href="#{layer}-{position}"))
    assert {e.get("href") for _, e in tiles(svg)} == {"#0-0", "#0-1", "#1-0", "#1-1", "#2-0"}


@pytest.mark.parametrize(
    ("href", "says"),
    [
        ("javascript:alert({token_id})", "href 'javascript.*not the address of a web page"),
        ("data:text/html,{token}", "not the address of a web page.*'https://', 'http://'"),
        ("https://example.org/{tokn}", "field of href 'tokn'.*Did you mean 'token'"),
        ("https://example.org/{token.__class__}", "field of href"),
        ("https://example.org/{token!r}", "bare name in braces"),
        ("https://example.org/{probability:.2f}", "bare name in braces"),
        ("https://example.org/{token", "not a valid template: .*{token_id}"),
    ],
)
def test_addresses_that_are_refused(href: str, says: str) -> None:
    with pytest.raises(vw.RequestError, match=says):
        figures.token_heatmap(token_frame(), href=href)


def test_other_files_hold_no_note() -> None:
    plain = figures.token_heatmap(token_frame())
    linked = figures.token_heatmap(token_frame(), href="https://example.org/{token_id}")
    assert b"example.org" not in figures.pdf(linked)
    assert figures.png(linked) == figures.png(plain)
