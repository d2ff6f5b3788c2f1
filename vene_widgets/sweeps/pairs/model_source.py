"""How a worker gets the model, and runs a chunk with it.

Weights never travel with a chunk: a worker loads the model once, the way it was loaded here, and
checks that it has the same numbers and gives the same answer.
"""

from __future__ import annotations

import ast
import os
import platform
import sys
import threading
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vene_widgets.engine.behaviour import behaviour, tolerance
from vene_widgets.engine.forward import forward_prompts
from vene_widgets.engine.own_model import own_model
from vene_widgets.errors import RequestError, shown
from vene_widgets.models import LanguageModel, load
from vene_widgets.sweeps.pairs.chunks import PairAnswers, PairChunk, run_chunk
from vene_widgets.sweeps.pairs.controls import shuffled_twin
from vene_widgets.tables.statistics import checked_distribution, log_probabilities

if TYPE_CHECKING:
    pass

PROBED = 32
"""Tokens whose probabilities a worker compares with those here."""


@dataclass(frozen=True)
class ModelSource:
    """How a worker gets the model.

    Attributes:
        name: a name or a folder, as `load` takes it.
        options: of `load`.
        weights: checksum of the weights.
        prompt: token ids of a prompt.
        tokens, log_p: the likeliest tokens after it, and ln P of them.
        seed: of the twin with shuffled weights.
    """

    name: str
    options: tuple[tuple[str, str], ...]
    weights: int
    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    log_p: tuple[float, ...]
    seed: int


def model_source(
    model: LanguageModel, prompt: tuple[int, ...], seed: int, weights: int, folder: Path | None
) -> ModelSource:
    """How workers get a model; one that was not loaded is saved once.

    Args:
        model: the model here.
        prompt: token ids that it is tried on.
        seed: of its twin.
        weights: from `weights_checksum`.
        folder: where it is saved if need be; workers must see it.

    Raises:
        RequestError: workers could not have the same model.
    """
    with model.lock, torch.no_grad(), own_model(model):
        known = behaviour(model)
        logits = forward_prompts(model, [prompt], []).logits[0]
    if not known.is_family_code:
        raise RequestError(
            f"{model.name} runs code that is not its family's own (hooks, replaced methods or "
            "modules), which workers would not have: run without client, or wrap the plain model."
        )
    log_p = checked_distribution(logits, "base logits of pair 0").log_softmax(-1)
    tokens = log_p.topk(min(PROBED, len(log_p))).indices
    name, options = _loading_of(model) or _saved(model, folder)
    return ModelSource(
        name=name,
        options=options,
        weights=weights,
        prompt=prompt,
        tokens=tuple(int(token) for token in tokens),
        log_p=tuple(float(log_p[token]) for token in tokens),
        seed=seed,
    )


def weights_checksum(model: LanguageModel) -> int:
    """A checksum of all numbers of a model, in their order."""
    with model.lock:
        return next(total for total in model.tree.checksum() if total is not None)


def _loading_of(model: LanguageModel) -> tuple[str, tuple[tuple[str, str], ...]] | None:
    """Name and options of the `load` call that gave a model; None for wrapped ones."""
    if model.recipe is None:
        return None
    call = ast.parse(model.recipe, mode="eval").body
    assert isinstance(call, ast.Call)  # noqa: S101  # `load` writes it
    name = ast.literal_eval(call.args[0])
    if model.path is not None:
        name = os.fspath(Path(model.path).expanduser().resolve())
    options = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    return name, tuple(options.items())


def _saved(model: LanguageModel, folder: Path | None) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Save a wrapped model in a folder that workers see; name and options to load it.

    Raises:
        RequestError: no folder, or a model or tokenizer that cannot be saved.
    """
    if folder is None:
        raise RequestError(
            f"{model.name} was not loaded by vw.load, so workers cannot load it: give folder=, a "
            "folder that they see, and it is saved there once."
        )
    place = folder / "model"
    if not place.exists():
        warnings.warn(
            f"{model.name} was not loaded by vw.load: it is saved in {shown(str(place), 300)}, "
            "from where workers load it",
            stacklevel=2,
        )
        network: Any = model.model
        tokenizer: Any = model.tokenizer
        try:
            network.save_pretrained(place)
            tokenizer.save_pretrained(place)
        except Exception as error:
            raise RequestError(
                f"{model.name} cannot be saved for workers ({type(error).__name__}: {error}). "
                "Save it yourself, and load it by vw.load."
            ) from None
    dtype = str(model.dtype).removeprefix("torch.")
    options = (("device", model.device.type), ("dtype", dtype))
    return os.fspath(place.resolve()), options


_LOADED: dict[ModelSource, LanguageModel] = {}
_TWINS: dict[ModelSource, LanguageModel] = {}
_LOADING = threading.Lock()


def work(
    source: ModelSource, chunk: PairChunk, threads: int | None
) -> tuple[PairAnswers, dict[str, str]]:
    """Run one chunk in a worker; the model is loaded by the first one.

    Args:
        source: how to get the model.
        chunk: the chunk.
        threads: of torch in this process; None for as many as dask gives this worker.

    Returns:
        The answers, and notes on who ran it.

    Raises:
        RequestError: the worker's model is not the one that the sweep began with.
    """
    threads = _dask_threads() if threads is None else threads
    if threads is not None and torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    with _LOADING:
        if source not in _LOADED:
            _LOADED.clear()  # one model at a time
            _TWINS.clear()
            _LOADED[source] = _loaded(source)
        model = _LOADED[source]
        if chunk.control == "shuffled_weights":
            if source not in _TWINS:
                _TWINS[source] = shuffled_twin(model, source.seed)
            model = _TWINS[source]
    return run_noted(model, chunk)


def run_noted(model: LanguageModel, chunk: PairChunk) -> tuple[PairAnswers, dict[str, str]]:
    """`run_chunk`, and notes on who ran it and for how long."""
    start = time.monotonic()
    answers = run_chunk(model, chunk)
    return answers, {
        "seconds": f"{time.monotonic() - start:.3f}",
        "machine": platform.machine(),
        "device": str(model.device),
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
    }


def _loaded(source: ModelSource) -> LanguageModel:
    """Load a model and check it.

    Raises:
        RequestError: it is not available here, or another one.
    """
    where = f"on worker {platform.node()} (process {os.getpid()})"
    options: dict[str, Any] = dict(source.options)
    if options.get("device") == "cuda" and torch.cuda.device_count() > 1:
        options["device"] = f"cuda:{_worker_number() % torch.cuda.device_count()}"
    try:
        model = load(source.name, **options)
    except RequestError as error:
        raise RequestError(f"{where}: {error}") from None
    if weights_checksum(model) != source.weights:
        raise RequestError(
            f"{where}: {shown(source.name, 300)} has other weights than the model here. If they "
            "were changed after loading, save it and load it from there."
        )
    with model.lock, torch.no_grad(), own_model(model):
        logits = forward_prompts(model, [source.prompt], []).logits[0]
    found = log_probabilities(logits)[list(source.tokens)]
    worst = (found - torch.tensor(source.log_p, dtype=torch.float64)).abs().max().item()
    if not worst <= 10 * tolerance(model) * max(1.0, float(logits.abs().max())):
        raise RequestError(
            f"{where}: {shown(source.name, 300)} gives other answers than the model here (ln P "
            f"differs by {worst:.2g}): compare versions of torch and transformers."
        )
    return model


def _dask_threads() -> int | None:
    """How many threads dask gives this worker; None elsewhere."""
    dask: Any = sys.modules.get("distributed")
    if dask is None:
        return None
    try:
        return int(dask.get_worker().state.nthreads)
    except ValueError:  # not on a worker
        return None


def _worker_number() -> int:
    """A number of this process among its siblings, so that each takes a GPU of its own."""
    import multiprocessing

    identity: tuple[int, ...] = getattr(multiprocessing.current_process(), "_identity", ())
    return identity[-1] - 1 if identity else os.getpid()
