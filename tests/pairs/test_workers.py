"""Chunks on other processes: the same numbers, a model that is loaded once, workers that die."""

from __future__ import annotations

import copy
import logging
import multiprocessing
import os
import re
import signal
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pairs_testing import word_pairs

import vene_widgets as vw
from vene_widgets.errors import RequestError
from vene_widgets.sweeps.pairs.results import PairSweep
from vene_widgets.sweeps.sweep import Cancelled

pytest.importorskip("pyarrow")
pytest.importorskip("distributed")

CLOSE = 1e-5
OPTIONS: dict[str, Any] = {"pairs_per_chunk": 2, "targets": None}


@pytest.fixture(autouse=True)
def on_the_cpu(device: torch.device) -> None:
    if device.type != "cpu":
        pytest.skip("a worker has no simulated device, and one card has one worker")


def spawned() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    with spawned() as pool:
        yield pool


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A dask client with two worker processes of one thread each."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0",
            silence_logs=logging.CRITICAL,
        ) as two,
        Client(two) as client,
    ):  # fmt: skip
        yield client


@pytest.fixture(scope="module")
def model(device: torch.device) -> vw.LanguageModel:
    return vw.load(device=device)


def swept(model: vw.LanguageModel, **options: Any) -> PairSweep:
    return vw.sweep_pairs(model, word_pairs(), **{**OPTIONS, **options})


@pytest.fixture(scope="module")
def here(model: vw.LanguageModel) -> PairSweep:
    return swept(model, controls=["shuffled_weights"])


def check_same(one: PairSweep, other: PairSweep) -> None:
    assert one.answers.pairs.tolist() == other.answers.pairs.tolist()
    assert one.answers.targets.tolist() == other.answers.targets.tolist()
    assert np.abs(one.answers.log_p - other.answers.log_p).max() < CLOSE
    for name in one.controls:
        a, b = one._controls[name], other._controls[name]
        assert np.abs(a.log_p - b.log_p).max() < CLOSE


def test_processes_give_the_numbers_of_this_one(
    model: vw.LanguageModel, here: PairSweep, processes: ProcessPoolExecutor
) -> None:
    seen: list[tuple[int, int]] = []
    found = swept(
        model, client=processes, controls=["shuffled_weights"],
        progress=lambda *at: seen.append(at),
    )  # fmt: skip
    check_same(here, found)
    assert seen[-1] == (60, 60)
    assert len(seen) == 30


def test_a_cluster_gives_them_too(
    model: vw.LanguageModel, here: PairSweep, cluster: Any, tmp_path: Path
) -> None:
    found = swept(model, client=cluster, controls=["shuffled_weights"], folder=tmp_path)
    check_same(here, found)
    # Its files say who ran them.
    from pyarrow import parquet

    notes = parquet.read_schema(tmp_path / "sweep-000000.parquet").metadata
    assert notes[b"threads"] == b"1"
    assert notes[b"device"] == b"cpu"


def test_threads_share_the_model(model: vw.LanguageModel, here: PairSweep) -> None:
    with ThreadPoolExecutor(2) as pool:
        check_same(here, swept(model, client=pool, controls=["shuffled_weights"]))


def test_a_model_is_loaded_once_per_worker(
    model: vw.LanguageModel, processes: ProcessPoolExecutor
) -> None:
    swept(model, client=processes, controls=())
    held = {future.result() for future in [processes.submit(_held) for _ in range(8)]}
    assert {count for _, count in held} == {1}


def _held() -> tuple[int, int]:
    """A worker's process, and how many models it holds."""
    import time

    from vene_widgets.sweeps.pairs import model_source

    time.sleep(0.05)  # so that every worker gets some
    return os.getpid(), len(model_source._LOADED)


def test_a_dead_worker_of_a_cluster_costs_its_chunk(
    model: vw.LanguageModel, here: PairSweep, cluster: Any
) -> None:
    pids = list(cluster.run(os.getpid).values())
    killed: list[int] = []

    def kill_one(done: int, _total: int) -> None:
        if done >= 10 and not killed:
            killed.append(pids[0])
            os.kill(pids[0], signal.SIGKILL)

    check_same(here, swept(model, client=cluster, controls=["shuffled_weights"], progress=kill_one))
    assert killed


def test_a_dead_process_costs_its_chunks(model: vw.LanguageModel, here: PairSweep) -> None:
    with spawned() as pool:
        pids = {future.result()[0] for future in [pool.submit(_held) for _ in range(8)]}
        killed: list[int] = []

        def kill_one(done: int, _total: int) -> None:
            if done >= 10 and not killed:
                killed.append(pids.pop())
                os.kill(killed[0], signal.SIGKILL)

        with pytest.warns(UserWarning, match=r"a worker process died: .* in new processes"):
            found = swept(model, client=pool, controls=["shuffled_weights"], progress=kill_one)
    check_same(here, found)


def test_a_model_that_was_wrapped_is_saved_once(
    tiny_gpt2: vw.LanguageModel, processes: ProcessPoolExecutor, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"controls": (), "client": processes}
    with pytest.raises(RequestError, match=r"not loaded by vw.load, so workers cannot load it"):
        swept(tiny_gpt2, **options)
    with pytest.warns(UserWarning, match=r"it is saved in .*model', from where workers load it"):
        found = swept(tiny_gpt2, folder=tmp_path, **options)
    check_same(swept(tiny_gpt2, controls=()), found)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_same(found, swept(tiny_gpt2, folder=tmp_path, **options))


def test_a_model_changed_after_loading_is_noticed_by_the_worker(
    processes: ProcessPoolExecutor, device: torch.device
) -> None:
    changed = vw.load(device=device)
    with torch.no_grad():
        changed.model.transformer.h[2].mlp.c_fc.bias[7] += 0.01
    with pytest.raises(RequestError, match=r"on worker .* other weights than the model here"):
        swept(changed, client=processes, controls=())


def test_code_that_workers_would_not_have_is_refused(
    processes: ProcessPoolExecutor, device: torch.device
) -> None:
    hooked = vw.load(device=device)
    hooked.model.transformer.h[1].register_forward_hook(lambda _m, _i, out: out)
    with pytest.raises(RequestError, match="code that is not its family's own"):
        swept(hooked, client=processes, controls=())


def test_a_setting_changed_after_loading_is_noticed(
    processes: ProcessPoolExecutor, device: torch.device
) -> None:
    changed = vw.load(device=device)
    for block in changed.model.transformer.h:
        block.ln_1.eps = 0.5
    with pytest.raises(RequestError, match="gives other answers than the model here"):
        swept(changed, client=processes, controls=())


def test_a_cancelled_sweep_hands_out_no_more(
    model: vw.LanguageModel, processes: ProcessPoolExecutor, tmp_path: Path
) -> None:
    stop = threading.Event()
    with pytest.raises(Cancelled, match="stopped after"):
        swept(
            model, client=processes, controls=(), cancel=stop, folder=tmp_path,
            progress=lambda *_: stop.set(),
        )  # fmt: skip
    assert 1 <= len(list(tmp_path.glob("*.parquet"))) < 15
    check_same(swept(model, controls=()), swept(model, controls=(), folder=tmp_path))


class KilledWorker(Exception):
    """Named as dask's error of a call whose workers died each time."""


class Failing(Executor):
    """An executor whose calls fail."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        del fn, args, kwargs
        future: Future[Any] = Future()
        future.set_exception(self._error)
        return future


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (BrokenExecutor("gone"), "client broke while it ran chunks. With folder="),
        (KilledWorker("twice"), r"workers died again and again while they ran pairs \d+ to \d+"),
    ],
)
def test_an_executor_that_fails_is_said(
    model: vw.LanguageModel, error: Exception, words: str
) -> None:
    with pytest.raises(RequestError, match=words):
        swept(model, client=Failing(error), controls=())


def test_a_cluster_without_workers_is_waited_for(model: vw.LanguageModel) -> None:
    class Empty(ThreadPoolExecutor):
        """A client whose cluster has nobody; its calls run here all the same."""

        def scheduler_info(self) -> dict[str, dict[str, object]]:
            return {"workers": {}}

        def get_executor(self, **_options: Any) -> Executor:
            return ThreadPoolExecutor(1)

    with pytest.warns(UserWarning, match="client has no workers yet"):
        swept(model, client=Empty(1), controls=())


def test_a_pool_that_forks_is_refused(model: vw.LanguageModel) -> None:
    with (
        ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool,
        pytest.raises(RequestError, match="get_context\\('spawn'\\)"),
    ):
        swept(model, client=pool, controls=())


def test_an_error_in_a_worker_is_its_own(
    tiny_llama: vw.LanguageModel, processes: ProcessPoolExecutor, tmp_path: Path
) -> None:
    own = copy.deepcopy(tiny_llama.model)
    with torch.no_grad():
        own.model.embed_tokens.weight[tiny_llama.token_id(" Paris")] = torch.nan
    broken = vw.wrap(own, tiny_llama.tokenizer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = r"pairs (\d+) to (\d+): (base|source) logits of pair (\d+): "
        with pytest.raises(RequestError, match=said) as caught:
            swept(broken, client=processes, folder=tmp_path, controls=())
    found = re.match(said, str(caught.value))
    assert found is not None
    first, last, run, pair = int(found[1]), int(found[2]), found[3], int(found[4])
    assert first <= pair <= last and " Paris" in word_pairs()[pair][run]


def test_a_model_without_distributions_is_said_here(
    tiny_gpt2: vw.LanguageModel, processes: ProcessPoolExecutor, tmp_path: Path
) -> None:
    own = copy.deepcopy(tiny_gpt2.model)
    with torch.no_grad():
        own.transformer.ln_f.bias[0] = torch.nan
    broken = vw.wrap(own, tiny_gpt2.tokenizer)
    with pytest.raises(RequestError, match="base logits of pair 0: 298 of 298 values are NaN"):
        swept(broken, client=processes, folder=tmp_path, controls=())
