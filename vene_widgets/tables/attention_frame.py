"""attention_frame(): attention weights as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vene_widgets.tables.columns import COLUMNS, FRAMES

if TYPE_CHECKING:
    from torch import Tensor


def attention_frame(
    weights: Mapping[str, Tensor],
    texts: Mapping[str, Sequence[str]],
    layers: Sequence[int],
    heads: Sequence[int],
) -> pd.DataFrame:
    """Attention weights of some runs, one row per run, layer, head, query and key.

    Args:
        weights: name of the run -> `(layers, heads, queries, keys)`, float32 on the CPU.
        texts: name of the run -> texts of its prompt's tokens.
        layers, heads: what the first two dimensions are.

    Returns:
        Columns `run` (ordered as given), `layer`, `head`, `query`, `query_token`, `key`,
        `key_token`, `weight`.
    """
    parts: list[pd.DataFrame] = []
    runs = pd.CategoricalDtype(list(weights), ordered=True)
    for run, tensor in weights.items():
        layer, head, query, key = (part.ravel() for part in np.indices(tensor.shape))
        tokens = np.array([*texts[run], ""], dtype=object)[:-1]
        columns = {
            "run": pd.Categorical.from_codes(
                np.full(len(layer), runs.categories.get_loc(run)), dtype=runs
            ),
            "layer": np.array(layers)[layer],
            "head": np.array(heads)[head],
            "query": query,
            "query_token": tokens[query],
            "key": key,
            "key_token": tokens[key],
            "weight": tensor.numpy().ravel(),
        }
        parts.append(pd.DataFrame(columns))
    frame = pd.concat(parts, ignore_index=True)
    kinds = {c: COLUMNS[c].dtype for c in FRAMES["attention_frame"] if c != "run"}
    return frame.astype(kinds)
