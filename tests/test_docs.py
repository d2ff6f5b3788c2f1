"""Run every python block of the README and the documentation, page by page, top to bottom.

The blocks of a page share one namespace, like the cells of one notebook; `vw` and an open
`explorer` are defined from the start. A block that needs the network or a GPU is marked by a hidden
comment in the line above its fence: `<!-- not run: needs the hub -->`.
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
FILE = re.compile(r"`((?:vene_widgets|js|tests|docs|scripts)/(?:[\w./]+\.\w+|[\w/]+/))`")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(text: str) -> list[tuple[int, bool, str]]:
    """Each python block: line of its fence, whether it runs, its code."""
    return [
        (text.count("\n", 0, match.start("code")), not match["not_run"], match["code"])
        for match in BLOCK.finditer(text)
    ]


WITH_CODE = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Namespace at the start of a page; closes every explorer that the page opens."""
    monkeypatch.chdir(tmp_path)  # for files that a block writes
    explorers: list[vw.Explorer] = []
    init = vw.Explorer.__init__

    def recording_init(self: vw.Explorer, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        explorers.append(self)

    # Patch the class: a block may open an explorer without assigning it to a name.
    monkeypatch.setattr(vw.Explorer, "__init__", recording_init)
    explorer = vw.explore("The capital of Spain is", "The capital of Italy is")
    yield {"__name__": "__main__", "vw": vw, "explorer": explorer}
    for each in explorers:
        each.close()


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_every_python_block_of_a_page_runs(page: Path, names: dict[str, Any]):
    for line, runs, code in blocks(page.read_text(encoding="utf-8")):
        # The empty lines make tracebacks name the line of the page.
        compiled = compile("\n" * line + code, str(page), "exec")
        if runs:
            exec(compiled, names)  # noqa: S102  # code of this repository


def test_every_python_fence_is_found():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert len(blocks(text)) == text.count("```py"), name_of(page)
    assert {"README.md", "docs/index.md", "docs/screen.md"} <= {name_of(p) for p in WITH_CODE}


def test_a_block_that_needs_the_hub_is_compiled_but_not_run():
    text = "x\n\n<!-- not run: needs the hub -->\n```python\na\n```\n\n```python\nb\n```\n"
    assert blocks(text) == [(4, False, "a\n"), (8, True, "b\n")]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_name_on_a_page_exists(page: Path):
    """Names in prose (`vw.something`) and on the API pages (`::: module.name`)."""
    text = page.read_text(encoding="utf-8")
    paths = [f"vene_widgets.{name}" for name in NAME.findall(text)]
    paths += re.findall(r"^::: (\S+)$", text, re.M)
    assert [path for path in paths if pydoc.locate(path) is None] == []


def test_every_file_of_the_code_map_exists():
    files = FILE.findall((ROOT / "docs" / "code_map.md").read_text(encoding="utf-8"))
    assert len(files) > 30
    assert [name for name in files if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_that_a_page_links_to_exists(page: Path):
    """Relative links as GitHub and an editor follow them; `make docs` checks those of the site."""
    links = re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8"))
    local = [link for link in links if not re.match(r"\w+:", link)]
    missing = [link for link in local if not (page.parent / link).exists()]
    # Pages that the site's build writes.
    assert [link for link in missing if not link.startswith(("notebooks/", "living/"))] == []


def test_every_public_name_is_on_an_api_page():
    pages = [page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "api").glob("*.md")]
    listed = {path for page in pages for path in re.findall(r"^::: (\S+)$", page, re.M)}
    values = [pydoc.locate(path) for path in listed]
    # A module's page lists the module's public names.
    members = [vars(value).get(n) for value in values for n in getattr(value, "__all__", ())]
    found = {id(value) for value in [*values, *members]}
    names = [name for name in vw.__all__ if not name.startswith("_")]
    assert [name for name in names if id(getattr(vw, name)) not in found] == []


def test_the_explorers_page_lists_what_is_inherited():
    """mkdocstrings finds methods of a base class by name, and traits only in the docstring."""
    page = (ROOT / "docs" / "api" / "explorer.md").read_text(encoding="utf-8")
    text = pydoc.getdoc(vw.Explorer)
    for name in ("model", "wait", "close"):
        assert re.search(rf"inherited_members: .*\b{name}\b", page)
    for name in ("experiment", "step"):
        assert vw.Explorer.class_traits()[name] is not None
        assert f"\n    {name}: " in text
