"""MkDocs hook: add saved explorers and executed notebooks to the site, each time it is built.

Executing the notebooks takes a minute or two. Their results are kept in `build/notebooks` and used
again while neither the notebooks nor the package change.
"""

from __future__ import annotations

import hashlib
import logging
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
from check_links import broken_links, remote_resources
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.utils import get_relative_url
from notebook_pages import Rendered, render

logger = logging.getLogger("mkdocs.hooks.living_pages")

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXECUTED = ROOT / "build" / "notebooks"
SPAIN, ITALY = "The capital of Spain is", "The capital of Italy is"


def on_files(files: Files, config: Any) -> Files:
    """Add the home page's explorer, and for each notebook its page, pictures and explorers."""
    generated = {"living/first.html": home_explorer()}
    with ThreadPoolExecutor(2) as pool:
        for path, notebook in zip(NOTEBOOKS, pool.map(executed, NOTEBOOKS), strict=True):
            rendered: Rendered = render(notebook, path.stem)
            generated |= {f"notebooks/{name}": text for name, text in rendered.files.items()}
            generated[f"notebooks/{path.stem}.md"] = rendered.markdown
            generated[f"notebooks/{path.name}"] = path.read_text(encoding="utf-8")
    for name, content in generated.items():
        files.append(File.generated(config, name, content=content))
    logger.info("%d generated files", len(generated))
    return files


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Load the script that the search needs in a folder from the site, not from another host."""
    home = get_relative_url("iframe_worker.js", page.url)
    return output.replace("https://unpkg.com/iframe-worker/shim", home)


def on_post_template(output_content: str, template_name: str, config: Any) -> str:
    """The same for the page of a missing address, which may be shown in any folder."""
    return output_content.replace("https://unpkg.com/iframe-worker/shim", "/iframe_worker.js")


def on_post_build(config: Any) -> None:
    """Fail if a link of the site leads nowhere, or a page loads something from another host."""
    site = Path(config["site_dir"])
    broken = broken_links(site)
    if broken:
        raise PluginError("broken links:\n" + "\n".join(broken))
    remote = remote_resources(site)
    if remote:
        raise PluginError("loaded from other hosts:\n" + "\n".join(remote))


def home_explorer() -> str:
    """The explorer of the home page, with no slot: the reader makes the first one."""
    import vene_widgets as vw

    explorer = vw.explore(SPAIN, ITALY, vw.load("capitals", device="cpu"))
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = explorer.to_html(Path(folder) / "first.html", title="Madrid and Rome")
        finally:
            explorer.close()
        return path.read_text(encoding="utf-8")


SAVE = """
import gc
from vene_widgets import Explorer
for _explorer in [each for each in gc.get_objects() if isinstance(each, Explorer) and each.is_open]:
    _explorer.to_html(f"{_explorer.model_id}.living.html")
"""
"""Runs after a notebook's last cell: save its explorers as pages, in their last state."""


def executed(path: Path) -> Any:
    """A notebook with its outputs, from the last build or executed now.

    Its metadata has `living_pages`: for each explorer's model id the text of its saved page.
    """
    file = EXECUTED / f"{path.stem}-{_key(path)}.ipynb"
    if not file.exists():
        from nbclient import NotebookClient

        notebook = nbformat.read(path, as_version=4)
        notebook.cells.append(nbformat.v4.new_code_cell(SAVE))
        with tempfile.TemporaryDirectory() as folder:
            resources = {"metadata": {"path": folder}}
            client = NotebookClient(notebook, timeout=600, resources=resources)
            client.execute(stderr=subprocess.DEVNULL)  # kernels warn there about their transport
            notebook.metadata["living_pages"] = {
                page.name.removesuffix(".living.html"): page.read_text(encoding="utf-8")
                for page in Path(folder).glob("*.living.html")
            }
        notebook.cells.pop()
        EXECUTED.mkdir(parents=True, exist_ok=True)
        for old in EXECUTED.glob(f"{path.stem}-*.ipynb"):
            old.unlink()
        nbformat.write(notebook, file)
    return nbformat.read(file, as_version=4)


def _key(notebook: Path) -> str:
    """Hash of everything that a notebook's outputs depend on in this repository."""
    key = hashlib.sha256()
    # The package's JavaScript shows the outputs, but does not make them.
    for path in (notebook, *sorted((ROOT / "vene_widgets").rglob("*.py"))):
        key.update(path.read_bytes())
    return key.hexdigest()[:16]
