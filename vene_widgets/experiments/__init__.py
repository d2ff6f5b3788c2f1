"""What is asked of a model: frozen requests, JSON both ways, no torch."""

from vene_widgets.experiments.experiment import Experiment, Slot

__all__ = ["Experiment", "Slot"]
