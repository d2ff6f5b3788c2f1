"""Point at a layer and a token, copy another run's state there, see what the model now predicts.

    import vene_widgets as vw

    model = vw.load()
    vw.explore("The capital of Spain is", "The capital of Italy is", model=model)

The public names are loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vene_widgets import figures, frames
    from vene_widgets.comparing import Comparison, commute, compare
    from vene_widgets.errors import RequestError
    from vene_widgets.experiment import Experiment, Slot
    from vene_widgets.explorer import Explorer, explore, from_state
    from vene_widgets.explorer.controls import controls
    from vene_widgets.explorer.stories import Step
    from vene_widgets.fitting import Fit, fit_subspace
    from vene_widgets.interventions import register
    from vene_widgets.memory import Memory
    from vene_widgets.models import LanguageModel, available, load, wrap
    from vene_widgets.paper import theme_paper
    from vene_widgets.running import Run, make_weights, run
    from vene_widgets.saving import restore, save
    from vene_widgets.scripts import script
    from vene_widgets.sweeping import Sweep, sweep

__version__ = "0.1.0"

# Public name -> the module that defines it; a submodule is its own definition.
_HOMES = {
    "load": "models",
    "wrap": "models",
    "available": "models",
    "LanguageModel": "models",
    "Experiment": "experiment",
    "Slot": "experiment",
    "RequestError": "errors",
    "make_weights": "running",
    "Memory": "memory",
    "register": "interventions",
    "run": "running",
    "Run": "running",
    "sweep": "sweeping",
    "Sweep": "sweeping",
    "commute": "comparing",
    "compare": "comparing",
    "Comparison": "comparing",
    "fit_subspace": "fitting",
    "Fit": "fitting",
    "save": "saving",
    "restore": "saving",
    "script": "scripts",
    "explore": "explorer",
    "from_state": "explorer",
    "Explorer": "explorer",
    "Step": "explorer.stories",
    "controls": "explorer.controls",
    "frames": "frames",
    "figures": "figures",
    "theme_paper": "paper",
}

__all__ = [
    "Comparison",
    "Experiment",
    "Explorer",
    "Fit",
    "LanguageModel",
    "Memory",
    "RequestError",
    "Run",
    "Slot",
    "Step",
    "Sweep",
    "__version__",
    "available",
    "commute",
    "compare",
    "controls",
    "explore",
    "figures",
    "fit_subspace",
    "frames",
    "from_state",
    "load",
    "make_weights",
    "register",
    "restore",
    "run",
    "save",
    "script",
    "sweep",
    "theme_paper",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    value = module if name == _HOMES[name] else getattr(module, name)
    globals()[name] = value  # the next use does not come here
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
