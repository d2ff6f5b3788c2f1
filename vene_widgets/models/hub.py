"""The Hugging Face hub: whether it answers, which models are cached, and silent library calls."""

from __future__ import annotations

import json
import os
import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vene_widgets.models.architectures import ARCHITECTURES
from vene_widgets.models.saved_folder import is_json_object

PROBE_TIMEOUT = 5.0
"""Seconds to wait for the hub's first answer before using only the cache. Without a network the
hub's own client would retry for over 20 s."""

_quiet_lock = threading.RLock()


@dataclass(frozen=True)
class CachedModel:
    """A complete hub model in the cache: its name, its folder, its size in bytes."""

    name: str
    folder: Path
    size: int


def is_offline() -> bool:
    """Whether `HF_HUB_OFFLINE` is set, also if it was set after the hub's client was imported."""
    from huggingface_hub import constants

    value = os.environ.get("HF_HUB_OFFLINE", "")
    return constants.HF_HUB_OFFLINE or value.upper() in {"1", "ON", "YES", "TRUE"}


def unreachable_reason() -> str:
    """Probe the hub: one line on why it is unreachable, `""` if it answers.

    Sends one request with a timeout of `PROBE_TIMEOUT` through the hub's own client, so that it
    uses the same proxies and certificates as the downloads. The request runs in a thread, since a
    DNS lookup has no timeout.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if is_offline():
        return "offline mode (HF_HUB_OFFLINE is set)"
    reasons: list[str] = []

    def probe() -> None:
        try:
            get_session().head(constants.ENDPOINT, timeout=PROBE_TIMEOUT)
            reasons.append("")
        except Exception as error:  # any failure means that the hub is unreachable
            reasons.append(f"no answer from {constants.ENDPOINT}: {one_line(error)}")

    thread = threading.Thread(target=probe, name="vene-widgets-hub-probe", daemon=True)
    thread.start()
    thread.join(PROBE_TIMEOUT + 0.5)
    return reasons[0] if reasons else f"no answer from {constants.ENDPOINT} in {PROBE_TIMEOUT:g} s"


def cache_folder(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Cache folder of the hub's client; None means its default (`HF_HUB_CACHE`, `HF_HOME`)."""
    from huggingface_hub import constants

    return Path(cache_dir or constants.HF_HUB_CACHE).expanduser()


def cached_models(cache_dir: str | os.PathLike[str] | None = None) -> list[CachedModel]:
    """Hub models of a known architecture that `load` can read from the cache, sorted by name."""
    models: list[CachedModel] = []
    for folder in sorted(cache_folder(cache_dir).glob("models--*")):
        try:
            commit = (folder / "refs" / "main").read_text().strip()
            snapshot = folder / "snapshots" / commit
            config: object = json.loads((snapshot / "config.json").read_text(encoding="utf-8"))
            weights = [path.stat().st_size for path in snapshot.glob("*.safetensors")]
        except (OSError, ValueError):
            continue  # an incomplete download, or another kind of repository
        kind = config.get("model_type") if is_json_object(config) else None
        if weights and isinstance(kind, str) and kind in ARCHITECTURES:
            name = folder.name.removeprefix("models--").replace("--", "/")
            models.append(CachedModel(name, snapshot, sum(weights)))
    return models


@contextmanager
def quiet(downloads: bool = False) -> Generator[None, None, None]:
    """Silence the libraries' warnings, log lines and progress bars; restore the settings on exit.

    Args:
        downloads: keep the hub's download bars, if they are enabled.
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
            # transformers' switch also sets the hub's, so restore the hub's last.
            (hub.enable_progress_bars if hub_bars else hub.disable_progress_bars)()


def one_line(error: BaseException, limit: int = 200) -> str:
    """An error's first line, or more if it announces what follows, cut to `limit` characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    for line in lines[1:]:
        if not text.endswith((":", ",")):
            break
        text += f" {line}"
    return text if len(text) <= limit else text[: limit - 1] + "…"
