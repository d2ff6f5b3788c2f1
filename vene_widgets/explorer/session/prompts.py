"""Prompts: the tokens of a prompt while it is typed."""

from __future__ import annotations

from collections.abc import Mapping

from vene_widgets.explorer.session.feature import Feature, Questions
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire import views


class PromptsFeature(Feature):
    """Splits prompts into tokens."""

    @property
    def questions(self) -> Questions:
        """The tokens of a text."""
        return {wire.SplitPrompt: self.split}

    def split(self, request: wire.SplitPrompt) -> Mapping[str, list[wire.TokenInfo]]:
        """The reply's `tokens`.

        Raises:
            RequestError: the text has no tokens, or is too long for the model.
        """
        return {"tokens": views.token_infos(self.session.model.tokens(request.text))}
