"""Hooks and methods that recognise their module by identity act in runs, or are refused."""

from __future__ import annotations

import dataclasses
import functools
import threading
import weakref
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
from by_hand import ITALY, SPAIN, distance, plain_logits
from torch import Tensor, nn
from tree_testing import part

import vene_widgets as vw
from vene_widgets.errors import RequestError

Holds = Callable[[Any], Callable[[Any], bool]]
"""From a module to a test whether another is that module."""

STATE: dict[str, Any] = {}


class Slotted:
    __slots__ = ("module",)

    def __init__(self, module: Any) -> None:
        self.module = module


@dataclasses.dataclass(frozen=True)
class Node:
    inner: Any


class Pair(NamedTuple):
    module: Any
    number: int


class Registry:
    """A class attribute that no copy can replace."""

    module: Any = None


class Single:
    """An object that is its own copy."""

    module: Any = None

    def __copy__(self) -> Single:
        return self


def in_global(module: Any) -> Callable[[Any], bool]:
    STATE["module"] = module
    return lambda other: other is STATE["module"]


def in_inner_function(module: Any) -> Callable[[Any], bool]:
    STATE["module"] = module

    def is_it(other: Any) -> bool:
        return any(other is found for found in [(lambda: STATE["module"])()])

    return is_it


def deep(module: Any) -> Callable[[Any], bool]:
    node: Any = module
    for _ in range(20):
        node = Node(node)

    def is_it(other: Any) -> bool:
        found = node
        while isinstance(found, Node):
            found = found.inner
        return other is found

    return is_it


def by_default_dict(module: Any) -> Callable[[Any], bool]:
    table = defaultdict(bool, {module: True})
    return lambda other: table[other]


def by_itself(module: Any) -> Callable[[Any], bool]:
    def is_it(other: Any, again: bool = True) -> bool:
        return is_it(other, again=False) if again else other is module

    return is_it


HOLDERS: dict[str, Holds] = {
    "key": lambda m: (lambda table: lambda other: table.get(other, False))({m: True}),
    "id as key": lambda m: (lambda table: lambda other: id(other) in table)({id(m): True}),
    "id": lambda m: (lambda number: lambda other: id(other) == number)(id(m)),
    "bound method of a dict": lambda m: (lambda get: lambda other: get(other, False))(
        {m: True}.get
    ),
    "frozenset": lambda m: (lambda found: lambda other: other in found)(frozenset([m])),
    "deque": lambda m: (lambda found: lambda other: other in found)(deque([m])),
    "weak set": lambda m: (lambda found: lambda other: other in found)(weakref.WeakSet([m])),
    "weak dict": lambda m: (lambda found: lambda other: found.get(other, False))(
        weakref.WeakKeyDictionary({m: True})
    ),
    "weak reference": lambda m: (lambda found: lambda other: other is found())(weakref.ref(m)),
    "slots": lambda m: (lambda found: lambda other: other is found.module)(Slotted(m)),
    "named tuple": lambda m: (lambda found: lambda other: other is found.module)(Pair(m, 1)),
    "global dict": in_global,
    "global of an inner function": in_inner_function,
    "default dict": by_default_dict,
    "deep": deep,
    "function that calls itself": by_itself,
}


@pytest.mark.parametrize("kind", HOLDERS)
def test_hooks_recognise_their_module(llama: vw.LanguageModel, kind: str) -> None:
    target = part(llama, "mlp")
    is_it = HOLDERS[kind](target)
    plain = plain_logits(llama, SPAIN)
    for layer in range(llama.sites.layers):
        part(llama, "mlp", layer).register_forward_hook(
            lambda module, _a, output: output * 2 if is_it(module) else None
        )
    hooked = plain_logits(llama, SPAIN)
    assert distance(hooked, plain) > 1e-3
    assert distance(vw.run(llama, vw.Experiment(base=SPAIN)).logits, hooked) <= 1e-5
    assert is_it(target)  # the user's values are as they were


def test_wrapped_partials_of_a_method_act(llama: vw.LanguageModel) -> None:
    """As accelerate wraps `forward`: what was wrapped is an attribute of the partial."""
    target = part(llama, "mlp")
    around = functools.partial(lambda inner, x: inner(x) * 2, target.forward)
    target.forward = functools.update_wrapper(around, target.forward)
    found = vw.run(llama, vw.Experiment(base=SPAIN)).logits
    assert distance(found, plain_logits(llama, SPAIN)) <= 1e-5


def test_values_beside_a_module_are_read_anew(llama: vw.LanguageModel) -> None:
    state = {"module": part(llama, "mlp"), "scale": 2.0}
    part(llama, "mlp").register_forward_hook(
        lambda module, _a, output: output * state["scale"] if module is state["module"] else None
    )
    for scale in (2.0, 3.0):
        state["scale"] = scale
        found = vw.run(llama, vw.Experiment(base=SPAIN)).logits
        assert distance(found, plain_logits(llama, SPAIN)) <= 1e-5


def refused(model: vw.LanguageModel) -> str:
    with pytest.raises(RequestError) as error:
        vw.run(model, vw.Experiment(base=SPAIN))
    return str(error.value)


def test_a_class_attribute_is_refused(
    llama: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = part(llama, "mlp")
    monkeypatch.setattr(Registry, "module", target)
    target.register_forward_hook(lambda m, _a, o: o * 2 if m is Registry.module else None)
    words = refused(llama)
    assert "'model.layers.1.mlp' refers to 'model.layers.1.mlp' through Registry.module" in words


def test_objects_without_copies_are_refused_and_kept(llama: vw.LanguageModel) -> None:
    target, single = part(llama, "mlp"), Single()
    single.module = target
    handle = target.register_forward_hook(lambda m, _a, o: o * 2 if m is single.module else None)
    assert "through a Single, whose copy is the object itself" in refused(llama)
    assert single.module is target
    handle.remove()
    target.forward = functools.lru_cache(maxsize=None)(target.forward)
    assert "lru_cache" in refused(llama)
    assert target.forward.__wrapped__.__self__ is target


@pytest.fixture
def everywhere() -> Iterator[Callable[..., Any]]:
    """Registers a global hook, for the length of a test."""
    handles: list[Any] = []
    yield lambda hook: handles.append(nn.modules.module.register_module_forward_hook(hook))
    for handle in handles:
        handle.remove()


def test_global_hooks_that_wait_for_a_module_are_refused(
    llama: vw.LanguageModel, everywhere: Callable[..., Any]
) -> None:
    vw.run(llama, vw.Experiment(base=SPAIN))
    target = part(llama, "mlp")
    everywhere(lambda m, _a, o: o * 2 if m is target else None)
    assert "global hook" in refused(llama) and "'model.layers.1.mlp'" in refused(llama)


def test_other_global_hooks_act(llama: vw.LanguageModel, everywhere: Callable[..., Any]) -> None:
    kind, plain = type(part(llama, "mlp")), plain_logits(llama, SPAIN)
    everywhere(lambda m, _a, o: o * 2 if isinstance(m, kind) else None)
    found = vw.run(llama, vw.Experiment(base=SPAIN)).logits
    assert distance(found, plain_logits(llama, SPAIN)) <= 1e-5 < distance(found, plain)


def test_a_class_patch_recognises_its_module(
    llama: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = part(llama, "mlp")
    original = type(target).forward
    monkeypatch.setattr(
        type(target),
        "forward",
        lambda self, x: original(self, x) * (2 if self is target else 1),
    )
    found = vw.run(llama, vw.Experiment(base=SPAIN)).logits
    assert distance(found, plain_logits(llama, SPAIN)) <= 1e-5
    swept = vw.sweep(llama, SPAIN, ITALY)
    assert distance(swept.logits[-1, -1], plain_logits(llama, ITALY)[-1]) <= 1e-5


def test_configs_that_hold_a_lock(llama: vw.LanguageModel) -> None:
    config: Any = llama.model.config
    config.lock = threading.Lock()
    found = vw.run(llama, vw.Experiment(base=SPAIN)).logits
    assert distance(found, plain_logits(llama, SPAIN)) <= 1e-5


class Squared(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x) * x


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_traced_modules(llama: vw.LanguageModel) -> None:
    """One of `torch.fx` is run; a scripted one is refused, by its path."""
    part(llama, "mlp").act_fn = torch.fx.symbolic_trace(Squared())
    found = vw.run(llama, vw.Experiment(base=SPAIN)).logits
    assert distance(found, plain_logits(llama, SPAIN)) <= 1e-5
    part(llama, "mlp").act_fn = torch.jit.script(Squared())
    words = refused(llama)
    assert "'model.layers.1.mlp.act_fn'" in words and "cannot copy" in words
