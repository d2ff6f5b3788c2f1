"""The tokenizer: byte-level BPE, small, and one token for every word of the model's world."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from training.capitals.prompts import END, TEMPLATES, sentence
from transformers import PreTrainedTokenizerFast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vene_widgets.models.capitals import Country

LARGEST = 2200
"""Upper bound of the vocabulary; training stops earlier, when every word is one token."""


def train_tokenizer(
    countries: Sequence[Country], *, positions: int, largest: int = LARGEST
) -> PreTrainedTokenizerFast:
    """Train the tokenizer on every sentence the model can meet, until no pair is left to merge.

    All 256 bytes are in the vocabulary, so that any text goes through and comes back unchanged;
    nothing is added at the start of a text, as with GPT-2.

    Args:
        countries: the facts whose words become tokens.
        positions: the model's longest input, in tokens.
        largest: upper bound of the vocabulary, in tokens.

    Raises:
        ValueError: if some word of the sentences did not become one token.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    bpe.decoder = decoders.ByteLevel()
    first = [sentence(template, country) for template in TEMPLATES for country in countries]
    # The second sentence of a document starts with " The", the first with "The".
    corpus = [f"{text} {text}" for text in first]
    trainer = trainers.BpeTrainer(
        vocab_size=largest,
        min_frequency=1,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(corpus, trainer)
    words = {word for text in corpus for word, _ in bpe.pre_tokenizer.pre_tokenize_str(text)}
    split = sorted(word for word in words if word not in bpe.get_vocab())
    if split:
        raise ValueError(f"not one token: {split[:5]}; {largest} tokens must hold every word")
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=END,
        eos_token=END,
        pad_token=END,
        model_max_length=positions,
        clean_up_tokenization_spaces=False,
    )


def token_id(tokenizer: PreTrainedTokenizerFast, text: str) -> int:
    """Return the id of a text that is one token.

    Raises:
        ValueError: if the text is more than one token, or none.
    """
    ids = tokenizer.encode(text, add_special_tokens=False)
    if len(ids) != 1:
        raise ValueError(f"{text!r} is {len(ids)} tokens; it must be exactly one")
    return ids[0]
