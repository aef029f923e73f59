"""Stochastic gradient descent against its equations and against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from charlm.nn.arrays import NamedArrays
from charlm.optim.optimizers import SGD

SHAPES = {"W": (3, 4), "b": (5,)}
MOMENTA = [0.0, 0.5, 0.9]
RATES = [0.5, 0.5, 0.1, 2.0, 0.0, 0.3] * 4


def named(rng: np.random.Generator, dtype: type = np.float64) -> NamedArrays:
    """Random named arrays."""
    arrays = NamedArrays(SHAPES, dtype)
    arrays.flat[...] = rng.standard_normal(arrays.flat.shape)
    return arrays


@pytest.mark.parametrize("momentum", MOMENTA)
def test_updates_follow_the_equations(momentum: float, rng: np.random.Generator) -> None:
    """v <- m v + g and p <- p - rate (g + m v), scalar by scalar, under a rate that changes."""
    params = named(rng)
    p, v = params.flat.tolist(), [0.0] * params.flat.size
    optimizer = SGD(params, momentum)
    for rate in RATES:
        grads = named(rng)
        optimizer.update(params, grads, rate)
        for i, g in enumerate(grads.flat.tolist()):
            v[i] = momentum * v[i] + g
            p[i] -= rate * (g + momentum * v[i])
    np.testing.assert_allclose(params.flat, p, rtol=0, atol=1e-13)


@pytest.mark.parametrize("momentum", MOMENTA)
def test_pytorch_agrees(momentum: float, rng: np.random.Generator) -> None:
    """The same path as torch.optim.SGD, plain or Nesterov, for 20 steps and more."""
    torch = pytest.importorskip("torch")
    params = named(rng)
    theirs = [torch.nn.Parameter(torch.tensor(array)) for array in params.values()]
    torch_sgd = torch.optim.SGD(theirs, lr=1.0, momentum=momentum, nesterov=momentum > 0)
    optimizer = SGD(params, momentum)
    for rate in RATES:
        grads = named(rng)
        optimizer.update(params, grads, rate)
        for parameter, grad in zip(theirs, grads.values(), strict=True):
            parameter.grad = torch.tensor(grad)
        torch_sgd.param_groups[0]["lr"] = rate
        torch_sgd.step()
        for parameter, array in zip(theirs, params.values(), strict=True):
            np.testing.assert_allclose(array, parameter.detach().numpy(), rtol=0, atol=1e-13)


def test_plain_descent_by_hand() -> None:
    """Without momentum: p - rate g, and nothing else."""
    params, grads = {"p": np.array([1.0, -2.0])}, {"p": np.array([0.5, 4.0])}
    SGD(params, momentum=0).update(params, grads, 0.25)
    np.testing.assert_array_equal(params["p"], [0.875, -3.0])


def test_memory_is_named_like_the_params(rng: np.random.Generator) -> None:
    """A velocity per parameter, of its shape and dtype, zero at first; nothing at all without momentum."""
    params = named(rng, np.float32)
    memory = SGD(params).memory
    assert list(memory) == ["velocity.W", "velocity.b"]
    assert all(memory[f"velocity.{name}"].shape == shape for name, shape in SHAPES.items())
    assert all(array.dtype == np.float32 and not array.any() for array in memory.values())
    assert SGD(params, momentum=0).memory == {}


@pytest.mark.parametrize("momentum", MOMENTA)
def test_the_memory_is_all_there_is_to_remember(momentum: float, rng: np.random.Generator) -> None:
    """A new optimizer that is given the old one's memory goes on bit for bit as the old one would have."""
    one = named(rng, np.float32)
    first = SGD(one, momentum)
    for _ in range(3):
        first.update(one, named(rng, np.float32), 0.1)
    two = NamedArrays.like(one)
    two.copy_from(one)
    second = SGD(two, momentum)
    for name, array in second.memory.items():
        array[...] = first.memory[name]
    for _ in range(3):
        grads = named(rng, np.float32)
        first.update(one, grads, 0.1)
        second.update(two, grads, 0.1)
    np.testing.assert_array_equal(one.flat, two.flat)


@pytest.mark.parametrize("momentum", MOMENTA)
def test_updates_are_in_place(momentum: float, rng: np.random.Generator) -> None:
    """The params' own memory and the velocities' change, dtypes do not, and gradients stay as they are."""
    params, grads = named(rng, np.float32), named(rng, np.float32)
    before, kept_grads, flat = params.flat.copy(), grads.flat.copy(), params.flat
    optimizer = SGD(params, momentum)
    velocities = dict(optimizer.memory)
    optimizer.update(params, grads, 0.1)
    assert params.flat is flat and params.flat.dtype == np.float32
    assert np.all(params.flat != before)
    assert all(optimizer.memory[name] is velocities[name] and velocities[name].any() for name in velocities)
    np.testing.assert_array_equal(grads.flat, kept_grads)


def test_the_valley_floor_is_found() -> None:
    """On a bowl of uneven slopes, descent ends at the bottom."""
    params = {"p": np.array([5.0, -3.0])}
    optimizer = SGD(params, 0.9)
    for _ in range(400):
        optimizer.update(params, {"p": params["p"] * [1.0, 10.0]}, 0.05)
    np.testing.assert_allclose(params["p"], 0, rtol=0, atol=1e-6)
