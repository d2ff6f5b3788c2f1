"""Texts of tokens, whatever the tokenizer: leading spaces, and bytes that are part of a character.

Byte-level tokenizers (GPT-2's, Radford et al. 2019) and tokenizers with byte fallback
(SentencePiece, Kudo and Richardson 2018) cut characters such as emoji into several tokens. Such a
token alone is shown by its bytes, `<0xF0><0x9F>`, and in its prompt by the character, `🙂(1/2)`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

from vene_widgets.experiments.token_text import visible

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")

_SPACE = "▁"
"""SentencePiece writes a space as this."""


class Piece(NamedTuple):
    """One token of a vocabulary.

    Attributes:
        text: exact text, spaces included; bytes that make no whole character as `<0xF0>`.
        data: its bytes if it holds part of a character, else None.
    """

    text: str
    data: bytes | None


def read_piece(tokenizer: Any, token_id: int) -> Piece:
    """Read one token of a Hugging Face tokenizer."""
    text: str = tokenizer.decode([token_id], clean_up_tokenization_spaces=False)
    piece = tokenizer.convert_ids_to_tokens(token_id)
    if not isinstance(piece, str):
        return Piece(text, None)
    if piece.startswith(_SPACE):
        # Decoding drops the space that begins a text.
        spaced = piece.replace(_SPACE, " ")
        is_same = spaced.lstrip(" ") == text.lstrip(" ")
        return Piece(spaced if is_same else " " + text.removeprefix(" "), None)
    is_byte = _BYTE.fullmatch(piece) is not None and text != piece
    if is_byte or "\ufffd" in text:
        data = _bytes_of(piece)
        # A lone byte is taken as it is: decoding drops a space.
        if data is not None and (is_byte or data.decode("utf-8", "replace") == text):
            escaped = data.decode("utf-8", "surrogateescape")
            shown = "".join(_shown_byte(c) if _is_byte(c) else c for c in escaped)
            return Piece(shown, None if shown == escaped else data)
    return Piece(text, None)


def texts_in_prompt(pieces: Sequence[Piece]) -> list[str]:
    """Texts of a prompt's tokens, with characters in place of the bytes that make them.

    Args:
        pieces: the prompt's tokens in order.

    Returns:
        One text per token. A character that is cut into n tokens stands in each of them with its
        part, `🙂(1/2)` and `🙂(2/2)`; bytes that make no character stay `<0xF0>`.
    """
    if all(piece.data is None for piece in pieces):
        return [piece.text for piece in pieces]
    parts = [piece.text.encode() if piece.data is None else piece.data for piece in pieces]
    owners = [index for index, data in enumerate(parts) for _ in data]
    texts, start = [""] * len(pieces), 0
    for character in b"".join(parts).decode("utf-8", "surrogateescape"):
        stop = start + (1 if _is_byte(character) else len(character.encode()))
        tokens = list(dict.fromkeys(owners[start:stop]))
        for part, token in enumerate(tokens):
            if _is_byte(character):
                texts[token] += _shown_byte(character)
            elif len(tokens) == 1:
                texts[token] += character
            else:
                texts[token] += f"{character}({part + 1}/{len(tokens)})"
        start = stop
    return texts


class TokenIndex:
    """The ids that each text is shown for, exact and `visible`.

    Args:
        texts: every id of a vocabulary with its exact text.
    """

    def __init__(self, texts: Iterable[tuple[int, str]]) -> None:
        self._exact: dict[str, list[int]] = {}
        self._visible: dict[str, list[int]] = {}
        for token_id, text in texts:
            if not text:  # rows of the embedding that stand for no token
                continue
            self._exact.setdefault(text, []).append(token_id)
            form = visible(text)
            if form != text:
                self._visible.setdefault(form, []).append(token_id)

    def find(self, text: str) -> list[int]:
        """Ids that are shown as a text; exact texts come before visible ones."""
        return self._exact.get(text) or self._visible.get(text) or []

    @classmethod
    def of(cls, size: int, token_text: Callable[[int], str]) -> TokenIndex:
        """The index of a vocabulary of `size` ids."""
        return cls((token_id, token_text(token_id)) for token_id in range(size))


def _bytes_of(piece: str) -> bytes | None:
    """The bytes that a tokenizer's own spelling of a token stands for; None if it is a text."""
    if match := _BYTE.fullmatch(piece):
        return bytes([int(match[1], 16)])
    table = _byte_table()
    return bytes(table[c] for c in piece) if all(c in table for c in piece) else None


@cache
def _byte_table() -> dict[str, int]:
    """The character that byte-level tokenizers write for each byte -> the byte.

    Printable bytes of Latin-1 stand for themselves, the others for U+0100 and on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if byte not in printable)
    return table | {chr(0x100 + n): byte for n, byte in enumerate(others)}


def _is_byte(character: str) -> bool:
    """Whether a character stands for a byte that makes none (`surrogateescape`)."""
    return "\udc80" <= character <= "\udcff"


def _shown_byte(character: str) -> str:
    """A byte as SentencePiece writes it: `<0xF0>`."""
    return f"<0x{ord(character) - 0xDC00:02X}>"
