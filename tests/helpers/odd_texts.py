"""Texts that break programs: markup, formulas, codes of other languages, invisible characters."""

from __future__ import annotations

ODD_TEXTS = {
    "one token": "The",
    "spaces": "     ",
    "newlines": "The\r\n\ncapital\r",
    "tab": "\tThe",
    "emoji": "👩🏽‍🚀🇫🇷 is",
    "right to left": "עיר הבירה של \u202eabc\u202c",
    "combining": "Z\u0361\u0301a\u0308\u0323lgo",
    "control": "\x00\x01\x07\x08\x0b\x1b[31m\x7f\x85",
    "separators": "a\u2028b\u2029c\ufeffd\u200b",
    "mathtext": "$x_1^2$ and \\frac{a}{b} _ ^ % # & ~ {",
    "one dollar": "costs $5",
    "script": "</script><script>alert(1)</script>",
    "attribute": "\" onerror='alert(1)' <img src=x>",
    "comment": "<!-- --> ]]> &lt; &#60;",
    "formula": '=HYPERLINK("http://x")',
    "quotes": "'''\"\"\"\\'\\\"",
    "code": '"); import os; os.abort() #',
    "format": "{0} %s {x!r} %(y)d",
    "special token": "<|endoftext|>",
    "path": "../../etc/passwd",
}
"""By what they are."""
