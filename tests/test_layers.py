"""Data goes one way: a module imports only from the layers before its own."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import vene_widgets
from vene_widgets.sites import ARCHITECTURES

PACKAGE = Path(vene_widgets.__file__).parent
ORDER = [
    "errors",
    "frozen",
    "sites",
    "models",
    "interventions",
    "experiment",
    "planning",
    "hooks",
    "metrics",
    "frames",
    "theme",
    "paper",
    "geoms",
    "figures",
    "resuming",
    "memory",
    "running",
    "sweep_plans",
    "cells",
    "sweeping",
    "comparing",
    "fitting",
    "saving",
    "scripts",
    "intervenable",
    "explorer",
    "cli",
]
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
# The training of the built-in model shapes its own network; it is no part of the way of a run.
TRAINING = PACKAGE / "models" / "capitals"

# Names that only module paths have, from the tables themselves: `c_attn`, `lm_head`, ...
_WORDS = {"", "h", "mlp", "act", "model", "layers"}
MODULE_NAMES = {
    part
    for architecture in ARCHITECTURES.values()
    for path in (
        architecture.blocks,
        architecture.final,
        *(component.module for component in architecture.components.values()),
    )
    for part in path.split(".")
} - _WORDS
MODULE_PATHS = {architecture.blocks for architecture in ARCHITECTURES.values()}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imported(tree: ast.AST, package: list[str]) -> Iterator[str]:
    """Dotted names below `vene_widgets` that a module imports, wherever the import stands.

    Imports for type checking and inside functions count too: they tie modules just the same.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                module = ".".join(
                    [*package[: len(package) - node.level + 1], *filter(None, [module])]
                )
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            root, _, rest = name.partition(".")
            if root == "vene_widgets" and rest:
                # A lazy public name stands for the module that defines it.
                yield vene_widgets._HOMES.get(rest, rest)


def wrong_imports(source: str, file: str) -> list[str]:
    """What a file (its path below the package) imports from its own future, or from nowhere."""
    parts = Path(file).with_suffix("").parts
    rank = ORDER.index(parts[0])
    wrong = []
    for name in imported(ast.parse(source), ["vene_widgets", *parts[:-1]]):
        layer = name.split(".")[0]
        if layer == "__version__" or layer == parts[0]:
            continue
        if layer not in ORDER or ORDER.index(layer) >= rank:
            wrong.append(f"{file} imports {name}")
    return wrong


def registered_hooks(source: str) -> list[str]:
    """Names of the hook registrations in a module."""
    return [
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and re.fullmatch(r"register_\w*hook", node.attr)
    ]


def module_names(source: str) -> list[str]:
    """Where a module names parts of a network: as an attribute, or in a string outside prose."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in MODULE_NAMES - {"transformer"}:
            found.append(f"line {node.lineno}: .{node.attr}")
        if isinstance(node, ast.Attribute) and ast.unparse(node).endswith(tuple(MODULE_PATHS)):
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            path = node.value.strip(".")
            if re.fullmatch(r"\w+(\.\w+)*", path) and (
                set(path.split(".")) & (MODULE_NAMES - {"transformer"})
                or any(path == p or path.startswith(f"{p}.") for p in MODULE_PATHS)
            ):
                found.append(f"line {node.lineno}: {node.value!r}")
    return found


def test_every_module_has_a_layer():
    assert {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in FILES} <= set(ORDER)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_come_from_earlier_layers(path: Path):
    assert wrong_imports(path.read_text(encoding="utf-8"), name_of(path)) == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_hooks_registers_hooks(path: Path):
    if path != PACKAGE / "hooks.py" and TRAINING not in path.parents:
        assert registered_hooks(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_sites_names_modules(path: Path):
    if path != PACKAGE / "sites.py" and TRAINING not in path.parents:
        assert module_names(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("sites.py", "from vene_widgets.hooks import record"),
        ("sites.py", "import vene_widgets.running"),
        ("sites.py", "from vene_widgets import figures"),
        ("sites.py", "from vene_widgets import sweep"),
        ("models/language_model.py", "from ..running import run"),
        ("models/language_model.py", "from .. import cli"),
        ("hooks.py", "def f():\n    from vene_widgets.explorer.worker import Worker"),
        ("hooks.py", "if TYPE_CHECKING:\n    from vene_widgets.running import Run"),
        ("hooks.py", "from vene_widgets.nowhere import x"),
    ],
)
def test_a_wrong_import_is_seen(file: str, line: str):
    assert len(wrong_imports(line, file)) == 1


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("explorer/worker.py", "from vene_widgets.explorer.messages import Map"),
        ("explorer/worker.py", "from .messages import Map\nfrom ..running import run"),
        ("cli.py", "from vene_widgets import __version__, load"),
        ("hooks.py", "import torch\nfrom vene_widgets.sites import Site"),
    ],
)
def test_a_right_import_is_let_through(file: str, line: str):
    assert wrong_imports(line, file) == []


@pytest.mark.parametrize(
    "line",
    [
        "blocks = model.transformer.h",
        "blocks = self.model.model.layers[0]",
        "head = model.lm_head",
        "path = 'transformer.h'",
        "path = f'model.layers.{layer}'",
        "path = f'{block}.attn.c_proj'",
    ],
)
def test_a_module_name_is_seen(line: str):
    assert module_names(line)


def test_prose_may_speak_of_transformers():
    assert (
        module_names("'''The transformer.h list.'''\nimport transformers\nx = 'transformer'") == []
    )


def test_a_hook_registration_is_seen():
    assert registered_hooks("model.register_forward_pre_hook(f)") == ["register_forward_pre_hook"]
