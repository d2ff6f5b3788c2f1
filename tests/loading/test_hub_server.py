"""Hub models from a hub that answers, served on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch
from loading_testing import make_model

SERVED = """
import sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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

server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
import os
os.environ["HF_ENDPOINT"] = "http://127.0.0.1:%d" % server.server_port
import vene_widgets as vw
from vene_widgets.models import hub
hub.PROBE_TIMEOUT = 60.0  # a busy machine is no hub out of reach
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
        cwd=Path(__file__).parents[2],
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
