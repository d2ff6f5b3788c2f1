"""Firefox without a window, driven over its own WebDriver BiDi socket."""

from __future__ import annotations

import base64
import io
import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket
from PIL import Image

FIREFOX = next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), None)
SECONDS = 60


class Tab:
    """One tab: open a page, run scripts in it, click, take screenshots.

    Attributes:
        problems: errors and warnings in the console and uncaught exceptions, in order.
    """

    def __init__(self, socket: websocket.WebSocket) -> None:
        self.problems: list[str] = []
        self._socket = socket
        self._ids = itertools.count(1)
        self._ask("session.new", capabilities={})
        self._ask("session.subscribe", events=["log.entryAdded"])
        tree = self._ask("browsingContext.getTree")
        self._context: str = tree["contexts"][0]["context"]

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result; collect what the console says meanwhile."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("method") == "log.entryAdded":
                entry = message["params"]
                if entry["level"] in ("error", "warn"):
                    self.problems.append(entry["text"])
            elif message.get("id") == number:
                if message["type"] == "error":
                    raise RuntimeError(f"{method}: {message['error']}: {message['message']}")
                return message["result"]

    def open(self, address: str, width: int = 1200, height: int = 900) -> None:
        """Open a page and wait until it has loaded. Sizes in CSS pixels."""
        viewport = {"width": width, "height": height}
        self._ask("browsingContext.setViewport", context=self._context, viewport=viewport)
        self._ask("browsingContext.navigate", context=self._context, url=address, wait="complete")

    def script(self, expression: str) -> Any:
        """Value of an expression, which must be JSON; a promise is awaited."""
        answer = self._ask(
            "script.evaluate",
            expression=f"Promise.resolve({expression}).then((value) => JSON.stringify(value))",
            target={"context": self._context},
            awaitPromise=True,
        )
        if answer["type"] == "exception":
            raise RuntimeError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    def click(self, selector: str) -> None:
        """Click the middle of the first element that a CSS selector finds."""
        left, top, width, height = self.box(selector)
        x, y = round(left + width / 2), round(top + height / 2)
        press = [
            {"type": "pointerMove", "x": x, "y": y},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        mouse = {"type": "pointer", "id": "mouse", "actions": press}
        self._ask("input.performActions", context=self._context, actions=[mouse])

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Left, top, width and height of an element in the window, in CSS pixels."""
        found = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        box = self.script(found)
        return box["x"], box["y"], box["width"], box["height"]

    def shot(self) -> Image.Image:
        """The window's picture, one pixel per CSS pixel."""
        answer = self._ask("browsingContext.captureScreenshot", context=self._context)
        return Image.open(io.BytesIO(base64.b64decode(answer["data"]))).convert("RGB")

    def keep_shot(self, name: str) -> None:
        """Save the window's picture below the folder that VENE_SHOTS names, if it names one."""
        if folder := os.environ.get("VENE_SHOTS"):
            self.shot().save(Path(folder) / f"{name}.png")


@contextmanager
def firefox(folder: Path) -> Iterator[Tab]:
    """Start Firefox with its profile and home in a folder, and give its one tab."""
    if FIREFOX is None:
        raise RuntimeError("Firefox is not installed: run 'make browser', which installs it")
    log = folder / "firefox.log"
    flags = ["--headless", "--no-remote", "--remote-debugging-port", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [FIREFOX, *flags, "--profile", str(folder)],
            env={**os.environ, "HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        socket = websocket.create_connection(
            f"{_address(log, process)}/session", timeout=3 * SECONDS, suppress_origin=True
        )
        try:
            yield Tab(socket)
        finally:
            socket.close()
    finally:
        process.terminate()
        process.wait(15)


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    """Address of the socket, which Firefox writes to its log when it listens."""
    for _ in range(SECONDS * 10):
        text = log.read_text(errors="replace")
        if found := re.search(r"ws://[\w.:]+", text):
            return found.group()
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        break
    raise RuntimeError(f"Firefox does not listen:\n{log.read_text(errors='replace')}")
