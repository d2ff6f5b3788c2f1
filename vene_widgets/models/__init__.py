"""Models: load one, wrap your own, list those that are available."""

from vene_widgets.models.catalogue import available
from vene_widgets.models.language_model import LanguageModel, Token
from vene_widgets.models.loading import load, wrap

__all__ = ["LanguageModel", "Token", "available", "load", "wrap"]
