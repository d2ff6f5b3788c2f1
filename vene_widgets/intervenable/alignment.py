"""train_alignment(), eval_alignment(): pyvene's loop over batches with locations in them.

Adam with a linear warm-up and decay, and a temperature that falls from 50 to 0.1 (Geiger et al.
2024, "Finding Alignments Between Interpretable Causal Variables and Distributed Neural
Representations"; Wu et al. 2023, "Interpretability at Scale").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from vene_widgets.errors import RequestError, choose

if TYPE_CHECKING:
    from vene_widgets.intervenable.savable import SavableModel

_OPTIONS = ("lr", "epochs", "gradient_accumulation_steps", "optimizer", "scheduler")
_HOTTEST, _COLDEST = 50.0, 0.1

Batch = Mapping[str, Any]
Metrics = Callable[[list[Any], list[Any]], Any]


def train_alignment(
    intervenable: SavableModel,
    train_dataloader: Any,
    compute_loss: Callable[[Any, Any], torch.Tensor],
    compute_metrics: Metrics,
    inputs_collator: Callable[[Any], Batch] | None,
    **options: Any,
) -> None:
    """Train the operators of a model.

    Args:
        intervenable: the model with its slots.
        train_dataloader: batches, dicts with `input_ids`, `source_input_ids`, `labels`, perhaps
            `subspaces`, and locations such as `source_0->base.0.pos` (read) and
            `source_0->base.1.pos` (changed), `(batch, positions)`.
        compute_loss: logits and labels -> loss.
        compute_metrics: lists of logits and of labels -> what the progress bar shows.
        inputs_collator: a batch of the loader -> a batch; None to take it as it is.
        options: `lr` (0.001), `epochs` (10), `gradient_accumulation_steps` (1), `optimizer`
            (Adam), `scheduler` (linear, with a tenth of the steps to warm up).

    Raises:
        RequestError: an unknown option, a batch without locations, or nothing to train.
    """
    import transformers
    from tqdm.auto import trange

    linear: Any = vars(transformers.optimization)["get_linear_schedule_with_warmup"]
    for name in options:  # `warm_up_steps` is accepted, and ignored, as in pyvene
        choose(name, (*_OPTIONS, "warm_up_steps"), "option of train_alignment")
    trained = intervenable.get_trainable_parameters()
    if not trained:
        raise RequestError("train_alignment: nothing trains: no slot has an operator with weights.")
    steps = int(len(train_dataloader) * options.get("epochs", 10))
    every = options.get("gradient_accumulation_steps", 1)
    optimizer: Any = options.get("optimizer") or torch.optim.Adam(
        trained, lr=options.get("lr", 1e-3)
    )
    scheduler: Any = options.get("scheduler") or linear(
        optimizer, num_warmup_steps=0.1 * steps, num_training_steps=steps
    )
    temperatures = torch.linspace(_HOTTEST, _COLDEST, steps).to(torch.bfloat16)
    progress: Any = trange(int(options.get("epochs", 10)), desc="Epoch")
    step = 0
    for _ in progress:
        for batch in _collated(train_dataloader, inputs_collator):
            logits = _logits(intervenable, batch)
            metrics = compute_metrics([logits], [batch["labels"]])
            loss = compute_loss(logits, batch["labels"])
            progress.set_postfix({"loss": round(loss.item(), 2), "acc": metrics})
            (loss / every if every > 1 else loss).backward()  # pyright: ignore[reportUnknownMemberType]  # torch's
            if step % every == 0 and not (every > 1 and step == 0):
                optimizer.step()
                scheduler.step()
                intervenable.zero_grad()
                intervenable.set_temperature(temperatures[step])
            step += 1


def eval_alignment(
    intervenable: SavableModel,
    eval_dataloader: Any,
    compute_metrics: Metrics,
    inputs_collator: Callable[[Any], Batch] | None,
) -> float:
    """The mean of a metric over batches, by their numbers of examples.

    Args:
        intervenable: the model with its slots.
        eval_dataloader, inputs_collator: as for `train_alignment`.
        compute_metrics: lists of logits and of labels -> a number.

    Raises:
        RequestError: a batch without locations, or no batch.
    """
    total, examples = 0.0, 0
    with torch.no_grad():
        for batch in _collated(eval_dataloader, inputs_collator):
            count = batch["input_ids"].shape[0]
            metrics = compute_metrics([_logits(intervenable, batch)], [batch["labels"]])
            total, examples = total + metrics * count, examples + count
    if not examples:
        raise RequestError("eval_alignment: the data loader has no batch.")
    return total / examples


def _collated(loader: Iterable[Any], collator: Callable[[Any], Batch] | None) -> Iterable[Batch]:
    return loader if collator is None else map(collator, loader)


def _logits(intervenable: SavableModel, batch: Batch) -> torch.Tensor:
    """Logits of a batch's base, with its one source in place."""
    units = [rep.unit for rep in intervenable.config.representations]
    where = locations_of(batch, units, intervenable.config.mode)
    source = {"input_ids": batch["source_input_ids"]}
    output = intervenable(
        {"input_ids": batch["input_ids"]}, [source], where, subspaces=batch.get("subspaces")
    )[1]
    return output.logits


def locations_of(batch: Batch, units: Sequence[str], mode: str) -> dict[str, Any]:
    """`unit_locations` of a call, from a batch's own keys.

    Args:
        batch: with keys such as `source_0->base.0.pos`: slot 0, its source's side, positions.
        units: of the slots.
        mode: `parallel` or `serial`.

    Raises:
        RequestError: a key that the slots need is missing.
    """
    last = len(units) - 1
    sides: list[tuple[str, list[Any]]] = []
    for index, unit in enumerate(units):
        key = f"source_{index}->base"
        if mode == "serial" and index < last:
            key = f"source_{index}->source_{index + 1}"
        found: list[Any] = []
        for side in (0, 1):
            names = [f"{key}.{side}.{part}" for part in unit.split(".")]
            if missing := [name for name in names if name not in batch]:
                raise RequestError(
                    f"the batch has no {missing[0]!r}, where slot {index} reads (0) or acts (1). "
                    f"It has: {', '.join(map(repr, batch))}."
                )
            values = [batch[name] for name in names]
            found.append(values[0] if len(values) == 1 else values)
        sides.append((key, found))
    if mode == "serial":
        return {key: ([source], [base]) for key, (source, base) in sides}
    return {"sources->base": ([one[0] for _, one in sides], [one[1] for _, one in sides])}
