r"""visible(): a token's text with whitespace and unprintable characters made visible."""

from __future__ import annotations

_SYMBOLS = {" ": "␣", "\n": "↵", "\t": "⇥", "\ufffd": r"\ufffd"}


def visible(text: str) -> str:
    r"""Make every character of a token's text visible: `␣` space, `↵` newline, `⇥` tab, `∅` empty.

    The replacement character and whatever Python does not call printable (control, format and
    bidirectional characters, lone surrogates, unassigned ones, spaces other than U+0020) become
    escapes such as `\x1b` or `\u202e`. Requests accept a token's text in this form too.
    """
    return "".join(_SYMBOLS.get(c) or (c if c.isprintable() else _escape(c)) for c in text) or "∅"


def _escape(character: str) -> str:
    r"""The shortest Python escape of a character: `\x1b`, `\u202e` or `\U000e0001`."""
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
