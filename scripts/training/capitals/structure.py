"""Measure what the model knows and at which layer and token: the numbers of the model card.

A swap copies `block_output` at one layer and one position from a source run into a base run, the
same intervention that `vene_widgets` calls "vanilla". This module registers plain hooks, because
training uses it too and gradients must flow through both runs.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor
from training.capitals.prompts import LAST, RELATIONS, SUBJECT, answer, prompt
from training.capitals.vocabulary import token_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

    from vene_widgets.models.capitals import Country

HANDOVER = 3
"""First layer whose output has the answer at the last token instead of at the country."""


def _hidden(output: Any) -> Tensor:
    """Return a block's hidden states; some versions of transformers wrap them in a tuple."""
    return output[0] if isinstance(output, tuple) else output


def last_logits(model: GPT2LMHeadModel, ids: Tensor) -> Tensor:
    """Return the logits of the next token, (batch, vocab), for ids (batch, positions)."""
    hidden = model.transformer(input_ids=ids, use_cache=False).last_hidden_state
    return model.lm_head(hidden[:, -1])


def record_run(model: GPT2LMHeadModel, ids: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Run a batch and record every layer's `block_output`.

    Args:
        model: the model; hooks are removed on return.
        ids: token ids, (batch, positions).

    Returns:
        The last position's logits (batch, vocab), and per layer one tensor
        (batch, positions, d_model).
    """
    states: list[Tensor] = []
    with ExitStack() as stack:
        for block in model.transformer.h:
            handle = block.register_forward_hook(
                lambda _module, _inputs, output: states.append(_hidden(output))
            )
            stack.callback(handle.remove)
        logits = last_logits(model, ids)
    return logits, states


def swap_run(
    model: GPT2LMHeadModel, ids: Tensor, states: Sequence[Tensor], layers: Tensor, positions: Tensor
) -> Tensor:
    """Run a batch in which each row has one state copied from its source.

    Args:
        model: the model; hooks are removed on return.
        ids: token ids of the bases, (batch, positions).
        states: the sources' `block_output`, per layer (batch, positions, d_model).
        layers: each row's layer, (batch,).
        positions: each row's position, the same in base and source, (batch,).

    Returns:
        The last position's logits, (batch, vocab).
    """

    def swap_at(layer: int) -> Any:
        rows = (layers == layer).nonzero().squeeze(1)
        where = positions[rows]

        def hook(_module: Any, _inputs: Any, output: Any) -> Any:
            hidden = _hidden(output).clone()
            hidden[rows, where] = states[layer][rows, where]
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        return hook

    with ExitStack() as stack:
        for layer, block in enumerate(model.transformer.h):
            stack.callback(block.register_forward_hook(swap_at(layer)).remove)
        return last_logits(model, ids)


def prompt_ids(tokenizer: PreTrainedTokenizerFast, countries: Sequence[Country]) -> Tensor:
    """Return the guaranteed prompts' token ids, (relations, countries, 5)."""
    return torch.tensor(
        [[tokenizer.encode(prompt(r, c.country)) for c in countries] for r in RELATIONS]
    )


def answer_ids(tokenizer: PreTrainedTokenizerFast, countries: Sequence[Country]) -> Tensor:
    """Return the answers' token ids, (relations, countries)."""
    return torch.tensor([[token_id(tokenizer, answer(r, c)) for c in countries] for r in RELATIONS])


@torch.no_grad()
def facts_table(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, countries: Sequence[Country]
) -> pd.DataFrame:
    """Test every fact with its guaranteed prompt.

    Returns:
        One row per fact: `country`, `relation`, `answer` (the correct one), `predicted` (the most
        likely token) and `probability` (of the correct answer, 0 to 1).
    """
    rows = []
    right = answer_ids(tokenizer, countries)
    for r, (relation, ids) in enumerate(
        zip(RELATIONS, prompt_ids(tokenizer, countries), strict=True)
    ):
        chances = last_logits(model, ids).softmax(-1)
        for c, country in enumerate(countries):
            predicted = tokenizer.decode([int(chances[c].argmax())])
            chance = float(chances[c, right[r, c]])
            rows.append((country.country, relation, answer(relation, country), predicted, chance))
    columns = ["country", "relation", "answer", "predicted", "probability"]
    return pd.DataFrame(rows, columns=pd.Index(columns))


@torch.no_grad()
def swap_rates(
    model: GPT2LMHeadModel,
    tokenizer: PreTrainedTokenizerFast,
    countries: Sequence[Country],
    *,
    pairs: int = 200,
    seed: int = 0,
    same_relation: bool = True,
) -> pd.DataFrame:
    """Swap the country's or the last token's state at each layer between random pairs of prompts.

    Intended structure: below `HANDOVER`, the swap at the country gives the base relation's answer
    for the source's country, and the swap at the last token changes nothing. From `HANDOVER` on,
    the swap at the last token gives the source's answer, and the swap at the country changes
    nothing.

    Args:
        model: the model to measure.
        tokenizer: its tokenizer.
        countries: the facts.
        pairs: number of random pairs, all with different answers.
        seed: of the random pairs.
        same_relation: whether base and source ask for the same relation, or for different ones.

    Raises:
        ValueError: too few of the sampled pairs have different answers.

    Returns:
        One row per layer and site: `layer`, `site` ("subject" or "last"), `wanted` ("source" or
        "base": whose country or answer the most likely token should be), `rate` (fraction of the
        pairs in which it is, 0 to 1).
    """
    generator = torch.Generator().manual_seed(seed)
    prompts, answers = prompt_ids(tokenizer, countries), answer_ids(tokenizer, countries)
    # Sample more than needed: pairs with equal answers cannot show whose answer the swap gives, so
    # they are dropped.
    base_r, source_r = torch.randint(len(RELATIONS), (2, 20 * pairs), generator=generator)
    base_c, source_c = torch.randint(len(countries), (2, 20 * pairs), generator=generator)
    source_r = base_r if same_relation else source_r
    differ = answers[base_r, base_c] != answers[base_r, source_c]
    if not same_relation:
        differ &= base_r != source_r
    keep = differ.nonzero().squeeze(1)[:pairs]
    if len(keep) < pairs:
        raise ValueError(f"expected {pairs} pairs with different answers, got {len(keep)}")
    base_r, base_c, source_r, source_c = (x[keep] for x in (base_r, base_c, source_r, source_c))

    _, states = record_run(model, prompts[source_r, source_c])
    rows = []
    for layer in range(model.config.n_layer):
        for site, position in (("subject", SUBJECT), ("last", LAST)):
            moves = (layer < HANDOVER) == (site == "subject")
            relation = source_r if layer >= HANDOVER else base_r
            wanted = answers[relation, source_c] if moves else answers[base_r, base_c]
            logits = swap_run(
                model,
                prompts[base_r, base_c],
                states,
                torch.full((pairs,), layer),
                torch.full((pairs,), position),
            )
            rate = float((logits.argmax(-1) == wanted).float().mean())
            rows.append((layer, site, "source" if moves else "base", rate))
    return pd.DataFrame(rows, columns=pd.Index(["layer", "site", "wanted", "rate"]))
