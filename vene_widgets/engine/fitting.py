"""fit_subspace(): find the subspace of a site that carries what makes two prompts' answers differ.

Distributed alignment search: Geiger et al. 2023, "Finding Alignments Between Interpretable Causal
Variables and Distributed Neural Representations". A rotation with orthonormal columns is trained so
that swapping its coordinates alone, from the source's state into the base's, gives the wanted
answer. The model's own weights are constants in it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy

from vene_widgets.engine.hooks import Edit, intervene, record, undisturbed
from vene_widgets.engine.planning import check_model, resolve_positions
from vene_widgets.errors import RequestError
from vene_widgets.experiments.experiment import Slot, Where, plain_ints
from vene_widgets.interventions import Intervention, LowRankRotatedSpace, Options

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from vene_widgets.models import LanguageModel, Token
    from vene_widgets.models.sites import Site

Pair = Sequence[str]
"""Base and source prompt, and the wanted next token's text where it isn't the source's own."""

CHECK_EVERY = 10
"""Steps between two looks at the held-out pairs."""

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
        return {f"link {self.link}": self.intervention}

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
                    f"{name} {more[name]!r} does not fit: this subspace has {name} "
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
        told = [f"{name} {value:.2f}" for name, value in controls.items() if value is not None]
        told += [f"nothing {self.unchanged_accuracy:.2f}", f"whole state {self.whole_accuracy:.2f}"]
        return (
            f"<Fit of rank {self.rank} at {self.site}, position {self.position!r}: "
            f"interchange accuracy {self.accuracy:.2f} on {self.held_out_pairs} held-out pairs "
            f"({', '.join(told)}); step {self.kept_step}>"
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
        RequestError: a pair, position, site, rank or number that does not fit; it names which.
    """
    check_model(model)
    _check_numbers(steps=steps, batch_size=batch_size, patience=patience)
    if type(seed) is not int or seed < 0:  # a slot could not name it
        raise RequestError(f"seed {seed!r} does not fit: an int of 0 or more is needed.")
    if not isinstance(lr, (int, float)) or not lr > 0:
        raise RequestError(f"lr {lr!r} does not fit: a learning rate above 0 is needed.")
    site = model.sites.site(layer, component, head)
    options = Options(site.width, rank, seed=seed)
    trained = LowRankRotatedSpace(options).to(model.device)
    place = plain_ints(position), plain_ints(source_position)
    training, testing = _split(list(pairs), held_out, seed)
    known = _examples(model, site, training, place, batch_size, "training pair")
    judged = _examples(model, site, testing, place, batch_size, "held-out pair")
    how = batch_size, lr, patience, progress
    history, kept = _train(model, site, trained, known, judged, steps, *how)

    def share(change: Change | None) -> float:
        return _judge(model, site, judged, batch_size, change)[1]

    random_share = shuffled_share = None
    if controls:
        draws = [
            LowRankRotatedSpace(Options(site.width, rank, seed=seed + 1 + i)).to(model.device)
            for i in range(RANDOM_DRAWS)
        ]
        random_share = sum(share(_matched(one, trained)) for one in draws) / RANDOM_DRAWS
        other = LowRankRotatedSpace(options).to(model.device)
        _train(model, site, other, _permuted(known, seed), (), kept, *how)
        shuffled_share = share(other)
    return Fit(
        site=site,
        position=place[0],
        source_position=place[1],
        rank=rank,
        seed=seed,
        link=link,
        intervention=trained,
        accuracy=share(trained),
        unchanged_accuracy=share(None),
        whole_accuracy=share(lambda base, source: source),
        random_accuracy=random_share,
        shuffled_accuracy=shuffled_share,
        history=history,
        kept_step=kept,
        pairs=len(training),
        held_out_pairs=len(testing),
    )


Change = Callable[["Tensor", "Tensor"], "Tensor"]
"""Base's and source's vectors `(n, width)` -> the new ones."""


@dataclass(frozen=True, eq=False)
class _Example:
    """One pair: base token ids, positions, the source's vectors `(positions, width)`, wanted id."""

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    source: Tensor
    wanted: int


def _check_numbers(**numbers: int) -> None:
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise RequestError(f"{name} {value!r} does not fit: an int of at least 1 is needed.")


def _split(
    pairs: list[Pair], held_out: float | Sequence[Pair], seed: int
) -> tuple[list[Pair], list[Pair]]:
    """Pairs to train on, and pairs to judge by."""
    if isinstance(held_out, (int, float)):
        if not 0 < held_out < 1:
            raise RequestError(f"held_out {held_out!r} does not fit: a share between 0 and 1.")
        count = max(1, round(held_out * len(pairs)))
        order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed)).tolist()
        testing = [pairs[i] for i in order[:count]]
        training = [pairs[i] for i in order[count:]]
    else:
        training, testing = pairs, list(held_out)
    if not training or not testing:
        raise RequestError(
            f"{len(training)} pairs to train on and {len(testing)} held out: each needs one at "
            "least. Give more pairs."
        )
    seen: set[tuple[str, ...]] = set()
    for pair in (*training, *testing):
        if isinstance(pair, str) or len(pair) not in (2, 3):
            raise RequestError(
                f"pair {pair!r} does not fit: (base, source) or (base, source, wanted) is needed."
            )
        if tuple(pair[:2]) in seen:
            raise RequestError(
                f"pair {pair!r} is there twice: held-out pairs must be new, so give each one once."
            )
        seen.add(tuple(pair[:2]))
    return training, testing


def _examples(
    model: LanguageModel,
    site: Site,
    pairs: Sequence[Pair],
    place: tuple[Any, Any],
    batch_size: int,
    what: str,
) -> list[_Example]:
    """Check the pairs and run every distinct source once."""
    sources = {pair[1]: model.tokens(pair[1]) for pair in pairs}
    states, answers = _source_states(model, site, sources, batch_size)
    examples = []
    for index, pair in enumerate(pairs):
        name, base = f"{what} {index}", tuple(model.tokens(pair[0]))
        here = resolve_positions(place[0], base, f"{name}.position", f"base {pair[0]!r}")
        wanted_place = place[1]
        if wanted_place is None:
            wanted_place = here if isinstance(place[0], str) else place[0]
        there = resolve_positions(
            wanted_place, tuple(sources[pair[1]]), f"{name}.source_position", f"source {pair[1]!r}"
        )
        if len(here) != len(there):
            raise RequestError(f"{name} pairs {len(there)} source with {len(here)} base positions.")
        wanted = model.token_id(pair[2]) if len(pair) == 3 else answers[pair[1]]
        source = states[pair[1]][list(there)]
        examples.append(_Example(tuple(token.id for token in base), here, source, wanted))
    return examples


def _source_states(
    model: LanguageModel, site: Site, sources: dict[str, list[Token]], batch_size: int
) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Each source's states at the site `(positions, width)`, and its likeliest next token."""
    states: dict[str, Tensor] = {}
    answers: dict[str, int] = {}
    names = list(sources)
    for rows in _batches([len(sources[name]) for name in names], batch_size):
        some = [names[row] for row in rows]
        ids = torch.tensor([[t.id for t in sources[name]] for name in some], device=model.device)
        with undisturbed(model), record(model, [site]) as found:
            logits = _last_logits(model, ids)
        if site not in found:
            raise RequestError(f"{site} was never reached by a forward pass of {model.name}.")
        for row, name in enumerate(some):
            states[name] = found[site][row].clone()
            answers[name] = int(logits[row].argmax())
    return states, answers


def _batches(
    lengths: Sequence[int], size: int, generator: torch.Generator | None = None
) -> Iterator[list[int]]:
    """Every index once, in batches of equal length; in random order where there is a generator."""
    order = list(range(len(lengths)))
    if generator is not None:
        order = torch.randperm(len(lengths), generator=generator).tolist()
    groups: dict[int, list[int]] = {}
    for index in order:
        groups.setdefault(lengths[index], []).append(index)
    batches = [group[i : i + size] for group in groups.values() for i in range(0, len(group), size)]
    order = list(range(len(batches)))
    if generator is not None:
        order = torch.randperm(len(batches), generator=generator).tolist()
    for index in order:
        yield batches[index]


def _last_logits(model: LanguageModel, ids: Tensor) -> Tensor:
    """Next-token logits `(batch, vocabulary)`, in float32."""
    logits = model.model(input_ids=ids, use_cache=False, return_dict=True).logits
    return logits[:, -1].float()


def _swap_logits(
    model: LanguageModel, site: Site, batch: Sequence[_Example], change: Change | None
) -> Tensor:
    """Run bases of one length with their swaps, `(batch, vocabulary)`; within `undisturbed`."""
    ids = torch.tensor([example.ids for example in batch], device=model.device)
    counts = torch.tensor([len(example.positions) for example in batch])
    rows = torch.arange(len(batch)).repeat_interleave(counts).to(model.device)
    positions = torch.tensor([p for e in batch for p in e.positions], device=model.device)
    source = torch.cat([example.source for example in batch])
    edit = None if change is None else Edit(site, rows, positions, lambda v: change(v, source))
    with intervene(model, [edit]) if edit else nullcontext():
        return _last_logits(model, ids)


def _wanted(batch: Sequence[_Example], logits: Tensor) -> Tensor:
    return torch.tensor([example.wanted for example in batch], device=logits.device)


def _judge(
    model: LanguageModel,
    site: Site,
    examples: Sequence[_Example],
    batch_size: int,
    change: Change | None,
) -> tuple[float, float]:
    """Mean cross-entropy in nats, and interchange accuracy."""
    loss = right = 0.0
    for rows in _batches([len(example.ids) for example in examples], batch_size):
        batch = [examples[row] for row in rows]
        with undisturbed(model):
            logits = _swap_logits(model, site, batch, change)
        wanted = _wanted(batch, logits)
        loss += float(cross_entropy(logits, wanted, reduction="sum"))
        right += int((logits.argmax(-1) == wanted).sum())
    return loss / len(examples), right / len(examples)


def _train(
    model: LanguageModel,
    site: Site,
    module: LowRankRotatedSpace,
    training: Sequence[_Example],
    testing: Sequence[_Example],
    steps: int,
    batch_size: int,
    lr: float,
    patience: int,
    progress: bool,
) -> tuple[pd.DataFrame, int]:
    """Train in place; with pairs to judge by, keep the best step's weights, else the last one's.

    Returns:
        The history, and the step whose weights were kept.
    """
    import pandas as pd
    from tqdm.auto import tqdm

    optimiser = torch.optim.Adam(module.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(module.options.seed)
    batches: Iterator[list[int]] = iter(())
    lengths = [len(example.ids) for example in training]
    history: list[dict[str, float]] = []
    losses: list[float] = []
    best, kept, weights = float("inf"), steps, None
    title = "fit_subspace" if testing else "its shuffled control"
    with tqdm(total=steps, desc=title, disable=not progress, leave=False) as bar:
        for step in range(steps + 1):
            if testing and (step % CHECK_EVERY == 0 or step == steps):
                loss, accuracy = _judge(model, site, testing, batch_size, module)
                mean = sum(losses) / len(losses) if losses else float("nan")
                history.append(
                    {"step": step, "loss": mean, "held_out_loss": loss, "accuracy": accuracy}
                )
                losses = []
                bar.set_postfix(held_out_loss=f"{loss:.3f}", accuracy=f"{accuracy:.2f}")
                if loss < best:
                    best, kept, weights = loss, step, copy.deepcopy(module.state_dict())
                elif step - kept >= patience * CHECK_EVERY:
                    break
            if step == steps:
                break
            rows = next(batches, None)
            if rows is None:
                batches = _batches(lengths, batch_size, generator)
                rows = next(batches)
            batch = [training[row] for row in rows]
            optimiser.zero_grad()
            with undisturbed(model, gradients=True):
                logits = _swap_logits(model, site, batch, module)
                loss = cross_entropy(logits, _wanted(batch, logits))
                loss.backward()
            optimiser.step()
            losses.append(loss.item())
            bar.update()
    if weights is not None:
        module.load_state_dict(weights)
    optimiser.zero_grad()
    columns = ["step", "loss", "held_out_loss", "accuracy"]
    return pd.DataFrame(history, columns=pd.Index(columns)), kept


def _permuted(examples: Sequence[_Example], seed: int) -> list[_Example]:
    """The same pairs, their wanted tokens permuted among them."""
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed)).tolist()
    return [
        _Example(one.ids, one.positions, one.source, examples[other].wanted)
        for one, other in zip(examples, order, strict=True)
    ]


def _matched(module: LowRankRotatedSpace, like: LowRankRotatedSpace) -> Change:
    """The module's change, each vector's rescaled to the norm of the change that `like` makes."""

    def change(base: Tensor, source: Tensor) -> Tensor:
        delta = module(base, source) - base
        size = (like(base, source) - base).norm(dim=-1, keepdim=True)
        return base + delta * (size / delta.norm(dim=-1, keepdim=True).clamp_min(1e-12))

    return change
