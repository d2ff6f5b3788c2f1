"""Every python block of the README and the documentation runs, page by page, top to bottom.

A page's blocks share one namespace, as a reader types them into one notebook, with `vw` and an open
`explorer` there from the start. A block that needs the network or a GPU has a comment in the line
above its fence, which no reader sees: `<!-- not run: needs the hub -->`.
"""

from __future__ import annotations

import pydoc
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vene_widgets as vw

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"^(?P<not_run><!-- not run: .+ -->\n)?```python\n(?P<code>.*?)^```$", re.M | re.S
)
NAME = re.compile(r"`(?:vw|vene_widgets)\.([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)")
FILE = re.compile(r"`((?:vene_widgets|js|tests|docs)/(?:[\w./]+\.\w+|[\w/]+/))`")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(text: str) -> list[tuple[int, bool, str]]:
    """Each python block: the line of its fence, whether it is to run, its code."""
    return [
        (text.count("\n", 0, found.start("code")), not found["not_run"], found["code"])
        for found in BLOCK.finditer(text)
    ]


WITH_CODE = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What a reader has when a page begins."""
    monkeypatch.chdir(tmp_path)  # for whatever a block writes
    opened: list[vw.Explorer] = []
    begin = vw.Explorer.__init__

    def noted(self: vw.Explorer, *given: Any, **more: Any) -> None:
        begin(self, *given, **more)
        opened.append(self)

    monkeypatch.setattr(vw.Explorer, "__init__", noted)  # a block need not give its explorer a name
    explorer = vw.explore("The capital of Spain is", "The capital of Italy is")
    yield {"__name__": "__main__", "vw": vw, "explorer": explorer}
    for each in opened:
        each.close()


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_every_python_block_of_a_page_runs(page: Path, names: dict[str, Any]):
    for line, runs, code in blocks(page.read_text(encoding="utf-8")):
        # The empty lines make an error name the page's own line.
        compiled = compile("\n" * line + code, str(page), "exec")
        if runs:
            exec(compiled, names)  # noqa: S102  # our own pages


def test_no_block_escapes_the_test_above():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert len(blocks(text)) == text.count("```py"), name_of(page)
    assert {"README.md", "docs/index.md", "docs/screen.md"} <= {name_of(p) for p in WITH_CODE}


def test_a_block_that_needs_the_hub_is_compiled_and_not_run():
    text = "x\n\n<!-- not run: needs the hub -->\n```python\na\n```\n\n```python\nb\n```\n"
    assert blocks(text) == [(4, False, "a\n"), (8, True, "b\n")]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_name_on_a_page_exists(page: Path):
    """`vw.something` in prose, and what the API's pages document, `::: module.name`."""
    text = page.read_text(encoding="utf-8")
    paths = [f"vene_widgets.{found}" for found in NAME.findall(text)]
    paths += re.findall(r"^::: (\S+)$", text, re.M)
    assert [path for path in paths if pydoc.locate(path) is None] == []


def test_every_file_of_the_code_map_exists():
    files = FILE.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(files) > 30
    assert [name for name in files if not (ROOT / name).exists()] == []
