"""The tokenizer: a small byte-level BPE with one token for every word of the training data."""

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
    """Train the tokenizer on all sentences of the training data, until every word is one token.

    All 256 bytes are in the vocabulary, so that encoding is lossless for any text. As with GPT-2,
    nothing is added at the start of a text.

    Args:
        countries: the facts whose words become tokens.
        positions: the model's longest input, in tokens.
        largest: upper bound of the vocabulary, in tokens.

    Raises:
        ValueError: a word of the sentences is not one token.
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
        raise ValueError(f"every word must be one of {largest} tokens, got split words {split[:5]}")
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
        ValueError: the text is no token or several.
    """
    ids = tokenizer.encode(text, add_special_tokens=False)
    if len(ids) != 1:
        raise ValueError(f"{text!r} must be exactly one token, got {len(ids)}")
    return ids[0]
