"""Frozen requests to a model: experiments, slots, sweeps. JSON both ways, no torch."""

from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.slot import Slot
from vene_widgets.experiments.sweep_request import SweepRequest

__all__ = ["Experiment", "Slot", "SweepRequest"]
