"""HeldSlots: slots that every pass of a sweep has, ready to act on any number of rows.

A cell of a sweep is one row of a batch. What a slot does in a run of one prompt it does to each of
them: the same source vectors, the same noise, in the slots' order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch

from vene_widgets.engine.hooks import Edit, Place
from vene_widgets.engine.planning import Plan, PlannedSlot
from vene_widgets.engine.resume import LaterChange
from vene_widgets.engine.running import SlotEdits
from vene_widgets.engine.weights import planned_weights
from vene_widgets.errors import RequestError
from vene_widgets.experiments.operators import BUILT_IN
from vene_widgets.interventions import Intervention, blend

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.models import LanguageModel


@dataclass(frozen=True, eq=False)
class HeldSlot:
    """One slot with what it needs.

    Attributes:
        planned: the slot.
        module: its operator.
        source: the vectors that it reads, `(positions, width)`; None if it reads none.
        mask: which coordinates may change; None for all.
    """

    planned: PlannedSlot
    module: Intervention
    source: Tensor | None
    mask: Tensor | None

    def change(self, vectors: Tensor) -> Tensor:
        """The new vectors of some rows, both `(rows, positions, width)`."""
        source = None if self.source is None else self.source.expand_as(vectors)
        new = self.module(vectors, source, self.mask)
        return blend(vectors, new, self.planned.slot.strength)

    def change_flat(self, rows: int, vectors: Tensor, which: Tensor | None = None) -> Tensor:
        """The same of vectors `(n, width)`.

        Args:
            rows: how many rows there are.
            vectors: row by row, position by position.
            which: which of the rows' positions they are; None for all of them.
        """
        width, positions = vectors.shape[-1], len(self.planned.base_positions)
        whole = vectors
        if which is not None:
            # What is missing has no row, and the operators take each position by itself.
            whole = vectors.new_zeros(rows * positions, width).index_copy_(0, which, vectors)
        new = self.change(whole.view(rows, positions, width)).flatten(0, 1)
        return new if which is None else new.index_select(0, which)


@dataclass(frozen=True, eq=False)
class HeldSlots:
    """The live slots of an experiment that all act on its base.

    Attributes:
        slots: in the experiment's order.
        device: the model's.
        embeddings: the place where a trace begins, the first block's input.
    """

    slots: tuple[HeldSlot, ...]
    device: torch.device
    embeddings: Place
    _acted: set[int] = field(default_factory=set[int], repr=False)

    @property
    def may_resume(self) -> bool:
        """Whether a pass that is resumed can have them.

        Not with a user's operator, which may read several positions at once, nor with a change of
        attention's weights, which are no row of a block.
        """
        return all(
            acts_by_position(slot.planned) and slot.planned.site.place[1] != "weights"
            for slot in self.slots
        )

    def edits(self, rows: Sequence[int]) -> list[Edit]:
        """The changes to some rows of a batch, each a whole prompt."""
        return [self._edit(slot, rows) for slot in self.slots]

    def require_acted(self) -> None:
        """Check that every slot acted in a pass with its `edits`.

        Raises:
            RequestError: one of them did not, because no pass came by its site.
        """
        for slot in self.slots:
            if slot.planned.index not in self._acted:
                raise RequestError(
                    f"fixed[{slot.planned.index}] never acted: a pass of the model does not come "
                    f"by {slot.planned.site}. Choose another component."
                )

    def later_changes(self, cells: Sequence[int]) -> list[LaterChange]:
        """The changes to some cells of a resumed batch."""
        found: list[LaterChange] = []
        for slot in self.slots:
            if slot.planned.site.place == self.embeddings:
                continue  # the trace begins with what they have made of it
            positions = slot.planned.base_positions
            found.append(
                LaterChange(
                    site=slot.planned.site,
                    cells=[cell for cell in cells for _ in positions],
                    positions=[*positions] * len(cells),
                    change=partial(slot.change_flat, len(cells)),
                )
            )
        return found

    def _edit(self, slot: HeldSlot, rows: Sequence[int]) -> Edit:
        positions = slot.planned.base_positions

        def change(vectors: Tensor) -> Tensor:
            self._acted.add(slot.planned.index)
            return slot.change_flat(len(rows), vectors)

        return Edit(
            site=slot.planned.site,
            rows=torch.tensor([row for row in rows for _ in positions], device=self.device),
            positions=torch.tensor([*positions] * len(rows), device=self.device),
            change=change,
        )


def acts_by_position(slot: PlannedSlot) -> bool:
    """Whether a slot changes each position by what stands there alone: a user's need not."""
    return slot.slot.intervention in BUILT_IN


def hold(model: LanguageModel, plan: Plan) -> HeldSlots:
    """Get the live slots of an experiment ready: its sources run once each.

    Call it inside `own_model`.

    Args:
        model: the model in use.
        plan: the experiment; its slots all act on the base.

    Raises:
        RequestError: a source's run that never comes by a slot's site.
    """
    edits = SlotEdits(model, plan, planned_weights(model, plan, None))
    edits.read_sources()
    found: list[HeldSlot] = []
    for slot in plan.live:
        module, mask = edits.modules[slot.weights_key], None
        if slot.dims is not None:
            mask = torch.zeros(module.size(slot.options), dtype=torch.bool, device=model.device)
            mask[list(slot.dims)] = True
        found.append(HeldSlot(slot, module, edits.values.get(slot.index), mask))
    return HeldSlots(tuple(found), model.device, model.sites.site(0, "block_input").place)
