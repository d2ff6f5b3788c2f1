"""Prompts, cells of maps, and whole components by hand: shared by tests of the model families."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import families
import torch
from by_hand import distance, plain_logits
from families import CONFIGS, PartByHand
from torch import Tensor, nn

import vene_widgets as vw
from vene_widgets.codegen.script import Face, script
from vene_widgets.models import wrap

BASE = "The capital of Spain is"
ITALY = "The capital of Italy is"  # differs in one token
LONGER = " Madrid capital capital of Italy is"  # differs everywhere, in length too
TOLERANCE = 1e-5  # of the logits' range, against hooks by hand
MAP_TOLERANCE = 1e-4  # of the logits' range, of a map's cell against a run of its own
PLAIN_VARIANTS = [name for name in CONFIGS if "-" not in name]  # one per family
FUSED = ("gpt2", "gpt_neox", "bloom", "phi3")

Models = Callable[..., vw.LanguageModel]
"""The fixture `models`: a name of `CONFIGS` and options -> a model that other tests use too."""

Build = Callable[..., vw.LanguageModel]
"""The fixture `build`: the same -> a model of the test's own."""


def shared_models(tokenizer: Any, device: torch.device) -> Models:
    """What the fixture `models` is: any of `CONFIGS`, wrapped; each is built once."""
    known: dict[tuple[str, str], vw.LanguageModel] = {}

    def get(name: str, attention: str = "", **options: Any) -> vw.LanguageModel:
        key = (name, f"{attention} {options}")
        if key not in known:
            built = families.build(name, len(tokenizer), attention, **options).to(device)
            known[key] = wrap(built, tokenizer, name)
        return known[key]

    return get


def whole_components(model: vw.LanguageModel) -> list[str]:
    return [name for name in model.sites.components if model.sites.head_count(name) is None]


def last_head(model: vw.LanguageModel, component: str) -> int | None:
    count = model.sites.head_count(component)
    return None if count is None else count - 1


def slot_at(component: str, layer: int, swept: vw.Sweep, column: int, **fields: Any) -> vw.Slot:
    """The slot of one cell of a sweep."""
    return vw.Slot(
        component=component,
        layer=layer,
        position=swept.plan.positions[column],
        source_position=swept.plan.source_positions[column],
        **fields,
    )


@contextmanager
def seen(module: nn.Module, side: str) -> Generator[list[Tensor], None, None]:
    """Collect the inputs or outputs of one of the model's own modules."""
    found: list[Tensor] = []

    def note(_module: Any, args: Any, output: Any) -> None:
        found.append(output if side == "output" else args[0])

    handle = module.register_forward_hook(note)
    try:
        yield found
    finally:
        handle.remove()


def states(model: vw.LanguageModel, prompt: str, component: str, layer: int) -> Tensor:
    """A whole component by hand, `(positions, width)`."""
    hand = PartByHand(model, prompt, prompt, component)
    return hand.states(layer).flatten(1)


def check_map_is_runs(
    model: vw.LanguageModel,
    base: str = BASE,
    source: str = LONGER,
    component: str = "block_output",
    tolerance: float = MAP_TOLERANCE,
) -> None:
    """Cells of a map, in three layers, are runs of their own, and one of them has an effect."""
    swept = vw.sweep(model, base, source, component)
    plan, cache, effects = swept.plan, vw.ActivationCache(), list[float]()
    plain = plain_logits(model, base)[-1]
    last = len(plan.positions) - 1
    for layer, column in ((0, 3), (1, 0), (1, last), (2, last)):
        slot = vw.Slot(
            layer=layer,
            component=component,
            position=plan.positions[column],
            source_position=plan.source_positions[column],
        )
        experiment = vw.Experiment(base=base, sources=source, slots=[slot])
        run = vw.run(model, experiment, cache=cache, logits_to_keep=1)
        where = (component, layer, column)
        assert distance(swept.logits[layer, column], run.logits[-1]) <= tolerance, where
        effects.append(distance(run.logits[-1], plain))
    assert max(effects) > 10 * MAP_TOLERANCE, "patches that changed nothing"


def numbers_of(model: vw.LanguageModel, experiment: vw.Experiment, face: Face) -> Tensor:
    """The result of a script for a wrapped model."""
    names: dict[str, Any] = {"hf_model": model.model, "tokenizer": model.tokenizer}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(script(model, experiment, face), "script", "exec"), names)  # noqa: S102
    return names["logits"]
