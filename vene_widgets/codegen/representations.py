"""A script in the words of representations: the tutorial's names, or the library pyvene's.

Both take one representation per slot, one source per slot or group, and locations in nested lists.
Skipped slots are left out, since a source that is skipped there skips its whole group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from vene_widgets.codegen.literals import call, source
from vene_widgets.codegen.native import model_lines
from vene_widgets.errors import RequestError
from vene_widgets.experiments.operators import BUILT_IN
from vene_widgets.interventions import INTERVENTIONS

if TYPE_CHECKING:
    from vene_widgets.engine.planning import Plan, PlannedSlot
    from vene_widgets.models import LanguageModel

DRAWN = (
    "noise",
    "rotated_space",
    "low_rank_rotated_space",
    "sigmoid_mask",
    "boundless_rotated_space",
    "pca_rotated_space",
)
"""Operators that begin with random numbers of the slot's own seed."""

Names = Literal["intervenable", "pyvene"]


def lines(model: LanguageModel, checked: Plan, face: Names) -> list[str]:
    """The script's lines, see `scripts.script`."""
    slots = checked.live
    for planned in slots:
        _check(planned, face)
    if any(planned.target is not None for planned in slots):
        raise RequestError(
            f"serial mode over several sources cannot be written in the names of {face}: there a "
            "source has the slots of one group. Choose vene_widgets."
        )
    if not slots:
        body = [f"logits = gpt2(**encode({source(checked.experiment.base)})).logits[0]"]
        head = ["import torch", "import vene_widgets as vw", ""]
        return [*head, *_objects(model), *_encode(), *_without_gradients(body), *_SHOW]
    keys = _keys(slots, face)
    subspaces = ["None" if slot.dims is None else source([list(slot.dims)]) for slot in slots]
    narrowed = any(slot.dims is not None for slot in slots)
    arguments = [
        f"encode({source(checked.experiment.base)})",
        "sources",
        '{"sources->base": (read, written)}',
        *(["subspaces=subspaces"] if narrowed else []),
    ]
    run = [*call("_, outputs = intervenable(", arguments), "logits = outputs.logits[0]"]
    return [
        *_imports(slots, face),
        "",
        *_objects(model),
        *(_weights(slots) if face == "intervenable" else []),
        "config = IntervenableConfig(",
        "    model_type=type(gpt2),",
        "    representations=[",
        *_representations(slots, keys, face),
        "    ],",
        ")",
        "intervenable = IntervenableModel(config, gpt2)",
        *(["intervenable.set_device(str(model.device))"] if face == "pyvene" else []),
        *_encode(),
        *call("sources = [", _sources(checked, keys), after="]"),
        *call("read = [", [_location(s, s.source_positions) for s in slots], after="]"),
        *call("written = [", [_location(s, s.base_positions) for s in slots], after="]"),
        *(call("subspaces = [", subspaces, after="]") if narrowed else []),
        *_without_gradients(run),
        *_SHOW,
    ]


_SHOW = [
    "for token in logits[-1].topk(10).indices.tolist():",
    "    print(repr(tokenizer.decode([token])), logits[-1].softmax(-1)[token].item())",
]


def _check(planned: PlannedSlot, face: Names) -> None:
    """Refuse what those names have no words for."""
    slot, what = planned.slot, f"slots[{planned.index}]"
    name = slot.intervention
    if slot.strength != 1:
        raise RequestError(
            f"{what} has strength {slot.strength:g}, for which {face} has no word; only 1 can be "
            "written there. Choose vene_widgets."
        )
    lacks = name == "mean" or name not in BUILT_IN
    drawn = face == "pyvene" and name in DRAWN
    if lacks or drawn:
        why = "draws its random numbers in another way" if drawn and not lacks else "has none such"
        raise RequestError(
            f"{what} is {name!r}: {face} {why}, so its result cannot be had there. Choose "
            f"{'vene_widgets' if lacks else 'vene_widgets or intervenable'}."
        )


def _class(planned: PlannedSlot) -> str:
    return INTERVENTIONS[planned.slot.intervention].__name__ + "Intervention"


def _imports(slots: tuple[PlannedSlot, ...], face: Names) -> list[str]:
    names = {"IntervenableConfig", "IntervenableModel", "RepresentationConfig"}
    names |= {_class(slot) for slot in slots}
    home = "pyvene" if face == "pyvene" else "vene_widgets.intervenable"
    drawn = face == "intervenable" and any(_is_drawn(slot) for slot in slots)
    made = call(f"from {home} import (", sorted(names))
    if len(made) == 1:
        made = [made[0].replace("import (", "import ").removesuffix(")")]
    ours = [
        "import vene_widgets as vw",
        *(made if face == "intervenable" else []),
        *(["from vene_widgets.interventions import Options"] if drawn else []),
    ]
    return ["import torch", *(made if face == "pyvene" else []), *ours]


def _objects(model: LanguageModel) -> list[str]:
    return [*model_lines(model), "tokenizer, gpt2 = model.tokenizer, model.model"]


def _encode() -> list[str]:
    return [
        "",
        "",
        "def encode(text):",
        '    ids = tokenizer(text, return_tensors="pt").input_ids',
        '    return {"input_ids": ids.to(model.device)}',
        "",
        "",
    ]


def _without_gradients(body: list[str]) -> list[str]:
    return ["with torch.no_grad():", *("    " + line for line in body)]


def _is_drawn(planned: PlannedSlot) -> bool:
    return planned.slot.intervention in DRAWN


def _weights(slots: tuple[PlannedSlot, ...]) -> list[str]:
    """A line for each operator that begins with random numbers; linked slots have one."""
    written: dict[str, str] = {}
    for slot in filter(_is_drawn, slots):
        o = slot.options
        given = {"rank": (o.rank, None), "scale": (o.scale, 1.0), "seed": (o.seed, 0)}
        said = [f"{k}={source(v)}" for k, (v, usual) in given.items() if v != usual]
        options = f"Options({', '.join([str(o.width), *said])})"
        written.setdefault(_variable(slot), f"{_class(slot)}({options}).to(model.device)")
    return [f"{name} = {made}" for name, made in written.items()]


def _variable(planned: PlannedSlot) -> str:
    return "".join(c if c.isalnum() else "_" for c in planned.weights_key)


def _representations(
    slots: tuple[PlannedSlot, ...], keys: list[int | None], face: Names
) -> list[str]:
    written = []
    for slot, key in zip(slots, keys, strict=True):
        unit = "pos" if slot.site.head is None else "h.pos"
        place = (slot.site.layer, slot.site.component, unit, len(slot.base_positions))
        arguments = [source(value) for value in place]
        if face == "intervenable" and _is_drawn(slot):
            arguments.append(f"intervention={_variable(slot)}")
        else:
            arguments.append(f"intervention_type={_class(slot)}")
        if key is not None:
            arguments.append(f"group_key={key}")
        if face == "pyvene" and slot.dims is not None:  # every dim is a part of its own
            width = slot.site.width
            arguments.append(f"subspace_partition=[[i, i + 1] for i in range({width})]")
        made = call("RepresentationConfig(", arguments, 8)
        written += [*made[:-1], made[-1] + ","]
    return written


def _keys(slots: tuple[PlannedSlot, ...], face: Names) -> list[int | None]:
    """The group of each slot, as a number; None where it has a source of its own.

    pyvene groups all slots or none, in ascending order. Where that does not fit, each slot reads a
    source run of its own, which gives the same numbers.
    """
    names = list(dict.fromkeys(s.slot.group for s in slots if s.slot.group is not None))
    keys = [None if s.slot.group is None else names.index(s.slot.group) for s in slots]
    if face == "pyvene" and (None in keys or keys != sorted(keys, key=lambda key: key or 0)):
        return [None] * len(slots)
    return keys


def _sources(checked: Plan, keys: list[int | None]) -> list[str]:
    """One source per group and per slot outside groups, in order of first appearance."""
    written: list[str] = []
    seen: set[int] = set()
    for slot, key in zip(checked.live, keys, strict=True):
        if key is not None and key in seen:
            continue
        seen.add(-1 if key is None else key)
        text = None if slot.source is None else checked.experiment.sources[slot.source]
        written.append("None" if text is None else f"encode({source(text)})")
    return written


def _location(planned: PlannedSlot, positions: tuple[int, ...]) -> str:
    """Where one slot reads or writes, for a batch of one; without a source, where it writes."""
    at = [list(positions or planned.base_positions)]
    if planned.site.head is None:
        return source(at)
    return source([[[planned.site.head]], at])
