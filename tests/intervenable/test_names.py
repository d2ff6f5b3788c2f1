"""Every name of pyvene is there or says why not; a wrong keyword is one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from intervenable_testing import WHERE, ids

from vene_widgets import intervenable as face

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::UserWarning:pyvene"),
]


def test_every_name_of_pyvene_is_there_or_says_so() -> None:
    import types

    import pyvene

    names = [
        name
        for name, value in vars(pyvene).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    ]
    assert len(names) > 60
    missing = [name for name in names if not hasattr(face, name) or name not in face.__all__]
    assert missing == []


@pytest.mark.parametrize("name", sorted(face.unavailable.REASONS))
def test_a_missing_name_says_so_where_it_is_used(name: str, lm: Any) -> None:
    kind: Any = getattr(face, name)
    words = f"{name} of pyvene is not available here: "
    uses: list[Callable[[], object]] = [
        lambda: kind(),
        lambda: kind(1, embed_dim=2),
        lambda: kind.from_pretrained,
        lambda: type("Mine", (kind,), {}),
        lambda: face.IntervenableModel(face.IntervenableConfig([{}], kind), lm),
    ]
    for use in uses:
        with pytest.raises(ValueError, match=words) as error:
            use()
        assert str(error.value).count("\n") == 0


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda _: face.VanillaIntervention(embed_dims=3), r"'embed_dims' is not known.*embed_dim"),
        (lambda _: face.RotatedSpaceIntervention(), "needs embed_dim, the width of the site"),
        (lambda _: face.NoiseIntervention(scale=3), "'scale' is not known.*noise_level"),
        (lambda lm: face.IntervenableModel([{}], lm, fast=1), "'fast' is not known.*use_fast"),
        (lambda lm: face.IntervenableModel([{}], lm, use_token_state=True), "'use_token_state'"),
        (
            lambda lm: face.IntervenableModel(
                face.IntervenableConfig([{}], mode="serial"), lm, as_adaptor=True
            ),
            "as_adaptor=True needs mode 'parallel'",
        ),
        (
            lambda lm: face.IntervenableModel([{"component": "transformer.h[0].mpl.output"}], lm),
            r"slot 0: no module is at 'transformer.h\[0\].mpl.output'. Did you mean "
            r"'transformer.h.0.mlp.output'\? Components of layer 0 ",
        ),
        (
            lambda lm: face.IntervenableModel([{}], lm)(
                ids(1), [ids(1)], dict(WHERE), subspaces=[{"dims": [1]}]
            ),
            "slot 0 .*a dict, which VanillaIntervention cannot read",
        ),
        (
            lambda _: face.IntervenableConfig([{}]).add_intervention({"layer": 1}),
            "needs intervention_type or intervention",
        ),
    ],
)
def test_a_wrong_keyword_is_one_sentence(use: Callable[[Any], object], words: str, lm: Any) -> None:
    with pytest.raises(ValueError, match=words) as error:
        use(lm)
    assert str(error.value).count("\n") == 0
