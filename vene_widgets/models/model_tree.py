# pyright: basic
# Basic: it reads attributes of torch modules that are private or untyped.
"""ModelTree: the module tree that runs use, kept in step with the user's model."""

# A module's parts are in private attributes of torch.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from vene_widgets.models.additions import Additions, additions, modules_of, still_standing
from vene_widgets.models.fingerprint import Fingerprint, ModelWatch
from vene_widgets.models.own_tree import CAPTURE_MODULE, own_tree, unshare

if TYPE_CHECKING:
    from torch import nn

    from vene_widgets.models.behaviour import Behaviour


STATE_NUMBERS = 2**20
"""Tensors of up to this many numbers are copied before each pass where a module may write them."""


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
        self._stateful: list[_Stateful] = []

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
        try:
            with self._watch_lock:
                return self._watch.fingerprint(self._present())
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
        state = self.fingerprint()
        # A run that did not come to its end may have left hooks of ours in the tree.
        if self._in_use or self._state is None or not state.has_same_tree(self._state):
            self._net = None
        if self._stateful:  # their copies have numbers of their own
            self._net = None
        self._in_use = True
        self._state = state
        if self._net is None:
            self._check()
            # Whatever mode the caller is in, the tree serves later runs with gradients too.
            with torch.inference_mode(mode=False):
                net = own_tree(self.root, self._present())
                unshare(net.get_submodule(self._blocks))
                self._stateful = [_Stateful(m) for m in modules_of(net) if _keeps_state(m)]
                self._net = net

    def reset(self) -> None:
        """Undo what the last pass left in the tree, so that no pass depends on the one before."""
        for module in self._stateful:
            module.reset()

    def end(self) -> None:
        """End a run that left the tree as it was."""
        self._in_use = False


class _Stateful:
    """A module that may write into itself while it runs, and its state before any pass.

    Args:
        module: of the engine's tree; it gets buffers and tensors of its own.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._attributes = _copied(module.__dict__)
        self._buffers = _copied(module._buffers)
        self.reset()

    def reset(self) -> None:
        """Put the state back."""
        state: dict[str, Any] = self._module.__dict__
        state.clear()
        state.update(_copied(self._attributes))
        state["_buffers"] = _copied(self._buffers)


def _copied(named: Mapping[str, Any]) -> dict[str, Any]:
    """A dict with the same values, and copies of the tensors that are not large."""
    return {
        name: value.detach().clone() if _is_small(value) else value for name, value in named.items()
    }


def _is_small(value: object) -> bool:
    return type(value) is Tensor and value.numel() <= STATE_NUMBERS


def _keeps_state(module: nn.Module) -> bool:
    """Whether a module may write into itself while it runs.

    Torch's own do not in evaluation mode. Of a model family's, rotary embeddings do whose
    frequencies follow the prompts that they have seen. Any other module may, such as an observer
    for quantisation or a counter, if it has tensors beside its parameters.
    """
    kind = type(module).__module__
    if kind.startswith("transformers.models."):
        kinds: Any = module.__dict__.get("rope_type")
        several = cast("dict[str, Any]", kinds).values() if isinstance(kinds, dict) else [kinds]
        return any("dynamic" in str(kind) or "longrope" in str(kind) for kind in several)
    tensors = (*module._buffers.values(), *vars(module).values())
    return not kind.startswith("torch.nn.") and any(map(_is_small, tensors))
