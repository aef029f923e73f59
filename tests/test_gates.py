"""Sigmoid and tanh: values, derivatives, and what is overwritten."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from charlm.nn.gates import sigmoid_derivative, sigmoid_of_double, tanh_derivative

ANY_SHAPE = arrays(np.float64, array_shapes(max_dims=3, max_side=4), elements=st.floats(-1e6, 1e6))


def test_invalid_numbers_raise_in_every_test() -> None:
    """Overflow, NaN and division by zero raise: see conftest.py."""
    slips: list[Callable[[Any], Any]] = [lambda x: np.exp(x), lambda x: np.log(-x), lambda x: x / (x - x[0])]
    for slip in slips:
        with pytest.raises(FloatingPointError):
            slip(np.array([1e4, 1e5]))


def sigmoid(a: np.ndarray) -> np.ndarray:
    """As in the cells: the argument halved, then sigmoid_of_double over a copy."""
    return sigmoid_of_double(a * a.dtype.type(0.5))


@given(st.floats(-700, 700))
def test_sigmoid_is_its_definition(a: float) -> None:
    """sigmoid(a) = 1 / (1 + exp(-a))."""
    assert sigmoid(np.array([a]))[0] == pytest.approx(1 / (1 + math.exp(-a)), rel=0, abs=1e-15)


@given(ANY_SHAPE)
def test_sigmoid_is_a_probability(a: np.ndarray) -> None:
    """For any shape and size: within 0 and 1, sigmoid(-a) = 1 - sigmoid(a), and a itself is left as it is."""
    before = a.copy()
    y = sigmoid(a)
    assert y.shape == a.shape and y.dtype == a.dtype
    assert np.all((y >= 0) & (y <= 1))
    np.testing.assert_allclose(sigmoid(-a), 1 - y, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(a, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_saturates_at_exactly_0_and_1(dtype: type[np.floating[Any]]) -> None:
    """It neither overflows nor leaves its bounds, even at the largest numbers; at 0 it is 1/2."""
    far = np.array([-np.finfo(dtype).max, -1000, 0, 1000, np.finfo(dtype).max], dtype)
    y = sigmoid(far)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, [0, 0, 0.5, 1, 1])


def test_sigmoid_never_falls() -> None:
    """A larger argument never gives a smaller value."""
    assert np.all(np.diff(sigmoid(np.linspace(-50, 50, 2001, dtype=np.float32))) >= 0)


def test_sigmoid_of_double_works_in_place(rng: np.random.Generator) -> None:
    """It is sigmoid(2 a), written over a; of a larger array only that part changes."""
    whole = rng.normal(0, 3, (4, 6))
    before = whole.copy()
    part = whole[:, 1:4]
    assert sigmoid_of_double(part) is part
    np.testing.assert_allclose(whole[:, 1:4], 1 / (1 + np.exp(-2 * before[:, 1:4])), rtol=0, atol=1e-15)
    np.testing.assert_array_equal(whole[:, [0, 4, 5]], before[:, [0, 4, 5]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_derivatives_are_those_of_the_functions(dtype: type[np.floating[Any]]) -> None:
    """In terms of the functions' results, the derivatives are central differences; y is left as it is."""
    a, step = np.linspace(-4, 4, 33), 1e-5
    pairs: list[tuple[Callable[[Any], Any], Callable[..., Any]]] = [
        (lambda x: 1 / (1 + np.exp(-x)), sigmoid_derivative),
        (np.tanh, tanh_derivative),
    ]
    for function, derivative in pairs:
        y = function(a).astype(dtype)
        before, out = y.copy(), np.full_like(y, np.nan)
        assert derivative(y, out) is out
        numeric = (function(a + step) - function(a - step)) / (2 * step)
        np.testing.assert_allclose(out, numeric, rtol=0, atol=1e-9 if dtype == np.float64 else 1e-6)
        np.testing.assert_array_equal(y, before)
