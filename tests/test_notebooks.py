"""Every notebook runs from top to bottom, and the check of its exercise tells right from wrong.

Notebooks are stored without outputs. The last cells are: one tagged `exercise`, which sets a name
to None; one tagged `check`, which prints a verdict; and the solution, folded in a `<details>`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
WIDGET = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"

WRONG = {
    "01_first_look": "last_layer_at_the_country = 1",
    "02_grouped_skipped_linked": "my_slots = [vw.Slot(layer=0, position=3)] * 2",
    "03_reading_a_map": "my_head = (3, 1)",
    "04_subspaces": "my_rank = 1",
    "05_your_own": "my_function = lambda base, source: (base + source) / 3",
    "06_a_lecture": 'my_step = vw.Step("Base", question="?", choices=["Madrid", "Rome"], '
    'answer="Rome", experiment=vw.Experiment(base=base, sources=source))',
    "07_classics": 'my_classic = "causal_tracing"',
    "08_many_pairs": "my_layer = 2",
}
"""For each notebook, a wrong answer to its exercise, which its check must refuse."""

MORE = {
    "02_grouped_skipped_linked": {
        "my_slots = [vw.Slot(layer=-6, position=3), "
        'vw.Slot(layer=0, position=" Spain", intervention="add")]': "Right: ",
        "my_slots = [vw.Slot(layer=5, position=-1), "
        'vw.Slot(layer=5, position=" is", intervention="add")]': "Not yet: the logits agree but "
        "the states differ",
        'my_slots = [vw.Slot(layer=0, position=3, intervention="add")] * 2': "Not yet: they "
        "commute. ",
        "my_slots = [vw.Slot(layer=0, position=3), vw.Slot(layer=0, position=4)]": "Not yet: "
        "expected 2 slots at 1 site, got 2 at 2.",
    },
}
"""Other answers, and the beginning of what the check says to each."""

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def tagged(notebook: Any, tag: str) -> Any:
    """The only cell with a tag."""
    (cell,) = [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]
    return cell


def solution(notebook: Any) -> str:
    """Code of the solution, from the folded part at the end of the notebook."""
    (code,) = re.findall(
        r"<details>\n<summary>Solution</summary>\n\n.*```python\n(.*)```\n.*</details>$",
        notebook.cells[-1].source,
        flags=re.DOTALL,
    )
    return code


def test_each_notebook_has_a_wrong_answer() -> None:
    assert [path.stem for path in NOTEBOOKS] == sorted(WRONG)


@every_notebook
def test_a_notebook_is_stored_without_outputs_and_names_its_kernel(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)


@every_notebook
def test_a_notebook_says_what_its_reader_learns_and_ends_with_an_exercise(path: Path) -> None:
    notebook = read(path)
    assert re.match(r"# .*you will be able to\n\n- ", notebook.cells[0].source, flags=re.DOTALL)
    assert re.match(r"\w+ = None", tagged(notebook, "exercise").source)
    name = tagged(notebook, "exercise").source.split()[0]
    assert name in tagged(notebook, "check").source
    assert re.search(rf"\b{name}\b", solution(notebook)) and name in WRONG[path.stem]


@pytest.mark.notebook
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@every_notebook
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    from nbclient import NotebookClient

    notebook = read(path)
    count, check = len(notebook.cells), tagged(notebook, "check")
    # Append the solution and other answers, each followed by the check, to run all in one kernel.
    more = MORE.get(path.stem, {})
    for answer in (solution(notebook), WRONG[path.stem], *more):
        notebook.cells += [
            nbformat.v4.new_code_cell(answer),
            nbformat.v4.new_code_cell(check.source),
        ]
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=180, resources=resources).execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr", output["text"]
    verdicts = [check, *notebook.cells[count + 1 :: 2]]
    texts = ["".join(output.text for output in cell.outputs) for cell in verdicts]
    starts = ["No answer yet: ", "Right", "Not yet: ", *more.values()]
    for text, start in zip(texts, starts, strict=True):
        assert text.startswith(start), texts
    assert_widgets_have_fallbacks(notebook)


def assert_widgets_have_fallbacks(notebook: Any) -> None:
    """Explorers are saved filled, with a static copy; others have a table or picture nearby."""
    states = notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code):
        near = [o.data for c in code[number : number + 2] for o in c.outputs if "data" in o]
        for data in [output.data for output in cell.outputs if WIDGET in output.get("data", {})]:
            state = states[data[WIDGET]["model_id"]]["state"]
            assert data["text/plain"]
            if "scene" in state:
                copies = [o.data["text/html"] for o in cell.outputs if "vene-static" in str(o)]
                assert copies and "data:image/png;base64," in copies[-1]
                assert state["map"]["done"] == state["map"]["total"] > 0
            else:
                assert any(kind in one for one in near for kind in ("image/png", "text/html"))
