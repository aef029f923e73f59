"""Products of a few rows with a large matrix, at the speed of large products.

A time step multiplies few rows, one per stream, with matrices of H columns. BLAS libraries first copy a matrix into
the order in which their kernel reads it; that pays for a thousand rows and not for 32, where the copying takes as
long as the arithmetic. OpenBLAS leaves it out for small products (at most a million multiplications), if the matrix
lies well in memory. So a matrix is cut once per window, into bands of columns narrow enough for that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from charlm.nn.arrays import Buffers, Floats

Times: TypeAlias = Callable[[Floats], Floats]

SMALL = 10**6  # multiplications, rows * height * width: up to here OpenBLAS takes its kernel for small matrices
WIDEST, NARROWEST = 100, 16  # columns of a band; outside, that kernel is slower than the usual one


def times(name: str, U: Floats, rows: int, buffers: Buffers, *, each: bool = False) -> Times:
    """The function from x (B, K) to x U, for one matrix U (K, N) or G of them (G, K, N); B is `rows`.

    What it returns is a buffer, (B, N) or (G, B, N), overwritten by its next call. each: x is (G, B, K), one for each
    of the matrices. The copies of U and the buffer lie in `buffers`, under `name`.
    """
    *stack, K, N = U.shape
    result = buffers(f"{name} product", *stack, rows, N)
    width = band_width(rows, K, N)
    multiply: Any = np.matmul
    if rows == 1 and not each:  # one row: the matrices side by side, and the function with the least overhead
        matrix, into, multiply = buffers(name, K, *stack, N), result.reshape(1, -1), np.dot
        matrix[...] = np.moveaxis(U, -2, 0)
        matrix = matrix.reshape(K, -1)
    elif width == N:
        matrix, into = buffers(name, *stack, K, N), result
        matrix[...] = U
    else:
        matrix = buffers(name, *stack, N // width, K, width)
        matrix[...] = _bands(U, width)
        into = _bands(result, width)
    one_for_all_bands = each and width < N

    def product(x: Floats) -> Floats:
        multiply(x[:, None] if one_for_all_bands else x, matrix, out=into)
        return result

    return product


def band_width(rows: int, height: int, width: int) -> int:
    """How wide the bands are into which a matrix (height, width) is cut to be multiplied with so many rows.

    Of the divisors of `width` the largest that makes small products; `width` itself, which is no cut, where there
    is none, and for a single row, for which no library copies a matrix.
    """
    widest = min(WIDEST, SMALL // (rows * height))
    if rows == 1 or width <= widest:
        return width
    return next((band for band in range(widest, NARROWEST - 1, -1) if width % band == 0), width)


def _bands(matrix: Floats, width: int) -> Floats:
    """The view (..., N / width, K, width) of (..., K, N)."""
    *stack, K, N = matrix.shape
    return matrix.reshape(*stack, K, N // width, width).swapaxes(-3, -2)
