"""Loading by name, folder and hub cache; wrapping; and the errors of each."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    GPT2Model,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

import vene_widgets as vw
from vene_widgets.models import hub
from vene_widgets.models.cache import user_cache
from vene_widgets.models.placement import choose_device, choose_dtype, devices

WORDS = ("The", " capital", " of", " Spain", " is", " Italy", " Rome", " Madrid", "<unk>")
PROMPT = "The capital of Spain is"


def make_tokenizer() -> Any:
    """One id per word of `WORDS`; a leading space is part of the word."""
    core = Tokenizer(
        models.WordLevel({w.replace(" ", "Ġ"): i for i, w in enumerate(WORDS)}, "<unk>")
    )
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>")


def make_config(**changes: Any) -> GPT2Config:
    sizes = {"vocab_size": len(WORDS), "n_positions": 16, "n_embd": 8, "n_layer": 2, "n_head": 2}
    return GPT2Config(**{**sizes, "bos_token_id": 8, "eos_token_id": 8, **changes})


def make_model(**changes: Any) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(make_config(**changes))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny GPT-2 in a folder, as `save_pretrained` lays it down."""
    folder = tmp_path_factory.mktemp("tiny")
    make_model().save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of `saved` that a test may damage."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def lay_cache(cache: Path, saved: Path, name: str = "lab/tiny") -> None:
    """Lay a folder down as the hub's client would after a download."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    root = cache / f"models--{name.replace('/', '--')}"
    shutil.copytree(saved, root / "snapshots" / commit)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(commit)


def logits(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([ids])).logits


# ---- what loads --------------------------------------------------------------------------------


def test_a_folder_loads_to_the_very_model_that_was_saved(saved: Path) -> None:
    model = vw.load(saved, device="cpu")
    ids = [token.id for token in model.tokens(PROMPT)]
    assert torch.equal(logits(model.model, ids), logits(make_model().eval(), ids))
    assert [token.text for token in model.tokens(PROMPT)] == list(WORDS[:5])
    assert not any(module.training for module in model.model.modules())
    assert model.name == str(saved)


def test_float32_is_the_default_whatever_was_saved(tmp_path: Path, saved: Path) -> None:
    folder = Path(shutil.copytree(saved, tmp_path / "half"))
    make_model().bfloat16().save_pretrained(folder)
    assert "bfloat16" in (folder / "config.json").read_text()
    assert vw.load(folder, device="cpu").dtype == torch.float32
    assert vw.load(folder, device="cpu", dtype="bfloat16").dtype == torch.bfloat16
    assert vw.load(folder, device="cpu", dtype=torch.float16).dtype == torch.float16


def test_a_home_relative_folder_loads(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("USERPROFILE", str(folder.parent))
    assert vw.load(f"~/{folder.name}", device="cpu").sites.layers == 2


OFFLINE = """
import sys, vene_widgets as vw
model = vw.load("lab/tiny", device="cpu")
ids = model.tokenizer("The capital of Spain is", return_tensors="pt")["input_ids"]
print(repr(model.model(ids).logits.flatten().tolist()))
print(vw.available().set_index("name").ready["lab/tiny"])
try:
    vw.load("lab/other")
except vw.RequestError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def offline_run(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Path]:
    """A fresh interpreter with `HF_HUB_OFFLINE=1` and a cache that was laid by hand."""
    home = tmp_path_factory.mktemp("hf")
    lay_cache(home / "hub", saved)
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_"))}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE],
        env={**keep, "HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "PYTHONWARNINGS": "error"},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr, home


def test_a_hub_name_loads_from_the_cache_without_a_network(
    offline_run: tuple[str, str, Path],
) -> None:
    values = json.loads(offline_run[0].splitlines()[0])
    ids = make_tokenizer()(PROMPT)["input_ids"]
    assert values == logits(make_model().eval(), ids).flatten().tolist()
    assert offline_run[0].splitlines()[1] == "True"


def test_loading_prints_nothing(offline_run: tuple[str, str, Path]) -> None:
    assert offline_run[1] == ""


def test_a_missing_hub_model_says_what_was_tried_and_what_works(
    offline_run: tuple[str, str, Path],
) -> None:
    stdout, _, home = offline_run
    message = stdout.splitlines()[2]
    for part in ("'lab/other'", str(home / "hub"), "HF_HUB_OFFLINE", "'capitals'", "'smollm2'"):
        assert part in message
    assert message.endswith("hub models in the cache: 'lab/tiny'.")


# ---- the hub, unreachable or without the model --------------------------------------------------


def test_a_hub_out_of_reach_costs_no_retries(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, saved: Path
) -> None:
    calls = []

    def no_network(*_: Any, **__: Any) -> None:
        raise OSError("Name or service not known")

    class Session:
        def head(self, url: str, timeout: float) -> None:
            calls.append(url)
            raise ConnectionError("Name or service not known")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.utils.get_session", Session)
    monkeypatch.setattr("socket.getaddrinfo", no_network)
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("the library waits for another try"))
    lay_cache(tmp_path, saved)
    assert vw.load("lab/tiny", device="cpu", cache_dir=tmp_path).sites.layers == 2
    with pytest.raises(vw.RequestError, match=r"unreachable.*Name or service not known") as caught:
        vw.load("gpt2", cache_dir=tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert len(calls) == 2  # one question for each load


def test_a_hub_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    released = threading.Event()

    class Session:
        def head(self, url: str, timeout: float) -> None:
            released.wait()

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.utils.get_session", Session)
    monkeypatch.setattr(hub, "PROBE_TIMEOUT", 0.01)
    try:
        assert re.search(r"no answer from http.* in 0\.01 s", hub.unreachable_reason())
    finally:
        released.set()


SERVED = """
import sys, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
root, asked = Path(sys.argv[1]), []

class Hub(BaseHTTPRequestHandler):
    def do_HEAD(self): self.answer(False)
    def do_GET(self): self.answer(True)
    def do_POST(self): self.answer(True)
    def log_message(self, *args): pass
    def answer(self, body):
        asked.append((self.command, self.path))
        path = self.path.split("?")[0]
        parts = path.split("/")
        known = path.startswith(("/lab/tiny/", "/api/models/lab/tiny"))
        file = root / parts[-1]
        data, code = b"", 200
        extra = {}
        if path == "/":
            pass
        elif not known:
            code, extra = 401, {"X-Error-Code": "RepoNotFound"}
        elif "/resolve/" in path and file.is_file():
            data = file.read_bytes()
        elif "/resolve/" in path:
            code, extra = 404, {"X-Error-Code": "EntryNotFound"}
        else:
            code = 404
        self.send_response(code)
        for key, value in extra.items(): self.send_header(key, value)
        self.send_header("X-Repo-Commit", "0123456789abcdef0123456789abcdef01234567")
        self.send_header("ETag", '"%s"' % (parts[-1] or "root"))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body: self.wfile.write(data)

server = HTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
import os
os.environ["HF_ENDPOINT"] = "http://127.0.0.1:%d" % server.server_port
import vene_widgets as vw
for name in ("lab/tiny", "lab/absent"):
    try:
        print(vw.load(name, device="cpu"))
    except vw.RequestError as error:
        print(error)
print("POST" in {method for method, _ in asked}, any("discussions" in path for _, path in asked))
"""


def serve(root: Path, home: Path) -> list[str]:
    """Load from a local hub that serves `root` as `lab/tiny`; returns the printed lines."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_"))}
    keep = {k: v for k, v in keep.items() if not k.lower().endswith("_proxy")}
    done = subprocess.run(
        [sys.executable, "-c", SERVED, str(root)],
        env={
            **keep,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        },
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_reachable_hub_gives_the_model_and_says_when_it_has_none(
    saved: Path, tmp_path: Path
) -> None:
    loaded, absent, _ = serve(saved, tmp_path)
    assert loaded.startswith("<LanguageModel 'lab/tiny': gpt2, 2 layers x 8")
    assert "'lab/absent'" in absent and "the hub (online)" in absent
    assert "hub models in the cache: 'lab/tiny'" in absent


def test_a_pickled_hub_model_is_refused_and_no_conversion_is_asked_for(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(make_model().state_dict(), folder / "pytorch_model.bin")
    refused, _, posted = serve(folder, tmp_path / "hf")
    assert "no safetensors weights" in refused
    assert posted == "False False"


# ---- folders that are refused ------------------------------------------------------------------


def test_an_unknown_architecture_is_refused_before_weights_are_read(folder: Path) -> None:
    edit_config(folder, model_type="bert")
    (folder / "model.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(vw.RequestError, match=r"architecture 'bert'.*'gpt2'.*docs/families\.md"):
        vw.load(folder)
    edit_config(folder, model_type="gpt2")  # now they are read, and that fails
    with pytest.raises(vw.RequestError, match="could not be loaded"):
        vw.load(folder)


def test_a_repository_with_code_of_its_own_runs_none_of_it(folder: Path) -> None:
    marker = folder / "ran"
    (folder / "own.py").write_text(f"open({str(marker)!r}, 'w').close()")
    edit_config(folder, auto_map={"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"})
    vw.load(folder, device="cpu")
    assert not marker.exists()


def test_pickled_weights_are_never_read(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(make_model().state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(vw.RequestError, match=r"no safetensors weights.*'capitals'"):
        vw.load(folder)


def test_weights_that_would_be_random_are_refused(folder: Path) -> None:
    GPT2Model(make_config(tie_word_embeddings=False)).save_pretrained(folder)
    with pytest.raises(vw.RequestError, match=r"no saved values for 1 .*lm_head\.weight.*random"):
        vw.load(folder)


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder", "a/b/c", "", Path("gpt2")])
def test_a_folder_that_is_not_there_is_not_sought_on_the_hub(
    name: str | Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "unreachable_reason", lambda: pytest.fail("the hub was asked"))
    with pytest.raises(vw.RequestError, match=r"does not exist.*'capitals'"):
        vw.load(name)


def test_an_empty_folder_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(vw.RequestError, match=r"config\.json"):
        vw.load(tmp_path)


def test_a_revision_of_a_folder_is_refused(saved: Path) -> None:
    with pytest.raises(vw.RequestError, match=r"revision must be None.*'main': only hub models"):
        vw.load(saved, revision="main")


def test_a_model_is_not_a_name() -> None:
    with pytest.raises(vw.RequestError, match=r"GPT2LMHeadModel.*wrap"):
        vw.load(make_model())  # type: ignore[arg-type]


def test_a_foreign_tokenizer_is_refused(folder: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.add_tokens([" Paris"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(vw.RequestError, match=r"1 ids beyond.*from 9.*0 to 8"):
        vw.load(folder)


def test_a_padding_token_that_was_never_embedded_is_tolerated(folder: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    tokenizer.save_pretrained(folder)
    assert vw.load(folder, device="cpu").sites.vocabulary == len(WORDS)


# ---- device and dtype --------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", "cpu:7", ""])
def test_a_bad_device_names_the_ones_of_this_machine(device: str) -> None:
    with pytest.raises(vw.RequestError) as caught:
        vw.load("capitals", device=device)
    assert repr(device) in str(caught.value)
    assert all(repr(valid) in str(caught.value) for valid in ("auto", *devices()))


def test_auto_takes_the_best_device() -> None:
    assert str(choose_device("auto")) == devices()[0]
    assert choose_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize("dtype", ["float8", "int64", torch.int8, "Float32"])
def test_a_bad_dtype_names_the_valid_ones(dtype: Any) -> None:
    with pytest.raises(vw.RequestError, match="'float32', 'bfloat16', 'float16'"):
        choose_dtype(dtype, torch.device("cpu"))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_cuda_is_taken_and_agrees_with_the_cpu(saved: Path) -> None:
    on_cuda, on_cpu = vw.load(saved), vw.load(saved, device="cpu")
    assert on_cuda.device.type == "cuda" and vw.load(saved, device="cuda:0").device.index == 0
    ids = torch.tensor([[token.id for token in on_cuda.tokens(PROMPT)]])
    with torch.no_grad():
        there = on_cuda.model(ids.to(on_cuda.device)).logits.cpu()
        torch.testing.assert_close(there, on_cpu.model(ids).logits, atol=1e-4, rtol=1e-4)


# ---- nothing outside is changed ----------------------------------------------------------------


@pytest.mark.parametrize("level", [20, 40])
@pytest.mark.parametrize("bars", [True, False])
@pytest.mark.parametrize("downloads", [True, False])
def test_loading_leaves_the_libraries_switches_alone(
    saved: Path, level: int, bars: bool, downloads: bool, tmp_path: Path
) -> None:
    from huggingface_hub import utils as hub_utils

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    try:
        logging.set_verbosity(level)
        (logging.enable_progress_bar if bars else logging.disable_progress_bar)()
        # transformers' switch moves the hub's too, so the hub's is set after it
        (hub_utils.enable_progress_bars if downloads else hub_utils.disable_progress_bars)()
        state = logging.get_verbosity(), logging.is_progress_bar_enabled()
        environment = dict(os.environ)
        vw.load(saved, device="cpu")
        with pytest.raises(vw.RequestError):
            vw.load(tmp_path)
        assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == state
        assert hub_utils.are_progress_bars_disabled() != downloads
        assert dict(os.environ) == environment
    finally:
        logging.set_verbosity(before[0])
        (logging.enable_progress_bar if before[1] else logging.disable_progress_bar)()


# ---- wrap --------------------------------------------------------------------------------------


def snapshot(model: nn.Module) -> dict[str, Any]:
    """All that a user could see changed in a model."""
    hooks = [name for name in vars(model) if name.endswith("_hooks")]
    return {
        "training": {name: module.training for name, module in model.named_modules()},
        "gradients": {name: p.requires_grad for name, p in model.named_parameters()},
        "grad": {name: p.grad for name, p in model.named_parameters()},
        "hooks": {
            (name, kind): dict(getattr(module, kind))
            for name, module in model.named_modules()
            for kind in hooks
        },
        "config": copy.deepcopy(model.config.to_dict()),  # type: ignore[union-attr]
        "identity": {name: id(p) for name, p in model.named_parameters()},
        "place": {name: (p.device, p.dtype) for name, p in model.named_parameters()},
    }


def test_wrap_leaves_the_model_exactly_as_it_was() -> None:
    model, tokenizer = make_model().double(), make_tokenizer()
    model.train()
    model.transformer.h[1].eval()
    model.transformer.wpe.weight.requires_grad_(False)
    model.transformer.h[0].register_forward_hook(lambda *_: None)
    before, vocabulary = snapshot(model), tokenizer.get_vocab()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    wrapped = vw.wrap(model, tokenizer, name="mine")
    wrapped.tokens(PROMPT)
    repr(wrapped)
    assert wrapped.model is model and wrapped.tokenizer is tokenizer and wrapped.name == "mine"
    assert snapshot(model) == before and tokenizer.get_vocab() == vocabulary
    after = model.state_dict()
    assert weights.keys() == after.keys()
    assert all(torch.equal(weights[name], after[name]) for name in weights)


def test_wrap_names_a_model_after_its_config_or_class(saved: Path) -> None:
    assert vw.wrap(make_model(), make_tokenizer()).name == "GPT2LMHeadModel"
    loaded = GPT2LMHeadModel.from_pretrained(saved)
    assert vw.wrap(loaded, make_tokenizer()).name == str(saved)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: "gpt2", "must be a torch module.* got a str.*load"),
        (lambda: nn.Linear(2, 2), "architecture 'Linear' is not known"),
        (lambda: GPT2Model(make_config()), "expected a model with a language-model head"),
        (
            lambda: GPT2ForSequenceClassification(make_config()),
            "expected a model with a language-model head",
        ),
        (lambda: vw.wrap(make_model(), make_tokenizer()), "LanguageModel already"),
        (lambda: nn.Module.to(make_model(), "meta"), "meta device"),
    ],
)
def test_wrap_refuses_what_is_no_causal_language_model(make: Any, message: str) -> None:
    with pytest.raises(vw.RequestError, match=message):
        vw.wrap(make(), make_tokenizer())


@pytest.mark.parametrize("tokenizer", [None, "gpt2", str.split, nn.Linear(2, 2)])
def test_wrap_refuses_what_is_no_tokenizer(tokenizer: Any) -> None:
    with pytest.raises(vw.RequestError, match="must be a Hugging Face tokenizer"):
        vw.wrap(make_model(), tokenizer)


def test_wrap_refuses_ids_that_the_model_does_not_embed() -> None:
    tokenizer = make_tokenizer()
    with pytest.raises(vw.RequestError, match=r"1 ids beyond.*from 8.*0 to 7"):
        vw.wrap(make_model(vocab_size=8), tokenizer)
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    model = make_model()
    with pytest.raises(vw.RequestError, match=r"from 9.*resize_token_embeddings"):
        vw.wrap(model, tokenizer)
    assert vw.wrap(make_model(vocab_size=64), tokenizer).sites.vocabulary == 64  # padded: fine


# ---- what is at hand ---------------------------------------------------------------------------


def test_available_lists_what_loads_now(saved: Path, tmp_path: Path) -> None:
    lay_cache(tmp_path, saved, "lab/tiny")
    lay_cache(tmp_path, saved, "lab/half")
    (next((tmp_path / "models--lab--half").rglob("model.safetensors"))).unlink()
    frame = vw.available(cache_dir=tmp_path)
    assert list(frame.columns) == ["name", "ready", "size_mb", "about"]
    assert {"capitals", "smollm2", "lab/tiny", "gpt2"} == set(frame.name)
    ready = frame.set_index("name").ready
    assert ready["lab/tiny"] and not ready["gpt2"]
    assert vw.load("lab/tiny", device="cpu", cache_dir=tmp_path).sites.layers == 2


def test_the_cache_folder_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("VENE_WIDGETS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache() == tmp_path / "vene_widgets"
    monkeypatch.setenv("VENE_WIDGETS_CACHE", str(tmp_path / "own"))
    assert user_cache() == tmp_path / "own"


def test_naming_the_models_imports_no_torch() -> None:
    code = (
        "import sys, vene_widgets.models\n"
        "print([m for m in ('torch', 'transformers', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("outside", [-1, 10**9])
def test_a_token_id_outside_the_vocabulary_is_named(tiny_gpt2: vw.LanguageModel, outside: int):
    with pytest.raises(vw.RequestError, match=f"token id {outside} is out of range: ids go from 0"):
        tiny_gpt2.token_text(outside)
