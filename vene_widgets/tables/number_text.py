"""Numbers as sentences, figures and the screen write them: short, and never rounded to 0 or to 1.

`js/src/domain/format.ts` follows the same rules; `tests/cases/numbers.json` tests both. A half is
rounded away from 0.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Context, Decimal

NO_BREAK = "\u00a0"
"""No-break space, between a number and its unit."""


def percent(probability: float) -> str:
    """A probability in percent, with two significant digits: `94 %`, `0.08 %`, `<0.001 %`.

    From 99.5 % on it has one decimal, and `>99.9 %` is the last step before `100 %`, which stands
    for exactly 1.
    """
    return f"{percent_number(probability)}{NO_BREAK}%"


def percent_number(probability: float) -> str:
    """`percent` without the sign, for tables and axes that have it in their heading."""
    value = 100 * float(probability)
    if 0 < value < 0.001:
        return "<0.001"
    if 99.95 <= value < 100:
        return ">99.9"
    return f"{_rounded(value, 3 if 99.5 <= value < 100 else 2):f}"


def points(change: float) -> str:
    """A change of probability in percentage points, with two significant digits: `+94`, `−0.9`.

    Less than 0.001 points is `≈ 0`. From 99.5 points on it has one decimal.
    """
    value = 100 * float(change)
    size = abs(value)
    if value == 0:
        return "0"
    if size < 0.001:
        return f"≈{NO_BREAK}0"
    return f"{'−' if value < 0 else '+'}{_rounded(size, 3 if size >= 99.5 else 2):f}"


def significant(value: float) -> str:
    """A number with three significant digits: `30.8`, `−7.25`, `0.0004`, `1e−5`.

    Below 0.0001 and from a million on it is in powers of ten.
    """
    number = float(value)
    if number == 0:
        return "0"
    if not math.isfinite(number):
        return f"{number}".replace("-", "−")
    rounded = _rounded(number, 3)
    style = "f" if 1e-4 <= abs(float(rounded)) < 1e6 else "e"
    return f"{rounded:{style}}".replace("e+", "e").replace("-", "−")


def _rounded(value: float, digits: int) -> Decimal:
    """The value with so many significant digits, a half rounded away from 0, no trailing zeros."""
    context = Context(prec=digits, rounding=ROUND_HALF_UP)
    return context.create_decimal_from_float(value).normalize(context)
