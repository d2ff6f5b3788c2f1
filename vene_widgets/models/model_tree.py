# pyright: basic
# Basic: it reads attributes of torch modules that are private or untyped.
"""ModelTree: the module tree that runs use, kept in step with the user's model."""

# A module's parts are in private attributes of torch.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from vene_widgets.errors import RequestError
from vene_widgets.models.additions import Additions, additions, modules_of, still_standing
from vene_widgets.models.checksums import is_plain
from vene_widgets.models.fingerprint import Fingerprint, ModelWatch
from vene_widgets.models.module_state import ModuleState
from vene_widgets.models.own_tree import CAPTURE_MODULE, own_tree, unshare

if TYPE_CHECKING:
    from torch import nn

    from vene_widgets.models.behaviour import Behaviour


ATTEMPTS = 5
"""How often a tree is made if the model changes meanwhile."""


class ModelTree:
    """The engine's tree of one model, rebuilt when the user's has changed or a run was interrupted.

    Args:
        root: the user's model, unwrapped; it is only read.
        blocks: path to its list of blocks.
        check: raises a `RequestError` if the model cannot be run as it is now; called before a tree
            is made.

    Attributes:
        root: the same model.
        behaviour: what was measured last, and the state of the model that it was measured in.
        code: reason of the code not to resume, if any, and the state that it was read in.
        block_calls: how blocks are called for a prompt's length, and in which state
            (`engine.resume`).
        returns_tuples: whether blocks wrap their output in a tuple (some versions of transformers).
    """

    def __init__(self, root: nn.Module, blocks: str, check: Callable[[], None]) -> None:
        self.root = root
        self._blocks = blocks
        self._check = check
        self.behaviour: tuple[Fingerprint, Behaviour] | None = None
        self.code: tuple[Fingerprint, str | None] | None = None
        self.block_calls: tuple[Fingerprint, int, list[Any]] | None = None
        self.returns_tuples = False
        self._watch = ModelWatch(root)
        self._watch_lock = threading.Lock()
        self._standing: Additions = additions(root)
        self._net: nn.Module | None = None
        self._state: Fingerprint | None = None
        self._in_use = False
        self._module_state: ModuleState | None = None

    @property
    def net(self) -> nn.Module:
        """The tree of the run in progress, in evaluation mode."""
        if self._net is None:
            raise AssertionError("a model was used outside `own_model`")
        return self._net

    @property
    def state(self) -> Fingerprint:
        """The state of the model when the run in progress began."""
        if self._state is None:
            raise AssertionError("a model was used outside `own_model`")
        return self._state

    @property
    def last_state(self) -> Fingerprint | None:
        """The state of the model when the last run began, which may be over; None before one."""
        return self._state

    def fingerprint(self) -> Fingerprint:
        """The state of the user's model now; on any thread."""
        return self._fingerprint(self._present())

    def _fingerprint(self, present: Additions) -> Fingerprint:
        try:
            with self._watch_lock:
                return self._watch.fingerprint(present)
        except (RuntimeError, NotImplementedError):
            self._check()  # tensors without values, for instance
            raise

    def accept_additions(self) -> None:
        """Make the hooks and replaced methods that the model carries now part of it."""
        self._standing = additions(self.root)

    def _present(self) -> Additions:
        """The accepted hooks and replaced methods that are still there."""
        return still_standing(self.root, self._standing)

    @property
    def has_additions(self) -> bool:
        """Whether hooks or replaced methods of the user's are part of the model."""
        for own in self._present().values():
            for value in own.values():
                found = list(value.values()) if isinstance(value, dict) else [value]
                # A flag beside a hook, such as "with keyword arguments", is no hook.
                hooks = [hook for hook in found if callable(hook)]
                if any(getattr(hook, "__module__", "") != CAPTURE_MODULE for hook in hooks):
                    return True
        return False

    def checksum(self) -> Iterator[int | None]:
        """Read every number of the model, a piece per step; the last step yields the checksum."""
        return self._watch.checksum()

    def weights_changed(self) -> None:
        """Count the model as changed: a checksum found what a fingerprint's sample did not see."""
        self._watch.epoch += 1

    def begin(self) -> None:
        """Begin a run: make or refresh the tree. Call it with the model's lock held.

        Raises:
            RequestError: the model has other sizes than when it was wrapped, or cannot be run.
        """
        present = self._present()
        state = self._fingerprint(present)
        # A run that did not come to its end may have left hooks of ours in the tree.
        if self._in_use or self._state is None or not state.has_same_tree(self._state):
            self._net = None
        if self._module_state is not None and self._module_state.has_tensors:
            self._net = None
        self._in_use = True
        if self._net is None:
            self._state = None  # until there is a tree of it
            self._check()
            # Whatever mode the caller is in, the tree serves later runs with gradients too.
            with torch.inference_mode(mode=False):
                net, state = self._make(present, state)
                unshare(net.get_submodule(self._blocks))
                self._module_state = ModuleState(net)
                self._net = net
        self._state = state

    def _make(self, present: Additions, state: Fingerprint) -> tuple[nn.Module, Fingerprint]:
        """A tree, and the state that it is of, whatever another thread does to the model meanwhile.

        Raises:
            RequestError: the model did not rest for as long as it takes.
        """
        for _ in range(ATTEMPTS):
            net = own_tree(self.root, present)
            now = self._fingerprint(present)
            if state.has_same_tree(now) and _places(self.root) <= _places(net):
                return net, now
            state = now
        raise RequestError("the model is changing while a run begins. Run again when it rests.")

    def reset(self) -> None:
        """Undo what the last pass left in the tree, so that no pass depends on the one before."""
        if self._module_state is not None:
            self._module_state.reset()

    def end(self) -> None:
        """End a run that left the tree as it was."""
        self._in_use = False


def _places(root: nn.Module) -> set[int]:
    """Where the numbers of a tree's plain parameters lie, which a copy shares."""
    return {
        parameter.untyped_storage().data_ptr()
        for module in modules_of(root)
        for parameter in dict(module._parameters).values()
        if parameter is not None and is_plain(parameter)
    }
