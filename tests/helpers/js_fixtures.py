"""The messages that `js/dev/fixtures.ts` reads: real sessions on the built-in model, as JSON.

`tests/test_js_fixtures.py` checks the files; `VENE_RENEW_FIXTURES=1` rewrites them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer_testing import ask
from pairs_testing import capital_pairs

import vene_widgets as vw
from vene_widgets.explorer.wire.data_set_views import data_set

if TYPE_CHECKING:
    from vene_widgets.models import LanguageModel

FOLDER = Path(__file__).parents[2] / "js" / "dev" / "fixtures"

SPAIN, ITALY, FRANCE = (f"The capital of {name} is" for name in ("Spain", "Italy", "France"))
PATIENCE = 60.0  # seconds
MILLISECONDS = 10.0
"""In place of every duration, which no two runs share."""

WIDTH = 120
"""Characters of a line of the files."""


def generate(model: LanguageModel) -> dict[str, Any]:
    """Record the sessions.

    Args:
        model: the built-in one.

    Returns:
        Contents by file name without `.json`.
    """
    explorer = vw.explore(SPAIN, {"italy": ITALY}, model)
    try:
        explorer.wait(PATIENCE)
        traits = ("scene", "map", "answer", "past", "status")
        opened = {name: getattr(explorer, name) for name in traits}
        answers = {name: _answered(explorer, *slots) for name, slots in _experiments().items()}
        past = explorer.past
        contrasts = {
            "different": _contrast(explorer, "base", "intervened"),
            "equal": _contrast(explorer, "base", "base"),
        }
        held = _held(explorer)
        explorer.story(_story()).wait(PATIENCE)
        files = {
            "spain_italy": opened,
            "answers": answers,
            "past": past,
            "held": held,
            "contrasts": contrasts,
            "story": explorer.steps,
            "data_set": data_set(vw.sweep_pairs(model, capital_pairs())).model_dump(),
        }
    finally:
        explorer.close()
    return {name: _reproducible(content) for name, content in files.items()}


def _experiments() -> dict[str, tuple[vw.Slot, ...]]:
    """Slots by the name of their answer."""
    early = vw.Slot(layer=0, position=3, source="italy", source_position=3)
    late = vw.Slot(layer=2, position=4, source="italy", source_position=4)
    return {
        "single": (early.replace(layer=1),),
        "idle": (early.replace(layer=1, position=1, source_position=1),),
        "skipped": (early.replace(skip=True),),
        "weak": (early.replace(strength=0.5),),
        "grouped": (early.replace(group="A"), late.replace(group="A")),
        "several": (early, late),
    }


def _held(explorer: vw.Explorer) -> dict[str, Any]:
    """A slot held in the map: its answer and map, and the answers of two tiles with it in place."""
    held = vw.Slot(layer=0, component="mlp_output", position=3, intervention="zero", hold=True)
    alone = _answered(explorer, held)
    swept = explorer.map
    after = {
        f"{layer} {position}": _answered(
            explorer,
            held,
            vw.Slot(layer=layer, position=position, source="italy", source_position=position),
        )
        for layer, position in ((3, 4), (1, 1))
    }
    return {"alone": alone, "map": swept, "after": after}


def _story() -> list[vw.Step]:
    """Four steps: the base alone, a question, another base, a group."""

    def experiment(base: str, *slots: vw.Slot) -> vw.Experiment:
        return vw.Experiment(base=base, sources={"italy": ITALY}, slots=slots)

    def at(layer: int, position: int, group: str | None = None) -> vw.Slot:
        return vw.Slot(
            layer=layer, position=position, source="italy", source_position=position, group=group
        )

    return [
        vw.Step(
            title="What the model knows",
            experiment=experiment(SPAIN),
            text="Nothing is patched yet: the model reads the base.",
        ),
        vw.Step(
            title="An early swap",
            experiment=experiment(SPAIN, at(1, 3)),
            text="Patch “Spain” with the state of “Italy” after block 1.",
            question="What will the model say?",
            choices=["Madrid", "Rome", "Something else"],
            answer="Rome",
        ),
        vw.Step(
            title="Another country",
            experiment=experiment(FRANCE, at(4, 4)),
            question="And late, at the last token?",
        ),
        vw.Step(
            title="Two places at once", experiment=experiment(SPAIN, at(0, 3, "A"), at(2, 4, "A"))
        ),
    ]


def _answered(explorer: vw.Explorer, *slots: vw.Slot) -> dict[str, Any]:
    """Put slots on the screen; their experiment, how the kernel resolved it, and its answer."""
    explorer.experiment = vw.Experiment(base=SPAIN, sources={"italy": ITALY}, slots=slots)
    explorer.wait(PATIENCE)
    scene = explorer.scene
    return {
        "experiment": scene["experiment"],
        "slots": scene["slots"],
        "answer": explorer.answer,
    }


def _contrast(explorer: vw.Explorer, left: str, right: str) -> dict[str, Any]:
    """The comparison of two sides of the experiment on the screen."""
    alone = {"base": SPAIN}
    experiments = {"base": alone, "intervened": explorer.experiment.model_dump(mode="json")}
    sides = [{"title": title, "experiment": experiments[title]} for title in (left, right)]
    assert ask(explorer, kind="compare", left=sides[0], right=sides[1])["ok"]
    explorer.wait(PATIENCE)
    return explorer.contrast


def _reproducible(value: Any) -> Any:
    """Numbers to six significant digits, and without times."""
    if isinstance(value, dict):
        return {
            key: MILLISECONDS if key == "milliseconds" else _reproducible(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_reproducible(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def text_of(value: Any, indent: int = 0, before: int = 0) -> str:
    """JSON in which everything that fits into a line stands on one.

    Args:
        value: what to write.
        indent: spaces before its line.
        before: further characters before it, of its key.
    """
    flat = json.dumps(value, ensure_ascii=False)
    if indent + before + len(flat) < WIDTH or not value or not isinstance(value, (dict, list)):
        return flat
    pad = " " * (indent + 2)
    if isinstance(value, dict):
        keys = {key: f"{json.dumps(key)}: " for key in value}
        items = [start + text_of(value[key], indent + 2, len(start)) for key, start in keys.items()]
        opening, closing = "{}"
    else:
        items = [text_of(item, indent + 2) for item in value]
        opening, closing = "[]"
    inner = ",\n".join(pad + item for item in items)
    return f"{opening}\n{inner}\n{' ' * indent}{closing}"
