"""The package's own cache folder, for what is made once per machine and reused."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def user_cache() -> Path:
    """Where this package keeps what it fetched; the folder need not exist yet.

    The first of these that is set: the environment variable `VENE_WIDGETS_CACHE` (taken as it is),
    `XDG_CACHE_HOME`, else the platform's own place for caches.
    """
    if own := os.environ.get("VENE_WIDGETS_CACHE"):
        return Path(own).expanduser().absolute()
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg).expanduser().absolute() / "vene_widgets"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "vene_widgets"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "vene_widgets"
    return Path.home() / ".cache" / "vene_widgets"
