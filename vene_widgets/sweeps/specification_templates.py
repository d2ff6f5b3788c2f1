"""The words in which two prompts differ, put into other templates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vene_widgets.engine.positions import common_ends
from vene_widgets.errors import RequestError, shown
from vene_widgets.experiments.fields import as_prompt
from vene_widgets.experiments.pairs import Pair
from vene_widgets.sweeps.pairs.places import resolve_places

if TYPE_CHECKING:
    from vene_widgets.models import LanguageModel, Token

BLANK = "{}"
"""Where the words go in a template."""

MOST = 16
"""Templates of one curve: each costs as many runs as the pair's own words."""

_WORDS = re.compile(r"\w+|\s+|[^\w\s]")


def as_template(base: str, source: str) -> tuple[str, str, str]:
    """Read two prompts as one template.

    Returns:
        The template, and the words that the base and the source have in its blank.

    Raises:
        RequestError: the prompts are equal, or one has nothing where the other has words.
    """
    one, other = _WORDS.findall(base), _WORDS.findall(source)
    left = 0
    while left < min(len(one), len(other)) and one[left] == other[left]:
        left += 1
    right = 0
    while right < min(len(one), len(other)) - left and one[-1 - right] == other[-1 - right]:
        right += 1
    words, others = (
        "".join(several[left : len(several) - right]).strip() for several in (one, other)
    )
    if not words or not others:
        raise RequestError(
            f"templates need words in which {shown(base, 60)} and {shown(source, 60)} differ: one "
            "has none."
        )
    start = len("".join(one[:left]))
    return f"{base[:start]}{BLANK}{base[start:][len(words) :]}", words, others


def read_templates(templates: Sequence[str] | str) -> tuple[str, ...]:
    """Check templates as a user may write them.

    Raises:
        RequestError: too many, no blank or several, or white space at the end.
    """
    several = (templates,) if isinstance(templates, str) else tuple(templates)
    if len(several) > MOST:
        raise RequestError(f"templates may be {MOST} at most, got {len(several)}.")
    found: list[str] = []
    for given in several:
        text = as_prompt(given)
        if text.count(BLANK) != 1 or text != text.rstrip():
            raise RequestError(
                f"template {shown(text, 60)} must have {BLANK} once, where the words go in which "
                "base and source differ, and must not end with a space: for instance "
                f"{shown(f'The capital of {BLANK} is')}."
            )
        found.append(text)
    return tuple(dict.fromkeys(found))


def pairs_in_templates(
    model: LanguageModel, pair: Pair, position: str | int, templates: Sequence[str]
) -> list[tuple[str, Pair]]:
    """One pair of prompts in other templates.

    Args:
        model: whose tokens count.
        pair: the pair.
        position: of a site, as in `specification_curve`: in the words in which the prompts differ,
            or the last one.
        templates: from `read_templates`.

    Returns:
        Each template with its pair, whose `places["site"]` and `source_places["site"]` say where
        the site is. The pair's own template is left out.

    Raises:
        RequestError: prompts without a template, or a position that has no counterpart.
    """
    if not templates:
        return []
    own, words, others = as_template(pair.base, pair.source or "")
    base, source = tuple(model.tokens(pair.base)), tuple(model.tokens(pair.source or ""))
    here, there = resolve_places(pair, base, source, [position])
    found: list[tuple[str, Pair]] = []
    for template in templates:
        if template == own:
            continue
        prompts = [template.replace(BLANK, text) for text in (words, others)]
        one, other = (tuple(model.tokens(prompt)) for prompt in prompts)
        new = Pair(
            base=prompts[0],
            source=prompts[1],
            targets=pair.targets,
            places={"site": _counterpart(here[0], (base, source), (one, other), template)},
            source_places={"site": _counterpart(there[0], (source, base), (other, one), template)},
        )
        found.append((template, new))
    return found


def _counterpart(
    position: int,
    before: tuple[tuple[Token, ...], tuple[Token, ...]],
    after: tuple[tuple[Token, ...], tuple[Token, ...]],
    template: str,
) -> int:
    """Where a position of a prompt is in another template.

    Args:
        position: in the first prompt of `before`.
        before: a prompt and the one that it is paired with.
        after: the same in the template.
        template: for the error message.
    """
    if position == len(before[0]) - 1:
        return len(after[0]) - 1
    start, stop = _changed(*before)
    first, end = _changed(*after)
    found = end - (stop - position)
    if start <= position < stop and found >= first:
        return found
    raise RequestError(
        f"position {position} {shown(before[0][position].text)} has no counterpart in the template "
        f"{shown(template, 60)}: a site in other templates must be at the words that differ, or at "
        "the last token."
    )


def _changed(prompt: tuple[Token, ...], other: tuple[Token, ...]) -> tuple[int, int]:
    """From which token on, and up to which, without it, a prompt differs from another."""
    left, right = common_ends(prompt, other)
    return left, len(prompt) - right
