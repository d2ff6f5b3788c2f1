"""The call of `vw.sweep` that gives a map, behind the script of its experiment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vene_widgets.codegen.literals import end_with_comma, format_call, to_source
from vene_widgets.codegen.native import slot_arguments

if TYPE_CHECKING:
    from vene_widgets.experiments.sweep_request import SweepRequest


def sweep_lines(sweep: SweepRequest, targets: Sequence[int] | None = None) -> list[str]:
    """The lines of a map's sweep; names of the experiment's script are in use.

    Args:
        sweep: complete, as it was swept.
        targets: ids of the tokens that it follows; None for its own choice.
    """
    positions = sweep.source_positions
    options = {
        "component": sweep.component,
        "head": sweep.head,
        "layers": list(sweep.layers) if isinstance(sweep.layers, tuple) else sweep.layers,
        "positions": list(sweep.positions)
        if isinstance(sweep.positions, tuple)
        else sweep.positions,
        "source_positions": list(positions) if isinstance(positions, tuple) else positions,
        "intervention": None if sweep.intervention == "vanilla" else sweep.intervention,
        "prompts": list(sweep.prompts) or None,
        "targets": None if targets is None else list(targets),
        "window": None if sweep.window == 1 else sweep.window,
    }
    source = f"sources[{to_source(sweep.source)}]" if sweep.source is not None else "base"
    lines = ["# the map", f"source = experiment.{source}"]
    arguments = ["model", "experiment.base", "source"]
    arguments += [
        f"{name}={to_source(value)}" for name, value in options.items() if value is not None
    ]
    if not sweep.fixed:
        return [*lines, *format_call("sweep = vw.sweep(", arguments)]
    lines = ["# the map: each tile has these slots as well", *lines[1:], "fixed = ["]
    for slot in sweep.fixed:
        lines += end_with_comma(format_call("vw.Slot(", slot_arguments(slot), 4))
    arguments += ["fixed=fixed", "sources=experiment.sources"]
    return [*lines, "]", *format_call("sweep = vw.sweep(", arguments)]
