"""Clipping: a shorter gradient of the same direction, or every element within bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.optim.clip import clip_by_global_norm, clip_by_value, global_norm

SEEDS = st.integers(0, 2**32 - 1)


def some_grads(seed: int, dtype: type = np.float64) -> dict[str, np.ndarray]:
    """Three gradients of different shapes."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, 2, shape).astype(dtype) for name, shape in [("W", (3, 4)), ("b", (5,)), ("c", ())]}


def as_one_vector(grads: dict[str, np.ndarray]) -> np.ndarray:
    """All gradients in one row."""
    return np.concatenate([np.ravel(grad) for grad in grads.values()])


def test_the_norm_is_the_length_of_all_gradients_as_one_vector() -> None:
    """3, 4 and 12 make 13."""
    grads = {"a": np.array([3.0]), "b": np.array([[0, -4.0]]), "c": np.array([12.0])}
    assert global_norm(grads) == 13
    assert global_norm({"a": np.zeros(3)}) == 0 == global_norm({})


@given(SEEDS, st.floats(1e-3, 1e3), st.sampled_from([np.float32, np.float64]))
def test_clipping_shortens_and_keeps_the_direction(seed: int, max_norm: float, dtype: type) -> None:
    """Longer gradients get the length `max_norm`, shorter ones stay bit for bit; the old length is returned."""
    grads = some_grads(seed, dtype)
    before, arrays = as_one_vector(grads), dict(grads)
    length = math.sqrt(math.fsum(float(g) ** 2 for g in before))
    assert clip_by_global_norm(grads, max_norm) == pytest.approx(length, rel=1e-6)
    after = as_one_vector(grads)
    if length <= max_norm:
        np.testing.assert_array_equal(after, before)
    else:
        rtol = 1e-6 if dtype == np.float32 else 1e-14
        np.testing.assert_allclose(after, before * (max_norm / length), rtol=rtol)
        assert np.linalg.norm(after.astype(np.float64)) == pytest.approx(max_norm, rel=1e-6)
    assert all(grads[name] is arrays[name] and grads[name].dtype == dtype for name in grads), "not in place"


def test_a_gradient_of_zeros_stays() -> None:
    """Zeros stay zeros."""
    grads = {"W": np.zeros((2, 2), np.float32)}
    assert clip_by_global_norm(grads, 1.0) == 0
    assert not grads["W"].any()


def test_a_gradient_whose_squares_overflow_keeps_its_direction() -> None:
    """Float32 squares end at 1e38: an exploding gradient below that is clipped like any other."""
    grads = {"W": np.array([3e25, -4e25], np.float32)}
    assert clip_by_global_norm(grads, 1.0) == pytest.approx(5e25)
    np.testing.assert_allclose(grads["W"], [0.6, -0.8], rtol=1e-6)


@given(SEEDS, st.floats(1e-3, 10))
def test_clipping_by_value_bounds_each_element(seed: int, limit: float) -> None:
    """Elements beyond +-limit are set to that bound, all others stay; in place."""
    grads = some_grads(seed)
    before, arrays = as_one_vector(grads), dict(grads)
    clip_by_value(grads, limit)
    expected = [min(max(g, -limit), limit) for g in before.tolist()]
    np.testing.assert_array_equal(as_one_vector(grads), expected)
    assert all(grads[name] is arrays[name] for name in grads)


@given(SEEDS, st.floats(0.1, 100))
def test_pytorch_agrees(seed: int, max_norm: float) -> None:
    """The same as torch.nn.utils.clip_grad_norm_, except for the 1e-6 that it adds to the norm."""
    torch = pytest.importorskip("torch")
    grads = some_grads(seed)
    theirs = []
    for grad in grads.values():
        theirs.append(torch.nn.Parameter(torch.zeros(grad.shape, dtype=torch.float64)))
        theirs[-1].grad = torch.tensor(grad)
    norm = torch.nn.utils.clip_grad_norm_(theirs, max_norm)
    assert clip_by_global_norm(grads, max_norm) == pytest.approx(norm.item(), rel=1e-13)
    expected = np.concatenate([np.ravel(parameter.grad.numpy()) for parameter in theirs])
    np.testing.assert_allclose(as_one_vector(grads), expected, rtol=1e-5)
