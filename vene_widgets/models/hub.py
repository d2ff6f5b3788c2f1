"""The model hub: is it there, what of it lies in the cache, and how to ask it quietly."""

from __future__ import annotations

import json
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vene_widgets.models.architectures import ARCHITECTURES

# How long the hub may take for its first answer before the cache alone is used, in seconds. The
# hub's own client retries for over 20 s without a network: too long in a lecture.
PATIENCE = 5.0

_quiet_lock = threading.RLock()


@dataclass(frozen=True)
class CachedModel:
    """A hub model that lies complete in the cache: its name, its folder, its size in bytes."""

    name: str
    folder: Path
    size: int


def is_offline() -> bool:
    """Whether the user asked for no network, by `HF_HUB_OFFLINE` (also set after the import)."""
    from huggingface_hub import constants

    value = os.environ.get("HF_HUB_OFFLINE", "")
    return constants.HF_HUB_OFFLINE or value.upper() in {"1", "ON", "YES", "TRUE"}


def unreachable() -> str:
    """Why the hub cannot be asked, in one line; `""` when it answers.

    One request with `PATIENCE`, through the hub's own client: proxies and certificates are those
    that the downloads would use. It runs aside, since a name look-up knows no time limit.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if is_offline():
        return "offline mode (HF_HUB_OFFLINE is set)"
    reasons: list[str] = []

    def ask() -> None:
        try:
            get_session().head(constants.ENDPOINT, timeout=PATIENCE)
            reasons.append("")
        except Exception as error:  # any failure means that the hub cannot be asked
            reasons.append(f"no answer from {constants.ENDPOINT}: {one_line(error)}")

    thread = threading.Thread(target=ask, name="vene-widgets-hub-probe", daemon=True)
    thread.start()
    thread.join(PATIENCE + 0.5)
    return reasons[0] if reasons else f"no answer from {constants.ENDPOINT} in {PATIENCE:g} s"


def cache_folder(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """The folder in which the hub's client keeps models (`HF_HOME`, `HF_HUB_CACHE` respected)."""
    from huggingface_hub import constants

    return Path(cache_dir or constants.HF_HUB_CACHE).expanduser()


def cached_models(cache_dir: str | os.PathLike[str] | None = None) -> list[CachedModel]:
    """Hub models of a known architecture that `load` can take from the cache, by name."""
    found = []
    for folder in sorted(cache_folder(cache_dir).glob("models--*")):
        try:
            commit = (folder / "refs" / "main").read_text().strip()
            snapshot = folder / "snapshots" / commit
            config = json.loads((snapshot / "config.json").read_text(encoding="utf-8"))
            weights = [path.stat().st_size for path in snapshot.glob("*.safetensors")]
        except (OSError, ValueError):
            continue  # half a download, or another kind of repository
        if weights and config.get("model_type") in ARCHITECTURES:
            name = folder.name.removeprefix("models--").replace("--", "/")
            found.append(CachedModel(name, snapshot, sum(weights)))
    return found


@contextmanager
def quiet(downloads: bool = False) -> Iterator[None]:
    """Silence the libraries' log lines and progress bars inside the block, as before after it.

    Args:
        downloads: keep the hub's download bars, if the user has them on.
    """
    from huggingface_hub import utils as hub
    from transformers.utils import logging

    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        levels = logging.get_verbosity(), hub.logging.get_verbosity()
        bars, hub_bars = logging.is_progress_bar_enabled(), not hub.are_progress_bars_disabled()
        logging.set_verbosity_error()
        hub.logging.set_verbosity_error()
        logging.disable_progress_bar()
        if downloads and hub_bars:
            hub.enable_progress_bars()
        try:
            yield
        finally:
            logging.set_verbosity(levels[0])
            hub.logging.set_verbosity(levels[1])
            if bars:
                logging.enable_progress_bar()
            # transformers' switch moves the hub's too: put the hub's back last
            (hub.enable_progress_bars if hub_bars else hub.disable_progress_bars)()


def one_line(error: BaseException, limit: int = 200) -> str:
    """An error's first line, cut to `limit` characters."""
    lines = str(error).strip().splitlines()
    text = lines[0].strip() if lines else type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"
