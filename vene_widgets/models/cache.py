"""The package's cache folder, for files that are fetched once per machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def user_cache() -> Path:
    """The cache folder, which may not exist yet.

    It is `VENE_WIDGETS_CACHE` if that environment variable is set, else `vene_widgets` in
    `XDG_CACHE_HOME` or in the platform's usual cache folder.
    """
    if folder := os.environ.get("VENE_WIDGETS_CACHE"):
        return Path(folder).expanduser().absolute()
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg).expanduser().absolute() / "vene_widgets"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "vene_widgets"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "vene_widgets"
    return Path.home() / ".cache" / "vene_widgets"
