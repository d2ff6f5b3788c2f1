"""The device as torch's default, and several models on one device."""

from __future__ import annotations

import copy
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from by_hand import ITALY, SPAIN
from devices_testing import FRANCE, of_operator
from torch import Tensor

import vene_widgets as vw
from vene_widgets.experiments.operators import BUILT_IN
from vene_widgets.interventions.saving import restore, save
from vene_widgets.models import wrap

if TYPE_CHECKING:
    from explorer_testing import SilentPainter


def test_the_device_as_torchs_default(model: vw.LanguageModel, tmp_path: Path) -> None:
    """Also of a model on the CPU while another device is the default."""

    def everything(one: vw.LanguageModel) -> list[Tensor]:
        pairs = [(SPAIN, ITALY), (ITALY, SPAIN), (FRANCE, ITALY)]
        fit = vw.fit_subspace(one, pairs, layer=1, position=3, rank=1, steps=2, progress=False)
        found = [vw.run(one, of_operator(name)).logits for name in BUILT_IN]
        found += [vw.sweep(one, SPAIN, ITALY, intervention=n).logits for n in ("vanilla", "noise")]
        weights = vw.make_weights(one, of_operator("rotated_space"))
        save(tmp_path / "saved", of_operator("rotated_space"), weights, overwrite=True)
        read, weights = restore(tmp_path / "saved")
        weights = {key: module.to(one.device) for key, module in weights.items()}
        found.append(vw.run(one, read, weights=weights).logits)
        return [*found, torch.tensor(fit.history["held_out_loss"].tolist(), device="cpu")]

    for one in (model, wrap(copy.deepcopy(model.model).to("cpu"), model.tokenizer)):
        expected = everything(one)
        torch.set_default_device(model.device)
        try:
            found = everything(wrap(one.model, one.tokenizer))
        finally:
            torch.set_default_device(None)
        for a, b in zip(found, expected, strict=True):
            assert a.device == b.device and torch.equal(a, b)


def test_two_models_in_two_threads(
    tiny_gpt2: vw.LanguageModel, tiny_llama: vw.LanguageModel
) -> None:
    """Both threads use both models in turn, and get what one alone gets."""

    def round_(models: tuple[vw.LanguageModel, ...]) -> list[Tensor]:
        found: list[Tensor] = []
        for one in models:
            found.append(vw.run(one, of_operator("vanilla")).logits)
            found.append(vw.sweep(one, SPAIN, ITALY).logits)
        return found

    orders = (tiny_gpt2, tiny_llama), (tiny_llama, tiny_gpt2)
    expected = [round_(order) for order in orders]
    found: dict[int, list[list[Tensor]]] = {0: [], 1: []}
    errors: list[BaseException] = []
    start = threading.Barrier(2)

    def work(index: int) -> None:
        try:
            start.wait(30)
            for _ in range(6):
                found[index].append(round_(orders[index]))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert errors == []
    for index, rounds in found.items():
        assert len(rounds) == 6
        for one in rounds:
            assert all(torch.equal(a, b) for a, b in zip(one, expected[index], strict=True))


def test_two_explorers_of_two_models(
    tiny_gpt2: vw.LanguageModel, tiny_llama: vw.LanguageModel, silent_painter: SilentPainter
) -> None:
    slots = [vw.Slot(layer=1, position=3)]
    models = tiny_gpt2, tiny_llama
    opened = [vw.explore(SPAIN, ITALY, one, slots=slots) for one in (*models, *models)]
    try:
        for explorer, one in zip(opened, (*models, *models), strict=True):
            explorer.wait(60)
            alone = vw.run(one, vw.Experiment(base=SPAIN, sources=ITALY, slots=slots))
            assert torch.equal(explorer.run.logits, alone.logits)
    finally:
        for explorer in opened:
            explorer.close()
