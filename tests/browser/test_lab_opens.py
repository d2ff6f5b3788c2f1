"""The fixtures of the browser tests: a page opens, a kernel runs, its output is read."""

from typing import Any

import pytest

pytestmark = pytest.mark.browser


def test_a_cell_runs_and_its_output_is_read(lab: Any):
    lab.open(["answer = 6 * 7", "print(answer)"])
    lab.run_all()
    assert lab.text(1) == "42"
    assert lab.texts(0) == []


def test_a_cell_can_be_run_again(lab: Any):
    lab.open(["import itertools\ncount = itertools.count()", "next(count)"])
    lab.run_all()
    assert lab.text(1) == "0"
    lab.run_cell(1)
    assert lab.text(1) == "1"


def test_the_kernel_is_the_python_that_runs_the_tests(lab: Any):
    import sys

    lab.open(["import sys\nprint(sys.prefix)"])
    lab.run_all()
    assert lab.text(0) == sys.prefix


@pytest.mark.parametrize(("theme", "light"), [("JupyterLab Dark", "false"), (None, "true")])
def test_a_theme_lasts_for_one_test(lab: Any, theme: str | None, light: str):
    if theme:
        lab.use_theme(theme)
    lab.open(["1"])
    body = lab.page.locator(f'body[data-jp-theme-light="{light}"]')
    body.wait_for(state="attached")  # the body has no height
