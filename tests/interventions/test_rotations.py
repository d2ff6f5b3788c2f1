"""Rotated spaces and principal components."""

from __future__ import annotations

import pytest
import torch
from interventions_testing import RANK, WIDTH, mask_of, matrix, options, vectors

from vene_widgets.errors import RequestError
from vene_widgets.interventions import LowRankRotatedSpace, PCARotatedSpace, RotatedSpace, make

# ---- rotations -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rotated_space", "low_rank_rotated_space"])
def test_columns_are_orthonormal_and_stay_so_in_training(name: str):
    module, b, s = make(name, options()), vectors(1, 6), vectors(2, 6)
    optimiser = torch.optim.Adam(module.parameters(), lr=0.1)
    first = matrix(module)
    for _ in range(5):
        r = matrix(module)
        assert torch.allclose(r.T @ r, torch.eye(r.shape[1]).double(), atol=1e-5)
        optimiser.zero_grad()
        module(b, s, mask_of(module, [0])).pow(3).sum().backward()
        optimiser.step()
    assert not torch.allclose(matrix(module), first, atol=0.01)


def test_equal_options_train_equally():
    trained = []
    for _ in range(2):
        module = make("low_rank_rotated_space", options())
        optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
        for _ in range(3):
            optimiser.zero_grad()
            module(vectors(1, 6), vectors(2, 6)).pow(3).mean().backward()
            optimiser.step()
        trained.append(matrix(module))
        torch.rand(3)  # other code that uses the global random state
    assert torch.equal(*trained)


@pytest.mark.parametrize("name", ["rotated_space", "low_rank_rotated_space"])
def test_a_rotated_self_swap_is_the_base(name: str):
    module, b = make(name, options()), vectors(1, 6)
    assert isinstance(module, RotatedSpace | LowRankRotatedSpace)
    assert (module(b, b.clone()) - b).abs().max() < 1e-5
    assert (module(b, vectors(2, 6)) - b).abs().max() > 0.1


def test_a_full_rotation_is_an_interchange():
    b, s = vectors(1, 6), vectors(2, 6)
    assert (make("rotated_space", options())(b, s) - s).abs().max() < 1e-5
    full = make("low_rank_rotated_space", options(rank=WIDTH))
    assert (full(b, s) - s).abs().max() < 1e-5


@pytest.mark.parametrize("rank", [None, 0, -1, WIDTH + 1])
def test_ranks_that_do_not_fit_are_refused(rank: int | None):
    with pytest.raises(RequestError, match=f"rank {rank} is invalid for low_rank.*1 to {WIDTH}"):
        make("low_rank_rotated_space", options(rank=rank))
    if rank is not None:
        with pytest.raises(RequestError, match=f"rank {rank} is invalid for pca.*1 to {WIDTH}"):
            make("pca_rotated_space", options(rank=rank))


# ---- principal components ------------------------------------------------------------------------


def test_fitted_components_reconstruct_what_they_span():
    states = vectors(3, 50) * torch.linspace(0.1, 5, WIDTH) - 3
    full = make("pca_rotated_space", options(rank=None))
    assert isinstance(full, PCARotatedSpace)
    full.fit(states)
    assert (full(states, states) - states).abs().max() < 1e-4
    # Data in three dimensions, and no more: three components hold all of it.
    flat = vectors(4, 50)[:, :RANK] @ vectors(5, RANK) + 1
    few = make("pca_rotated_space", options())
    assert isinstance(few, PCARotatedSpace)
    few.fit(flat)
    assert (few(flat, flat) - flat).abs().max() < 1e-4
    assert (few(states, states) - states).abs().max() > 0.1


def test_components_are_those_of_the_correlation_matrix():
    states = vectors(3, 60) @ vectors(4, WIDTH)
    module = make("pca_rotated_space", options())
    assert isinstance(module, PCARotatedSpace)
    module.fit(states)
    values, columns = torch.linalg.eigh(torch.corrcoef(states.T.double()))
    best = columns[:, values.argsort(descending=True)[:RANK]].T
    cosines = (best * module.components.double()).sum(1).abs()
    assert torch.allclose(cosines, torch.ones(RANK).double(), atol=1e-4)
    assert not module.trainable


@pytest.mark.parametrize("shape", [(RANK - 1, WIDTH), (20, WIDTH - 1), (2, 10, WIDTH)])
def test_states_that_do_not_fit_are_refused(shape: tuple[int, ...]):
    module = make("pca_rotated_space", options())
    assert isinstance(module, PCARotatedSpace)
    with pytest.raises(RequestError, match=rf"states must have shape \(n, {WIDTH}\)") as caught:
        module.fit(torch.zeros(shape))
    assert f"got {shape}" in str(caught.value)


def test_one_state_has_no_spread():
    module = make("pca_rotated_space", options(rank=1))
    assert isinstance(module, PCARotatedSpace)
    with pytest.raises(RequestError, match="n of at least 2"):
        module.fit(vectors(1, 1))
