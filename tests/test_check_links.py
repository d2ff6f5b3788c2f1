"""The check of the documentation's links finds what leads nowhere, and nothing else."""

from __future__ import annotations

from pathlib import Path

from check_links import broken_links, remote_resources


def test_links_that_lead_nowhere_are_found(tmp_path: Path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.html").write_text('<a id="there" href="../a.html#here">up</a>')
    (tmp_path / "a.html").write_text(
        '<p id="here"></p><a href="sub/b.html#there">1</a> <a href="#here">2</a>'
        '<a href="https://example.org/x">3</a> <img src="picture%20one.png">'
        '<a href="sub/b.html#gone">4</a> <a href="#nowhere">5</a> <iframe src="c.html"></iframe>'
    )
    (tmp_path / "picture one.png").write_bytes(b"")
    assert broken_links(tmp_path) == [
        "a.html: #nowhere",
        "a.html: c.html",
        "a.html: sub/b.html#gone",
    ]


def test_what_is_loaded_from_other_hosts_is_found(tmp_path: Path):
    (tmp_path / "a.html").write_text(
        '<a href="https://example.org/page">fine</a> <script src="https://example.org/x.js"></script>'
        '<link rel="stylesheet" href="//example.org/x.css"> <img src="data:image/png;base64,AA">'
    )
    assert remote_resources(tmp_path) == [
        "a.html: //example.org/x.css",
        "a.html: https://example.org/x.js",
    ]
