"""ModelTree: the module tree that runs use, kept in step with the user's model."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from vene_widgets.models.fingerprint import Fingerprint, ModelWatch
from vene_widgets.models.own_tree import additions, own_tree, unshare

if TYPE_CHECKING:
    from torch import nn

    from vene_widgets.models.behaviour import Behaviour


class ModelTree:
    """The engine's tree of one model, rebuilt when the user's has changed or a run was interrupted.

    Args:
        root: the user's model, unwrapped; it is only read.
        blocks: path to its list of blocks.

    Attributes:
        root: the same model.
        behaviour: what was measured last, and the state of the model that it was measured in.
        code: reason of the code not to resume, if any, and the state that it was read in.
        returns_tuples: whether blocks wrap their output in a tuple (some versions of transformers).
    """

    def __init__(self, root: nn.Module, blocks: str) -> None:
        self.root = root
        self._blocks = blocks
        self.behaviour: tuple[Fingerprint, Behaviour] | None = None
        self.code: tuple[Fingerprint, str | None] | None = None
        self.returns_tuples = False
        self._watch = ModelWatch(root)
        self._watch_lock = threading.Lock()
        self._standing = additions(root)
        self._net: nn.Module | None = None
        self._state: Fingerprint | None = None
        self._in_use = False

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

    def fingerprint(self) -> Fingerprint:
        """The state of the user's model now; on any thread."""
        with self._watch_lock:
            return self._watch.fingerprint(self._standing)

    def accept_additions(self) -> None:
        """Make the hooks and replaced methods that the model carries now part of it."""
        self._standing = additions(self.root)

    @property
    def has_additions(self) -> bool:
        """Whether hooks or replaced methods are part of the model."""
        return bool(self._standing)

    def checksum(self) -> Iterator[int | None]:
        """Read every number of the model, a piece per step; the last step yields the checksum."""
        return self._watch.checksum()

    def weights_changed(self) -> None:
        """Count the model as changed: a checksum found what a fingerprint's sample did not see."""
        self._watch.epoch += 1

    def begin(self) -> None:
        """Begin a run: make or refresh the tree. Call it with the model's lock held."""
        state = self.fingerprint()
        # A run that did not come to its end may have left hooks of ours in the tree.
        if self._in_use or self._state is None or not state.has_same_tree(self._state):
            self._net = None
        self._in_use = True
        self._state = state
        if self._net is None:
            # Whatever mode the caller is in, the tree serves later runs with gradients too.
            with torch.inference_mode(mode=False):
                net = own_tree(self.root, self._standing)
                unshare(net.get_submodule(self._blocks))
                self._net = net

    def end(self) -> None:
        """End a run that left the tree as it was."""
        self._in_use = False
