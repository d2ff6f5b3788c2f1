"""Classics: published experiments with the figures that they must give."""

from vene_widgets.replications.classic import Classic, ClassicResult, Expected, Form, Paper
from vene_widgets.replications.listing import Classics, classics

__all__ = ["Classic", "ClassicResult", "Classics", "Expected", "Form", "Paper", "classics"]
