"""Checks of a task's examples against a model's tokenizer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from vene_widgets.errors import RequestError, shown

if TYPE_CHECKING:
    from vene_widgets.models import LanguageModel
    from vene_widgets.tasks.template import Template

Word = TypeVar("Word")


@dataclass(frozen=True)
class Case:
    """One prompt in words.

    Attributes:
        values: the template's fields and what fills them.
        answer: the text of the token that should follow, its leading space included.
    """

    values: tuple[tuple[str, str], ...]
    answer: str


@dataclass(frozen=True)
class Side:
    """One prompt in tokens: the base or the source of a pair.

    Attributes:
        prompt, answer: texts.
        ids, texts: of the prompt's tokens.
        span: the tokens of the field that varies, from the first up to, without, the last.
    """

    prompt: str
    answer: str
    ids: tuple[int, ...]
    texts: tuple[str, ...]
    span: range


@dataclass(frozen=True)
class Example:
    """A pair that passed every check; `position` is the one token in which its prompts differ."""

    template: Template
    group: str
    base: Side
    source: Side
    position: int


class Checker:
    """Checks examples and counts those that it leaves out.

    Attributes:
        left_out: reason -> how many; the reason names what was counted.
        problem: what the tokenizer did with the first example that was left out.
    """

    def __init__(self, model: LanguageModel) -> None:
        self.left_out: Counter[str] = Counter()
        self.problem = ""
        self._model = model
        self._answers: dict[str, int | str] = {}
        self._sides: dict[tuple[str, Case], Side | tuple[str, str]] = {}
        self._lengths: dict[str, int] = {}

    def is_token(self, text: str) -> bool:
        """Whether a text is exactly one token, which is read back as this text."""
        found = self._answer(text)
        return isinstance(found, int) and self._model.token_text(found) == text

    def single(
        self, words: Iterable[Word], what: str, texts: Callable[[Word], Iterable[str]]
    ) -> list[Word]:
        """Those words that are one token each.

        Args:
            words: a list of words, or of anything that has some.
            what: the noun for `left_out`, in the plural.
            texts: the token texts of one word, leading spaces included.
        """
        kept: list[Word] = []
        for word in words:
            several = [text for text in texts(word) if not self.is_token(text)]
            if several:
                found = self._answer(several[0])
                reason = found if isinstance(found, str) else f"token {shown(several[0])} is other"
                self._leave_out(f"{what} that are not one token each", reason)
            else:
                kept.append(word)
        return kept

    def example(self, template: Template, group: str, base: Case, source: Case) -> Example | None:
        """A pair as an example; None, counted in `left_out`, if it fails a check."""
        if base.answer == source.answer:
            return self._leave_out(
                "pairs with the same answer", f"both answers are {shown(base.answer)}"
            )
        sides: list[Side] = []
        for case in (base, source):
            side = self._side(template, case)
            if not isinstance(side, Side):
                return self._leave_out(*side)
            sides.append(side)
        one, other = sides
        differing = [n for n, (a, b) in enumerate(zip(one.ids, other.ids, strict=True)) if a != b]
        is_there = len(differing) == 1 and differing[0] in one.span and one.span == other.span
        if not is_there:
            return self._leave_out(
                "pairs that do not differ in exactly one token",
                f"{shown(one.prompt)} and {shown(other.prompt)} differ in {len(differing)} tokens",
            )
        return Example(template, group, one, other, differing[0])

    def expect_commonest_length(self, template: Template, cases: Iterable[Case]) -> None:
        """Leave out prompts of a template that are longer or shorter than most of some cases'."""
        lengths = Counter(len(self._model.tokens(template.fill(dict(c.values))[0])) for c in cases)
        if lengths:
            self._lengths[template.text] = lengths.most_common(1)[0][0]

    def _leave_out(self, reason: str, problem: str) -> None:
        self.left_out[reason] += 1
        self.problem = self.problem or problem

    def _answer(self, text: str) -> int | str:
        """The id of a text that is one token; if it is not, the error's first sentence."""
        if text not in self._answers:
            try:
                self._answers[text] = self._model.token_id(text)
            except RequestError as error:
                self._answers[text] = str(error).partition(": expected exactly one")[0]
        return self._answers[text]

    def _side(self, template: Template, case: Case) -> Side | tuple[str, str]:
        """A case in tokens, found once; or why it is left out, and an example in words."""
        key = (template.text, case)
        if key not in self._sides:
            self._sides[key] = self._made_side(template, case)
        return self._sides[key]

    def _made_side(self, template: Template, case: Case) -> Side | tuple[str, str]:
        answer = self._answer(case.answer)
        if isinstance(answer, str):
            return "pairs with an answer that is not one token", answer
        prompt, start, end = template.fill(dict(case.values))
        tokens = self._model.tokens(prompt)
        ids, texts = tuple(t.id for t in tokens), tuple(t.text for t in tokens)
        joined = [int(id_) for id_ in self._model.tokenizer(prompt + case.answer)["input_ids"]]
        if joined != [*ids, answer]:
            return (
                "pairs whose prompt and answer are split differently when joined",
                f"{shown(prompt)} followed by {shown(case.answer)} is not the prompt's tokens and "
                "one more",
            )
        span = _span(prompt, texts, start, end)
        if span is None:
            return (
                "pairs with a field that shares a token with its surroundings",
                f"{shown(prompt[start:end])} in {shown(prompt)} has no tokens of its own",
            )
        length = self._lengths.get(template.text, len(ids))
        if len(ids) != length:
            return (
                "pairs with prompts of another length than their template's others",
                f"{shown(prompt)} has {len(ids)} tokens where others have {length}",
            )
        return Side(prompt, case.answer, ids, texts, span)


def _span(prompt: str, texts: tuple[str, ...], start: int, end: int) -> range | None:
    """The tokens that make up some characters of a prompt, with the space before them or without.

    Returns:
        None if a token of them reaches beyond, or if the tokens' texts do not make up the prompt.
    """
    whole = "".join(texts)
    shift = whole.find(prompt)  # special tokens may come first
    if shift < 0:
        return None
    edges = {0: 0}
    at = 0
    for number, text in enumerate(texts, start=1):
        at += len(text)
        edges[at] = number
    first = edges.get(start + shift)
    if first is None and prompt[start - 1 : start] == " ":
        first = edges.get(start + shift - 1)
    last = edges.get(end + shift)
    return None if first is None or last is None else range(first, last)
