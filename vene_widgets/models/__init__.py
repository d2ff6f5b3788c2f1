"""Models: load one, wrap your own."""

from vene_widgets.models.language_model import LanguageModel, Token

__all__ = ["LanguageModel", "Token"]
