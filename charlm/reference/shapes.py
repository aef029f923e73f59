"""What the functions of this package share: sigmoid, sums over examples, and checks of shapes."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[np.floating[Any]]
Bias: TypeAlias = Array | float


def sigmoid(a: Array) -> Array:
    """1 / (1 + exp(-a)), written with tanh so that no argument overflows."""
    result: Array = 0.5 * (1 + np.tanh(0.5 * a))
    return result


def floats(name: str, value: ArrayLike) -> Array:
    """An argument as an array of floating-point numbers: whole numbers are converted. Raises TypeError for others."""
    array = np.asarray(value)
    if array.dtype.kind not in "iufbc":  # complex numbers serve complex-step derivatives
        raise TypeError(f"{name} must be an array of numbers, not of {array.dtype}")
    return array if array.dtype.kind in "fc" else array.astype(np.float64)


def check_matrices(x: Array, h: Array, W: dict[str, Array], U: dict[str, Array]) -> None:
    """Raise ValueError for a matrix that does not fit: W (H, D) multiplies x (D,) or (D, m), U (H, H) multiplies h.

    A W and a U in each other's place are noticed unless D equals H: then both are square, and nothing shows it.
    """
    D, H = len(np.atleast_1d(x)), len(np.atleast_1d(h))
    for matrices, columns, vector in ((W, D, f"x with {D} rows"), (U, H, f"the state with {H} rows")):
        for name, matrix in matrices.items():
            if matrix.ndim != 2 or matrix.shape != (H, columns):
                hint = ""
                if matrix.ndim == 2 and D != H and matrix.shape == (H, H if columns == D else D):
                    hint = ": is it in the place of another matrix?"
                elif matrix.ndim == 2 and D != H and matrix.shape == (columns, H):
                    hint = ": is it transposed?"
                raise ValueError(
                    f"{name} multiplies {vector} and must have the shape {(H, columns)}, not {matrix.shape}{hint}"
                )


def check_biases(x: Array, h: Array, biases: dict[str, Bias]) -> None:
    """Raise ValueError for a bias (H,) beside columns (D, m) and (H, m): NumPy would add it along the wrong axis."""
    for name, bias in biases.items():
        if np.ndim(x) == np.ndim(h) == 2 and np.ndim(bias) == 1 and np.size(bias) > 1:
            raise ValueError(f"{name} is added to columns: it must have the shape {(len(h), 1)}, not {np.shape(bias)}")


def outer(a: Array, b: Array) -> Array:
    """The gradient of a matrix that multiplied b, from the gradient a in the product: a b^T, summed over examples."""
    return np.outer(a, b) if a.ndim == 1 else a @ b.T


def total(a: Array) -> Array:
    """The gradient of a bias (H,) or (H, 1) from the gradient in what it was added to, summed over examples."""
    return a if a.ndim == 1 else a.sum(axis=1, keepdims=True)
