"""The one error type for requests that cannot be carried out."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound="BaseModel")

SHOWN_CHARACTERS = 80
"""Longest text that an error quotes of a value."""

SHOWN_NAMES = 40
"""Most names that an error lists as valid choices."""

GUESS_CUTOFF = 0.6
"""How alike two names must be (`difflib`, 0 to 1) for one to be suggested in place of the other."""


class RequestError(ValueError):
    """A request that cannot be carried out: names the value, the rule and the valid choices.

    It derives from `ValueError`, so pydantic validators may raise it and callers may catch either.
    Raising it changes nothing: models, experiments and screens keep their last valid state.
    """


def choose(value: object, choices: Iterable[str], what: str, hint: str = "") -> str:
    """Return `value` if it is one of `choices`, else raise with the closest valid name.

    Args:
        value: the user's input.
        choices: the valid names, in the order in which the message lists them.
        what: the noun for the message, for instance `"component"`.
        hint: a closing sentence, for instance how to add a new choice.

    Raises:
        RequestError: `value` is not among the choices.
    """
    names = list(choices)
    if isinstance(value, str) and value in names:
        return names[names.index(value)]
    close = closest(value, names)
    guess = "" if close is None else f" Did you mean {shown(close)}?"
    raise RequestError(
        f"{what} {shown(value)} is not known.{guess} Valid: {listed(names)}."
        f"{' ' + hint if hint else ''}"
    )


def closest(value: object, names: Iterable[str]) -> str | None:
    """The name that a mistyped one most likely stands for; None if none is much alike.

    Names that differ only in case or in white space around them are alike.
    """
    if not isinstance(value, str) or len(value) > SHOWN_CHARACTERS:
        return None
    plain = {name: name.strip().casefold() for name in names if len(name) <= SHOWN_CHARACTERS}
    wanted = value.strip().casefold()
    same = [name for name, form in plain.items() if form and form == wanted]
    if same:
        return same[0]
    matches = difflib.get_close_matches(wanted, plain.values(), n=1, cutoff=GUESS_CUTOFF)
    return next((name for name, form in plain.items() if form in matches), None)


def listed(names: Iterable[str]) -> str:
    """Names as an error lists them: quoted, the first `SHOWN_NAMES` of them, `none` if empty."""
    known = list(names)
    more = f", … ({len(known)} in all)" if len(known) > SHOWN_NAMES else ""
    return ", ".join(map(shown, known[:SHOWN_NAMES])) + more if known else "none"


def shown(value: object, length: int = SHOWN_CHARACTERS) -> str:
    """The repr of a value as an error quotes it: one short line, whatever was given.

    A long value is cut before its repr is built, so that the cost does not grow with its size.

    Args:
        value: anything, the user's input for instance.
        length: the most characters to return.
    """
    if isinstance(value, str):
        whole = str(value[: length + 1])
        text = repr(whole) if len(whole) <= length else repr(whole[: length - 3]) + "…"
    else:
        text = " ".join(_SHORT.repr(value).split())
    return text if len(text) <= length + 2 else text[: length - 1] + "…"


class _ShortRepr(reprlib.Repr):
    """A repr of bounded size that never raises."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdict = 8
        self.maxarray = self.maxdeque = 8
        self.maxstring = self.maxother = SHOWN_CHARACTERS

    def repr_int(self, x: int, level: int) -> str:
        """Digits of an int; how many there are if that is what is wrong with it."""
        if x.bit_length() > 4 * SHOWN_CHARACTERS:
            # Python refuses to print ints of more than 4300 digits.
            return f"<int of about {int(x.bit_length() * 0.30103) + 1} digits>"
        return super().repr_int(x, level)

    def repr_instance(self, x: object, level: int) -> str:
        """The repr of an array or tensor only if it is small: a large one may be copied for it."""
        shape = getattr(x, "shape", None)
        if isinstance(shape, tuple) and shape:
            return f"<{type(x).__name__} of shape {tuple(cast('tuple[int, ...]', shape))}>"
        return super().repr_instance(x, level)


_SHORT = _ShortRepr()


Location = tuple[int | str, ...]
"""Path to the invalid part of a validated value, outermost field first."""


ERROR_CHARACTERS = 300
"""Longest text of another library's error. Our own may list names and be `REQUEST_CHARACTERS`."""

REQUEST_CHARACTERS = 1000
"""Longest text of a refused request."""


def error_text(error: BaseException, *, shown: Callable[[Location], Location] | None = None) -> str:
    """Describe an error in one line, without this package's class names and without links.

    It never raises: an error whose own text cannot be made is described by its class.

    Args:
        error: any exception.
        shown: maps a validation error's location to the part that the user wrote; None keeps all.
    """
    # Imported here, because importing the package must not load pydantic.
    from pydantic import ValidationError

    name = type(error).__name__
    try:
        if isinstance(error, ValidationError):
            problems = _problems_text(error.errors(include_url=False), shown)
            return _one_line(problems, REQUEST_CHARACTERS)
        text = str(error)
    except BaseException as raised:  # the error's own code, which may raise anything
        return _one_line(
            f"{name}, whose text cannot be shown: it raised {type(raised).__name__}",
            ERROR_CHARACTERS,
        )
    if isinstance(error, RequestError):
        return _one_line(text, REQUEST_CHARACTERS)
    return _one_line(f"{name}: {text}" if text else name, ERROR_CHARACTERS)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; on a CPU torch says so in words only."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return "out of memory" in str(error) or "can't allocate memory" in str(error)


def _one_line(text: str, length: int) -> str:
    """A text without line breaks, cut to `length` characters."""
    start = text[: 4 * length]  # a text of megabytes is not split into all its lines
    line = " ".join(part for part in map(str.strip, start.splitlines()) if part)
    return line if len(line) <= length and len(text) == len(start) else line[: length - 1] + "…"


def validated(model: type[Model], **fields: object) -> Model:
    """Build a pydantic model and raise its validation errors as one sentence.

    Raises:
        RequestError: a field is invalid.
    """
    from pydantic import ValidationError

    try:
        return model(**fields)
    except ValidationError as error:
        raise RequestError(error_text(error)) from None


REPORTED_PROBLEMS = 2
"""Most problems of one request that its error describes."""


def _problems_text(
    problems: list[ErrorDetails], locate: Callable[[Location], Location] | None
) -> str:
    """Describe the first validation problems, and say how many more there are."""
    texts = [_problem_text(problem, locate) for problem in problems[:REPORTED_PROBLEMS]]
    more = len(problems) - len(texts)
    return "; ".join(texts) + (f"; and {more} more" if more else "")


def _problem_text(problem: ErrorDetails, locate: Callable[[Location], Location] | None) -> str:
    """Describe one validation problem: location, rule, and the value unless it is a dict."""
    location = locate(problem["loc"]) if locate else problem["loc"]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    where = where.removeprefix(".").encode("utf-8", "backslashreplace").decode()
    if len(where) > SHOWN_CHARACTERS:
        where = where[:SHOWN_CHARACTERS] + "…"
    if problem["type"] == "missing" and where:
        return f"{where} is missing"
    if problem["type"].startswith("union_tag_"):
        # pydantic quotes the whole value, however long it is.
        context = problem.get("ctx", {})
        tag = str(context["discriminator"]).strip("'")
        name = f"{where}.{tag}" if where else tag
        if "tag" not in context:
            return f"{name} is missing"
        return f"{name}: expected one of {context['expected_tags']}, got {shown(context['tag'])}"
    text, value = problem["msg"].removeprefix("Value error, "), shown(problem["input"])
    for start in ("Input should be a valid dictionary or instance of ", "Input should be "):
        if text.startswith(start):
            article = "a value of type " if "instance" in start else ""
            text = f"expected {article}{text.removeprefix(start)}, got {value}"
            break
    else:
        # Our own errors name the value where it helps.
        is_own = isinstance(problem.get("ctx", {}).get("error"), RequestError)
        if not is_own and not isinstance(problem["input"], dict) and value not in text:
            text = f"{text} (given: {value})"
    if not where:
        return text
    field = location[-1]
    if isinstance(field, str) and where.endswith(field) and text.startswith(f"{field} "):
        return where + text.removeprefix(field)
    return f"{where}: {text}"
