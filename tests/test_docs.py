"""Run every python block of the README and the documentation, page by page, top to bottom.

The blocks of a page share one namespace, like the cells of one notebook, and it is empty at the
start: a page imports and opens what it uses. A block that needs the network or another library is
marked by a hidden comment in the line above its fence, `<!-- not run: needs the hub -->`; it must
compile and stand by itself.
"""

from __future__ import annotations

import ast
import builtins
import pydoc
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import vene_widgets as vw
from vene_widgets.experiments.components import COMPONENTS, component_words
from vene_widgets.experiments.operators import BUILT_IN, OPERATORS
from vene_widgets.experiments.synonyms import (
    COMPONENT_SYNONYMS,
    HEAD_SYNONYMS,
    INTERVENTION_SYNONYMS,
)
from vene_widgets.interventions import INTERVENTIONS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"^(?P<not_run><!-- not run: [^\n]+ -->\n)?```python\n(?P<code>.*?)^```$", re.M | re.S
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
def names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restored_registry: None
) -> Iterator[dict[str, Any]]:
    """Namespace at the start of a page; closes every explorer, forgets every operator of it."""
    monkeypatch.chdir(tmp_path)  # for files that a block writes
    explorers: list[vw.Explorer] = []
    init = vw.Explorer.__init__

    def recording_init(self: vw.Explorer, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        explorers.append(self)

    # Patch the class: a block may open an explorer without assigning it to a name.
    monkeypatch.setattr(vw.Explorer, "__init__", recording_init)
    yield {"__name__": "__main__"}
    for each in explorers:
        each.close()


def run_blocks(page: Path, names: dict[str, Any]) -> None:
    """Run a page's blocks in one namespace; compile those that are not run."""
    for line, runs, code in blocks(page.read_text(encoding="utf-8")):
        # The empty lines make tracebacks name the line of the page.
        compiled = compile("\n" * line + code, str(page), "exec")
        if runs:
            exec(compiled, names)  # noqa: S102  # code of this repository


def undefined_names(code: str) -> set[str]:
    """Names that a block reads but neither imports nor assigns."""
    nodes = list(ast.walk(ast.parse(code)))
    names = [node for node in nodes if isinstance(node, ast.Name)]
    defined = {name.id for name in names if not isinstance(name.ctx, ast.Load)} | set(dir(builtins))
    for node in nodes:
        if isinstance(node, ast.alias):
            defined.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.arg):
            defined.add(node.arg)
    return {name.id for name in names} - defined


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_every_python_block_of_a_page_runs(page: Path, names: dict[str, Any]):
    run_blocks(page, names)


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_a_block_that_is_not_run_defines_what_it_reads(page: Path):
    found = blocks(page.read_text(encoding="utf-8"))
    assert [
        undefined_names(code) for _, runs, code in found if not runs and undefined_names(code)
    ] == []


def test_undefined_names_are_found():
    code = "import a.b, c as d\ndef f(x): return x + y\nprint([f(n) for n in a.b(d)], vw.load())\n"
    assert undefined_names(code) == {"y", "vw"}


def test_the_numbers_of_the_readme(names: dict[str, Any]):
    """Every number that the section of the three questions states, measured by its own blocks."""
    run_blocks(ROOT / "README.md", names)
    model, run, sweep, base = (names[name] for name in ("model", "run", "sweep", "base"))
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())

    top = run.top(1).iloc[0]
    assert f'"{top.token}" now leads with {top.probability:.0%}'.replace("%", " %") in text
    plain = vw.run(model, vw.Experiment(base=base)).top(1).iloc[0]
    assert f'without the patch, "{plain.token}" does' in text
    assert f"‖Δ‖ = {run.receipts['size'][0]:.1f}" in text
    assert run.receipts.others_equal[0] and run.receipts.rows[0] == 1

    rome = sweep.frame[sweep.frame.target == " Rome"]
    country = (rome.token == " Spain") & (rome.layer <= 2)
    last = (rome.position == rome.position.max()) & (rome.layer >= 3)
    assert f"P(Rome) is {between(rome[country])} at" in text
    assert f"in layers 0 to 2, {between(rome[last])} at the last token in layers 3 to 5" in text
    assert set(rome[~country & ~last].probability.round(3)) == {0.001}
    assert "about 0.1 % elsewhere" in text

    heads = vw.sweep(model, base, names["source"], "z", head="all").frame
    winners = heads[(heads.target == " Rome") & (heads.best == " Rome")].sort_values("layer")
    told = [f"head {w.head} of layer {w.layer} at" for w in winners.itertuples()]
    shares = [f"({p:.0%})".replace("%", " %") for p in winners.probability]
    assert list(winners.token) == [" Spain", " is"]
    assert all(part in text for part in [*told, *shares])

    difference, start = names["logit_difference"], names["start"]
    four, five, both = (f"{difference(*on) - start:.2f}" for on in ([4], [5], [4, 5]))
    assert f"Rome minus Madrid, by {four} and that of layer 5 by {five}," in text
    assert f"both together move it by {both}" in text


def between(rows: Any) -> str:
    """The range of some rows' probabilities as the README writes it."""
    return f"{100 * rows.probability.min():.0f} to {100 * rows.probability.max():.0f} %"


def table_below(page: Path, heading: str) -> list[list[str]]:
    """Cells of the first table below a heading, its head left out."""
    section = page.read_text(encoding="utf-8").split(f"\n{heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines[2:]]
    return [[cell.strip().replace("\\|", "|") for cell in row] for row in rows]


def names_for(name: str, synonyms: Mapping[str, str]) -> str:
    return ", ".join(f"`{other}`" for other, ours in synonyms.items() if ours == name)


def test_the_table_of_components_has_every_name():
    theirs = COMPONENT_SYNONYMS | HEAD_SYNONYMS
    heads = {name: name.removeprefix("head_") for name in COMPONENTS if name.startswith("head_")}
    expected = [
        [
            component_words(name),
            f"`{name}`",
            f"{names_for(heads[name], theirs)} with `head=`"
            if name in heads
            else names_for(name, theirs),
        ]
        for name in COMPONENTS
    ]
    assert table_below(ROOT / "docs" / "concepts.md", "## Components") == expected


def test_the_table_of_interventions_has_every_name():
    expected = [
        [
            f"`{name}`",
            names_for(name, INTERVENTION_SYNONYMS),
            INTERVENTIONS[name].formula,
            "yes" if OPERATORS[name].needs_source else "no",
            INTERVENTIONS[name].about,
        ]
        for name in BUILT_IN
    ]
    assert table_below(ROOT / "docs" / "concepts.md", "## Interventions") == expected


def test_the_docstring_of_a_slot_lists_every_name():
    """`help(vw.Slot)` has fields, components, interventions and synonyms in its first part."""
    text = pydoc.getdoc(vw.Slot)
    assert re.findall(r"^    (\w+):", text, re.M) == list(vw.Slot.model_fields)
    fields = re.split(r"^    (\w+):", text, flags=re.M)
    named = {
        field: set(re.findall(r"`(\w+)`", description))
        for field, description in zip(fields[1::2], fields[2::2], strict=True)
    }
    assert {*COMPONENTS, *COMPONENT_SYNONYMS, *HEAD_SYNONYMS, "head"} == named["component"]
    assert {*BUILT_IN, *INTERVENTION_SYNONYMS} == named["intervention"]


def test_every_python_fence_is_found():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert len(blocks(text)) == text.count("```py"), name_of(page)
    assert {"README.md", "docs/index.md", "docs/screen.md"} <= {name_of(p) for p in WITH_CODE}


def test_a_block_that_needs_the_hub_is_compiled_but_not_run():
    text = "x\n\n<!-- not run: needs the hub -->\n```python\na\n```\n\n```python\nb\n```\n"
    assert blocks(text) == [(4, False, "a\n"), (8, True, "b\n")]
    assert len(blocks(text + "\n" + text)) == 4


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
