# pyright: basic
# Basic: this is the traits' edge, and ipywidgets is untyped.
"""controls(): an explorer's choices as plain ipywidgets, to build your own dashboard.

The link is two-way: a widget's new value makes a new experiment, and a new experiment updates the
widgets, also one set by Python or by a click. An invalid value is refused with its error, and the
last good state stays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets
import pydantic

from vene_widgets.engine.planning import PlannedSlot, plan_experiment
from vene_widgets.errors import RequestError
from vene_widgets.experiments.components import ATTENTION_WEIGHT
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.slot import Slot
from vene_widgets.explorer.fields import WIDE, menu_field, position_options, set_menu, text_field
from vene_widgets.explorer.session.history_records import int_or_tuple
from vene_widgets.explorer.slot_edits import (
    add_slot,
    edit_slot,
    intervention_fields,
    joined_subspace,
    parse_subspace,
    remove_slot,
)
from vene_widgets.explorer.wire.error_text import error_text
from vene_widgets.interventions import INTERVENTIONS

if TYPE_CHECKING:
    from vene_widgets.explorer.widget import Explorer
    from vene_widgets.models import Token

ExperimentEdit = Callable[[Experiment], Experiment]
"""Makes the new experiment from the current one."""

MAX_SLIDER_LAYERS = 200
"""A slider chooses among up to this many layers; beyond that its steps would be too small."""


def controls(explorer: Explorer) -> Controls:
    """Make plain ipywidgets for an explorer's prompts and slots, linked both ways.

        panel = vw.controls(explorer)
        ipywidgets.HBox([explorer, panel])

    Args:
        explorer: from `explore`.

    Returns:
        A `VBox` whose parts can be rearranged: `panel.base`, `panel.sources["…"]`,
        `panel.rows[0].layer`, `panel.add`, `panel.error`, or `panel.children`.
    """
    return Controls(explorer)


class Controls(ipywidgets.VBox):
    """Made by `controls`.

    Attributes:
        base: text field of the base prompt.
        sources: name -> text field of that source prompt.
        rows: one `SlotControls` per slot, in the experiment's order.
        add: button for one more slot.
        error: label with the last error; empty if there is none.
    """

    def __init__(self, explorer: Explorer) -> None:
        self._explorer = explorer
        self._is_linked = False
        self._is_showing = False  # the widgets are being updated, and must not edit
        self._error_text = ""  # of the last refused edit
        self.base = text_field("Base")
        self.sources: dict[str, ipywidgets.Text] = {}
        self.rows: list[SlotControls] = []
        self.add = ipywidgets.Button(description="Add slot", icon="plus")
        self.error = ipywidgets.Label(layout=ipywidgets.Layout(min_height="28px"))
        self.error.style.text_color = "var(--jp-error-color1, #b3261e)"
        self._prompts: Any = ipywidgets.VBox()
        self._slots: Any = ipywidgets.VBox()
        self.base.observe(
            lambda change: self._edit(lambda now: now.replace(base=change["new"])), "value"
        )
        self.add.on_click(lambda _button: self._edit(add_slot))
        super().__init__([self.base, self._prompts, self._slots, self.add, self.error])
        explorer.observe(self._show, "experiment")
        explorer.observe(self._show_error, "status")
        self._is_linked = True
        self._show()

    def close(self) -> None:
        """Unlink the widgets from the explorer, which stays open, and remove them."""
        if self._is_linked:
            self._is_linked = False
            self._explorer.unobserve(self._show, "experiment")
            self._explorer.unobserve(self._show_error, "status")
            for row in self.rows:
                row.close()
        super().close()

    def _edit(self, edit: ExperimentEdit) -> None:
        """Change the explorer's experiment; an invalid one is refused with its error.

        Nothing happens while `_show` sets the widgets' values, which triggers their observers.
        """
        if self._is_showing:
            return
        self._error_text = ""
        try:
            self._explorer.experiment = edit(self._explorer.experiment)
        except (RequestError, pydantic.ValidationError) as error:
            self._error_text = error_text(error)
            self._show()  # back to the last good values
        self._show_error()

    def _show_error(self, _change: object = None) -> None:
        """Show the error of the last edit, else that of the explorer."""
        self.error.value = self._error_text or self._explorer.status.get("error") or ""

    def _show(self, change: object = None) -> None:
        """Set every widget to the explorer's experiment.

        Args:
            change: the trait's change; None if the experiment is not new.
        """
        if change is not None:
            self._error_text = ""
        experiment = self._explorer.experiment
        plan = plan_experiment(self._explorer.model, experiment)
        self._is_showing = True
        try:
            self.base.value = experiment.base
            if list(self.sources) != list(experiment.sources):
                self.sources = {name: self._source(name) for name in experiment.sources}
                self._prompts.children = tuple(self.sources.values())
            for name, field in self.sources.items():
                field.value = experiment.sources[name]
            for row in self.rows[len(plan.slots) :]:
                row.close()
            self.rows = self.rows[: len(plan.slots)]
            while len(self.rows) < len(plan.slots):
                self.rows.append(SlotControls(self._explorer, len(self.rows), self._edit))
            if self._slots.children != tuple(self.rows):
                self._slots.children = tuple(self.rows)
            for row, slot in zip(self.rows, plan.slots, strict=True):
                acts_on = plan.base if slot.target is None else plan.sources[slot.target]
                reads = plan.sources.get(slot.source or "", ())
                row.show(slot, acts_on, reads, tuple(experiment.sources))
        finally:
            self._is_showing = False

    def _source(self, name: str) -> ipywidgets.Text:
        """Make the text field of a source prompt."""
        field = text_field("Source" if name == "source" else f"Source {name}")
        field.observe(
            lambda change: self._edit(
                lambda now: now.replace(sources={**now.sources, name: change["new"]})
            ),
            "value",
        )
        return field


class SlotControls(ipywidgets.VBox):
    """The choices of one slot, each an ordinary widget.

    Attributes:
        layer, component, head, position, source, source_position, intervention, group, skip, hold:
            for the slot's fields of the same names. `head` is empty for components without heads.
        subspace: a multiple choice of the partition's names; without a partition a text field, in
            which `0:2` is a range and `0, 3, 5` are dims.
        remove: button that removes the slot.
    """

    def __init__(
        self, explorer: Explorer, index: int, apply: Callable[[ExperimentEdit], None]
    ) -> None:
        sites = explorer.model.sites
        self._sites = sites
        self._subspace_names = ipywidgets.SelectMultiple(description="Subspace", rows=3, style=WIDE)
        self._subspace_text = text_field("Subspace", placeholder="all; 0:2; 0, 3, 5")
        self._has_partition = False
        self.layer: Any = (
            ipywidgets.IntSlider(max=sites.layers - 1, continuous_update=False, style=WIDE)
            if sites.layers <= MAX_SLIDER_LAYERS
            else ipywidgets.Dropdown(options=range(sites.layers), style=WIDE)
        )
        self.layer.description = "Layer"
        self.component = menu_field("Component")
        self.component.options = [(name.replace("_", " "), name) for name in sites.components]
        self.head = menu_field("Head")
        self.position = menu_field("Base position")
        self.source = menu_field("Source")
        self.source_position = menu_field("Source position")
        self.intervention = menu_field("Intervention")
        self.intervention.options = list(INTERVENTIONS)
        self.group = text_field("Group", placeholder="none")
        self.skip = ipywidgets.Checkbox(description="Skip", style=WIDE)
        self.hold = ipywidgets.Checkbox(description="Hold in the map", style=WIDE)
        self.remove = ipywidgets.Button(description=f"Remove slot {index}", icon="times")
        self._last_line = ipywidgets.HBox([self.skip, self.remove])
        super().__init__(layout=ipywidgets.Layout(border_top="1px solid var(--jp-border-color2)"))

        def link(widget: Any, fields: Callable[[Any, Experiment, Slot], dict[str, Any]]) -> None:
            """Let a widget's new value edit the slot; `fields` computes the slot's new fields."""

            def on_change(change: dict[str, Any]) -> None:
                value = change["new"]
                apply(lambda now: edit_slot(now, index, fields(value, now, now.slots[index])))

            widget.observe(on_change, "value")

        for name in ("layer", "position", "source", "source_position", "skip", "hold"):
            link(getattr(self, name), lambda value, _now, _slot, name=name: {name: value})
        link(self.head, lambda value, _now, _slot: {"head": value})
        link(self.component, self._component_fields)
        link(self.intervention, intervention_fields)
        link(self.group, lambda value, _now, _slot: {"group": value.strip() or None})
        link(self._subspace_text, lambda value, _now, _slot: {"subspace": parse_subspace(value)})
        link(
            self._subspace_names,
            lambda value, _now, slot: {"subspace": joined_subspace(value, slot)},
        )
        self.remove.on_click(lambda _button: apply(lambda now: remove_slot(now, index)))
        self._arrange()

    @property
    def subspace(self) -> ipywidgets.SelectMultiple | ipywidgets.Text:
        """The slot's subspace widget: a multiple choice if it has a partition, else a text."""
        return self._subspace_names if self._has_partition else self._subspace_text

    def show(
        self,
        planned: PlannedSlot,
        acts_on: tuple[Token, ...],
        reads: tuple[Token, ...],
        sources: tuple[str, ...],
    ) -> None:
        """Set the widgets to a slot.

        Args:
            planned: the slot.
            acts_on: tokens of the prompt whose run it changes.
            reads: tokens of its source; empty if it has none.
            sources: names of all sources.
        """
        slot = planned.slot
        self.layer.value = planned.site.layer
        components = [(name.replace("_", " "), name) for name in self._sites.components]
        set_menu(self.component, components, slot.component)
        is_weight = planned.keys is not None
        heads = self._sites.heads if is_weight else self._sites.head_count(slot.component) or 0
        set_menu(self.head, [(str(head), head) for head in range(heads)], slot.head)
        self.head.disabled = heads == 0
        position = int_or_tuple(planned.base_positions)
        set_menu(self.position, position_options(acts_on), position)
        names = [(name, name) for name in sources]
        set_menu(self.source, names, planned.source or slot.source)
        reads_source = planned.source is not None
        self.source.disabled = self.source_position.disabled = not reads_source
        partner = int_or_tuple(planned.source_positions) if reads_source else None
        if planned.keys is not None:  # they are written in the source's position
            partner, reads = int_or_tuple(planned.keys), acts_on
            self.source_position.disabled = False
        set_menu(self.source_position, position_options(reads), partner)
        self.intervention.value = slot.intervention
        self.group.value = slot.group or ""
        self.skip.value = slot.skip
        self.hold.value = slot.hold
        self._show_subspace(planned)

    def _show_subspace(self, planned: PlannedSlot) -> None:
        """Set both subspace widgets, of which one is shown."""
        slot = planned.slot
        partition = slot.partition or {}
        dims_by_name = {name: set(range(start, stop)) for name, (start, stop) in partition.items()}
        self._has_partition = bool(dims_by_name)
        # All coordinates (dims None) are shown as no selection.
        selected = None if planned.dims is None else set(planned.dims)
        if self._subspace_names.options != tuple(dims_by_name):
            self._subspace_names.options = tuple(dims_by_name)
        self._subspace_names.value = tuple(
            name for name, dims in dims_by_name.items() if selected is not None and dims <= selected
        )
        text = slot.subspace or ""
        self._subspace_text.value = text if isinstance(text, str) else ", ".join(map(str, text))
        self._arrange()

    def _arrange(self) -> None:
        """Put the widgets in order, with the right one for the subspace."""
        children = (
            self.layer,
            self.component,
            self.head,
            self.position,
            self.source,
            self.source_position,
            self.intervention,
            self.subspace,
            self.group,
            self.hold,
            self._last_line,
        )
        if tuple(self.children) != children:
            self.children = children

    def _component_fields(self, value: str, _now: Experiment, slot: Slot) -> dict[str, Any]:
        """The slot's fields with another component; its head is clamped to the new range."""
        heads = self._sites.head_count(value)
        fields = {"component": value, "head": min(slot.head or 0, heads - 1) if heads else None}
        # Keys are no positions of the source.
        return fields | ({"source_position": None} if slot.component == ATTENTION_WEIGHT else {})


# experiments -------------------------------------------------------------------------------------


# widgets -----------------------------------------------------------------------------------------
