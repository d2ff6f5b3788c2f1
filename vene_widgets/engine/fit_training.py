"""The training loop of a fit, and how a swap is evaluated."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from vene_widgets.engine.fit_examples import Example, batches_of_equal_length
from vene_widgets.engine.forward import last_position_logits
from vene_widgets.engine.hooks import Edit, intervene
from vene_widgets.engine.own_model import own_model
from vene_widgets.errors import RequestError
from vene_widgets.interventions import LowRankRotatedSpace

if TYPE_CHECKING:
    import pandas as pd

    from vene_widgets.models import LanguageModel
    from vene_widgets.models.sites import Site

CHECK_EVERY = 10
"""Steps between two evaluations of the held-out pairs."""

VectorEdit = Callable[[Tensor, Tensor], Tensor]
"""Base's and source's vectors `(n, width)` -> the new ones."""


@dataclass(frozen=True)
class FitOptions:
    """How a subspace is trained; the fields are arguments of `fit_subspace`.

    Raises:
        RequestError: a number out of its range; the message names it.
    """

    steps: int
    batch_size: int
    lr: float
    patience: int
    progress: bool

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "patience"):
            value: Any = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise RequestError(f"{name} must be an int of at least 1, got {value!r}.")
        lr: Any = self.lr
        if not isinstance(lr, (int, float)) or not lr > 0:
            raise RequestError(f"lr must be a learning rate above 0, got {lr!r}.")


def train(
    model: LanguageModel,
    site: Site,
    module: LowRankRotatedSpace,
    training: Sequence[Example],
    held_out: Sequence[Example],
    options: FitOptions,
) -> tuple[pd.DataFrame, int]:
    """Train in place; keep the weights with the lowest held-out loss, else the last step's.

    Args:
        model: the model; its own weights are constants.
        site: where vectors are swapped.
        module: what is trained.
        training: the pairs to train on.
        held_out: the pairs that choose the step; may be empty.
        options: steps, batch size, learning rate, patience.

    Returns:
        The history (`Fit.history`), and the step whose weights were kept.
    """
    import pandas as pd

    steps = options.steps
    optimiser: Any = torch.optim.Adam(module.parameters(), lr=options.lr)
    generator = torch.Generator(device="cpu").manual_seed(module.options.seed)
    batches: Iterator[list[int]] = iter(())
    lengths = [len(example.ids) for example in training]
    history: list[dict[str, float]] = []
    losses: list[float] = []
    best, kept, weights = float("inf"), steps, None
    title = "fit_subspace" if held_out else "fit_subspace (shuffled control)"
    with _progress_bar(steps, title) if options.progress else nullcontext() as bar:
        for step in range(steps + 1):
            if held_out and (step % CHECK_EVERY == 0 or step == steps):
                loss, accuracy = evaluate(model, site, held_out, options.batch_size, module)
                mean = sum(losses) / len(losses) if losses else float("nan")
                history.append(
                    {"step": step, "loss": mean, "held_out_loss": loss, "accuracy": accuracy}
                )
                losses = []
                if bar is not None:
                    bar.set_postfix(held_out_loss=f"{loss:.3f}", accuracy=f"{accuracy:.2f}")
                if loss < best:
                    best, kept, weights = loss, step, copy.deepcopy(module.state_dict())
                elif step - kept >= options.patience * CHECK_EVERY:
                    break
            if step == steps:
                break
            rows = next(batches, None)
            if rows is None:  # the next epoch
                batches = batches_of_equal_length(lengths, options.batch_size, generator)
                rows = next(batches)
            batch = [training[row] for row in rows]
            optimiser.zero_grad()
            with (
                model.lock,
                torch.inference_mode(mode=False),
                torch.enable_grad(),
                own_model(model),
            ):
                logits = _swapped_logits(model, site, batch, module)
                loss = cross_entropy(logits, _wanted(batch, logits))
                torch.autograd.backward(loss)
            with torch.device("cpu"):  # where it counts its steps, whatever torch's default is
                optimiser.step()
            losses.append(loss.item())
            if bar is not None:
                bar.update()
    if weights is not None:
        module.load_state_dict(weights)
    optimiser.zero_grad()
    columns = ["step", "loss", "held_out_loss", "accuracy"]
    return pd.DataFrame(history, columns=pd.Index(columns)), kept


def evaluate(
    model: LanguageModel,
    site: Site,
    examples: Sequence[Example],
    batch_size: int,
    change: VectorEdit | None,
) -> tuple[float, float]:
    """Mean cross-entropy in nats, and interchange accuracy from 0 to 1, of one kind of swap.

    Args:
        model: the model to run.
        site: where vectors are swapped.
        examples: the pairs.
        batch_size: pairs per forward pass.
        change: the swap; None for none.
    """
    loss = correct = 0.0
    for rows in batches_of_equal_length([len(example.ids) for example in examples], batch_size):
        batch = [examples[row] for row in rows]
        with model.lock, torch.no_grad(), own_model(model):
            logits = _swapped_logits(model, site, batch, change)
        wanted = _wanted(batch, logits)
        loss += float(cross_entropy(logits, wanted, reduction="sum"))
        correct += int((logits.argmax(-1) == wanted).sum())
    return loss / len(examples), correct / len(examples)


def _progress_bar(steps: int, title: str) -> Any:
    """Bar of tqdm, which starts a thread even if it is never shown."""
    from tqdm.auto import tqdm

    return tqdm(total=steps, desc=title, leave=False)


def norm_matched(module: LowRankRotatedSpace, like: LowRankRotatedSpace) -> VectorEdit:
    """A module's change, each vector's rescaled to the Euclidean norm of the change by `like`."""

    def change(base: Tensor, source: Tensor) -> Tensor:
        delta = module(base, source) - base
        size = _norm(like(base, source) - base)
        return base + delta * (size / _norm(delta).clamp_min(1e-12))

    return change


def _norm(vectors: Tensor) -> Tensor:
    """Euclidean norms of `(n, width)`, `(n, 1)`."""
    linalg: Any = torch.linalg  # untyped
    return linalg.vector_norm(vectors, dim=-1, keepdim=True)


def _swapped_logits(
    model: LanguageModel, site: Site, batch: Sequence[Example], change: VectorEdit | None
) -> Tensor:
    """Run bases of one length with their swaps, `(batch, vocabulary)`."""
    ids = torch.tensor([example.ids for example in batch], device=model.device)
    rows = torch.tensor(
        [n for n, example in enumerate(batch) for _ in example.positions], device=model.device
    )
    positions = torch.tensor([p for e in batch for p in e.positions], device=model.device)
    source = torch.cat([example.source for example in batch])
    edit = None if change is None else Edit(site, rows, positions, lambda v: change(v, source))
    with intervene(model, [edit]) if edit else nullcontext():
        return last_position_logits(model, ids).float()


def _wanted(batch: Sequence[Example], logits: Tensor) -> Tensor:
    """Ids of the wanted tokens, `(batch,)`."""
    return torch.tensor([example.wanted for example in batch], device=logits.device)
