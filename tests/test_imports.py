"""Importing the package loads nothing heavy, and every public name resolves lazily."""

import subprocess
import sys

import pytest

import vene_widgets

HEAVY = ("torch", "transformers", "plotnine", "pandas", "matplotlib", "pydantic", "numpy")


def loaded_by(statement: str) -> set[str]:
    """Names of the heavy packages that a statement loads in a fresh interpreter."""
    report = f"import sys; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\n{report}"], capture_output=True, text=True, check=True
    )
    return set(eval(done.stdout))  # noqa: S307


def test_import_loads_nothing_heavy():
    assert loaded_by("import vene_widgets") == set()


def test_the_probe_sees_what_is_loaded():
    assert "numpy" in loaded_by("import numpy")


def test_what_requests_are_written_with_loads_no_torch():
    assert loaded_by("from vene_widgets import Experiment, Slot, RequestError") <= {"pydantic"}


def test_help_loads_nothing_heavy():
    show_help = """
import contextlib, io
from vene_widgets import cli
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as shown:
    cli.main(["--help"])
assert "fetch" in shown.getvalue()
"""
    assert loaded_by(show_help) == set()


@pytest.mark.parametrize("name", vene_widgets.__all__)
def test_public_name_resolves(name: str):
    assert getattr(vene_widgets, name) is not None
    assert name in dir(vene_widgets)


def test_lazy_names_are_the_public_names():
    lazy = set(vene_widgets._HOMES)
    assert lazy | {"__version__"} == set(vene_widgets.__all__)


def test_public_names_are_those_of_their_modules():
    """The public name is the very object that its module defines, not a namesake of it."""
    from vene_widgets import errors
    from vene_widgets.experiments import experiment

    assert vene_widgets.Slot is experiment.Slot
    assert vene_widgets.RequestError is errors.RequestError


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = vene_widgets.nonsense


def test_star_import_gives_the_public_names():
    namespace: dict[str, object] = {}
    exec("from vene_widgets import *", namespace)  # noqa: S102
    assert set(vene_widgets.__all__) <= set(namespace)


def test_the_explorer_needs_no_trait_with_parameters() -> None:
    """Colab has traitlets 5.7, whose types take none."""
    script = """
import anywidget, ipywidgets, matplotlib, traitlets
def refuse(cls, _parameters):
    raise TypeError(f"type {cls.__name__!r} is not subscriptable")
traitlets.TraitType.__class_getitem__ = classmethod(refuse)
try:
    traitlets.Int[int, int]
except TypeError:
    import vene_widgets.explorer.widget
    print("imported")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "imported\n", done.stderr[-1000:]
