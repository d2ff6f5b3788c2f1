"""Controls: the same sweep where no effect of the wanted kind should be, pair by pair."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vene_widgets.engine.positions import common_ends
from vene_widgets.errors import RequestError, choose, shown
from vene_widgets.models import LanguageModel, Token
from vene_widgets.sweeps.pairs.chunks import PairRow
from vene_widgets.sweeps.pairs.planning import PairPlan

if TYPE_CHECKING:
    from torch import Tensor

CONTROLS = {
    "shuffled_pairs": "the source of another pair",
    "random_source": "a source with random tokens where it differs from the base",
    "matched_noise": "a random change of the same norm",
    "shuffled_weights": "a model with the same weights in random order",
}
"""Controls by name, and what takes the place of what was swept."""

TRIES = 64
"""Random draws of another pair before a pair is left without one."""

ORDER_BYTES = 8
"""Bytes of one index of a random order."""


def checked_controls(names: Iterable[str] | str | None, reads_source: bool) -> tuple[str, ...]:
    """The controls to run.

    Args:
        names: of `CONTROLS`, one or several; None for the default: the sources of other pairs, or
            noise if the intervention reads no source.
        reads_source: whether it does.

    Raises:
        RequestError: an unknown control, or one that needs sources where none are read.
    """
    if names is None:
        return ("shuffled_pairs",) if reads_source else ("matched_noise",)
    found = tuple(
        choose(name, CONTROLS, "control")
        for name in ((names,) if isinstance(names, str) else tuple(names))
    )
    if not reads_source and (bad := {"shuffled_pairs", "random_source"} & set(found)):
        raise RequestError(
            f"control {shown(min(bad))} changes the source, which this intervention does not read. "
            "Valid: 'matched_noise', 'shuffled_weights'."
        )
    return tuple(dict.fromkeys(found))


def control_rows(plan: PairPlan, name: str, seed: int) -> tuple[PairRow, ...]:
    """The pairs of one control; those that it cannot have are left out.

    Args:
        plan: the data set.
        name: one of `CONTROLS`.
        seed: of random draws; each pair has draws of its own.

    Raises:
        RequestError: no pair can have it.
    """
    makers: dict[str, Callable[[PairPlan, int], list[PairRow]]] = {
        "shuffled_pairs": _shuffled_pairs,
        "random_source": _random_sources,
        "matched_noise": _matched_noise,
        "shuffled_weights": _as_they_are,
    }
    rows = makers[name](plan, seed)
    if not rows:
        raise RequestError(
            f"control {name!r} needs {CONTROLS[name]}, and no pair has one. Choose other controls, "
            "or controls=()."
        )
    return tuple(rows)


def _shuffled_pairs(plan: PairPlan, seed: int) -> list[PairRow]:
    """Each pair with the source of another one whose prompts are as long."""
    groups: dict[tuple[int, int], list[PairRow]] = {}
    for row in plan.rows:
        groups.setdefault(row.lengths, []).append(row)
    found: list[PairRow] = []
    for row in plan.rows:
        group = groups[row.lengths]
        draws = np.random.default_rng((seed, row.pair)).integers(len(group), size=TRIES)
        others = [group[int(n)] for n in draws]
        other = next((o for o in others if o.source not in (row.source, row.base)), None)
        if other is not None:
            new = replace(row, source=other.source, source_positions=other.source_positions)
            found.append(new)
    return found


def _random_sources(plan: PairPlan, seed: int) -> list[PairRow]:
    """Each pair with random tokens where its source differs from its base."""
    words = ordinary_tokens(plan.model)
    found: list[PairRow] = []
    for row in plan.rows:
        places = differences(row.base, row.source)
        if places:
            draws = np.random.default_rng((seed, row.pair)).choice(words, len(places))
            source = list(row.source)
            for place, token in zip(places, draws, strict=True):
                source[place] = int(token)
            found.append(replace(row, source=tuple(source)))
    return found


def ordinary_tokens(model: LanguageModel) -> np.ndarray:
    """Ids of the tokens that a random source may have: all but the special ones."""
    tokenizer: Any = model.tokenizer
    special: set[int] = set(getattr(tokenizer, "all_special_ids", ()))
    known = len(tokenizer) if hasattr(tokenizer, "__len__") else model.sites.vocabulary
    count = min(known, model.sites.vocabulary)
    return np.array([token for token in range(count) if token not in special])


def differences(base: Sequence[int], source: Sequence[int]) -> list[int]:
    """The source positions whose tokens differ from the base's; of unequal prompts, a stretch.

    Args:
        base, source: ids of the tokens.
    """
    if len(base) == len(source):
        both = zip(base, source, strict=True)
        return [n for n, (one, other) in enumerate(both) if one != other]
    tokens = ([Token(0, token, "") for token in ids] for ids in (base, source))
    left, right = common_ends(*tokens)
    return list(range(left, len(source) - right))


def _matched_noise(plan: PairPlan, seed: int) -> list[PairRow]:
    """The pairs themselves, with a seed each."""
    return [replace(row, noise_seed=(seed << 32) + row.pair) for row in plan.rows]


def _as_they_are(plan: PairPlan, seed: int) -> list[PairRow]:
    """The pairs themselves: it is the model that differs."""
    del seed
    return list(plan.rows)


def shuffled_twin(model: LanguageModel, seed: int) -> LanguageModel:
    """A copy of a model in which the numbers of every weight stand in random order.

    Shapes, norms and the distribution of each weight's numbers are the same; what was learned is
    gone. Norms' gains and biases, which have one dimension, stay as they are.

    Args:
        model: it is not changed.
        seed: of the orders.

    Raises:
        RequestError: there is no memory for the copy.
    """
    steps = twin_steps(model, seed)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def twin_steps(model: LanguageModel, seed: int) -> Generator[None, None, LanguageModel]:
    """`shuffled_twin`, weight by weight; the model is free between two steps.

    Raises:
        RequestError: there is no memory for the copy.
    """
    _require_room(model)
    with model.lock:
        twin: Any = copy.deepcopy(model.model)
    generator = torch.Generator("cpu").manual_seed(seed)
    for weight in twin.parameters():
        if weight.ndim > 1:
            yield
            with torch.no_grad():
                _shuffle(weight, generator)
    return LanguageModel(f"{model.name}, shuffled weights", twin, model.tokenizer)


def _require_room(model: LanguageModel) -> None:
    """Check that a copy of a model, and the order of its largest weight, fit into memory.

    Raises:
        RequestError: there is too little memory; the message says how much there is, and how
            much is needed.
    """
    module: Any = model.model
    tensors = [*module.parameters(), *module.buffers()]
    sizes = {one.data_ptr(): one.numel() * one.element_size() for one in tensors}
    largest = max((one.numel() for one in tensors), default=0)
    need, free = sum(sizes.values()) + 2 * ORDER_BYTES * largest, _free_bytes(model.device)
    if free is not None and need > free:
        raise RequestError(
            f"control 'shuffled_weights' runs a copy of the model, which takes {need / 2**20:.3g} "
            f"MB, and {model.device.type} has {free / 2**20:.3g} MB free. Choose other controls."
        )


def _free_bytes(device: torch.device) -> int | None:
    """Memory that a copy may take, in bytes; None on systems that do not say."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) * 2**10 for line in lines if line.startswith("MemAvailable:")]
    return found[0] if found else None


def _shuffle(weight: Tensor, generator: torch.Generator) -> None:
    """Put the numbers of a tensor in random order, in place."""
    order = torch.randperm(weight.numel(), generator=generator, device="cpu")
    weight.copy_(weight.flatten()[order.to(weight.device)].view_as(weight))
