"""Browser -> kernel: the requests, one class each."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vene_widgets.explorer.wire.base import Wire
from vene_widgets.explorer.wire.ordered import WireExperiment
from vene_widgets.tables.attribution import AnswerMetricName

FigureKind = Literal[
    "result", "token_heatmap", "difference_panel", "sweep_map", "distribution_dots"
]
"""`result`, the default, is the token heatmap beside the difference panel."""

FigureStyle = Literal["light", "dark"]
"""Of a figure for a light or a dark page."""


class SetExperiment(Wire):
    """Replace the experiment and run it."""

    id: str
    kind: Literal["experiment"] = "experiment"
    experiment: WireExperiment


class SetSweep(Wire):
    """Sweep this component (and head) with this operator, copying from this source.

    With `head` "all" the map is of all heads of one `layer`, at every token; without one, of all
    layers at one `position` of the base, by default the last. `source_positions` pairs tokens by
    hand: one source position per base token. None is the suggested pairing
    (`engine.positions.align`), which new prompts restore.
    """

    id: str
    kind: Literal["sweep"] = "sweep"
    component: str
    head: int | Literal["all"] | None = None
    layer: int | None = None
    position: int | None = None
    source: str | None = None
    intervention: str = "vanilla"
    source_positions: list[int] | None = None


class SetFigure(Wire):
    """Draw this kind of figure, of the current state and of every later one.

    `style` is that of the screen, whose figure is light or dark as it is.
    """

    id: str
    kind: Literal["figure"] = "figure"
    figure: FigureKind
    style: FigureStyle = "light"


class TakeFigure(Wire):
    """Make a file of the current state's figure, without changing the state.

    The reply is sent when the file is ready: its `file` is the file's name, and the message's one
    binary buffer holds the bytes. `zip` contains the figure in every format, its data, its code and
    its caption. `dpi` is for PNG.
    """

    id: str
    kind: Literal["take"] = "take"
    figure: FigureKind
    format: Literal["png", "svg", "pdf", "zip"]
    dpi: Annotated[int, Field(ge=50, le=600)] = 300


class SplitPrompt(Wire):
    """Split a text into tokens while it is typed; the reply carries them. No state changes."""

    id: str
    kind: Literal["tokens"] = "tokens"
    text: str


class Side(Wire):
    """One side of a comparison.

    Without `share_sources` the source prompt runs anew for every slot outside a group.
    """

    title: Annotated[str, Field(min_length=1, max_length=200)]
    experiment: WireExperiment
    share_sources: bool = True


class Compare(Wire):
    """Run both sides in full and compare them; the result is written to the trait `contrast`."""

    id: str
    kind: Literal["compare"] = "compare"
    left: Side
    right: Side


class NameEntry(Wire):
    """Name an entry of the history, or remove its name. Named entries are never dropped."""

    id: str
    kind: Literal["name"] = "name"
    number: int
    name: Annotated[str | None, Field(max_length=80)] = None


class PastExperiment(Wire):
    """An experiment of a history, with the name that it had there."""

    name: Annotated[str | None, Field(max_length=80)] = None
    experiment: WireExperiment


class RunHistory(Wire):
    """Run experiments of a lost kernel's history, oldest first, and add them to the history.

    The experiment on the screen stays. One that cannot run on this model is left out.
    """

    id: str
    kind: Literal["history"] = "history"
    entries: Annotated[list[PastExperiment], Field(max_length=200)]


class SetStep(Wire):
    """Go to a step of the story, from 0; its experiment replaces the current one."""

    id: str
    kind: Literal["step"] = "step"
    step: int


class FollowToken(Wire):
    """Add a token to the map, by its exact text or its id."""

    id: str
    kind: Literal["follow"] = "follow"
    token: str | int


class OpenPair(Wire):
    """Put one pair of the data set on the screen as an experiment, with the slot of a tile.

    `number` is the pair's row in the data set, `place` the index of a place.
    """

    id: str
    kind: Literal["pair"] = "pair"
    number: int
    layer: int
    place: int
    head: int | None = None


class RunSpecifications(Wire):
    """Run the finding on the screen, its first live slot, under every choice of method.

    `templates` are other words for the pair, with `{}` where base and source differ.
    """

    id: str
    kind: Literal["specification"] = "specification"
    templates: Annotated[list[str], Field(default_factory=list)]


class RunPlacebo(Wire):
    """Run the controls of the map on the screen."""

    id: str
    kind: Literal["placebo"] = "placebo"


class EstimateMap(Wire):
    """Estimate the map on the screen by gradients of a metric of these tokens, by id."""

    id: str
    kind: Literal["estimate"] = "estimate"
    metric: AnswerMetricName
    target: int
    other: int | None = None


class Generate(Wire):
    """Generate a text from the base prompt, with the slots on the screen and without them.

    `on` is where the slots act: at their positions of the prompt, or on every new token too.
    """

    id: str
    kind: Literal["generate"] = "generate"
    max_new_tokens: int
    on: Literal["prompt", "every"] = "prompt"


class StopGenerating(Wire):
    """Stop the text that is being generated; what there is of it stays."""

    id: str
    kind: Literal["stop"] = "stop"


class ReadLens(Wire):
    """Read every layer of base, sources and result with the logit lens; written to `lens`.

    `targets` are tokens whose ranks are read too.
    """

    id: str
    kind: Literal["lens"] = "lens"
    targets: Annotated[list[int], Field(default_factory=list)]


class ReadAttention(Wire):
    """Read the attention patterns of one layer; written to `attention`."""

    id: str
    kind: Literal["attention"] = "attention"
    layer: int


class PathEnd(Wire):
    """What receives paths: the query, key or value of a head, or the MLP of a layer.

    For `k` and `v`, `head` counts key-value heads.
    """

    layer: int
    head: int | None = None
    part: Literal["q", "k", "v", "mlp"]


class ReadPaths(Wire):
    """Measure the paths from every head, MLP and the embedding; written to `paths`.

    They lead from the run of this source to the logits, or to one receiver. `targets` are the
    target and the contrast token, by id; none for those that the two prompts suggest.
    """

    id: str
    kind: Literal["paths"] = "paths"
    source: str | None = None
    targets: Annotated[list[int], Field(default_factory=list, max_length=2)]
    receiver: PathEnd | None = None


class ReadCircuit(Wire):
    """Run the base with only these heads, and with all but these; written to `circuit`.

    Heads are layer and head; the others take their output from this source.
    """

    id: str
    kind: Literal["circuit"] = "circuit"
    source: str | None = None
    targets: Annotated[list[int], Field(min_length=2, max_length=2)]
    heads: list[tuple[int, int]]


class Share(Wire):
    """Write a share token of the current state; the reply carries it as `text`."""

    id: str
    kind: Literal["share"] = "share"


class Cancel(Wire):
    """Stop all queued and running work; the last good state stays."""

    id: str
    kind: Literal["cancel"] = "cancel"


Request = Annotated[
    SetExperiment
    | SetSweep
    | SetFigure
    | TakeFigure
    | SplitPrompt
    | FollowToken
    | Compare
    | NameEntry
    | RunHistory
    | SetStep
    | OpenPair
    | RunSpecifications
    | RunPlacebo
    | EstimateMap
    | Generate
    | StopGenerating
    | ReadLens
    | ReadAttention
    | ReadPaths
    | ReadCircuit
    | Share
    | Cancel,
    Field(discriminator="kind"),
]
