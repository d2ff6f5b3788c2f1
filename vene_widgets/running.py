"""run(): the source runs, then the base run with every slot in place."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch

from vene_widgets import frames
from vene_widgets.errors import RequestError
from vene_widgets.experiment import Experiment, PlannedSlot, plan
from vene_widgets.hooks import Edit, Touch, intervene, record, record_head_input, undisturbed
from vene_widgets.interventions import INTERVENTIONS

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from vene_widgets.models import LanguageModel, Token
    from vene_widgets.sites import Site


@dataclass(frozen=True)
class Receipt:
    """Proof of what one slot did.

    Attributes:
        planned: the slot, its site and its positions as ints.
        touch: what its hook reported; None when it did not fire.
    """

    planned: PlannedSlot
    touch: Touch | None

    @property
    def fired(self) -> bool:
        """Whether the slot's hook ran."""
        return self.touch is not None

    @property
    def words(self) -> str:
        """One sentence for the screen."""
        slot, site = self.planned.slot, self.planned.site
        what = f"slot {self.planned.index} ({site})"
        if slot.skip:
            return f"{what} is skipped."
        if self.touch is None:
            return f"{what} did not fire: the forward pass never reached it."
        if self.touch.size == 0:
            return f"{what} changed nothing: base and source hold the same vectors there."
        return f"{what} replaced {self.touch.rows} vectors, a change of norm {self.touch.size:.4g}."


# A run without slots has them too.
RECEIPT_COLUMNS = (
    *("slot", "layer", "component", "head", "source", "base_positions", "source_positions"),
    *("skipped", "fired", "shape", "rows", "size", "others_equal"),
)


@dataclass(frozen=True, eq=False)
class Run:
    """What one forward pass with an experiment gave.

    Attributes:
        model: the model that ran.
        experiment: what was asked.
        tokens: the base prompt's tokens.
        logits: `(positions, vocabulary)`, on the model's device and in its dtype.
        last_hidden_state: `(positions, d_model)`, what the output head reads.
        states: `(layers, positions, d_model)`, every block's output, changes included.
        record: one `Receipt` per slot, skipped ones too.
        source_runs: forward passes over source prompts that this run needed.
        milliseconds: wall time of all its forward passes.
    """

    model: LanguageModel = field(repr=False)
    experiment: Experiment
    tokens: tuple[Token, ...]
    logits: Tensor
    last_hidden_state: Tensor
    states: Tensor
    record: tuple[Receipt, ...]
    source_runs: int
    milliseconds: float

    def top(self, k: int = 10) -> pd.DataFrame:
        """The k most likely next tokens: rank, token, token_id, probability, logit."""
        return frames.top_frame(self.logits[-1], self.model.token_text, k)

    @property
    def frame(self) -> pd.DataFrame:
        """The whole next-token distribution, most likely first; columns as in `top`."""
        return self.top(self.logits.shape[-1])

    @property
    def receipts(self) -> pd.DataFrame:
        """One row per slot: what it was meant to do and what it did.

        Columns: slot, layer, component, head, source, base_positions, source_positions, skipped,
        fired, shape, rows, size (norm of the change), others_equal (everything else bit-equal).
        """
        import pandas as pd

        rows = []
        for receipt in self.record:
            p, touch = receipt.planned, receipt.touch
            rows.append(
                {
                    "slot": p.index,
                    "layer": p.site.layer,
                    "component": p.site.component,
                    "head": p.site.head,
                    "source": p.source,
                    "base_positions": p.base_positions,
                    "source_positions": p.source_positions,
                    "skipped": p.slot.skip,
                    "fired": receipt.fired,
                    "shape": touch.shape if touch else None,
                    "rows": touch.rows if touch else 0,
                    "size": touch.size if touch else 0.0,
                    "others_equal": touch.others_equal if touch else True,
                }
            )
        return pd.DataFrame(rows, columns=list(RECEIPT_COLUMNS))

    def __repr__(self) -> str:
        best = self.top(1).iloc[0]
        slots = self.experiment.slots
        return (
            f"<Run of {self.experiment.base!r}: {len(slots)} slots, "
            f"{len(self.experiment.live)} live; next {best.token!r} {best.probability:.3f}>"
        )

    def _repr_html_(self) -> str:
        import html

        return f"<p>{html.escape(repr(self))}</p>{self.top(5).to_html(index=False)}"


def run(model: LanguageModel, experiment: Experiment, *, share_sources: bool = True) -> Run:
    """Run an experiment: every source it needs, then the base with its slots in place.

    Each forward pass has batch size 1 and goes over the whole prompt, so equal experiments give
    bit-equal results.

    Args:
        model: from `load` or `wrap`; it is left exactly as it was.
        experiment: what to run.
        share_sources: True runs each distinct source prompt once and lets all slots read it. False
            runs the source prompt anew for every slot outside a group, as an honest counterpart to
            grouping: slots of one group still share a run.

    Raises:
        RequestError: the experiment does not fit the model; the message names the slot.
    """
    checked = plan(model, experiment)
    readers: dict[tuple[str, str], list[PlannedSlot]] = {}
    for slot in checked.live:
        if slot.source is not None:
            readers.setdefault(_source_run(experiment, slot, share_sources), []).append(slot)
    start = time.perf_counter()
    with undisturbed(model):
        values: dict[int, Tensor] = {}
        for (prompt, _), slots in readers.items():
            states = record_states(model, prompt, [slot.site for slot in slots])
            for slot in slots:
                values[slot.index] = states[slot.site][0, list(slot.source_positions)]
        touched: dict[int, Touch] = {}
        edits = [
            _edit(model, slot, values.get(slot.index), partial(touched.__setitem__, slot.index))
            for slot in checked.live
        ]
        blocks = [model.sites.site(i, "block_output") for i in range(model.sites.layers)]
        ids = _ids(model, checked.base)
        with (
            intervene(model, edits),
            record(model, blocks) as states,
            record_head_input(model) as last,
        ):
            logits = model.model(input_ids=ids, use_cache=False, return_dict=True).logits
    return Run(
        model=model,
        experiment=experiment,
        tokens=checked.base,
        logits=logits[0],
        last_hidden_state=last[-1][0],
        states=torch.stack([states[block][0] for block in blocks]),
        record=tuple(Receipt(slot, touched.get(slot.index)) for slot in checked.slots),
        source_runs=len(readers),
        milliseconds=1000 * (time.perf_counter() - start),
    )


def record_states(
    model: LanguageModel, prompt: str, sites: Sequence[Site]
) -> Mapping[Site, Tensor]:
    """Run a prompt as it is and return what stands at some sites, `(1, positions, width)` each."""
    with undisturbed(model), record(model, sites) as found:
        model.model(input_ids=_ids(model, model.tokens(prompt)), use_cache=False, return_dict=True)
    missing = [site for site in sites if site not in found]
    if missing:
        raise RequestError(
            f"{missing[0]} was never reached by a forward pass of {model.name}, so there is "
            "nothing to copy from it. Choose another component."
        )
    return found


def _source_run(experiment: Experiment, slot: PlannedSlot, share_sources: bool) -> tuple[str, str]:
    """Key of the source run that a slot reads: slots with equal keys share one forward pass."""
    prompt = experiment.sources[slot.source or ""]
    if share_sources:
        return prompt, ""
    group = slot.slot.group
    return prompt, f"slot {slot.index}" if group is None else f"group {group}"


def _edit(
    model: LanguageModel,
    planned: PlannedSlot,
    source: Tensor | None,
    report: Callable[[Touch], None],
) -> Edit:
    """The hook-level change that one live slot stands for."""
    apply = INTERVENTIONS[planned.slot.intervention].apply
    positions = torch.tensor(planned.base_positions, device=model.device)
    return Edit(
        site=planned.site,
        rows=torch.zeros_like(positions),
        positions=positions,
        change=lambda vectors: apply(vectors, source),
        report=report,
    )


def _ids(model: LanguageModel, tokens: Sequence[Token]) -> Tensor:
    """Token ids as a batch of one, `(1, positions)`, on the model's device."""
    return torch.tensor([[token.id for token in tokens]], device=model.device)
