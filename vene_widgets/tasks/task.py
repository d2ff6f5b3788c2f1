"""Task: a kind of pairs of prompts, written by template and checked with a model's tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vene_widgets.errors import RequestError, shown
from vene_widgets.experiments.fields import as_int
from vene_widgets.models.language_model import require_language_model
from vene_widgets.tasks.checks import Case, Checker, Example, Side
from vene_widgets.tasks.sampling import Group, Sampler, in_order
from vene_widgets.tasks.template import Template, read_template

if TYPE_CHECKING:
    import pandas as pd

    from vene_widgets.models import LanguageModel

ALL = 20_000
"""Up to this many pairs are all given if no number is asked for; of more, a sample of `SAMPLE`."""

SAMPLE = 1_000

PROBES = 200
"""Prompts of each kind whose lengths say what most prompts of a template have."""

MISSES = 2_000
"""Draws in a row that may fail before a sample ends."""


@dataclass(frozen=True)
class Task:
    """A kind of pairs of prompts.

    Attributes:
        name: of the function in `vene_widgets.tasks`.
        about: what base and source differ in, and what follows, in one sentence.
        reference: where the task comes from.
        models: which models it is meant for.
        varies: the template's field in which base and source differ.
        templates: prompts with named fields.
        groups: the examples that a model's tokenizer allows, by kind; a sample holds equally many
            of each kind.
        needed, optional: the template's fields.
        template_for: the number of the template that a model gets if none is chosen; None for all
            templates.
    """

    name: str
    about: str
    reference: str
    models: str
    varies: str
    templates: tuple[str, ...]
    groups: Callable[[Checker], Sequence[Group]] = field(repr=False)
    needed: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    template_for: Callable[[LanguageModel], int] | None = field(default=None, repr=False)

    def __call__(
        self,
        model: LanguageModel,
        n: int | None = None,
        *,
        seed: int = 0,
        template: int | str | Sequence[int | str] | None = None,
    ) -> pd.DataFrame:
        """Write pairs, and leave out those that the tokenizer does not allow.

        Args:
            model: whose tokenizer they must fit.
            n: number of pairs; None for all of up to 20,000, or a sample of 1,000.
            seed: of the sample.
            template: the number of one of `templates`, or a text of yours with the same fields in
                braces; or several of them, of which the table has equally many pairs. None for
                all, or, of tasks about countries, for the one that suits the model.

        Returns:
            A table for `sweep_pairs`: `base`, `source`, `targets` (the source's answer, then the
            base's), `subject` and `source_subject` (the token in which they differ: its text, or
            its index if the text of one of them occurs more than once), `template` (its text),
            `kind` (of which there are equally many each, such as `"ABBA"` and `"BABA"`). `.attrs`
            has `task` and `left_out`, reason -> how many.

        Raises:
            RequestError: a template without the needed fields, more pairs than there are, or none
                that the tokenizer allows.
        """
        import pandas as pd

        require_language_model(model)
        templates = self._templates(self._chosen(model) if template is None else template)
        wanted = None if n is None else as_int(n)
        if wanted is not None and wanted < 1:
            raise RequestError(f"n must be at least 1, got {wanted}.")
        checker = Checker(model)
        pools = [
            (one, group.without([name for name in self.optional if name not in one.fields]))
            for group in self.groups(checker)
            for one in templates
        ]
        pools = [pool for pool in pools if len(pool[1])]
        for one in templates:
            groups = [group for template, group in pools if template is one]
            checker.expect_commonest_length(one, _some_cases(groups))
        examples = self._examples(checker, pools, wanted, seed)
        if not examples:
            why = checker.problem or "no word of it is one token"
            raise RequestError(
                f"{self.name} has no pairs for {model.name}: {why}. It is meant for {self.models}."
            )
        if wanted is not None and len(examples) < wanted:
            raise RequestError(
                f"{self.name} has {len(examples)} pairs for {model.name}, not {wanted}: ask for "
                "fewer, or for all with n=None."
            )
        # Indices for all of them if a text would not do for one: a column is of one kind.
        by_text = all(_is_unique(e.base, e.position) for e in examples) and all(
            _is_unique(e.source, e.position) for e in examples
        )
        frame = pd.DataFrame([_row(example, by_text) for example in examples])
        frame.attrs.update(task=self.name, left_out=dict(checker.left_out))
        return frame

    def _chosen(self, model: LanguageModel) -> Sequence[int]:
        """Numbers of the templates that a model gets if none is chosen."""
        if self.template_for is None:
            return range(len(self.templates))
        return (self.template_for(model),)

    def _templates(self, chosen: int | str | Sequence[int | str]) -> list[Template]:
        """The templates to fill.

        Raises:
            RequestError: no such number, or a text that is no template of this task.
        """
        several = (
            [chosen] if isinstance(chosen, str) or not isinstance(chosen, Sequence) else chosen
        )
        texts = dict.fromkeys(
            one if isinstance(one, str) else self._numbered(as_int(one)) for one in several
        )
        if not texts:
            raise RequestError(f"template must name at least one, got none: {self._listed()}.")
        return [read_template(text, self.varies, self.needed, self.optional) for text in texts]

    def _numbered(self, number: int) -> str:
        """The text of one template.

        Raises:
            RequestError: no such number.
        """
        if not 0 <= number < len(self.templates):
            raise RequestError(f"template {number} is out of range: {self._listed()}.")
        return self.templates[number]

    def _listed(self) -> str:
        return f"{self.name} has {len(self.templates)}, {shown(list(self.templates), 600)}"

    def _examples(
        self,
        checker: Checker,
        pools: Sequence[tuple[Template, Group]],
        wanted: int | None,
        seed: int,
    ) -> list[Example]:
        """The examples that pass every check, without repetition."""
        sizes = [len(group) for _, group in pools]
        found: list[Example] = []
        seen: set[tuple[str, str]] = set()

        def accept(pool: int, index: int) -> bool:
            template, group = pools[pool]
            example = checker.example(template, group.name, *group[index])
            if example is None:
                return False
            prompts = example.base.prompt, example.source.prompt
            if prompts in seen:
                return False
            seen.add(prompts)
            found.append(example)
            return True

        if wanted is None and sum(sizes) <= ALL:
            for pool, index in in_order(sizes):
                accept(pool, index)
        else:
            Sampler(sizes, seed, accept).draw(wanted or SAMPLE, MISSES)
        return found


def _some_cases(groups: Sequence[Group]) -> Iterator[Case]:
    """Bases of some examples, evenly spread over each group."""
    for group in groups:
        for index in range(0, len(group), max(1, len(group) // PROBES)):
            yield group[index][0]


def _row(example: Example, by_text: bool) -> dict[str, Any]:
    """One pair as `sweep_pairs` takes it."""
    base, source, position = example.base, example.source, example.position
    return {
        "base": base.prompt,
        "source": source.prompt,
        "targets": (source.answer, base.answer),
        "subject": base.texts[position] if by_text else position,
        "source_subject": source.texts[position] if by_text else position,
        "template": example.template.text,
        "kind": example.group,
    }


def _is_unique(side: Side, position: int) -> bool:
    """Whether no other token of a prompt has the text of the one at a position."""
    text = side.texts[position].strip()
    return sum(token.strip() == text for token in side.texts) == 1
