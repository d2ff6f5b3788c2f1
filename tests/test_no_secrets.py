"""What is synced, saved or sent on holds no path of this machine and nothing of its environment."""

from __future__ import annotations

import getpass
import json
import os
import zipfile
from pathlib import Path

import pytest

import vene_widgets as vw
from vene_widgets.explorer.export.share_token import decode

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"
SECRET = "hf_not_a_real_token_0123456789"


def test_no_secret_and_no_path_leaves_the_kernel(
    tmp_path: Path, capitals: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", SECRET)
    explorer = vw.explore(BASE, SOURCE, capitals, [vw.Slot(layer=0, position=3)]).wait(120)
    try:
        synced = {k: v for k, v in explorer.get_state().items() if k not in ("_esm", "_css")}
        page = explorer.to_html(tmp_path / "page.html").read_text("utf-8")
        with zipfile.ZipFile(explorer.save_figure(tmp_path / "figure.zip", dpi=40)) as packed:
            files = {name: packed.read(name) for name in packed.namelist()}
        leaving = {
            "traits": json.dumps(synced, default=repr).encode(),
            "page": page.encode(),
            "code": explorer.code().encode(),
            "token": decode(explorer.state()).model_dump_json().encode(),
            **files,
        }
    finally:
        explorer.close()
    private = {
        SECRET,
        os.fspath(tmp_path),
        os.fspath(Path.cwd()),
        os.fspath(Path(vw.__file__).parent),
    }
    private |= {os.fspath(Path.home()) + os.sep, f"/{getpass.getuser()}/"}
    for name, data in leaving.items():
        assert not [text for text in private if text.encode() in data], name
