"""Token texts in tables: exact ones by id, and `visible` ones."""

from __future__ import annotations

from collections.abc import Callable

from vene_widgets.experiments.token_text import visible as visible

TokenText = Callable[[int], str]
"""Token id -> the token's exact text."""
