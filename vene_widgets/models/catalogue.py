"""available(): the models that `load` knows by name, and which of them load offline."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from vene_widgets.models import hub, smollm2
from vene_widgets.models.loading import CAPITALS

if TYPE_CHECKING:
    import pandas as pd


def available(cache_dir: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """List the models that `load` knows by name, one row each, without using the network.

    Args:
        cache_dir: cache folder of the hub's client; None means its default (`HF_HOME`).

    Returns:
        A frame with the columns name: argument of `load`; ready: whether it loads without a
        network; size_mb: size of its weights on disk in 10^6 bytes (expected, if it is not fetched
        yet); about: what it is, or how to get it.
    """
    import pandas as pd

    fetched = smollm2.is_fetched()
    rows = [
        (
            "capitals",
            (CAPITALS / "model.safetensors").is_file(),
            _size(CAPITALS),
            "built in: knows countries and their capitals",
        ),
        (
            "smollm2",
            fetched,
            _size(smollm2.folder()) if fetched else smollm2.SIZE_MB,
            smollm2.TITLE if fetched else f"{smollm2.TITLE}; get it: {smollm2.COMMAND}",
        ),
    ]
    cached = hub.cached_models(cache_dir)
    rows += [(model.name, True, model.size / 1e6, "hub model, in the cache") for model in cached]
    if "gpt2" not in {model.name for model in cached}:
        rows.append(("gpt2", False, 548.1, "hub model; needs the network once"))
    frame = pd.DataFrame(rows, columns=["name", "ready", "size_mb", "about"])
    return frame.astype({"ready": bool, "size_mb": float}).round({"size_mb": 1})


def _size(folder: Path) -> float:
    """Size of the weights in a folder in 10^6 bytes, 0 if there are none."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6
