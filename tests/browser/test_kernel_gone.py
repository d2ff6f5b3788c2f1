"""A kernel that restarts, dies or is shut down: the screen says so and goes on with previews."""

from __future__ import annotations

import os
import re
import signal
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

CELL = """import os
import vene_widgets as vw
display(vw.explore("The capital of Spain is", "The capital of Italy is",
    slots=[vw.Slot(layer=0, position=3)]))
print(os.getpid())
"""
SECONDS = 30  # a busy machine's; JupyterLab asks every 10 which kernels there are


def restart(lab: Any) -> None:
    """Restart the kernel as a user does: by the menu, whose dialog is confirmed."""
    lab.page.get_by_role("menuitem", name="Kernel", exact=True).click()
    lab.page.locator('.lm-Menu-item[data-command="kernelmenu:restart"]').click()
    lab.page.locator(".jp-Dialog .jp-mod-accept").click()


def kill(lab: Any) -> None:
    """End the kernel's process, which the server then starts anew."""
    os.kill(int(lab.texts(0)[-1]), signal.SIGKILL)
    lab.page.locator(".jp-Dialog", has_text="appears to have died").wait_for()
    lab.page.locator(".jp-Dialog .jp-mod-accept").click()


def end_session(lab: Any) -> None:
    """Shut the kernel down so that JupyterLab misses the notebook's session before the kernel."""
    kernels = lab.server.ask("GET", "api/kernels")
    lab.page.route(re.compile(r"/api/kernels(\?|$)"), lambda route: route.fulfill(body=kernels))
    lab.shut_down_kernels()


def test_a_lost_kernel_is_said_and_previews_go_on(lab: Any) -> None:
    root = lab.page.locator(".vene-root")
    status = root.locator(".vene-status").first
    tile = root.locator('[role="gridcell"][data-layer="4"][data-position="4"]')
    lab.open([CELL])
    for n, lose in enumerate((restart, kill, end_session)):
        lab.run_cell(0)
        expect(status).to_have_attribute("data-label", "exact")
        # The new kernel has run the lost one's experiments again.
        expect(root.locator(".vene-past")).to_have_count(2 if n else 1)
        tile.click()
        expect(root.locator(".vene-sentence")).to_contain_text("after block 4")
        expect(status).to_have_attribute("data-label", "exact")
        root.get_by_role("tab", name="Compare").click()
        compared = root.locator(".vene-compare .vene-status")
        expect(compared).to_have_attribute("data-label", "exact")
        lose(lab)
        said = root.locator(".vene-alert", has_text="Run the notebook again from its first cell")
        said.wait_for(timeout=SECONDS * 1000)
        # Neither a promise nor an error: what was computed is kept.
        expect(status).to_have_text("kept · kernel gone · cpu")
        expect(compared).to_contain_text("kept")
        root.locator('[role="gridcell"][data-layer="1"][data-position="3"]').click()
        expect(root.locator(".vene-sentence")).to_contain_text("after block 1")
        expect(status).to_have_text("preview · kernel gone · cpu")
        said.wait_for()
        expect(root.locator("[role=alert]")).to_have_count(0)
        assert "exact" not in " ".join(root.locator(".vene-status").all_inner_texts())
    lab.shot("kernel-gone")
    assert lab.problems == []
