"""The front ends, and a virtual environment for each.

An environment installs the front end with its kernel and widgets only. torch, transformers and the
rest are imported from the environment that runs this, through a `.pth` file.
"""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".frontends"
NEWEST_WIDGETS = ("ipykernel", "ipywidgets", "anywidget")
COLAB_WIDGETS = ("ipykernel==6.17.1", "ipywidgets==7.7.1", "traitlets==5.7.1", "anywidget==0.9.9")


@dataclass(frozen=True)
class FrontEnd:
    """A front end at some version.

    Attributes:
        name: its row of the table, and its folder.
        module: what `python -m` starts.
        packages: requirements that its environment installs itself.
        path: address of a notebook below the server's, with `{file}` for the notebook.
    """

    name: str
    module: str
    packages: tuple[str, ...]
    path: str

    @property
    def folder(self) -> Path:
        return FOLDER / self.name

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def version(self, package: str) -> str:
        """The version of a package that this front end's environment imports."""
        code = f"from importlib.metadata import version; print(version({package!r}))"
        return subprocess.check_output([self.python, "-c", code], text=True).strip()


LAB = "lab/tree/{file}"
FRONT_ENDS = (
    *(
        FrontEnd(f"jupyterlab-{v}", "jupyterlab", (f"jupyterlab=={v}.*", *NEWEST_WIDGETS), LAB)
        for v in ("4.1", "4.2", "4.3", "4.4", "4.5", "4.6")
    ),
    FrontEnd("notebook-7.0", "notebook", ("notebook==7.0.*", *NEWEST_WIDGETS), "notebooks/{file}"),
    FrontEnd("notebook-7", "notebook", ("notebook>=7", *NEWEST_WIDGETS), "notebooks/{file}"),
    FrontEnd("nbclassic", "nbclassic", ("nbclassic", *NEWEST_WIDGETS), "notebooks/{file}"),
    FrontEnd(
        "nbclassic-colab",
        "nbclassic",
        ("nbclassic", "notebook<7", *COLAB_WIDGETS),
        "notebooks/{file}",
    ),
    FrontEnd("voila", "voila", ("voila", *NEWEST_WIDGETS), "voila/render/{file}"),
)


def make(front_end: FrontEnd) -> None:
    """Create the environment of a front end, unless it is complete; uses uv if it is installed."""
    complete = front_end.folder / ".ok"
    if not complete.exists():
        print(f"Installing {' '.join(front_end.packages)}", flush=True)
        venv.create(front_end.folder, clear=True, with_pip=True)
        uv = shutil.which("uv")
        install = (
            [uv, "pip", "install", "--quiet", "--python", front_end.python]
            if uv
            else [front_end.python, "-m", "pip", "install", "--quiet"]
        )
        subprocess.run([*install, *front_end.packages], check=True)
        if front_end.module == "nbclassic":
            _enable_anywidget(front_end.folder)
        complete.touch()
    site = subprocess.check_output(
        [front_end.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        text=True,
    ).strip()
    # At the end of sys.path, so what the environment has itself comes first. A `.pth` file inside
    # an added folder is not read, so the checkout is named here.
    shared = f"{ROOT}\n{sysconfig.get_path('purelib')}\n"
    (Path(site) / "shared.pth").write_text(shared)


def _enable_anywidget(folder: Path) -> None:
    """Do what `jupyter nbextension enable --sys-prefix --py anywidget` does, for anywidget 0.9."""
    path = folder / "etc/jupyter/nbconfig/notebook.d/anywidget.json"
    path.write_text('{"load_extensions": {"anywidget/extension": true}}\n', encoding="utf-8")
