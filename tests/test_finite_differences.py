"""`charlm.gradient_check`: right gradients pass, wrong ones do not, and what does not fit is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from charlm import gradient_check
from charlm.arrays import Arrays, Floats


@pytest.fixture
def arrays(rng: np.random.Generator) -> Arrays:
    return {"A": rng.standard_normal((3, 4)), "x": rng.standard_normal(4), "s": np.array(0.7)}


def loss(of: Arrays) -> float:
    """s |tanh(A x)|^2, whose gradients are one line each."""
    return float(of["s"] * (np.tanh(of["A"] @ of["x"]) ** 2).sum())


def gradients(of: Arrays) -> dict[str, Floats]:
    h = np.tanh(of["A"] @ of["x"])
    dproduct = 2 * of["s"] * h * (1 - h**2)
    return {"A": np.outer(dproduct, of["x"]), "x": of["A"].T @ dproduct, "s": np.asarray((h**2).sum())}


def test_a_right_gradient_passes(arrays: Arrays) -> None:
    """Law: its error is below 1e-6, for a function of the arrays and for one of no arguments; the arrays stay."""
    before = {name: array.copy() for name, array in arrays.items()}
    assert gradient_check(loss, arrays, gradients(arrays)) < 1e-6
    assert gradient_check(lambda: loss(arrays), arrays, gradients(arrays)) < 1e-6
    assert all(np.array_equal(arrays[name], array) for name, array in before.items())


@pytest.mark.parametrize("name", ["A", "x", "s"])
@pytest.mark.parametrize("wrong", ["sign", "factor", "zero", "nan"])
def test_a_wrong_gradient_does_not(arrays: Arrays, name: str, wrong: str) -> None:
    """Law: an error in one array is found, whichever it is, and a NaN is not taken for a match."""
    found = gradients(arrays)
    found[name] = {"sign": -found[name], "factor": 1.01 * found[name], "zero": 0 * found[name]}.get(
        wrong, np.full_like(found[name], np.nan)
    )
    assert not gradient_check(loss, arrays, found) < 1e-3


def test_one_wrong_element_is_found(arrays: Arrays) -> None:
    """Law: the error is that of the array's norm, so one of twelve elements that is twice its size shows."""
    found = gradients(arrays)
    dA = found["A"].copy()
    dA[1, 2] *= 2
    found["A"] = dA
    assert gradient_check(loss, arrays, found) > 1e-3


def test_zero_gradients_of_a_constant(arrays: Arrays) -> None:
    """Law: nothing is divided by zero."""
    nothing = {name: np.zeros_like(array) for name, array in arrays.items()}
    assert gradient_check(lambda: 1.0, arrays, nothing) == 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"A": None}, ValueError, "same names"),
        ({"A": np.zeros((4, 3))}, ValueError, r"gradient of A must have the shape \(3, 4\), not \(4, 3\)"),
    ],
)
def test_gradients_that_do_not_fit(
    arrays: Arrays, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    """The message says which array, what was expected and what came."""
    found = {name: array for name, array in (gradients(arrays) | change).items() if array is not None}
    with pytest.raises(error, match=message):
        gradient_check(loss, arrays, found)


def test_single_precision_is_refused(arrays: Arrays) -> None:
    """Differences of 1e-5 are lost in the rounding of float32."""
    single = {**arrays, "x": arrays["x"].astype(np.float32)}
    with pytest.raises(TypeError, match="x must be an array of float64, not float32"):
        gradient_check(loss, single, gradients(single))


def test_what_is_not_a_dictionary_or_a_number(arrays: Arrays) -> None:
    """Law: the message says what was expected."""
    with pytest.raises(TypeError, match="dictionaries of arrays by name"):
        gradient_check(loss, arrays["A"], arrays["A"])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"one number, not an array \(4,\)"):
        gradient_check(lambda of: of["x"], arrays, gradients(arrays))
