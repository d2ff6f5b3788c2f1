"""available(): the models that `load` knows by name, and which of them work right now."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from vene_widgets.models import hub, smollm2
from vene_widgets.models.loading import CAPITALS

if TYPE_CHECKING:
    import pandas as pd


def available(cache_dir: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """The models to choose from, one row each, without asking any network.

    Args:
        cache_dir: where hub models are kept; None means the hub's own folder (`HF_HOME`).

    Returns:
        name: what `load` takes. ready: loads without a network. size_mb: its weights on disk in
        10^6 bytes (expected, when it is not there yet). about: what it is, or how to get it.
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
    rows += [(m.name, True, m.size / 1e6, "hub model, in the cache") for m in cached]
    if "gpt2" not in {m.name for m in cached}:
        rows.append(("gpt2", False, 548.1, "hub model; needs the network once"))
    frame = pd.DataFrame(rows, columns=["name", "ready", "size_mb", "about"])
    return frame.astype({"ready": bool, "size_mb": float}).round({"size_mb": 1})


def _size(folder: Path) -> float:
    """Megabytes of the weights in a folder, 0 when there are none."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6
