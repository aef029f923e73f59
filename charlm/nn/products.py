"""Products of a few rows with a large matrix, at the speed of large products.

A time step multiplies few rows, one per stream, with matrices of H columns. BLAS libraries first copy a matrix into
the order in which their kernel reads it; that pays for a thousand rows and not for 32, where the copying takes as
long as the arithmetic. OpenBLAS leaves it out for small products (at most a million multiplications), if the matrix
lies well in memory. So a matrix is cut once per window, into bands of columns narrow enough for that.
"""

from __future__ import annotations

import numpy as np

from charlm.nn.arrays import Buffers, Floats

SMALL = 10**6  # multiplications, rows * height * width: up to here OpenBLAS takes its kernel for small matrices
WIDEST, NARROWEST = 100, 16  # columns of a band; outside, that kernel is slower than the usual one


class Product:
    """x U for one matrix U (K, N), or for each of G matrices (G, K, N), and any number of x with B rows."""

    def __init__(self, name: str, U: Floats, rows: int, buffers: Buffers) -> None:
        *stack, K, N = U.shape
        width = band_width(rows, K, N)
        bands = *stack, N // width
        self._bands = buffers(f"{name} bands", *bands, K, width)
        self._bands[...] = U.reshape(*stack, K, N // width, width).swapaxes(-3, -2)
        self._result = buffers(f"{name} result", *stack, rows, N)
        self._into = self._result.reshape(*stack, rows, N // width, width).swapaxes(-3, -2)

    def __call__(self, x: Floats) -> Floats:
        """x U, (B, N) or (G, B, N), a buffer; x (B, K), the same for all G matrices, or (G, B, K), one for each."""
        np.matmul(x if x.ndim == 2 else x[:, None], self._bands, out=self._into)
        return self._result


def band_width(rows: int, height: int, width: int) -> int:
    """How wide the bands are into which a matrix (height, width) is cut to be multiplied with so many rows.

    Of the even divisions of `width` the one with the widest bands that make small products; `width` itself, which
    is no cut, where there is none, or where it is one row, which no library copies a matrix for.
    """
    widest = min(WIDEST, SMALL // (rows * height))
    if rows == 1 or width <= widest:
        return width
    return next((band for band in range(widest, NARROWEST - 1, -1) if width % band == 0), width)
