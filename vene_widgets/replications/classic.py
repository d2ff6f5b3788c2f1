"""Classic: a published experiment with the figures that it must give, and what a run of it gave."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vene_widgets.codegen.literals import format_call, to_source
from vene_widgets.errors import RequestError, choose, shown
from vene_widgets.models import LanguageModel, load
from vene_widgets.models.hub import cached_models
from vene_widgets.models.smollm2 import COMMAND, is_fetched

if TYPE_CHECKING:
    import pandas as pd
    from plotnine import ggplot

    from vene_widgets.replications.reading import Reading, Value


@dataclass(frozen=True)
class Paper:
    """Where a classic comes from."""

    authors: str
    year: int
    title: str
    url: str

    def __str__(self) -> str:
        return f"{self.authors} {self.year}, “{self.title}”, {self.url}"


@dataclass(frozen=True)
class Expected:
    """What a form must give.

    Attributes:
        value: a number, or a name: of a token, or of a head as `layer.head`.
        tolerance: largest difference that still agrees, in the value's unit; names must be equal.
    """

    value: Value
    tolerance: float = 0.0

    def agrees(self, measured: Value) -> bool:
        """Whether a measured value agrees."""
        if isinstance(self.value, str) or isinstance(measured, str):
            return self.value == measured
        return abs(measured - self.value) <= self.tolerance

    def __str__(self) -> str:
        text = value_text(self.value)
        return text if isinstance(self.value, str) else f"{text} ± {self.tolerance:.2g}"


@dataclass(frozen=True)
class Form:
    """A classic on one model, with its prompts and expected figures.

    Attributes:
        name: `built_in`, `smollm2` or `published`.
        model: argument of `vw.load`.
        arguments: of the experiment, after the model.
        expected: figures by name; a run may measure more than these.
        source: where they come from.
        blocker: why the form cannot be run here, whatever models there are; None if it can.
    """

    name: str
    model: str
    arguments: Mapping[str, Any] = field(repr=False)
    expected: Mapping[str, Expected]
    source: str
    blocker: str | None = None

    def missing(self) -> str | None:
        """Why the form cannot be run without a download, as a clause; None if it can."""
        if self.blocker is not None:
            return self.blocker
        return None if _on_disk(self.model) is not None else f"needs {self.model}"

    def load_from_disk(self) -> LanguageModel:
        """The form's model, without the network.

        Raises:
            RequestError: it is not on this machine.
        """
        if self.blocker is not None:
            raise RequestError(f"not run here: {self.blocker}.")
        found = _on_disk(self.model)
        if found is None:
            get = f"pass model={self.model!r} to download it"
            if self.model == "smollm2":
                get = f"get it: {COMMAND}"
            raise RequestError(f"not run here: needs {self.model}; {get}.")
        return load(found)


def _on_disk(model: str) -> str | Path | None:
    """What `load` reads a model from without the network; None if it is not on this machine."""
    if model == "capitals" or (model == "smollm2" and is_fetched()):
        return model
    names = {model, model.rpartition("/")[2]}  # the hub has GPT-2 under a short name too
    return next((one.folder for one in cached_models() if one.name in names), None)


@dataclass(frozen=True)
class Classic:
    """A published experiment that anyone can repeat in one call.

    Attributes:
        name: by which `vw.classics()` finds it.
        title: a few words.
        question: what it asks.
        paper: where it comes from.
        see: what to see in its picture.
        forms: the first runs everywhere, on the built-in model or a small one.
        experiment: the function that runs it.
    """

    name: str
    title: str
    question: str
    paper: Paper
    see: str = field(repr=False)
    forms: tuple[Form, ...] = field(repr=False)
    experiment: Callable[..., Reading] = field(repr=False)

    @property
    def model(self) -> str:
        """The model of the published figures."""
        return self.forms[-1].model

    def form(self, name: str | None = None) -> Form:
        """A form by name; None is the first.

        Raises:
            RequestError: there is none of that name.
        """
        if name is None:
            return self.forms[0]
        names = [form.name for form in self.forms]
        return self.forms[names.index(choose(name, names, f"form of {self.name}"))]

    def run(
        self, model: LanguageModel | str | None = None, *, form: str | None = None
    ) -> ClassicResult:
        """Run the experiment.

        Args:
            model: None is the form's own, if it is on this machine. A name is loaded, and
                downloaded if need be. Any model may be given; what is expected of the form's own
                is not expected of another.
            form: `built_in`, `smollm2` or `published`; None is the one whose model was given, else
                the first.

        Raises:
            RequestError: an unknown form, a model that is not on this machine, or prompts that the
                model's tokenizer splits otherwise.
        """
        if model is not None and not isinstance(model, (str, LanguageModel)):  # pyright: ignore[reportUnnecessaryIsInstance]  # user input
            raise RequestError(
                f"model must be from vw.load or vw.wrap, or a name, got {shown(model)}."
            )
        chosen = self._form_for(model) if form is None else self.form(form)
        if model is None:
            model = chosen.load_from_disk()
        elif isinstance(model, str):
            model = load(model)
        elif chosen.blocker is not None:
            raise RequestError(f"not run here: {chosen.blocker}.")
        values, plot = self.experiment(model, **chosen.arguments)
        plain: dict[str, Value] = {
            name: value if isinstance(value, str) else float(value)
            for name, value in values.items()
        }
        is_own = _is_of(model, chosen)
        name = chosen.model if is_own else model.name
        return ClassicResult(self, chosen, name, is_own, plain, plot)

    def _form_for(self, model: LanguageModel | str | None) -> Form:
        """The form of a given model, else the last one that another model can run."""
        if model is None:
            return self.forms[0]
        for form in self.forms:
            if (isinstance(model, str) and _same(model, form.model)) or (
                isinstance(model, LanguageModel) and _is_of(model, form)
            ):
                return form
        return next(form for form in reversed(self.forms) if form.blocker is None)

    def code(self, form: str | None = None) -> str:
        """The script of a form: it defines `values`, and `plot`, which draws the picture.

        Raises:
            RequestError: an unknown form, or one that cannot be run anywhere.
        """
        chosen = self.form(form)
        if chosen.blocker is not None:
            raise RequestError(f"not run here: {chosen.blocker}.")
        name = self.experiment.__name__
        module = inspect.getmodule(self.experiment)
        source = inspect.getsource(self.experiment)
        body = source.split(") -> Reading:\n", 1)[1]
        arguments = ", ".join(inspect.signature(self.experiment).parameters)
        imports = [
            line
            for line in inspect.getsource(module or self.experiment).splitlines()
            if line.startswith("import ")
        ]
        given = [f"{key}={to_source(value)}" for key, value in chosen.arguments.items()]
        return "\n".join(
            [
                *imports,
                *("", ""),
                f"def {name}({arguments}):",
                body.rstrip(),
                *("", "", f"model = vw.load({to_source(chosen.model)})"),
                *format_call(f"values, plot = {name}(", ["model", *given]),
                "print(values)",
                'figure = plot("light")',
                "",
            ]
        )

    def __repr__(self) -> str:
        return f"<Classic {self.name}: {self.title}, {self.paper.authors} {self.paper.year}>"


def _same(one: str, other: str) -> bool:
    """Whether two names are of one model; the hub has some under a name without owner too."""
    has_owners = "/" in one and "/" in other
    return one == other or (not has_owners and one.rpartition("/")[2] == other.rpartition("/")[2])


def _is_of(model: LanguageModel, form: Form) -> bool:
    """Whether a model is a form's own, by the name that it was loaded with."""
    if model.recipe is None:
        return False
    if model.path is not None:
        return model.path == str(_on_disk(form.model))
    return _same(model.name, form.model)


@dataclass(frozen=True, eq=False)
class ClassicResult:
    """What a classic measured, beside what was expected.

    Attributes:
        classic, form: what was run.
        model: the name of the model that ran.
        is_own_model: whether that is the form's, so that its figures are expected.
        measured: values by name.
    """

    classic: Classic
    form: Form
    model: str
    is_own_model: bool
    measured: Mapping[str, Value]
    _plot: Callable[[str], ggplot] = field(repr=False)

    @property
    def expected(self) -> Mapping[str, Value]:
        """The expected values by name; empty for another model than the form's."""
        return {name: one.value for name, one in self._expected.items()}

    @property
    def tolerance(self) -> Mapping[str, float]:
        """By name, the largest difference that still agrees; 0 for names."""
        return {name: one.tolerance for name, one in self._expected.items()}

    @property
    def _expected(self) -> Mapping[str, Expected]:
        return self.form.expected if self.is_own_model else {}

    @property
    def agrees(self) -> bool | None:
        """Whether every expected value was measured; None if none was expected."""
        if not self._expected:
            return None
        return all(one.agrees(self.measured[name]) for name, one in self._expected.items())

    @property
    def verdict(self) -> str:
        """`agrees`, `differs`, or `no figures for this model`."""
        words = {True: "agrees", False: "differs", None: "no figures for this model"}
        return words[self.agrees]

    @property
    def said(self) -> str:
        """The result in a sentence."""
        told = [
            f"{name} {value_text(self.measured[name])} (expected {one})"
            for name, one in self._expected.items()
        ] or [f"{name} {value_text(value)}" for name, value in self.measured.items()]
        start = f"{self.classic.title}, on {self.model}"
        return f"{start}: {'; '.join(told)}. {self.verdict.capitalize()}."

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per value: `value`, `measured`, `expected`, `tolerance`, `agrees`."""
        import pandas as pd

        rows: list[tuple[object, ...]] = []
        for name, value in self.measured.items():
            one = self._expected.get(name)
            told = (
                (None, None, None) if one is None else (one.value, one.tolerance, one.agrees(value))
            )
            rows.append((name, value, *told))
        columns = ["value", "measured", "expected", "tolerance", "agrees"]
        return pd.DataFrame(rows, columns=columns, dtype=object)

    def figure(self, *, style: str = "light") -> ggplot:
        """The classic's picture."""
        return self._plot(style)

    def code(self) -> str:
        """The script that gives these values."""
        return self.classic.code(self.form.name)

    def __repr__(self) -> str:
        return f"<{self.said}>"


def value_text(value: Value) -> str:
    """A value as text: four significant digits, names in quotes."""
    return f"“{value}”".replace(" ", "␣") if isinstance(value, str) else f"{value:.4g}"
