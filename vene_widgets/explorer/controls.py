"""controls(): an explorer's choices as plain ipywidgets, to build a dashboard of one's own from.

Both ways: a widget that is moved makes a new experiment, and a new experiment, wherever it comes
from, moves the widgets. What does not fit is refused in words, and the last good state stays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets
import pydantic

from vene_widgets.engine.planning import PlannedSlot, plan
from vene_widgets.errors import RequestError
from vene_widgets.experiments.experiment import Experiment, Slot
from vene_widgets.experiments.operators import OPERATORS
from vene_widgets.explorer.wire.error_text import explain
from vene_widgets.explorer.wire.views import intervention_info
from vene_widgets.interventions import INTERVENTIONS
from vene_widgets.tables.frames import visible

if TYPE_CHECKING:
    from vene_widgets.explorer.widget import Explorer
    from vene_widgets.models import Token

Change = Callable[[Experiment], Experiment]

SLIDER_LAYERS = 200
"""Up to so many layers the choice is a slider; beyond that one step of it would be too small."""

_WIDE = {"description_width": "112px"}


def controls(explorer: Explorer) -> Controls:
    """The explorer's prompts and slots as plain ipywidgets, linked both ways.

        panel = vw.controls(explorer)
        ipywidgets.HBox([explorer, panel])

    Args:
        explorer: from `explore`.

    Returns:
        a `VBox` whose parts may be taken out and arranged anew: `panel.base`, `panel.sources["…"]`,
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
        error: label with what was refused last; empty when all is well.
    """

    def __init__(self, explorer: Explorer) -> None:
        self._explorer = explorer
        self._is_showing = False
        self._refused = ""
        self.base = _text("Base")
        self.sources: dict[str, ipywidgets.Text] = {}
        self.rows: list[SlotControls] = []
        self.add = ipywidgets.Button(description="Add slot", icon="plus")
        self.error = ipywidgets.Label(layout=ipywidgets.Layout(min_height="28px"))
        self.error.style.text_color = "var(--jp-error-color1, #b3261e)"
        self._prompts: Any = ipywidgets.VBox()
        self._slots: Any = ipywidgets.VBox()
        self.base.observe(
            lambda change: self._change(lambda now: now.replace(base=change["new"])), "value"
        )
        self.add.on_click(lambda _button: self._change(_added))
        super().__init__([self.base, self._prompts, self._slots, self.add, self.error])
        explorer.observe(self._show, "experiment")
        explorer.observe(self._say, "status")
        self._show()

    def close(self) -> None:
        """Part from the explorer, which stays as it is, and remove the widgets."""
        if self._explorer is not None:
            self._explorer.unobserve(self._show, "experiment")
            self._explorer.unobserve(self._say, "status")
            for row in self.rows:
                row.close()
        super().close()

    def _change(self, make: Change) -> None:
        """Ask for another experiment, unless it is the experiment that moves the widgets."""
        if self._is_showing:
            return
        self._refused = ""
        try:
            self._explorer.experiment = make(self._explorer.experiment)
        except (RequestError, pydantic.ValidationError) as error:
            self._refused = explain(error)
            self._show()
        self._say()

    def _say(self, _change: object = None) -> None:
        self.error.value = self._refused or self._explorer.status.get("error") or ""

    def _show(self, change: object = None) -> None:
        """Let every widget say what the experiment is."""
        if change is not None:
            self._refused = ""
        experiment = self._explorer.experiment
        planned = plan(self._explorer.model, experiment)
        self._is_showing = True
        try:
            self.base.value = experiment.base
            if list(self.sources) != list(experiment.sources):
                self.sources = {name: self._source(name) for name in experiment.sources}
                self._prompts.children = tuple(self.sources.values())
            for name, field in self.sources.items():
                field.value = experiment.sources[name]
            for row in self.rows[len(planned.slots) :]:
                row.close()
            self.rows = self.rows[: len(planned.slots)]
            while len(self.rows) < len(planned.slots):
                self.rows.append(SlotControls(self._explorer, len(self.rows), self._change))
            if self._slots.children != tuple(self.rows):
                self._slots.children = tuple(self.rows)
            for row, slot in zip(self.rows, planned.slots, strict=True):
                acts_on = planned.base if slot.target is None else planned.sources[slot.target]
                reads = planned.sources.get(slot.source or "", ())
                row.show(slot, acts_on, reads, tuple(experiment.sources))
        finally:
            self._is_showing = False

    def _source(self, name: str) -> ipywidgets.Text:
        field = _text("Source" if name == "source" else f"Source {name}")
        field.observe(
            lambda change: self._change(
                lambda now: now.replace(sources={**now.sources, name: change["new"]})
            ),
            "value",
        )
        return field


class SlotControls(ipywidgets.VBox):
    """The choices of one slot, each an ordinary widget.

    Attributes:
        layer, component, head, position, source, source_position, intervention, group, skip: of the
            slot's fields of the same names. `head` is empty for components without heads.
        subspace: a multiple choice of the partition's names; a text field where nothing is named,
            in which `0:2` is a range and `0, 3, 5` are dims.
        remove: button that takes the slot out.
    """

    def __init__(self, explorer: Explorer, index: int, change: Callable[[Change], None]) -> None:
        sites = explorer.model.sites
        self._sites = sites
        self._named = ipywidgets.SelectMultiple(description="Subspace", rows=3, style=_WIDE)
        self._typed = _text("Subspace", placeholder="all; 0:2; 0, 3, 5")
        self._is_named = False
        slider = sites.layers <= SLIDER_LAYERS
        self.layer: Any = (
            ipywidgets.IntSlider(max=sites.layers - 1, continuous_update=False, style=_WIDE)
            if slider
            else ipywidgets.Dropdown(options=range(sites.layers), style=_WIDE)
        )
        self.layer.description = "Layer"
        self.component = _menu("Component")
        self.component.options = [(name.replace("_", " "), name) for name in sites.components]
        self.head = _menu("Head")
        self.position = _menu("Base position")
        self.source = _menu("Source")
        self.source_position = _menu("Source position")
        self.intervention = _menu("Intervention")
        self.intervention.options = list(INTERVENTIONS)
        self.group = _text("Group", placeholder="none")
        self.skip = ipywidgets.Checkbox(description="Skip", style=_WIDE)
        self.remove = ipywidgets.Button(description=f"Remove slot {index}", icon="times")
        self._last = ipywidgets.HBox([self.skip, self.remove])
        super().__init__(layout=ipywidgets.Layout(border_top="1px solid var(--jp-border-color2)"))

        def link(widget: Any, fields: Callable[[Any, Experiment, Slot], dict[str, Any]]) -> None:
            def moved(event: dict[str, Any]) -> None:
                value = event["new"]
                change(lambda now: _changed(now, index, fields(value, now, now.slots[index])))

            widget.observe(moved, "value")

        for name in ("layer", "position", "source", "source_position", "skip"):
            link(getattr(self, name), lambda value, _now, _slot, name=name: {name: value})
        link(self.head, lambda value, _now, _slot: {"head": value})
        link(self.component, self._component)
        link(self.intervention, _intervention)
        link(self.group, lambda value, _now, _slot: {"group": value.strip() or None})
        link(self._typed, lambda value, _now, _slot: {"subspace": _read_subspace(value)})
        link(self._named, lambda value, _now, slot: {"subspace": _dims_of(value, slot)})
        self.remove.on_click(lambda _button: change(lambda now: _removed(now, index)))
        self._arrange()

    @property
    def subspace(self) -> ipywidgets.SelectMultiple | ipywidgets.Text:
        """The widget that fits the slot: a multiple choice where its partition names subspaces."""
        return self._named if self._is_named else self._typed

    def show(
        self,
        planned: PlannedSlot,
        acts_on: tuple[Token, ...],
        reads: tuple[Token, ...],
        sources: tuple[str, ...],
    ) -> None:
        """Say what the slot is. `acts_on` and `reads` are the tokens of the two prompts."""
        slot = planned.slot
        self.layer.value = planned.site.layer
        self.component.value = slot.component
        heads = self._sites.head_count(slot.component) or 0
        _offer(self.head, [(str(head), head) for head in range(heads)], slot.head)
        self.head.disabled = heads == 0
        _offer(self.position, _places(acts_on), _one(planned.base_positions))
        names = [(name, name) for name in sources]
        _offer(self.source, names, planned.source or slot.source)
        reads_source = planned.source is not None
        self.source.disabled = self.source_position.disabled = not reads_source
        found = _one(planned.source_positions) if reads_source else None
        _offer(self.source_position, _places(reads), found)
        self.intervention.value = slot.intervention
        self.group.value = slot.group or ""
        self.skip.value = slot.skip
        self._show_subspace(planned)

    def _show_subspace(self, planned: PlannedSlot) -> None:
        slot = planned.slot
        names = {
            name: set(range(start, stop)) for name, (start, stop) in (slot.partition or {}).items()
        }
        self._is_named = bool(names)
        chosen = None if planned.dims is None else set(planned.dims)
        if self._named.options != tuple(names):
            self._named.options = tuple(names)
        self._named.value = tuple(
            name for name, dims in names.items() if chosen is not None and dims <= chosen
        )
        text = slot.subspace or ""
        self._typed.value = text if isinstance(text, str) else ", ".join(map(str, text))
        self._arrange()

    def _arrange(self) -> None:
        wanted = (
            self.layer,
            self.component,
            self.head,
            self.position,
            self.source,
            self.source_position,
            self.intervention,
            self.subspace,
            self.group,
            self._last,
        )
        if tuple(self.children) != wanted:
            self.children = wanted

    def _component(self, value: str, _now: Experiment, slot: Slot) -> dict[str, Any]:
        """Another component: a head is kept where the new one has as many."""
        heads = self._sites.head_count(value)
        return {"component": value, "head": min(slot.head or 0, heads - 1) if heads else None}


# experiments -------------------------------------------------------------------------------------


def _changed(now: Experiment, index: int, changes: dict[str, Any]) -> Experiment:
    slot = now.slots[index]
    fields = {name: getattr(slot, name) for name in Slot.model_fields}
    slots = (*now.slots[:index], Slot(**{**fields, **changes}), *now.slots[index + 1 :])
    return now.replace(slots=slots)


def _removed(now: Experiment, index: int) -> Experiment:
    return now.replace(slots=now.slots[:index] + now.slots[index + 1 :])


def _added(now: Experiment) -> Experiment:
    """One more slot: like the last one, else at the last token of layer 0."""
    if now.slots:
        new = now.slots[-1]
    elif now.sources:
        new = Slot(layer=0, position=-1, source=next(iter(now.sources)))
    else:
        new = Slot(layer=0, position=-1, intervention="zero")
    return now.replace(slots=(*now.slots, new))


def _intervention(value: str, now: Experiment, slot: Slot) -> dict[str, Any]:
    """Another operator with what it needs at once; link and dims of another basis are left."""
    kind = intervention_info(value, INTERVENTIONS[value])
    is_other_basis = INTERVENTIONS[slot.intervention].rotated or kind.rotated
    rank = slot.rank or (2 if kind.needs_rank else None)
    return {
        "intervention": value,
        "source": slot.source or (next(iter(now.sources), None) if kind.needs_source else None),
        "prompts": (now.sources.get(slot.source or "", now.base),) if value == "mean" else (),
        "rank": rank if kind.takes_rank else None,
        "scale": 1.0 if OPERATORS[value].ignores("scale") else slot.scale,
        "link": None,
        "subspace": None if is_other_basis else slot.subspace,
        "partition": None if is_other_basis else slot.partition,
    }


def _read_subspace(text: str) -> str | tuple[int, ...] | None:
    """`0:2` and names stay text, `0, 3, 5` are dims, nothing is all; the experiment judges."""
    parts = text.replace(",", " ").split()
    if not parts:
        return None
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else text.strip()


def _dims_of(names: tuple[str, ...], slot: Slot) -> str | tuple[int, ...] | None:
    """The subspace that the chosen names of a partition make together; None of them is all."""
    if len(names) < 2:
        return names[0] if names else None
    ranges = [slot.partition[name] for name in names] if slot.partition else []
    return tuple(sorted({dim for start, stop in ranges for dim in range(start, stop)}))


# widgets -----------------------------------------------------------------------------------------


def _text(name: str, placeholder: str = "") -> ipywidgets.Text:
    """A field that gives its text when it is left or Enter is pressed."""
    return ipywidgets.Text(
        description=name, continuous_update=False, placeholder=placeholder, style=_WIDE
    )


def _menu(name: str) -> ipywidgets.Dropdown:
    return ipywidgets.Dropdown(description=name, style=_WIDE)


def _places(tokens: tuple[Token, ...]) -> list[tuple[str, Any]]:
    return [(f"{token.index} {visible(token.text)}", token.index) for token in tokens]


def _one(positions: tuple[int, ...]) -> int | tuple[int, ...]:
    return positions[0] if len(positions) == 1 else positions


def _offer(menu: ipywidgets.Dropdown, options: list[tuple[str, Any]], value: Any) -> None:
    """Set choices and choice; a value of another kind, such as several positions, is one more."""
    if all(value != known for _, known in options):
        several = isinstance(value, tuple)
        name = ", ".join(map(str, value)) if several else "" if value is None else str(value)
        options = [*options, (name, value)]
    if menu.options != tuple(options):
        menu.options = tuple(options)
    menu.value = value
