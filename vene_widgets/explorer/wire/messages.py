"""The wire protocol between kernel and browser, defined here and in `requests` only.

`python -m vene_widgets.explorer.wire.messages` prints the JSON schema from which the TypeScript
types are generated. The browser sends a `Request`; the kernel answers with a `Reply` and then
writes the traits `scene`, `map`, `answer`, `contrast`, `past`, `picture` (a `Figure`), `data_set`,
`data_progress` and `status`, each holding one of the models below. Numbers are sent unrounded,
except those of a data set. `revision` counts experiments: an answer belongs to the scene with the
same revision, and anything older is stale.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from vene_widgets.explorer.wire.base import Finite, Wire
from vene_widgets.explorer.wire.ordered import WireExperiment, WireSlot
from vene_widgets.explorer.wire.requests import Cancel as Cancel
from vene_widgets.explorer.wire.requests import Compare as Compare
from vene_widgets.explorer.wire.requests import EstimateMap as EstimateMap
from vene_widgets.explorer.wire.requests import FigureKind as FigureKind
from vene_widgets.explorer.wire.requests import FigureStyle as FigureStyle
from vene_widgets.explorer.wire.requests import FollowToken as FollowToken
from vene_widgets.explorer.wire.requests import Generate as Generate
from vene_widgets.explorer.wire.requests import NameEntry as NameEntry
from vene_widgets.explorer.wire.requests import OpenPair as OpenPair
from vene_widgets.explorer.wire.requests import PastExperiment as PastExperiment
from vene_widgets.explorer.wire.requests import PathEnd as PathEnd
from vene_widgets.explorer.wire.requests import ReadAttention as ReadAttention
from vene_widgets.explorer.wire.requests import ReadCircuit as ReadCircuit
from vene_widgets.explorer.wire.requests import ReadLens as ReadLens
from vene_widgets.explorer.wire.requests import ReadPaths as ReadPaths
from vene_widgets.explorer.wire.requests import Request as Request
from vene_widgets.explorer.wire.requests import RunHistory as RunHistory
from vene_widgets.explorer.wire.requests import RunPlacebo as RunPlacebo
from vene_widgets.explorer.wire.requests import RunSpecifications as RunSpecifications
from vene_widgets.explorer.wire.requests import SetExperiment as SetExperiment
from vene_widgets.explorer.wire.requests import SetFigure as SetFigure
from vene_widgets.explorer.wire.requests import SetStep as SetStep
from vene_widgets.explorer.wire.requests import SetSweep as SetSweep
from vene_widgets.explorer.wire.requests import Share as Share
from vene_widgets.explorer.wire.requests import Side as Side
from vene_widgets.explorer.wire.requests import SplitPrompt as SplitPrompt
from vene_widgets.explorer.wire.requests import StopGenerating as StopGenerating
from vene_widgets.explorer.wire.requests import TakeFigure as TakeFigure
from vene_widgets.tables.attribution import AnswerMetricName
from vene_widgets.tables.metrics import MetricName, Scale

ReceiptReason = Literal[
    "changed", "collected", "skipped", "unreached", "weak", "prefix", "same", "replaced", "unread"
]
"""A slot's outcome; `sentences.receipt` has a sentence for each."""


# replies -----------------------------------------------------------------------------------------


class TokenInfo(Wire):
    """One token of a prompt. `label` is the text made visible (␣ for a space, ↵ for a newline)."""

    index: int
    id: int
    text: str
    label: str


class SourceTokens(Wire):
    """The tokens of one source's prompt."""

    name: str
    tokens: list[TokenInfo]


class Reply(Wire):
    """Reply to one request: accepted, or refused with the error that the screen shows.

    `tokens` is the result of a `SplitPrompt`, `text` of a `Share`, `file` of a `TakeFigure`.
    """

    id: str
    ok: bool
    error: str | None = None
    tokens: list[TokenInfo] | None = None
    text: str | None = None
    file: str | None = None


# kernel -> browser -------------------------------------------------------------------------------


class InterventionInfo(Wire):
    """One operator, as the slot's menu and controls need it.

    `rotated`: its coordinates are those of its own basis. `needs_rank`: a rank is required;
    `takes_rank`: a rank is accepted. `has_weights`: linked slots share weights.
    """

    name: str
    formula: str
    about: str
    needs_source: bool
    rotated: bool
    needs_rank: bool
    takes_rank: bool
    has_weights: bool


class MetricInfo(Wire):
    """One metric of the map (`vene_widgets.tables.metrics`); a None in its range is no limit."""

    name: MetricName
    title: str
    label: str
    unit: str
    formula: str
    about: str
    scale: Scale
    low: float | None
    high: float | None
    of_target: bool
    of_pair: bool
    of_source: bool


class ModelInfo(Wire):
    """The model, and the choices that it offers."""

    name: str
    layers: int
    heads: dict[str, int]  # per-head component -> its number of heads
    widths: dict[str, int]  # component -> length of its vector, of one head's if it has heads
    components: list[str]
    interventions: list[InterventionInfo]
    metrics: list[MetricInfo]
    device: str
    dtype: str


class SlotInfo(Wire):
    """A slot with its positions as ints, beside `Experiment.slots` at the same index.

    Of a slot on attention weights, positions of the base are queries, those of the source keys.

    `source` is None for interventions that read none. `target` is the source on whose run the slot
    acts (serial mode), None for the base. `coordinates` is the number of coordinates that a
    subspace can select from; `dims` are those that may change, None for all.
    """

    index: int
    layer: int
    component: str
    head: int | None
    source: str | None
    base_positions: list[int]
    source_positions: list[int]
    target: str | None
    intervention: str
    strength: float
    subspace: list[int] | str | None
    dims: list[int] | None
    coordinates: int
    partition: dict[str, list[int]] | None
    rank: int | None
    link: str | None
    group: str | None
    skip: bool


class Scene(Wire):
    """The experiment on the screen, written whenever it changes and before its answer is known.

    `request` is the id of the browser's request that set it, None if Python did. Maps, answers and
    history entries of revisions before `model_since` are of an older state of the model.
    """

    revision: int
    request: str | None
    model: ModelInfo
    base: list[TokenInfo]
    sources: list[SourceTokens]
    experiment: WireExperiment
    slots: list[SlotInfo]
    model_since: int = 0


class Candidate(Wire):
    """One next token in one distribution. `probability` in 0..1, `rank` from 1."""

    token_id: int
    label: str
    probability: float
    logit: Finite
    rank: int


class Cell(Wire):
    """The preview of one tile: the result of an experiment with this single slot of `Map`.

    `top` are the most likely next tokens; `probabilities` and `ranks` (from 1) are those of
    `Map.targets`, in their order; `kl` and `kl_source` are KL(cell || base) and KL(cell || source)
    in nats, None where they are infinite. All are empty where the logits hold NaN or infinity.
    `idle` is why the operator cannot change the result here: `same`, both prompts have equal states
    (only copying), or `causal`, no path leads to the last position. `sentence` is the result in
    words.
    """

    layer: int
    head: int | None
    position: int
    source_position: int
    top: list[Candidate]
    probabilities: list[float]
    ranks: list[int]
    kl: Finite
    kl_source: Finite
    idle: Literal["same", "causal"] | None
    sentence: str


class Target(Wire):
    """A token that the map can show, with its probability in base and source.

    With held slots, `base` is the run with them alone and `plain` the one without; else both are
    equal. `request` is the id of the `FollowToken` that added it, None if the map chose it.
    """

    token_id: int
    label: str
    base: float
    source: float
    plain: float
    request: str | None


class Map(Wire):
    """The sweep: cells arrive row by row, `done` of `total`. Numbers are previews (batched).

    Rows are layers, columns positions. If `head` is "all", either rows are the heads of `layer`,
    the only one of `layers`, or `layer` is None and columns are heads, all at `position`.
    `source` is None if there is no source prompt, and the intervention then reads none. `operator`
    is the intervention in words. `prompts` are those that a `mean` is over. `target` is the token
    to show first. `slow` is why every cell takes a full forward pass, None if cells resume from
    their layer. `held` are the slots that every cell has besides its own, their positions as
    integers, `sentences` each cell's result in words against the base without them, as its answer
    has it, and `code` is the call that gives such a map; empty and None without them.
    """

    revision: int
    source: str | None
    component: str
    head: int | Literal["all"] | None
    layer: int | None
    position: int | None
    intervention: str
    operator: str
    prompts: list[str]
    layers: list[int]
    positions: list[int]
    source_positions: list[int]
    first_difference: int  # base and source agree before this position: no cell can change there
    targets: list[Target]
    target: int
    cells: list[Cell]
    done: int
    total: int
    slow: str | None
    held: list[WireSlot]
    sentences: list[str]
    code: str | None


class RunInfo(Wire):
    """One run: a column of the tokens panel."""

    role: Literal["base", "source", "intervened", "ungrouped", "grouped"]
    name: str
    top: list[Candidate]
    source_runs: int  # forward passes over source prompts that this run needed


class TokenRow(Wire):
    """One token's probability in every run, in the order of `Answer.runs`.

    There is one row for each of the runs' most likely tokens.
    """

    token_id: int
    label: str
    probabilities: list[float]


class Difference(Wire):
    """One token's change from the base to the result (grouped or intervened).

    `kl` is its contribution p_after * log(p_after / p_before) in nats; the largest change of
    probability comes first.
    """

    token_id: int
    label: str
    before: float
    after: float
    kl: Finite
    rank_before: int
    rank_after: int


class Verdict(Wire):
    """How two exact runs compare. `first_divergence` is a layer, None if all layers agree."""

    left: str
    right: str
    verdict: Literal["bit-equal", "allclose", "different"]
    max_abs: Finite  # max abs logit difference
    tolerance: float
    first_divergence: int | None
    scope: str  # which positions were compared
    words: str


class ReceiptInfo(Wire):
    """What one slot did: `size` is the Euclidean norm of the change at its site.

    `idle`: it should have changed something and did not; the screen warns about it. `reason` is its
    outcome, `words` the same as one sentence. `shape` is that of the tensor at the site,
    `others_equal` whether the rest of the tensor is bit-equal to before.
    """

    index: int
    fired: bool
    skipped: bool
    idle: bool
    reason: ReceiptReason
    rows: int
    size: Finite
    shape: list[int] | None
    others_equal: bool
    words: str


class Script(Wire):
    """Code that reproduces the result, in the names of one library.

    `text` is None if that library cannot express the experiment; `why` is then the reason.
    """

    face: Literal["vene_widgets", "intervenable", "pyvene"]
    text: str | None
    why: str | None


class Question(Wire):
    """A further question that can be asked of an experiment: one line below its script."""

    name: str
    code: str


class Answer(Wire):
    """The exact result of one experiment: full runs at batch 1.

    `kl` is KL(result || base) in nats, None without a live slot or where it is infinite.
    """

    revision: int
    label: Literal["exact"]
    milliseconds: float
    runs: list[RunInfo]
    tokens: list[TokenRow]
    differences: list[Difference]
    verdicts: list[Verdict]
    receipts: list[ReceiptInfo]
    sentence: str
    scripts: list[Script]
    kl: Finite = None
    questions: list[Question] = Field(default_factory=list[Question])


class Contrast(Wire):
    """A comparison of two exact runs. `request` is the id of its `Compare`.

    `tokens` have the left and the right probability, `differences` go from left to right, `kl` is
    KL(right || left) in nats. If there is an `error`, the rest is empty.
    """

    request: str
    left: str
    right: str
    milliseconds: float
    kl: Finite
    tokens: list[TokenRow]
    differences: list[Difference]
    verdict: Verdict | None
    error: str | None


class PastEntry(Wire):
    """One answered experiment, its positions as integers, so that equal ones are equal as JSON.

    `number` never changes. `tokens` is the number of tokens of its base prompt; `label` and
    `probability` are of the most likely next token; `revision` is its answer's.
    """

    number: int
    name: str | None
    experiment: WireExperiment
    sentence: str
    tokens: int
    revision: int
    token_id: int
    label: str
    probability: float


class Past(Wire):
    """The history, oldest first, each experiment once; `current` is the newest answer's number."""

    entries: list[PastEntry]
    current: int | None


class Figure(Wire):
    """A plotnine figure of one revision; `png` is the picture, bytes on the wire.

    `name` is that of a file of it, without the suffix.
    """

    revision: int
    kind: FigureKind
    style: FigureStyle
    name: str
    alt: str
    width: int
    height: int
    png: Any  # bytes; a DataView in the browser


class Status(Wire):
    """What the kernel is doing. `error` stays until the next experiment begins.

    `note` is what the user should know besides: that the model has changed.
    """

    busy: str | None
    progress: float | None
    error: str | None
    note: str | None = None


class Pin(Wire):
    """A tile of the map, or with None a whole row or column."""

    layer: int | None
    position: int | None


class StoryStep(Wire):
    """One step of a story, its result computed beforehand.

    `base`, `sources`, `experiment` and `slots` are as in `Scene`. `answer` is the index of the
    correct choice, `map` the index of the prompts' map in `Story.maps`, None without sources.
    `target` is the id of the token that the map shows, `metric` what it shows of it; None for the
    map's own choice.
    """

    title: str
    text: str
    question: str | None
    choices: list[str]
    answer: int | None
    base: list[TokenInfo]
    sources: list[SourceTokens]
    experiment: WireExperiment
    slots: list[SlotInfo]
    result: Answer
    map: int | None
    target: int | None = None
    metric: MetricName | None = None
    pins: list[Pin] = Field(default=[])


class Story(Wire):
    """Steps to walk through; the browser shows their results without a request.

    The results are of the state of the model that `Scene.model_since` stood for then.
    """

    steps: list[StoryStep]
    maps: list[Map]
    model_since: int = 0


class DataMetric(Wire):
    """What is averaged over the pairs of a data set; its fields are those of `MetricInfo`."""

    name: str
    title: str
    unit: str
    formula: str
    about: str
    scale: Scale
    low: float | None
    high: float | None


class DataTile(Wire):
    """One tile of a data set's map: the mean over `n` pairs and its bootstrap interval.

    `p` and `q` are None until the data set and its controls are complete, and where nothing can
    change. `control` is, in words, what took the source's place in the control that comes closest,
    and `control_mean` its mean. `explained`: that control explains the effect. `values` are those
    of `DataSet.shown`, in their order, empty where no effect is possible; a recovery is each pair's
    own ratio. `words` says all of it.
    """

    layer: int
    head: int | None
    place: int
    possible: bool
    n: int
    mean: Finite
    low: Finite
    high: Finite
    p: Finite
    q: Finite
    control: str | None
    control_mean: Finite
    explained: bool
    values: list[Finite]
    words: str


class DataPair(Wire):
    """A pair in short. `number` is its row in the data set.

    `words` are stretches of its prompts in order: one text where both agree, else that of the base
    and that of the source.
    """

    number: int
    words: list[list[str]]


class DataSet(Wire):
    """The maps of a data set of pairs: means with their uncertainty, and the values of some pairs.

    `pairs` is how many there are, those that are left out too; `counted` how many the means are
    over so far. `facts` says that, and how intervals, q and controls were made. `base` and `source`
    are the metric in the plain runs. Of `shown`, the first `spread` are spread evenly over the data
    set; the others are the `ends` furthest at each end of each tile. `note` is what else there is
    to say: that it is not complete, or of an older state of the model (`is_old`). Numbers are
    rounded: `explorer.pair_sweep` has the exact ones.
    """

    metric: DataMetric
    component: str
    operator: str
    layers: list[int]
    heads: list[int | None]
    places: list[str]
    pairs: int
    counted: int
    facts: str
    base: float
    source: float | None
    tiles: list[DataTile]
    shown: list[DataPair]
    spread: int
    ends: int
    is_old: bool
    note: str | None


class DataProgress(Wire):
    """How far a data set is that is being run: so many pairs of the sweep, or of a control."""

    words: str
    share: float


class SpecificationRow(Wire):
    """One specification: direction, what stands for a missing state, layers, metric, template.

    `effect` is a share of what the plain runs differ by.
    """

    choices: list[str]
    effect: Finite


class Finding(Wire):
    """Which tile a specification curve is of, and what came out: same sign in `agreed` of `count`.

    It holds for this base and source alone.
    """

    base: str
    source: str
    component: str
    head: int | None
    layer: int
    position: int
    agreed: int
    count: int


class Specification(Wire):
    """One finding under every choice of method; `share` is how much of it has run, None at the end.

    `rows` are in the order of their effects; `agreed` of `count` have the same sign. `templates`
    are those that were asked for. `findings` has every tile whose curve has run and still holds.
    """

    request: str
    share: float | None
    base: str
    source: str
    site: str
    agreed: int
    count: int
    sentence: str
    rows: list[SpecificationRow]
    left_out: list[str]
    note: str | None
    templates: list[str]
    findings: list[Finding]


class Reading(Wire):
    """What metrics read of one run, as in `Cell`; numbers have six digits."""

    probabilities: list[Finite]
    ranks: list[int]
    kl: Finite
    kl_source: Finite


class ControlDraw(Wire):
    """One draw of a control: its own base run, and its cells in the order of `Map.cells`."""

    control: str
    base: Reading
    cells: list[Reading]


class Placebo(Wire):
    """The controls of the map of a revision; `share` is how much has run, None at the end.

    `component` to `intervention` are the map's. `targets` are the tokens that readings are of, by
    id. `controls` are named in their order; `draws` has those that have run, each several times.
    `base` is the real base run.
    """

    request: str
    revision: int
    component: str
    head: int | Literal["all"] | None
    layer: int | None
    position: int | None
    source: str | None
    intervention: str
    targets: list[int]
    controls: list[str]
    base: Reading
    draws: list[ControlDraw]
    share: float | None
    note: str | None


class Estimate(Wire):
    """What gradients of a metric predict of each cell, in the order of `Map.cells`.

    `values` are changes from the base run in units of the metric (`tables.attribution`); `missed`
    are the cells whose large effect is underestimated, by index. `correlation` is Pearson's, over
    the cells where an effect is possible. `note` is why there are none.
    """

    metric: AnswerMetricName
    target: int
    other: int | None
    values: list[Finite]
    missed: list[int]
    correlation: Finite
    note: str | None


class Estimates(Wire):
    """The estimates of the map of a revision; `component` to `intervention` are the map's."""

    revision: int
    component: str
    head: int | Literal["all"] | None
    layer: int | None
    position: int | None
    source: str | None
    intervention: str
    found: list[Estimate]


class NewToken(Wire):
    """One token of a generated text, its exact text and its probability, 0 to 1.

    `rank` is over the whole vocabulary; `best` is the label of the most likely token.
    """

    id: int
    text: str
    label: str
    probability: float
    rank: int
    best: str
    best_probability: float


class GeneratedTexts(Wire):
    """What the model wrote after the base prompt, without the slots and with them.

    `experiment`, of this `revision`, has positions as integers. `running` is the text that is being
    written. `patched` is empty and `patched_text` None where no slot is live. `base_text` and
    `patched_text`, without special tokens, are there at the end. `differs` is the first step at
    which both texts differ. `note` says why there is less than was asked for.
    """

    request: str
    revision: int
    experiment: WireExperiment
    on: Literal["prompt", "every"]
    max_new_tokens: int
    running: Literal["base", "patched"] | None
    base: list[NewToken]
    patched: list[NewToken]
    base_text: str | None
    patched_text: str | None
    differs: int | None
    note: str | None


class LensToken(Wire):
    """A token that a lens reads or follows."""

    token_id: int
    label: str


class LensRun(Wire):
    """What the layers of one run would answer: `base`, a source by its name, or `patched`.

    Lists have an entry per layer and position, layer by layer, over the `length` tokens of its
    prompt. `best` are indices in `LensGrid.tokens`, `probabilities` those of the best tokens.
    `ranks` (from 1) and `shares` (0..1) are lists of the same length, one for each target.
    """

    name: str
    length: int
    best: list[int]
    probabilities: list[float]
    ranks: list[list[int]]
    shares: list[list[float]]


class LensGrid(Wire):
    """The logit lens of an experiment, whose positions are integers.

    `revision` is that of the experiment when it was read, 0 before the first reading. `note` says
    in a sentence why there is no reading, or no newer one.
    """

    revision: int
    note: str | None
    experiment: WireExperiment | None
    layers: list[int]
    tokens: list[LensToken]
    targets: list[LensToken]
    runs: list[LensRun]


class AttentionRun(Wire):
    """The patterns of one run: `base`, a source by its name, or `intervened`.

    `weights` are heads × queries × keys numbers with six decimals, over the `length` tokens of its
    prompt.
    """

    name: str
    length: int
    weights: list[float]


class AttentionGrid(Wire):
    """The attention patterns of one layer; `revision`, `note`, `experiment` as in `LensGrid`."""

    revision: int
    note: str | None
    experiment: WireExperiment | None
    layer: int
    heads: int
    runs: list[AttentionRun]


class PathSender(Wire):
    """What one head, MLP (no head) or the embedding (layer −1) does by its path.

    `effect` is in units of the metric, `frozen` the same with norms held, where there is one.
    """

    layer: int
    head: int | None
    effect: float
    frozen: Finite


class PathGrid(Wire):
    """The paths from every sender to one receiver, None for the logits.

    `revision`, `note`, `experiment` as in `LensGrid`; slots have no part in it. The metric is the
    logit difference of `targets`; `base_metric` and `source_metric` are those of the plain runs.
    `frozen_note` says why there are no effects with norms held.
    """

    revision: int
    note: str | None
    experiment: WireExperiment | None
    source: str
    targets: list[LensToken]
    receiver: PathEnd | None
    base_metric: float
    source_metric: float
    senders: list[PathSender]
    frozen_note: str | None


class CircuitRun(Wire):
    """A run that keeps some heads: its metric, and both kinds of faithfulness (`vw.circuit`)."""

    heads_kept: str
    value: float
    faithfulness: Finite
    faithfulness_normalised: Finite


class CircuitGrid(Wire):
    """What some heads do alone, and what the others do without them.

    `revision`, `note`, `experiment` as in `LensGrid`; slots have no part in it. The metric is the
    logit difference of `targets`, by id. The heads that a run does not keep have the output of
    `source`.
    """

    revision: int
    note: str | None
    experiment: WireExperiment | None
    source: str
    targets: list[int]
    heads: list[tuple[int, int]]
    runs: list[CircuitRun]


class Protocol(Wire):
    """All messages in one model, so that one schema contains them all."""

    request: Request
    reply: Reply
    scene: Scene
    map: Map
    answer: Answer
    contrast: Contrast
    past: Past
    figure: Figure
    status: Status
    story: Story
    data_set: DataSet
    data_progress: DataProgress
    specification: Specification
    placebo: Placebo
    estimates: Estimates
    generation: GeneratedTexts
    lens: LensGrid
    attention: AttentionGrid
    paths: PathGrid
    circuit: CircuitGrid


if __name__ == "__main__":
    import json

    print(json.dumps(Protocol.model_json_schema(mode="serialization"), indent=1))
