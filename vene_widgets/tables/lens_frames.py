"""lens_frame: what a lens reads in several runs, as a tidy table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from vene_widgets.tables.frames import PromptToken, table
from vene_widgets.tables.token_text import TokenText, visible

if TYPE_CHECKING:
    from vene_widgets.tables.statistics import CellStatistics


def lens_frame(
    cells: Mapping[str, CellStatistics],
    tokens: Mapping[str, Sequence[PromptToken]],
    layers: Sequence[int],
    targets: Sequence[int],
    token_text: TokenText,
) -> pd.DataFrame:
    """The most likely token at every layer and position of some runs, and chosen tokens there.

    Args:
        cells: name of the run -> statistics of its cells, layer by layer, with `targets` as tracked
            tokens. The first run is the base.
        tokens: name of the run -> the tokens of its prompt.
        layers: index of each row's block.
        targets: ids of the tokens to follow; may be empty.
        token_text: exact text of a token id.

    Returns:
        One row per run, layer and position: `run` (ordered as given), `layer`, `position`, `token`,
        `token_id`, `label` (of the prompt's token there), `best_id`, `best`, `best_label`,
        `probability` (of the best token), `changed` and `kl` (both against the base run at the same
        layer and position; <NA> and NaN for a prompt of another length). With targets, one row per
        target, with the columns `target_id`, `target`, `target_label`, `target_probability`,
        `target_rank` beside them.
    """
    names = list(cells)
    base, length = cells[names[0]], len(tokens[names[0]])
    found = np.unique(np.concatenate([one.top[:, 0].numpy() for one in cells.values()]))
    text_of = {token: token_text(token) for token in map(int, found)}
    each = max(1, len(targets))
    parts: list[pd.DataFrame] = []
    for name, one in cells.items():
        prompt, best = tokens[name], one.top[:, 0].numpy()
        count, is_base_length = len(layers) * len(prompt), len(prompt) == length
        changed = best != base.top[:, 0].numpy() if is_base_length else np.zeros(count, dtype=bool)
        missing = np.full(count, not is_base_length)
        texts = [text_of[int(i)] for i in best]
        columns: dict[str, Any] = {
            "run": pd.Categorical([name] * count, categories=names, ordered=True),
            "layer": np.repeat([int(layer) for layer in layers], len(prompt)),
            "position": [token.index for token in prompt] * len(layers),
            "token": [token.text for token in prompt] * len(layers),
            "token_id": [token.id for token in prompt] * len(layers),
            "label": [visible(token.text) for token in prompt] * len(layers),
            "best_id": best,
            "best": texts,
            "best_label": [visible(text) for text in texts],
            "probability": one.top_log_p[:, 0].exp().numpy(),
            "changed": pd.arrays.BooleanArray(changed, missing),
            "kl": np.where(missing, np.nan, one.kl.numpy()),
        }
        if targets:
            columns = {key: _repeated(values, each) for key, values in columns.items()}
            target_texts = [token_text(target) for target in targets]
            columns |= {
                "target_id": [*targets] * count,
                "target": target_texts * count,
                "target_label": [visible(text) for text in target_texts] * count,
                "target_probability": one.log_p.flatten().exp().numpy(),
                "target_rank": one.ranks.flatten().numpy(),
            }
        parts.append(table("lens_target_frame" if targets else "lens_frame", **columns))
    return pd.concat(parts, ignore_index=True)


def _repeated(values: Any, each: int) -> Any:
    """Every entry of a column several times."""
    if isinstance(values, list):
        return [value for value in cast("list[Any]", values) for _ in range(each)]
    return values.repeat(each)
