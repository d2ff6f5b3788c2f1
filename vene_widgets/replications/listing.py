"""classics(): published experiments with their figures, as a table that can be run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from vene_widgets.errors import RequestError, choose, error_text
from vene_widgets.experiments.limits import bounded
from vene_widgets.replications.catalogue import CLASSICS
from vene_widgets.replications.classic import Classic, Expected, Form, value_text

if TYPE_CHECKING:
    import pandas as pd

MOST_NAMES = 1_000
"""Names of classics or forms in one call."""


def classics(names: str | Iterable[str] | None = None) -> Classics:
    """Experiments of the field, each with the figures that it must give.

    Every classic has forms: on the built-in model or SmolLM2, with figures measured here and
    confirmed by hooks by hand, and on the paper's model with the published figures.

    Args:
        names: which; None for all.

    Raises:
        RequestError: an unknown name; the message lists the valid ones.

    Example:
        >>> import vene_widgets as vw
        >>> result = vw.classics()["causal_tracing"].run()
        >>> result.agrees
        True
    """
    known = {classic.name: classic for classic in CLASSICS}
    if names is None:
        return Classics(CLASSICS)
    wanted = [names] if isinstance(names, str) else bounded(names, MOST_NAMES, "names of classics")
    return Classics(tuple(known[choose(name, known, "classic")] for name in wanted))


class Classics(Sequence[Classic]):
    """Classics in order, by number or by name; `frame` lists them and `check` runs them."""

    def __init__(self, items: tuple[Classic, ...]) -> None:
        self._items = items

    @overload
    def __getitem__(self, index: int | str) -> Classic: ...
    @overload
    def __getitem__(self, index: slice) -> Classics: ...
    def __getitem__(self, index: int | str | slice) -> Classic | Classics:
        if isinstance(index, slice):
            return Classics(self._items[index])
        if isinstance(index, str):
            names = self.names
            return self._items[names.index(choose(index, names, "classic"))]
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Classic]:
        return iter(self._items)

    @property
    def names(self) -> list[str]:
        """The names, in order."""
        return [classic.name for classic in self._items]

    @property
    def frame(self) -> pd.DataFrame:
        """One row per classic: name, title, question, paper, model, forms."""
        import pandas as pd

        rows = [
            (one.name, one.title, one.question, str(one.paper), one.model, _form_names(one))
            for one in self._items
        ]
        return pd.DataFrame(rows, columns=["name", "title", "question", "paper", "model", "forms"])

    def check(self, forms: str | Iterable[str] | None = None) -> pd.DataFrame:
        """Run every form whose model is on this machine, and compare.

        Nothing is downloaded. A form whose model is missing has the verdict `not run here` with
        the reason.

        Args:
            forms: names of forms, `built_in`, `smollm2`, `published`; None for all.

        Returns:
            A frame with a row per classic and form: classic, form, model, measured, expected,
            verdict, seconds, source.

        Raises:
            RequestError: an unknown form.
        """
        import pandas as pd

        given = FORMS if forms is None else [forms] if isinstance(forms, str) else forms
        wanted = bounded(given, MOST_NAMES, "names of forms")
        for name in wanted:
            choose(name, FORMS, "form")
        rows = [
            (classic.name, form.name, form.model, *_checked(classic, form), form.source)
            for classic in self._items
            for form in classic.forms
            if form.name in wanted
        ]
        columns = ["classic", "form", "model", "measured", "expected", "verdict", "seconds"]
        return pd.DataFrame(rows, columns=[*columns, "source"])

    def __repr__(self) -> str:
        return f"<Classics: {', '.join(self.names)}>"

    def _repr_html_(self) -> str:
        return str(self.frame[["name", "question", "paper", "forms"]].to_html(index=False))


FORMS = ("built_in", "smollm2", "published")
"""Names of forms."""


def _form_names(classic: Classic) -> str:
    return ", ".join(form.name for form in classic.forms)


def _checked(classic: Classic, form: Form) -> tuple[Any, ...]:
    """Measured and expected values as text, the verdict, and the seconds that the run took."""
    expected = _values_text(form.expected)
    missing = form.missing()
    if missing is not None:
        return None, expected, f"not run here: {missing}", None
    began = time.perf_counter()
    try:
        result = classic.run(form.load_from_disk(), form=form.name)
    except RequestError as error:
        return None, expected, f"could not run: {error_text(error)}", None
    measured = {name: result.measured[name] for name in form.expected}
    took = round(time.perf_counter() - began, 1)
    return _values_text(measured), expected, result.verdict, took


def _values_text(values: Any) -> str:
    """Values by name in one line."""
    return "; ".join(
        f"{name} {one if isinstance(one, Expected) else value_text(one)}"
        for name, one in values.items()
    )
