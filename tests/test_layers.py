"""Data goes one way: a module imports only from the layers before its own."""

import ast
import re
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import vene_widgets
from vene_widgets.models.architectures import ARCHITECTURES

PACKAGE = Path(vene_widgets.__file__).parent
ORDER = (
    *("errors", "experiments", "models", "tasks", "interventions"),  # what is asked, of what, how
    *("tables", "sentences", "figures"),  # tensors -> DataFrames, words, plotnine
    *("engine", "sweeps", "methods"),  # running it
    *("codegen", "intervenable"),  # the code that runs it
    "replications",  # published experiments, in public names
    *("explorer", "demo", "cli"),  # the screen, the command line
)
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")

# Names that only module paths have, from the tables themselves: `c_attn`, `lm_head`, ...
_WORDS = {"", "h", "mlp", "act", "model", "layers", "attention"}
MODULE_NAMES = (
    {
        part
        for architecture in ARCHITECTURES.values()
        for path in (
            architecture.blocks,
            *architecture.unembedding,
            *(component.module for component in architecture.components.values()),
        )
        for part in path.split(".")
    }
    - _WORDS
    - set(ARCHITECTURES)
)  # a family may be named like its backbone
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


def everywhere(check: Callable[[str], list[str]], *, but: str) -> list[str]:
    """What a check finds in every module of the package outside one file or folder."""
    return [
        f"{name_of(path)}: {found}"
        for path in FILES
        if not name_of(path).startswith(but)
        for found in check(path.read_text(encoding="utf-8"))
    ]


def test_imports_come_from_earlier_rooms():
    wrong = [w for p in FILES for w in wrong_imports(p.read_text(encoding="utf-8"), name_of(p))]
    assert wrong == []


def test_no_module_imports_itself_by_way_of_others():
    modules = {name_of(p).removesuffix(".py").replace("/", "."): p for p in FILES}
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    graph = {}
    for name, path in modules.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        tree = ast.parse(path.read_text(encoding="utf-8"))
        graph[name] = {
            next(found for found in (said, said.rpartition(".")[0]) if found in modules)
            for said in imported(tree, ["vene_widgets", *package.split(".")])
            if said != "__version__"
        } - {name}
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError and names the circle


def test_only_hooks_registers_hooks():
    assert everywhere(registered_hooks, but="engine/hooks.py") == []


def test_only_architectures_name_modules():
    assert everywhere(module_names, but="models/architectures/") == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("models/sites.py", "from vene_widgets.engine.hooks import record"),
        ("models/sites.py", "import vene_widgets.engine.running"),
        ("models/sites.py", "from vene_widgets import figures"),
        ("models/sites.py", "from vene_widgets import sweep"),
        ("models/language_model.py", "from ..engine.running import run"),
        ("models/language_model.py", "from .. import cli"),
        (
            "engine/hooks.py",
            "def f():\n    from vene_widgets.explorer.session.worker import Worker",
        ),
        ("engine/hooks.py", "if TYPE_CHECKING:\n    from vene_widgets.sweeps.sweep import Sweep"),
        ("engine/hooks.py", "from vene_widgets.nowhere import x"),
    ],
)
def test_a_wrong_import_is_seen(file: str, line: str):
    assert len(wrong_imports(line, file)) == 1


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("explorer/session/worker.py", "from vene_widgets.explorer.wire.messages import Map"),
        (
            "explorer/session/worker.py",
            "from ..wire.messages import Map\nfrom ...engine.running import run",
        ),
        ("cli.py", "from vene_widgets import __version__, load"),
        ("engine/hooks.py", "import torch\nfrom vene_widgets.models.sites import Site"),
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
