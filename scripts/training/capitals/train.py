"""Train the model `capitals`: cd scripts && python -m training.capitals.train --out FOLDER.

With the language-model loss alone the model learns the facts, but already the first layer copies
the country to the last token, and maps show no structure. So each step adds interchange
intervention training (Geiger et al. 2022, "Inducing Causal Structure for Interpretable Neural
Networks", ICML): the cross-entropy of a run with one swapped state against the answer of the
intended structure.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from torch import Tensor
from training.capitals.batches import Documents, Pairs, Sampler, smoothed_targets
from training.capitals.card import write_card
from training.capitals.prompts import END
from training.capitals.structure import record_run, swap_run
from training.capitals.vocabulary import token_id, train_tokenizer
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from vene_widgets.models.capitals import FOLDER, Country, countries

POSITIONS = 64
STEPS = 900
PAIRS = 128
DOCUMENT_SENTENCES = ((1, 64), (2, 32), (3, 21), (5, 13))
"""Sentences per document and documents per batch; all pairs have about as many tokens."""
PEAK_RATE = 2e-3
WARMUP = 100


def new_model(tokenizer: PreTrainedTokenizerFast) -> GPT2LMHeadModel:
    """Return an untrained GPT-2 of six layers, 128 wide, without dropout."""
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=POSITIONS,
            n_embd=128,
            n_layer=6,
            n_head=4,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            summary_first_dropout=0.0,
            bos_token_id=token_id(tokenizer, END),
            eos_token_id=token_id(tokenizer, END),
        )
    )


def soft_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy against target distributions, in nats per row; both are (rows, vocab)."""
    return -(targets * logits.log_softmax(-1)).sum(-1).mean()


def language_loss(model: GPT2LMHeadModel, documents: Documents, targets: Tensor) -> Tensor:
    """Cross-entropy of the next token, in nats per token, with smoothed targets at the answers."""
    logits = model(input_ids=documents.ids, use_cache=False).logits[:, :-1]
    log_chances = logits.log_softmax(-1)
    losses = -log_chances.gather(2, documents.ids[:, 1:, None]).squeeze(2)
    known = documents.row, documents.column
    soft = -(targets[documents.relation, documents.country] * log_chances[known]).sum(-1)
    losses = losses.index_put(known, soft)
    return losses[~documents.padding[:, 1:]].mean()


def swap_loss(model: GPT2LMHeadModel, pairs: Pairs, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cross-entropies of the source runs and of the swapped runs, in nats per answer."""
    logits, states = record_run(model, pairs.source)
    facts = soft_loss(logits, targets[pairs.source_relation, pairs.source_country])
    swapped = swap_run(model, pairs.base, states, pairs.layers, pairs.positions)
    return facts, soft_loss(swapped, targets[pairs.relation, pairs.country])


def train_model(
    tokenizer: PreTrainedTokenizerFast,
    facts: tuple[Country, ...],
    *,
    steps: int = STEPS,
    seed: int = 0,
) -> GPT2LMHeadModel:
    """Train from scratch and print a line every hundred steps.

    Args:
        tokenizer: its tokenizer.
        facts: the facts to learn.
        steps: number of steps, each with one batch of documents and one of swapped pairs.
        seed: of the initial weights and of every batch.
    """
    torch.manual_seed(seed)
    model = new_model(tokenizer).train()
    sampler = Sampler(tokenizer, facts, model.config.n_layer)
    targets = smoothed_targets(tokenizer, facts, len(tokenizer))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARMUP, (steps - step) / (steps - WARMUP))
    )
    start = time.monotonic()
    for step in range(1, steps + 1):
        sentences, batch = DOCUMENT_SENTENCES[int(torch.randint(len(DOCUMENT_SENTENCES), ()))]
        prefixed = bool(torch.rand(()) < 0.25)
        language = language_loss(model, sampler.documents(batch, sentences), targets)
        pairs = sampler.pairs(PAIRS // 2 if prefixed else PAIRS, prefixed=prefixed)
        known, swapped = swap_loss(model, pairs, targets)
        optimizer.zero_grad()
        (language + known + swapped).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps:
            print(
                f"step {step}/{steps}  text {language.item():.3f}  facts {known.item():.3f}"
                f"  swaps {swapped.item():.3f} nats  {time.monotonic() - start:.0f} s",
                flush=True,
            )
    return model.eval()


def save(folder: Path, model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write config.json, model.safetensors and the tokenizer's files."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    # safetensors makes files readable by their owner only, and wheels preserve the mode.
    (folder / "model.safetensors").chmod(0o644)
    # transformers 5 writes a class name that transformers 4 lacks; both have this one.
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Train, measure, and write weights, configuration, tokenizer and card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder to write to")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"default {STEPS}")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    options = parser.parse_args()
    # With one thread, sums have the same order on any machine; a model this small loses little.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    facts = countries()
    tokenizer = train_tokenizer(facts, positions=POSITIONS)
    start = time.monotonic()
    model = train_model(tokenizer, facts, steps=options.steps, seed=options.seed)
    minutes = (time.monotonic() - start) / 60

    save(options.out, model, tokenizer)
    write_card(
        options.out,
        model,
        tokenizer,
        facts,
        minutes=minutes,
        steps=options.steps,
        pairs=PAIRS,
        seed=options.seed,
    )
    print(f"wrote {options.out} after {minutes:.1f} minutes")


if __name__ == "__main__":
    main()
