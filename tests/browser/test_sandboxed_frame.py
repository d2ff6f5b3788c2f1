"""The explorer in a sandboxed frame, with a widget model that can do the least that anywidget asks.

Colab and VS Code show an output in a frame of another origin, which has no storage and reaches its
kernel by messages only. This host is made of the same: the frame's model has `get`, `set`, `on`,
`off`, `save_changes` and `send`, and nothing else of ipywidgets.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import time
from collections.abc import Callable
from typing import Any

import pytest
from notebook_server import page_problems
from playwright.sync_api import Browser, Frame, Page

import vene_widgets as vw

pytestmark = pytest.mark.browser

FRAME = """
<!doctype html><meta charset="utf-8"><body><script type="module">
const state = new Map(), listeners = new Map();
const bytes = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
const read = (_, value) => value?.bytes64 ? new DataView(bytes(value.bytes64).buffer) : value;
const fire = (name, ...values) => [...(listeners.get(name) ?? [])].forEach((one) => one(...values));
const model = {
  get: (name) => state.get(name),
  set: (name, value) => state.set(name, value),
  save_changes: () => {},
  on: (name, one) => listeners.set(name, [...(listeners.get(name) ?? []), one]),
  off: (name, one) => listeners.set(name, (listeners.get(name) ?? []).filter((o) => o !== one)),
  send: (content) => parent.postMessage(JSON.stringify(content), "*"),
};
onmessage = async ({ data }) => {
  const { kind, ...message } = JSON.parse(data, read);
  if (kind === "trait") {
    state.set(message.name, message.value);
    fire(`change:${message.name}`);
  } else if (kind === "reply") fire("msg:custom", message.content, message.buffers);
  else {
    for (const [name, value] of Object.entries(message.state)) state.set(name, value);
    const style = document.head.appendChild(document.createElement("style"));
    style.textContent = state.get("_css");
    const source = new Blob([state.get("_esm")], { type: "text/javascript" });
    const module = await import(URL.createObjectURL(source));
    window.close_view = await module.default.render({ model, el: document.body });
  }
};
parent.postMessage("", "*");
</script>
"""
HOST = """
<!doctype html><meta charset="utf-8"><body style="margin: 0">
<style>iframe { width: 100%; height: 900px; border: 0 }</style>
<iframe sandbox="allow-scripts allow-downloads"></iframe>
<script>
const frame = document.querySelector("iframe");
onmessage = ({ data }) => window.toKernel(data);
window.fromKernel = (data) => frame.contentWindow.postMessage(data, "*");
</script>
"""
TILE = '[role="gridcell"][data-layer="0"][data-position="3"]'
SECONDS = 120


class Host:
    """Carries messages between an explorer in this process and its view in the frame."""

    def __init__(self, page: Page, explorer: Any) -> None:
        self.page, self.explorer = page, explorer
        self._outgoing: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        explorer.observe(self._changed)
        explorer.send = self._reply
        page.expose_function("toKernel", self._received)
        page.set_content(HOST)
        page.locator("iframe").evaluate("(frame, page) => { frame.srcdoc = page }", FRAME)

    def _changed(self, change: Any) -> None:
        if change["name"] in self.explorer.keys:
            self._put("trait", name=change["name"], value=change["new"])

    def _reply(self, content: dict[str, Any], buffers: Any = None) -> None:
        self._put("reply", content=content, buffers=buffers or [])

    def _put(self, kind: str, **message: Any) -> None:
        self._outgoing.put({"kind": kind, **message})

    def _received(self, data: str) -> None:
        if data:
            self.explorer.receive(json.loads(data))
        else:
            self._put("state", state=self.explorer.get_state())

    @property
    def frame(self) -> Frame:
        return self.page.frames[1]

    def until(self, what: str, test: Callable[[], object]) -> None:
        """Carry messages until something holds."""
        end = time.monotonic() + SECONDS
        while not test():
            assert time.monotonic() < end, f"not within {SECONDS} s: {what}"
            while not self._outgoing.empty():
                text = json.dumps(self._outgoing.get(), default=_bytes)
                self.page.evaluate("(text) => window.fromKernel(text)", text)
            self.page.wait_for_timeout(20)


def _bytes(value: Any) -> Any:
    if isinstance(value, (bytes, memoryview)):
        return {"bytes64": base64.b64encode(value).decode()}
    raise TypeError(type(value).__name__)


@pytest.mark.parametrize("width", [700, 1200])
def test_a_click_in_a_sandboxed_frame(chromium: Browser, width: int) -> None:
    page = chromium.new_page(viewport={"width": width, "height": 900})
    explorer = vw.explore("The capital of Spain is", "The capital of Italy is")
    try:
        problems = page_problems(page)
        host = Host(page, explorer)
        host.until("a frame", lambda: len(page.frames) > 1)
        seen = host.frame.locator
        host.until("exact", lambda: seen('.vene-status[data-label="exact"]').count())
        host.until("a map", lambda: seen(".vene-tile-number").count() > 10)
        with pytest.raises(Exception, match=r"SecurityError"):
            host.frame.evaluate("sessionStorage.length")
        seen(TILE).click()
        host.until("an answer", lambda: "Rome" in seen(".vene-sentence").inner_text())
        host.until("exact", lambda: seen('.vene-status[data-label="exact"]').count())
        (slot,) = explorer.experiment.slots
        assert (slot.layer, slot.position) == (0, 3)
        host.until("a figure", lambda: seen("img.vene-figure").count())
        wide = "(image) => image.complete && image.naturalWidth > 100"
        host.until("its picture", lambda: seen("img.vene-figure").first.evaluate(wide))
        if shots := os.environ.get("VENE_SHOTS"):
            page.screenshot(path=f"{shots}/sandboxed-{width}.png")
        assert host.frame.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )
        host.frame.evaluate("window.close_view()")
        assert seen(".vene-host").count() == 0
        assert problems == []
    finally:
        explorer.close()
        page.close()
