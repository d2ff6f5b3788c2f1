"""fit_subspace(): find the subspace of a site that carries what makes two prompts' answers differ.

Distributed alignment search: Geiger et al. 2023, "Finding Alignments Between Interpretable Causal
Variables and Distributed Neural Representations". A rotation with orthonormal columns is trained so
that swapping its coordinates alone, from the source's state into the base's, gives the wanted
answer. The model's own weights are constants in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from vene_widgets.engine.fit_examples import (
    FitSite,
    Pair,
    make_examples,
    shuffle_wanted,
    split_pairs,
)
from vene_widgets.engine.fit_training import (
    FitOptions,
    VectorEdit,
    evaluate,
    norm_matched,
    train,
)
from vene_widgets.engine.own_model import require_unchanged
from vene_widgets.errors import RequestError
from vene_widgets.experiments.fields import Where, as_positions
from vene_widgets.experiments.slot import Slot, weights_key
from vene_widgets.interventions import Intervention, LowRankRotatedSpace, Options
from vene_widgets.models.language_model import require_language_model

if TYPE_CHECKING:
    import pandas as pd

    from vene_widgets.models import LanguageModel
    from vene_widgets.models.sites import Site

RANDOM_DRAWS = 5
"""Random subspaces over which the control's accuracy is a mean."""


@dataclass(frozen=True)
class Fit:
    """A trained subspace, and how well it and its controls do on the held-out pairs.

    An interchange accuracy is the share of held-out pairs, 0 to 1, whose likeliest next token is
    the wanted one. The held-out pairs are never trained on; they do decide which step is kept.

    Attributes:
        site: where the subspace is.
        position, source_position: where in the prompts, as given.
        rank: its dimension.
        seed: of the first weights and of the order of the batches.
        link: the name under which `slot` and `weights` know it.
        intervention: the trained module; its rotation is `(width, rank)`.
        accuracy: the trained subspace swapped.
        unchanged_accuracy: nothing swapped.
        whole_accuracy: the site's whole state swapped; not a bound, a subspace may do better.
        random_accuracy: a subspace of random orthonormal columns of the same rank swapped, each
            vector's change rescaled to the Euclidean norm of the trained subspace's change there;
            mean over `RANDOM_DRAWS` such subspaces. None when fitted without controls.
        shuffled_accuracy: a second subspace swapped, trained from the same first weights for the
            steps of the kept state, on the same pairs with their wanted tokens permuted among
            them; judged by the held-out pairs' true wanted tokens. None when without controls.
        history: a row per check: step, loss (mean cross-entropy in nats over the batches since the
            last check; NaN at step 0), held_out_loss, accuracy.
        kept_step: the step whose weights were kept: that of the lowest held-out loss.
        pairs, held_out_pairs: how many were trained on, and how many held out.
    """

    site: Site
    position: Where
    source_position: Where | None
    rank: int
    seed: int
    link: str
    intervention: LowRankRotatedSpace = field(repr=False)
    accuracy: float
    unchanged_accuracy: float
    whole_accuracy: float
    random_accuracy: float | None
    shuffled_accuracy: float | None
    history: pd.DataFrame = field(repr=False, compare=False)
    kept_step: int
    pairs: int
    held_out_pairs: int

    @property
    def weights(self) -> dict[str, Intervention]:
        """What `run(..., weights=...)` takes, for an experiment with `slot()` in it."""
        return {weights_key(self.slot(), 0): self.intervention}

    def slot(self, **more: Any) -> Slot:
        """A slot that swaps the subspace; `more` are further fields of it, `source` for instance.

        Raises:
            RequestError: a field by which it would no longer be this subspace.
        """
        fixed: dict[str, Any] = {
            "intervention": LowRankRotatedSpace.name,
            "rank": self.rank,
            "seed": self.seed,
            "link": self.link,
        }
        for name in fixed.keys() & more.keys():
            if more[name] != fixed[name]:
                raise RequestError(
                    f"{name} must be {fixed[name]!r}, got {more[name]!r}: this subspace has {name} "
                    f"{fixed[name]!r}. Fit again, with link= for another name."
                )
        place: dict[str, Any] = {
            "layer": self.site.layer,
            "component": self.site.component,
            "head": self.site.head,
            "position": self.position,
            "source_position": self.source_position,
        }
        return Slot(**{**place, **more, **fixed})

    @property
    def frame(self) -> pd.DataFrame:
        """One row per kind of swap: swapped, accuracy, held_out_pairs."""
        import pandas as pd

        rows = {
            "trained subspace": self.accuracy,
            "random subspace": self.random_accuracy,
            "subspace of shuffled answers": self.shuffled_accuracy,
            "nothing": self.unchanged_accuracy,
            "whole state": self.whole_accuracy,
        }
        known = {name: value for name, value in rows.items() if value is not None}
        return pd.DataFrame(
            {"swapped": list(known), "accuracy": list(known.values())},
        ).assign(held_out_pairs=self.held_out_pairs)

    def __repr__(self) -> str:
        controls = {"random": self.random_accuracy, "shuffled": self.shuffled_accuracy}
        parts = [f"{name} {value:.2f}" for name, value in controls.items() if value is not None]
        parts += [
            f"nothing {self.unchanged_accuracy:.2f}",
            f"whole state {self.whole_accuracy:.2f}",
        ]
        return (
            f"<Fit of rank {self.rank} at {self.site}, position {self.position!r}: "
            f"interchange accuracy {self.accuracy:.2f} on {self.held_out_pairs} held-out pairs "
            f"({', '.join(parts)}); step {self.kept_step}>"
        )

    def _repr_html_(self) -> str:
        import html

        return f"<p>{html.escape(repr(self))}</p>{self.frame.to_html(index=False)}"


def fit_subspace(
    model: LanguageModel,
    pairs: Sequence[Pair],
    layer: int,
    position: Where,
    rank: int,
    *,
    component: str = "block_output",
    head: int | None = None,
    source_position: Where | None = None,
    held_out: float | Sequence[Pair] = 0.25,
    steps: int = 400,
    batch_size: int = 32,
    lr: float = 0.02,
    patience: int = 8,
    controls: bool = True,
    seed: int = 0,
    link: str = "subspace",
    progress: bool = True,
) -> Fit:
    """Train the subspace of one site whose swap gives the wanted answers.

    Args:
        model: from `load` or `wrap`; it is left exactly as it was.
        pairs: `(base, source)` or `(base, source, wanted)` prompts; `wanted` is the text of the
            next token that the swap is to give, by default the source's own likeliest. Pairs whose
            base gives that token anyway teach nothing.
        layer, component, head: the site, as in a `Slot`.
        position, source_position: where in each pair's prompts, as in a `Slot`.
        rank: dimension of the subspace, 1 to the site's width.
        held_out: share of the pairs that is held out, drawn from the seed; or the held-out pairs
            themselves, so that for instance no country of theirs is in training.
        steps: batches at most, of `batch_size` pairs whose bases are equally long.
        lr: learning rate of Adam.
        patience: checks of the held-out loss, one every `CHECK_EVERY` steps, without a new lowest
            one, after which training stops.
        controls: also measure a random subspace and one trained on shuffled answers, which costs
            as much again as the fit.
        seed: equal arguments give equal results on one machine.
        link: name for the subspace in experiments; give different ones to use several at once.
        progress: show a bar.

    Raises:
        RequestError: an invalid pair, position, site, rank or number; the message names it.
        ModelChanged: the model changed in the meantime.
    """
    require_language_model(model)
    options = FitOptions(steps, batch_size, lr, patience, progress)
    if type(seed) is not int or seed < 0:  # a slot could not name it
        raise RequestError(f"seed must be an int of 0 or more, got {seed!r}.")
    site = model.sites.site(layer, component, head)
    reads = None if source_position is None else as_positions(source_position)
    where = FitSite(site, as_positions(position), reads)

    def new_subspace(seed: int) -> LowRankRotatedSpace:
        return LowRankRotatedSpace(Options(site.width, rank, seed=seed)).to(model.device)

    trained = new_subspace(seed)
    training, testing = split_pairs(list(pairs), held_out, seed)
    model.accept_hooks()
    began = model.fingerprint
    if not model.behaviour.batches:  # rows of a batch would not get the numbers of a prompt alone
        batch_size, options = 1, replace(options, batch_size=1)
    examples = make_examples(model, where, training, batch_size, "training pair")
    held_out_examples = make_examples(model, where, testing, batch_size, "held-out pair")
    history, kept = train(model, site, trained, examples, held_out_examples, options)

    def accuracy(change: VectorEdit | None) -> float:
        return evaluate(model, site, held_out_examples, batch_size, change)[1]

    random_accuracy = shuffled_accuracy = None
    if controls:
        draws = [new_subspace(seed + 1 + i) for i in range(RANDOM_DRAWS)]
        random_accuracy = sum(accuracy(norm_matched(one, trained)) for one in draws) / RANDOM_DRAWS
        control = new_subspace(seed)
        if kept:
            shuffled = shuffle_wanted(examples, seed)
            train(model, site, control, shuffled, (), replace(options, steps=kept))
        shuffled_accuracy = accuracy(control)
    final_accuracy, unchanged_accuracy = accuracy(trained), accuracy(None)
    whole_accuracy = accuracy(lambda base, source: source)
    require_unchanged(model, began, model.fingerprint)
    return Fit(
        site=site,
        position=where.position,
        source_position=where.source_position,
        rank=rank,
        seed=seed,
        link=link,
        intervention=trained,
        accuracy=final_accuracy,
        unchanged_accuracy=unchanged_accuracy,
        whole_accuracy=whole_accuracy,
        random_accuracy=random_accuracy,
        shuffled_accuracy=shuffled_accuracy,
        history=history,
        kept_step=kept,
        pairs=len(training),
        held_out_pairs=len(testing),
    )
