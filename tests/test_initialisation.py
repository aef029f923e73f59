"""Initialisation: bounds, variance, and the distribution of orthogonal matrices."""

from __future__ import annotations

import numpy as np
import pytest

from charlm.nn.initialisation import orthogonal, uniform_fan_in


@pytest.mark.parametrize("fan_in", [1, 4, 100])
def test_uniform_is_spread_over_its_bounds(fan_in: int, rng: np.random.Generator) -> None:
    """Within +-1/sqrt(fan_in), mean zero, and of the variance of a uniform variable: bound squared over 3."""
    values = uniform_fan_in(rng, (200, 100), fan_in)
    bound = 1 / fan_in**0.5
    assert values.shape == (200, 100) and values.dtype == np.float64
    assert 0.999 * bound < values.max() <= bound and -bound <= values.min() < -0.999 * bound
    assert abs(values.mean()) < 0.02 * bound
    assert values.var() == pytest.approx(bound**2 / 3, rel=0.03)


@pytest.mark.parametrize("size", [1, 2, 5, 32])
def test_orthogonal_neither_stretches_nor_shrinks(size: int, rng: np.random.Generator) -> None:
    """Q Q^T = I: every vector keeps its length."""
    q = orthogonal(rng, size)
    assert q.shape == (size, size) and q.dtype == np.float64
    np.testing.assert_allclose(q @ q.T, np.eye(size), rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_orthogonal_is_uniform_over_the_group(size: int, rng: np.random.Generator) -> None:
    """Both determinants are equally frequent, and the trace has mean 0 and variance 1, as under Haar measure."""
    draws = [orthogonal(rng, size) for _ in range(2000)]
    assert np.mean([np.linalg.det(q) for q in draws]) == pytest.approx(0, abs=0.1)
    traces = [np.trace(q) for q in draws]
    assert np.mean(traces) == pytest.approx(0, abs=0.1)
    assert np.var(traces) == pytest.approx(1, abs=0.15)


def test_the_same_generator_gives_the_same_values() -> None:
    """Values depend on the generator's state alone, and advance it."""
    one, two = np.random.default_rng(3), np.random.default_rng(3)
    first, second = orthogonal(one, 4), uniform_fan_in(one, (4, 4), 4)
    np.testing.assert_array_equal(first, orthogonal(two, 4))
    np.testing.assert_array_equal(second, uniform_fan_in(two, (4, 4), 4))
    assert not np.array_equal(first, orthogonal(one, 4))
    assert not np.array_equal(second, uniform_fan_in(one, (4, 4), 4))
