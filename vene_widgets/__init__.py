"""Activation patching: copy another run's state into a layer and a token, see what changes.

    import vene_widgets as vw

    model = vw.load()
    vw.explore("The capital of Spain is", "The capital of Italy is", model=model)

The public names are loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vene_widgets import figures, tasks
    from vene_widgets.codegen.script import script
    from vene_widgets.engine.cache import ActivationCache
    from vene_widgets.engine.comparing import Comparison, commute, compare
    from vene_widgets.engine.fitting import Fit, fit_subspace
    from vene_widgets.engine.running import Run, run
    from vene_widgets.engine.weights import make_weights
    from vene_widgets.errors import RequestError
    from vene_widgets.experiments.experiment import Experiment
    from vene_widgets.experiments.slot import Slot
    from vene_widgets.explorer import Explorer, explore, explore_pairs, from_state
    from vene_widgets.explorer.controls import controls
    from vene_widgets.explorer.session.step import Step
    from vene_widgets.figures.paper import theme_paper, theme_slide
    from vene_widgets.interventions import register
    from vene_widgets.interventions.saving import restore, save
    from vene_widgets.methods.attention import AttentionPattern, attention
    from vene_widgets.methods.attribution import attribute
    from vene_widgets.methods.attribution_check import AttributionCheck
    from vene_widgets.methods.attribution_results import Attribution
    from vene_widgets.methods.circuit import Circuit, circuit
    from vene_widgets.methods.generate import generate
    from vene_widgets.methods.generation import Generation
    from vene_widgets.methods.lens import Lens, lens
    from vene_widgets.methods.path_means import PathMeans
    from vene_widgets.methods.path_results import Paths
    from vene_widgets.methods.paths import paths
    from vene_widgets.methods.placebo import placebo
    from vene_widgets.methods.placebo_results import Placebo
    from vene_widgets.models import LanguageModel, available, load, wrap
    from vene_widgets.replications import Classic, ClassicResult, Classics, classics
    from vene_widgets.sweeps.pairs.results import PairSweep
    from vene_widgets.sweeps.pairs.sweep_pairs import sweep_pairs
    from vene_widgets.sweeps.results import Sweep
    from vene_widgets.sweeps.specifications import SpecificationCurve, specification_curve
    from vene_widgets.sweeps.sweep import sweep
    from vene_widgets.tables import frames

__version__ = "0.1.0"

# Public name -> the module that defines it.
_HOMES = {
    "load": "models",
    "wrap": "models",
    "available": "models",
    "LanguageModel": "models",
    "Experiment": "experiments",
    "Slot": "experiments",
    "RequestError": "errors",
    "make_weights": "engine.weights",
    "ActivationCache": "engine.cache",
    "register": "interventions",
    "run": "engine.running",
    "Run": "engine.running",
    "sweep": "sweeps.sweep",
    "Sweep": "sweeps.results",
    "sweep_pairs": "sweeps.pairs.sweep_pairs",
    "specification_curve": "sweeps.specifications",
    "SpecificationCurve": "sweeps.specifications",
    "PairSweep": "sweeps.pairs.results",
    "generate": "methods.generate",
    "Generation": "methods.generation",
    "lens": "methods.lens",
    "Lens": "methods.lens",
    "attribute": "methods.attribution",
    "Attribution": "methods.attribution_results",
    "AttributionCheck": "methods.attribution_check",
    "commute": "engine.comparing",
    "compare": "engine.comparing",
    "Comparison": "engine.comparing",
    "fit_subspace": "engine.fitting",
    "Fit": "engine.fitting",
    "attention": "methods.attention",
    "AttentionPattern": "methods.attention",
    "circuit": "methods.circuit",
    "Circuit": "methods.circuit",
    "paths": "methods.paths",
    "Paths": "methods.path_results",
    "PathMeans": "methods.path_means",
    "placebo": "methods.placebo",
    "Placebo": "methods.placebo_results",
    **dict.fromkeys(("classics", "Classics", "Classic", "ClassicResult"), "replications"),
    "save": "interventions.saving",
    "restore": "interventions.saving",
    "script": "codegen.script",
    "explore": "explorer",
    "explore_pairs": "explorer",
    "from_state": "explorer",
    "Explorer": "explorer",
    "Step": "explorer.session.step",
    "controls": "explorer.controls",
    "frames": "tables.frames",
    "tasks": "tasks",
    "figures": "figures",
    "theme_paper": "figures.paper",
    "theme_slide": "figures.paper",
}

_MODULES = ("figures", "frames", "tasks")
"""Public names that are modules themselves."""

__all__ = [
    "ActivationCache",
    "AttentionPattern",
    "Attribution",
    "AttributionCheck",
    "Circuit",
    "Classic",
    "ClassicResult",
    "Classics",
    "Comparison",
    "Experiment",
    "Explorer",
    "Fit",
    "Generation",
    "LanguageModel",
    "Lens",
    "PairSweep",
    "PathMeans",
    "Paths",
    "Placebo",
    "RequestError",
    "Run",
    "Slot",
    "SpecificationCurve",
    "Step",
    "Sweep",
    "__version__",
    "attention",
    "attribute",
    "available",
    "circuit",
    "classics",
    "commute",
    "compare",
    "controls",
    "explore",
    "explore_pairs",
    "figures",
    "fit_subspace",
    "frames",
    "from_state",
    "generate",
    "lens",
    "load",
    "make_weights",
    "paths",
    "placebo",
    "register",
    "restore",
    "run",
    "save",
    "script",
    "specification_curve",
    "sweep",
    "sweep_pairs",
    "tasks",
    "theme_paper",
    "theme_slide",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    value = module if name in _MODULES else getattr(module, name)
    globals()[name] = value  # the next use does not come here
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
