"""Scripts in terms of representations: pyvene's names, over this package's engine or pyvene's own.

Both APIs take one representation per slot, one source per slot or group, and locations in nested
lists. Skipped slots are left out: there, skipping a source would skip its whole group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from vene_widgets.codegen.literals import end_with_comma, format_call, to_source
from vene_widgets.codegen.native import load_model_lines
from vene_widgets.codegen.pyvene_limits import pyvene_gap
from vene_widgets.errors import RequestError
from vene_widgets.experiments.components import ATTENTION_WEIGHT
from vene_widgets.experiments.operators import BUILT_IN
from vene_widgets.interventions import INTERVENTIONS

if TYPE_CHECKING:
    from vene_widgets.engine.planning import Plan, PlannedSlot
    from vene_widgets.models import LanguageModel

RANDOM = (
    "noise",
    "rotated_space",
    "low_rank_rotated_space",
    "sigmoid_mask",
    "boundless_rotated_space",
    "pca_rotated_space",
)
"""Operators that start from random numbers, drawn from the slot's seed."""

PyveneFace: TypeAlias = Literal["intervenable", "pyvene"]
"""The faces whose scripts are written in pyvene's names."""


def write_lines(model: LanguageModel, plan: Plan, face: PyveneFace) -> list[str]:
    """The script's lines, see `codegen.script.script`."""
    slots = plan.live
    for slot in slots:
        _check_slot(model, slot, face)
    if any(slot.target is not None for slot in slots):
        raise RequestError(
            f"serial mode over several sources cannot be written in the names of {face}, where a "
            "source belongs to the slots of one group. Choose vene_widgets."
        )
    base = f"encode({to_source(plan.experiment.base)})"
    if not slots:
        return [
            *("import torch", "import vene_widgets as vw", ""),
            *_load_lines(model),
            *_ENCODE,
            *_without_gradients([f"logits = gpt2(**{base}).logits[0]"]),
            *_PRINT_TOP_TOKENS,
        ]
    keys = _group_keys(slots, face)
    subspaces = ["None" if slot.dims is None else to_source([list(slot.dims)]) for slot in slots]
    has_subspaces = any(slot.dims is not None for slot in slots)
    arguments = [
        base,
        "sources",
        '{"sources->base": (read, written)}',
        *(["subspaces=subspaces"] if has_subspaces else []),
    ]
    run = [*format_call("_, outputs = intervenable(", arguments), "logits = outputs.logits[0]"]
    source_locations = [_location(slot, slot.source_positions) for slot in slots]
    base_locations = [_location(slot, slot.base_positions) for slot in slots]
    return [
        *_import_lines(slots, face),
        "",
        *_load_lines(model),
        *(_operator_lines(slots) if face == "intervenable" else []),
        "config = IntervenableConfig(",
        "    model_type=type(gpt2),",
        "    representations=[",
        *_representation_lines(slots, keys, face),
        "    ],",
        ")",
        "intervenable = IntervenableModel(config, gpt2)",
        *(["intervenable.set_device(str(model.device))"] if face == "pyvene" else []),
        *_ENCODE,
        *format_call("sources = [", _sources(plan, keys), end="]"),
        *format_call("read = [", source_locations, end="]"),
        *format_call("written = [", base_locations, end="]"),
        *(format_call("subspaces = [", subspaces, end="]") if has_subspaces else []),
        *_without_gradients(run),
        *_PRINT_TOP_TOKENS,
    ]


_ENCODE = [
    "",
    "",
    "def encode(text):",
    '    ids = tokenizer(text, return_tensors="pt").input_ids',
    '    return {"input_ids": ids.to(model.device)}',
    "",
    "",
]

_PRINT_TOP_TOKENS = [
    "for token in logits[-1].topk(10).indices.tolist():",
    "    print(repr(tokenizer.decode([token])), logits[-1].softmax(-1)[token].item())",
]


def _check_slot(model: LanguageModel, planned: PlannedSlot, face: PyveneFace) -> None:
    """Refuse a slot that the API has no counterpart for.

    Raises:
        RequestError: a strength, an operator that is missing or draws other random numbers, or a
            site that pyvene's tables do not describe as it is.
    """
    slot, what = planned.slot, f"slots[{planned.index}]"
    name = slot.intervention
    if slot.component == ATTENTION_WEIGHT:
        raise RequestError(
            f"{what} is on {ATTENTION_WEIGHT!r}: {face} has no keys in its locations. Choose "
            "vene_widgets."
        )
    own = {"vector": slot.vector, "prompts": slot.prompts, "source_layer": slot.source_layer}
    for field, value in own.items():
        if value is not None and value != () and name != "mean":
            raise RequestError(
                f"{what} has {field}, but {face} reads a source's run at the slot's own layer. "
                "Choose vene_widgets."
            )
    if slot.strength != 1:
        raise RequestError(
            f"{what} has strength {slot.strength:g}, but {face} has no strength: it must be 1 "
            "there. Choose vene_widgets."
        )
    if name == "mean" or name not in BUILT_IN:
        raise RequestError(
            f"{what} is {name!r}: {face} has no such intervention. Choose vene_widgets."
        )
    if face == "pyvene" and name in RANDOM:
        raise RequestError(
            f"{what} is {name!r}: {face} draws its random numbers differently, so the result would "
            "differ. Choose vene_widgets or intervenable."
        )
    if face == "pyvene" and (gap := pyvene_gap(model, planned)) is not None:
        raise RequestError(
            f"{what} cannot be run by pyvene: {gap}. Choose vene_widgets or intervenable."
        )


def _class_name(planned: PlannedSlot) -> str:
    return INTERVENTIONS[planned.slot.intervention].__name__ + "Intervention"


def _import_lines(slots: tuple[PlannedSlot, ...], face: PyveneFace) -> list[str]:
    """The script's imports, in the order that a formatter gives them."""
    names = {"IntervenableConfig", "IntervenableModel", "RepresentationConfig"}
    names |= {_class_name(slot) for slot in slots}
    library = "pyvene" if face == "pyvene" else "vene_widgets.intervenable"
    lines = format_call(f"from {library} import (", sorted(names))
    if len(lines) == 1:  # one line needs no parentheses
        lines = [lines[0].replace("import (", "import ").removesuffix(")")]
    if face == "pyvene":
        return ["import torch", *lines, "import vene_widgets as vw"]
    options = ["from vene_widgets.interventions import Options"]
    has_random = any(_is_random(slot) for slot in slots)
    return [
        "import torch",
        "import vene_widgets as vw",
        *lines,
        *(options if has_random else []),
    ]


def _load_lines(model: LanguageModel) -> list[str]:
    return [*load_model_lines(model), "tokenizer, gpt2 = model.tokenizer, model.model"]


def _without_gradients(body: list[str]) -> list[str]:
    return ["with torch.no_grad():", *("    " + line for line in body)]


def _is_random(planned: PlannedSlot) -> bool:
    return planned.slot.intervention in RANDOM


def _operator_lines(slots: tuple[PlannedSlot, ...]) -> list[str]:
    """One line per operator that starts from random numbers; linked slots share it."""
    calls: dict[str, str] = {}
    for slot in filter(_is_random, slots):
        o = slot.options
        values = {"rank": (o.rank, None), "scale": (o.scale, 1.0), "seed": (o.seed, 0)}
        arguments = [
            str(o.width),
            *(f"{k}={to_source(v)}" for k, (v, default) in values.items() if v != default),
        ]
        options = f"Options({', '.join(arguments)})"
        calls.setdefault(_variable(slot), f"{_class_name(slot)}({options}).to(model.device)")
    return [f"{name} = {call}" for name, call in calls.items()]


def _variable(planned: PlannedSlot) -> str:
    """The operator's variable in the script, from its weights' key."""
    return "".join(c if c.isalnum() else "_" for c in planned.weights_key)


def _representation_lines(
    slots: tuple[PlannedSlot, ...], keys: list[int | None], face: PyveneFace
) -> list[str]:
    lines: list[str] = []
    for slot, key in zip(slots, keys, strict=True):
        unit = "pos" if slot.site.head is None else "h.pos"
        place = (slot.site.layer, slot.site.component, unit, len(slot.base_positions))
        arguments = [to_source(value) for value in place]
        if face == "intervenable" and _is_random(slot):
            arguments.append(f"intervention={_variable(slot)}")
        else:
            arguments.append(f"intervention_type={_class_name(slot)}")
        if key is not None:
            arguments.append(f"group_key={key}")
        # pyvene addresses subspaces by partition only: make every dim a part, so that its index
        # is the dim.
        if face == "pyvene" and slot.dims is not None:
            width = slot.site.width
            arguments.append(f"subspace_partition=[[i, i + 1] for i in range({width})]")
        lines += end_with_comma(format_call("RepresentationConfig(", arguments, 8))
    return lines


def _group_keys(slots: tuple[PlannedSlot, ...], face: PyveneFace) -> list[int | None]:
    """The group of each slot, as a number; None for a slot with its own source run.

    pyvene groups all slots or none, in ascending order. If the experiment does not, every slot gets
    its own source run, which yields the same numbers.
    """
    groups = [slot.slot.group for slot in slots]
    names = list(dict.fromkeys(group for group in groups if group is not None))
    keys = [None if group is None else names.index(group) for group in groups]
    if face == "pyvene" and (None in keys or keys != sorted(keys, key=lambda key: key or 0)):
        return [None] * len(slots)
    return keys


def _sources(plan: Plan, keys: list[int | None]) -> list[str]:
    """One source per group and per slot outside groups, in order of first appearance."""
    sources: list[str] = []
    groups: set[int] = set()
    for slot, key in zip(plan.live, keys, strict=True):
        if key is not None:
            if key in groups:
                continue
            groups.add(key)
        text = None if slot.source is None else plan.experiment.sources[slot.source]
        sources.append("None" if text is None else f"encode({to_source(text)})")
    return sources


def _location(planned: PlannedSlot, positions: tuple[int, ...]) -> str:
    """Nested lists of one slot's positions, for a batch of one.

    Args:
        planned: the slot.
        positions: its base or source positions; empty without a source, in which case the base's
            are written.
    """
    at = [list(positions or planned.base_positions)]
    if planned.site.head is None:
        return to_source(at)
    return to_source([[[planned.site.head]], at])
