"""What is on the screen, to take away: tables, a caption, and all of it in one ZIP."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vene_widgets import __version__
from vene_widgets.codegen.script import script
from vene_widgets.errors import RequestError, choose
from vene_widgets.experiments.operators import OPERATORS
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire import views
from vene_widgets.explorer.wire.slot_outcomes import receipts
from vene_widgets.tables import frames
from vene_widgets.tables.metrics import METRICS

if TYPE_CHECKING:
    import pandas as pd

    from vene_widgets.engine.planning import Plan, PlannedSlot
    from vene_widgets.explorer.exact_runs import Result
    from vene_widgets.explorer.painter.painter import Order
    from vene_widgets.models import LanguageModel

SUFFIXES = (".png", ".svg", ".pdf", ".zip")
"""What `save_figure` can write."""

_RECEIPT = (
    *("slot", "layer", "component", "head", "source", "base_positions", "source_positions"),
    *("skipped", "fired", "shape", "rows", "size", "others_equal", "reason", "words"),
)


@dataclass(frozen=True, eq=False)
class Shown:
    """One state of the screen, and which figure of it is taken.

    Attributes:
        model, checked, result: what ran, and its exact runs.
        drawn: every panel's frame, by the name of its figure.
        swept: component, head and source of the map.
        order: the figure.
        revision: of the experiment, which file names carry.
    """

    model: LanguageModel
    checked: Plan
    result: Result
    drawn: Mapping[str, pd.DataFrame]
    swept: Mapping[str, Any]
    order: Order
    revision: int

    @property
    def name(self) -> str:
        """Of a file, without its suffix."""
        return f"vene-{self.order.kind.replace('_', '-')}-{self.revision}"


def suffix_of(path: Path) -> str:
    """The format that a file's name asks for.

    Raises:
        RequestError: none of `SUFFIXES`.
    """
    return choose(path.suffix.lower(), SUFFIXES, "format")[1:]


def to_draw(shown: Shown, suffix: str, dpi: float) -> Order:
    """The order of the files that have to be drawn for a format."""
    formats = ("png", "svg", "pdf") if suffix == "zip" else (suffix,)
    key = f"{shown.order.key} {suffix} {dpi}"  # not the screen's picture of it
    return replace(shown.order, key=key, formats=formats, dpi=dpi)


def assembled(shown: Shown, suffix: str, files: Mapping[str, bytes]) -> bytes:
    """The bytes of the file that is taken, from those that were drawn for it."""
    return parcel(shown, files) if suffix == "zip" else files[suffix]


def parcel(shown: Shown, files: Mapping[str, bytes]) -> bytes:
    """A ZIP of a figure in several formats, its data, code and caption; equal ones are equal."""
    words = caption(shown)
    held: dict[str, bytes] = {
        **{f"figure.{name}": data for name, data in files.items()},
        "caption.txt": f"{words}\n".encode(),
        "caption.tex": f"\\caption{{{latex(words)}}}\n".encode(),
        "experiment.json": f"{shown.result.experiment.model_dump_json(indent=1)}\n".encode(),
    }
    try:
        held["code.py"] = code(shown).encode()
    except RequestError as error:
        held["code.txt"] = f"There is no code for this experiment: {error}\n".encode()
    for name, frame in tables(shown).items():
        held[f"data/{name}.csv"] = csv(frame)
        if find_spec("pyarrow"):
            held[f"data/{name}.parquet"] = _parquet(frame)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for name, data in held.items():
            entry = zipfile.ZipInfo(f"{shown.name}/{name}")  # its time is 1980: no clock in it
            entry.external_attr = 0o644 << 16
            stored = name.endswith((".png", ".pdf", ".parquet"))  # compressed already
            packed.writestr(entry, data, zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED)
    return file.getvalue()


def code(shown: Shown) -> str:
    """The script that gives the result again, and for a map the sweep too."""
    text = script(shown.model, shown.checked)
    if shown.order.kind != "sweep_map":
        return text
    swept = shown.swept
    given = {name: swept.get(name) for name in ("component", "head", "source_positions")}
    more = "".join(f", {name}={value!r}" for name, value in given.items() if value is not None)
    metric = shown.order.options["metric"]
    return (
        f"{text}\n# the map\n"
        f"source = experiment.sources[{swept['source']!r}]\n"
        f"sweep = vw.sweep(model, experiment.base, source{more})\n"
        f"figure = sweep.plot(metric={metric!r})\n"
    )


def tables(shown: Shown) -> dict[str, pd.DataFrame]:
    """Every panel's numbers, unrounded: `tokens`, `difference`, `map`, `receipts`, `verdict`.

    A panel with nothing in it has its columns and no row.
    """
    import pandas as pd

    drawn = shown.drawn
    empty = pd.DataFrame(columns=list(frames.FRAMES["sweep_frame"]))
    told = receipts(shown.result, shown.checked)
    rows = [
        _receipt(planned, info) for planned, info in zip(shown.checked.slots, told, strict=True)
    ]
    verdicts = [verdict.model_dump() for verdict in views.verdicts(shown.result)]
    return {
        "tokens": drawn["token_heatmap"],
        "difference": drawn["difference_panel"],
        "map": drawn["sweep_map"] if len(drawn["sweep_map"]) else empty,
        "receipts": pd.DataFrame(rows, columns=list(_RECEIPT)),
        "verdict": pd.DataFrame(verdicts, columns=list(wire.Verdict.model_fields)),
    }


def _receipt(planned: PlannedSlot, info: wire.ReceiptInfo) -> dict[str, Any]:
    """What a slot was meant to do, and what it did."""
    meant = {
        "slot": planned.index,
        "layer": planned.site.layer,
        "component": planned.site.component,
        "head": planned.site.head,
        "source": planned.source,
        "base_positions": list(planned.base_positions),
        "source_positions": list(planned.source_positions),
    }
    return {**meant, **info.model_dump(exclude={"index", "idle"})}


def save_tables(shown: Shown, folder: Path) -> list[Path]:
    """Write every table as CSV into a folder, which is made where there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, frame in tables(shown).items():
        path = folder / f"{name}.csv"
        path.write_bytes(csv(frame))
        paths.append(path)
    return paths


def csv(frame: pd.DataFrame) -> bytes:
    """A frame as CSV: numbers with all their digits, texts as they are, in UTF-8.

    `pandas.read_csv(path, keep_default_na=False, na_values=[""])` reads tokens such as `NA` back.
    """
    text = frame.to_csv(index=False, lineterminator="\n")
    return text.encode("utf-8", "backslashreplace")


def _parquet(frame: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    plain = frame.copy()
    plain.attrs = {}
    plain.to_parquet(file, engine="pyarrow", index=False)
    return file.getvalue()


# ---- caption ------------------------------------------------------------------------------------


def caption(shown: Shown) -> str:
    """What a figure shows and how it came about, on one line."""
    model = shown.model
    dtype = str(model.dtype).removeprefix("torch.")
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("torch", "transformers", "plotnine")
    )
    return " ".join(
        [
            _content(shown),
            f"Model: {model.name} ({dtype}, {model.device.type}).",
            _prompts(shown),
            _intervention(shown),
            _metric(shown),
            _exactness(shown),
            f"Made with vene_widgets {__version__}, {packages}.",
        ]
    )


def _content(shown: Shown) -> str:
    kind = shown.order.kind
    names = [column.name for column in shown.result.columns]
    before, after = (shown.order.options.get(k, "") for k in ("before", "after"))
    if kind == "sweep_map":
        at = _site(shown.swept["component"], shown.swept["head"])
        return (
            f"Map of one intervention per tile: {at} at each layer and token position of the base, "
            f"copied from the source “{shown.swept['source']}”."
        )
    changed = f"what changes from {before} to {after}, by contribution to the KL divergence"
    if kind == "difference_panel":
        return f"{changed[0].upper()}{changed[1:]}."
    seen = f"Next-token probabilities of the runs {', '.join(names)}"
    return f"{seen}; {changed}." if kind == "result" else f"{seen}."


def _prompts(shown: Shown) -> str:
    experiment = shown.result.experiment
    texts = {"base": experiment.base, **experiment.sources}
    return f"Prompts: {'; '.join(f'{name} “{_seen(text)}”' for name, text in texts.items())}."


def _intervention(shown: Shown) -> str:
    if shown.order.kind == "sweep_map":
        return "Intervention: interchange (vanilla), each tile alone."
    slots = [_slot(planned) for planned in shown.checked.slots]
    if not slots:
        return "Intervention: none."
    mode = ", one after the other (serial)" if shown.result.experiment.mode == "serial" else ""
    return f"Intervention{mode}: {'; '.join(slots)}."


def _slot(planned: PlannedSlot) -> str:
    """One slot in the words of its fields: nothing is left to guess."""
    slot = planned.slot
    said = f"slot {planned.index} {slot.intervention} at {_site(slot.component, slot.head)}"
    said += f" of layer {slot.layer}, position {_numbers(planned.base_positions)}"
    if planned.source and OPERATORS[slot.intervention].needs_source:
        said += f", from {planned.source} at {_numbers(planned.source_positions)}"
    told = ("target", planned.target), ("group", slot.group), ("link", slot.link)
    told += ("rank", slot.rank), ("subspace", slot.subspace)
    said += "".join(f", {name} {value}" for name, value in told if value is not None)
    if slot.strength != 1:
        said += f", strength {slot.strength:g}"
    return f"{said} (skipped)" if slot.skip else said


def _metric(shown: Shown) -> str:
    options = shown.order.options
    if shown.order.kind == "sweep_map":
        metric = METRICS[options.get("metric", "probability")]
        unit = f", in {metric.unit}" if metric.unit and metric.name != "rank" else ""
        targets = dict.fromkeys(shown.drawn["sweep_map"]["target_label"])
        of = f"; t is {' or '.join(targets)}" if metric.of_target else ""
        return f"Metric: {metric.title} = {metric.formula}{unit}{of}."
    p = "P(t) = softmax of the logits at the last position"
    if shown.order.kind in ("token_heatmap", "distribution_dots"):
        return f"Metric: {p}."
    before, after = options["before"], options["after"]
    whole = shown.order.frames["difference_panel"].attrs["kl_divergence"]
    return (
        f"Metrics: {p}; ΔP = P after − P before; KL({after} ‖ {before}) = "
        f"Σ P after · ln (P after / P before) over the vocabulary, here {whole!r} nats."
    )


def _exactness(shown: Shown) -> str:
    if shown.order.kind == "sweep_map":
        return (
            "Numbers are the batched preview of a sweep, which differs from single runs by "
            "floating-point rounding."
        )
    words = "".join(f" Grouped against ungrouped: {v.words}" for v in views.verdicts(shown.result))
    return f"Numbers are exact runs, one forward pass at batch size 1 each.{words}"


def _site(component: str, head: int | None) -> str:
    return component if head is None else f"head {head} of {component}"


def _numbers(positions: tuple[int, ...]) -> str:
    return ", ".join(map(str, positions))


def _seen(text: str) -> str:
    """A prompt on one line; spaces stay spaces, what cannot be seen is shown."""
    return " ".join(frames.visible(part) if part else "" for part in text.split(" "))


_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",  # \textquotedbl is not in every font encoding
    "␣": r"\textvisiblespace{}",
    "…": r"\dots{}",
    "“": "``",
    "”": "''",
    "–": "--",
    "Δ": r"$\Delta$",
    "Σ": r"$\Sigma$",
    "‖": r"$\Vert$",
    "·": r"$\cdot$",
    "−": "$-$",
    "↵": r"$\hookleftarrow$",
    "⇥": r"$\mapsto$",
    "∅": r"$\emptyset$",
    "×": r"$\times$",
}


def latex(text: str) -> str:
    """A text for LaTeX, on one line: nothing in it is a command."""
    return "".join(_LATEX.get(c, " " if c in "\r\n" else c) for c in text)
