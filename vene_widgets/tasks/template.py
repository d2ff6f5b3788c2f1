"""Template: a prompt with named fields, and where a filled field is in the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter

from vene_widgets.errors import RequestError, listed, shown
from vene_widgets.experiments.fields import as_prompt


@dataclass(frozen=True)
class Template:
    """A prompt with named fields.

    Attributes:
        text: as it was written, `"The capital of {country} is"`.
        varies: the field in which base and source differ; it occurs once.
        pieces: the text before each field, and the field's name; None after the last one.
    """

    text: str
    varies: str
    pieces: tuple[tuple[str, str | None], ...]

    @property
    def fields(self) -> frozenset[str]:
        """The names of its fields."""
        return frozenset(field for _, field in self.pieces if field is not None)

    def fill(self, values: Mapping[str, str]) -> tuple[str, int, int]:
        """Fill the fields.

        Returns:
            The prompt, and from which character to which one the field that varies goes.
        """
        prompt, start, end = "", 0, 0
        for before, field in self.pieces:
            prompt += before
            if field is not None:
                if field == self.varies:
                    start, end = len(prompt), len(prompt) + len(values[field])
                prompt += values[field]
        return prompt, start, end


def read_template(
    text: object, varies: str, needed: Sequence[str], optional: Sequence[str]
) -> Template:
    """Read a template as a user may write it.

    Args:
        text: the prompt, with fields in braces.
        varies: the field in which base and source differ.
        needed: the fields that it must have.
        optional: the fields that it may have.

    Raises:
        RequestError: no text, malformed braces, a field that is unknown or missing, `varies` more
            than once, or white space at the end.
    """
    try:
        written = as_prompt(text)
    except RequestError as error:
        raise RequestError(f"template: {error}.") from None
    valid = listed(_field(name) for name in (*needed, *optional))
    try:
        parsed = list(Formatter().parse(written))
    except ValueError as error:
        raise RequestError(
            f"template {shown(written)} is malformed: {error}. Valid fields: {valid}."
        ) from None
    names = [field for _, field, _, _ in parsed if field is not None]
    unknown = [name for name in names if name not in (*needed, *optional)]
    missing = [name for name in needed if name not in names]
    if any(spec or conversion for _, _, spec, conversion in parsed):
        problem = "formats a field: expected its name alone"
    elif unknown:
        problem = f"has an unknown field {shown(f'{{{unknown[0]}}}')}"
    elif missing:
        problem = f"has no field {shown(f'{{{missing[0]}}}')}"
    elif names.count(varies) > 1:
        problem = f"has {shown(f'{{{varies}}}')} {names.count(varies)} times: expected it once"
    elif written != written.rstrip():
        problem = "must not end with white space: the answer's token begins with its own"
    else:
        return Template(written, varies, tuple((before, field) for before, field, _, _ in parsed))
    raise RequestError(f"template {shown(written)} {problem}. Valid fields: {valid}.")


def _field(name: str) -> str:
    """A field as a template has it."""
    return f"{{{name}}}"
