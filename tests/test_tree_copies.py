"""The copied tree follows the user's model: shared weights, and references to modules."""

from __future__ import annotations

import functools
import importlib
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from by_hand import FAMILIES, ITALY, SPAIN, check_map, distance, own_copy, plain_logits, token_ids
from torch import Tensor, nn
from tree_testing import EXPERIMENT, blocks, everything_of, part

import vene_widgets as vw
from vene_widgets.models import wrap
from vene_widgets.models.own_tree import own_tree, unshare


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> vw.LanguageModel:
    return own_copy(request.param, request)


# ---- shared weights ------------------------------------------------------------------------------


def test_the_tree_follows_training(model: vw.LanguageModel) -> None:
    root: Any = model.model
    first = vw.run(model, EXPERIMENT).logits
    optimiser = torch.optim.AdamW(root.parameters(), lr=0.02)
    ids = token_ids(model, SPAIN)
    for _ in range(2):
        root(input_ids=ids, labels=ids).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        found = vw.run(model, vw.Experiment(base=SPAIN)).logits
        assert distance(found, plain_logits(model, SPAIN)) <= 1e-5
    assert not torch.allclose(vw.run(model, EXPERIMENT).logits, first, atol=1e-3)


def test_weights_are_shared_and_tied_ones_stay_tied(model: vw.LanguageModel) -> None:
    root: Any = model.model
    root.get_output_embeddings().weight = root.get_input_embeddings().weight
    tree: Any = own_tree(root)
    theirs, ours = dict(root.named_parameters()), dict(tree.named_parameters())
    assert list(theirs) == list(ours)
    for name, parameter in theirs.items():
        assert ours[name] is not parameter
        assert ours[name].data_ptr() == parameter.data_ptr()
        assert not ours[name].requires_grad
    assert tree.get_output_embeddings().weight is tree.get_input_embeddings().weight
    assert not ({id(m) for m in root.modules()} & {id(m) for m in tree.modules()})
    assert tree.config is not root.config and tree.config.to_dict() == root.config.to_dict()


def test_a_config_has_one_copy(model: vw.LanguageModel) -> None:
    tree: Any = own_tree(model.model)
    configs = {id(m.__dict__["config"]) for m in tree.modules() if "config" in m.__dict__}
    assert configs == {id(tree.config)}


# ---- references ----------------------------------------------------------------------------------


def test_plain_references_to_modules_lead_to_the_copies(model: vw.LanguageModel) -> None:
    root: Any = model.model
    first = blocks(model)[0]
    first.__dict__["owner"] = root  # not a child
    first.__dict__["friends"] = {"list": [blocks(model)[2], 3], "tuple": (root,)}
    tree: Any = own_tree(root)
    copied = list(tree.get_submodule(model.sites.architecture.blocks))
    assert copied[0].owner is tree
    assert copied[0].friends["list"] == [copied[2], 3] and copied[0].friends["tuple"] == (tree,)
    assert first.friends["list"][0] is blocks(model)[2]


class Patch:
    """A user-defined object with references to modules, and to itself."""

    def __init__(self, module: Any) -> None:
        self.module, self.me, self.calls = module, self, list[int]()

    def hook(self, _module: Any, _args: Any, output: Any) -> Any:
        self.calls.append(1)
        assert not self.module.training and self.me is not None
        return output * 2


def test_objects_that_refer_to_modules_are_copied(model: vw.LanguageModel) -> None:
    root: Any = model.model
    root.train()
    patch = Patch(part(model, "mlp", 0))
    part(model, "mlp").register_forward_hook(patch.hook)
    tree: Any = own_tree(root)
    copied = tree.get_submodule(model.sites.architecture.blocks)[1]
    (hook,) = copied.get_submodule(model.sites.architecture.mlp)._forward_hooks.values()
    assert hook.__self__ is not patch and hook.__self__.me is hook.__self__
    assert hook.__self__.module is not patch.module and patch.module.training
    assert hook.__self__.calls is patch.calls  # what it records, the user reads
    vw.run(model, EXPERIMENT)
    assert len(patch.calls) == 2


def test_objects_that_refer_to_no_module_are_themselves(model: vw.LanguageModel) -> None:
    patch = Patch(None)
    closure = types.SimpleNamespace(alpha=2.0)

    def hook(_module: Any, _args: Any, output: Any) -> Any:
        return output * closure.alpha

    part(model, "mlp").register_forward_hook(hook)
    part(model, "mlp").register_forward_hook(functools.partial(Patch.hook, patch))
    tree: Any = own_tree(model.model)
    copied = tree.get_submodule(model.sites.architecture.blocks)[1]
    hooks = copied.get_submodule(model.sites.architecture.mlp)._forward_hooks
    first, second = hooks.values()
    assert first is hook and second.args == (patch,)


@pytest.mark.parametrize(
    ("folder", "note"),
    [
        ("mine", None),
        ("lib/site-packages", None),
        ("lib/dist-packages", None),  # Debian, Colab
        ("target", "plugin-1.0.dist-info"),  # pip install --target
    ],
)
def test_installed_code_is_not_searched(
    model: vw.LanguageModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    folder: str,
    note: str | None,
) -> None:
    """A hook uses a package that keeps a module of the model."""
    name = f"plugin_in_{folder.replace('-', '_').replace('/', '_')}_{model.name}"
    home = tmp_path / folder
    (home / name).mkdir(parents=True)
    if note is not None:
        (home / note).mkdir()
    (home / name / "__init__.py").write_text("")
    (home / name / "registry.py").write_text("held = []\n")
    monkeypatch.syspath_prepend(str(home))
    try:
        registry: Any = importlib.import_module(f"{name}.registry")
        registry.held.append(part(model, "mlp", 0))
        part(model, "mlp").register_forward_hook(lambda *_: print(len(registry.held)))
        if folder == "mine":
            with pytest.raises(vw.RequestError, match=r"through .*registry\.held"):
                own_tree(model.model)
        else:
            own_tree(model.model)
    finally:
        for module in (f"{name}.registry", name):
            sys.modules.pop(module, None)


MODULE: Any = None
ALPHA = 2.0


def test_functions_are_bound_to_the_copies(
    model: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closures, defaults, keyword defaults, partials, globals, methods and their wrappers."""
    root: Any = model.model
    root.train()
    target = part(model, "mlp", 0)
    monkeypatch.setitem(globals(), "MODULE", target)
    met: dict[str, Any] = {}

    def meet(name: str, module: Any) -> None:
        met[name] = module

    def by_closure(_m: Any, _a: Any, output: Any) -> None:
        meet("closure", target)

    def by_default(_m: Any, _a: Any, output: Any, module: Any = target) -> None:
        meet("default", module)

    def by_keyword(_m: Any, _a: Any, output: Any, *, module: Any = target) -> None:
        meet("keyword", module)

    def by_partial(module: Any, _m: Any, _a: Any, output: Any) -> None:
        meet("partial", module)

    def by_global(_m: Any, _a: Any, output: Any) -> Any:
        meet("global", MODULE)
        return output * ALPHA

    def by_container(_m: Any, _a: Any, output: Any, table: Any = {"m": [target]}) -> None:  # noqa: B006
        meet("container", table["m"][0])

    def outer(_m: Any, _a: Any, output: Any) -> None:
        by_closure(_m, _a, output)  # a function in a closure
        meet("nested", target)

    hooks: tuple[Callable[..., Any], ...] = (
        outer,
        by_default,
        by_keyword,
        functools.partial(by_partial, target),
        by_global,
        by_container,
    )
    for hook in hooks:
        part(model, "mlp").register_forward_hook(hook)
    vw.run(model, EXPERIMENT)
    names = ("closure", "nested", "default", "keyword", "partial", "global", "container")
    assert set(met) == set(names)
    for name in names:
        assert met[name] is not target and not met[name].training, name
        assert type(met[name]) is type(target)
    first = vw.run(model, EXPERIMENT).logits
    monkeypatch.setitem(globals(), "ALPHA", 3.0)  # other globals are looked up as they are now
    assert not torch.allclose(vw.run(model, EXPERIMENT).logits, first, atol=1e-3)


@pytest.mark.parametrize("kind", ["weight_norm", "parametrize", "old weight_norm", "spectral_norm"])
def test_parametrized_modules(model: vw.LanguageModel, kind: str) -> None:
    """Their weights are computed from others before, or in, every forward."""
    import warnings

    layer = part(model, "mlp") if model.sites.architecture.name == "llama" else None
    linear = layer.up_proj if layer is not None else part(model, "mlp").c_fc
    parametrizations = nn.utils.parametrizations
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "weight_norm":
            parametrizations.weight_norm(linear)
            linear.parametrizations.weight.original0.data.mul_(1.5)
        elif kind == "old weight_norm":
            nn.utils.weight_norm(linear)
            linear.weight_g.data.mul_(1.5)
        elif kind == "spectral_norm":
            parametrizations.spectral_norm(linear)
        else:

            class Twice(nn.Module):
                def forward(self, weight: Tensor) -> Tensor:
                    return weight * 2

            nn.utils.parametrize.register_parametrization(linear, "weight", Twice())
    model.model.eval()
    before = everything_of(model.model)
    wrapped = wrap(model.model, model.tokenizer)
    check_map(wrapped, SPAIN, ITALY, "mlp_output")
    assert distance(vw.run(wrapped, EXPERIMENT).logits, plain_logits(model, SPAIN)) > 1e-4
    after = everything_of(model.model)
    if kind != "old weight_norm":  # by hand, its hook sets a new attribute at every call
        assert {key for key in after if after[key] != before.get(key)} == set()


def test_modules_that_several_layers_share_are_apart_in_the_copy(model: vw.LanguageModel) -> None:
    root: Any = model.model
    blocks(model)[2].mlp = blocks(model)[0].mlp
    tree: Any = own_tree(root)
    layers = tree.get_submodule(model.sites.architecture.blocks)
    assert layers[2].mlp is layers[0].mlp
    unshare(layers)
    one, other = layers[0].mlp, layers[2].mlp
    assert one is not other and one._forward_hooks is not other._forward_hooks
    for a, b in zip(one.modules(), other.modules(), strict=True):
        assert a is not b and type(a) is type(b)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert a is b
