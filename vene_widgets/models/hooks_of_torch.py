"""require_no_global_hook_of(): torch's global hooks, and the modules that they wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vene_widgets.errors import RequestError
from vene_widgets.models.additions import modules_of
from vene_widgets.models.references import References
from vene_widgets.models.surroundings import global_hooks
from vene_widgets.models.user_code import name_of

if TYPE_CHECKING:
    from torch import nn


def require_no_global_hook_of(root: nn.Module) -> None:
    """Check that no global hook of torch refers to modules of a model.

    Torch calls such hooks with the modules that run, which are of a tree of our own.

    Raises:
        RequestError: one does; it would not recognise its module.
    """
    if not (hooks := global_hooks()):
        return
    references = References(root, {id(module): module for module in modules_of(root)})
    for hook in hooks:
        if (left := references.left_in(hook)) is not None:
            raise RequestError(
                f"torch's global hook {name_of(hook)} refers to {left}. Runs use modules of their "
                "own, which it does not recognise: register a hook on the module itself."
            )
