"""Products of a few rows with a large matrix, at the speed of large products.

A time step multiplies few rows, one per sequence, with matrices of H columns. BLAS libraries first copy a matrix into
the order in which their kernel reads it; that pays for a thousand rows and not for 32, where the copying takes as
long as the arithmetic. OpenBLAS omits it for small products (at most a million multiplications) of suitable layout. So
a matrix is cut once per window, into bands of some 64 columns, and the rows into groups.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from charlm.arrays import Buffers, Floats

Times: TypeAlias = Callable[[Floats], Floats]

SMALL = 10**6  # multiplications, rows * height * width: up to here OpenBLAS uses its kernel for small matrices
WIDEST, NARROWEST = 100, 32  # columns of a band
LEAST_ROWS = 8  # of a group; with fewer, that kernel is slower than the usual one


def times(name: str, U: Floats, rows: int, buffers: Buffers, *, each: bool = False) -> Times:
    """The function from x (B, K) to x U, for one matrix U (K, N) or G of them (G, K, N); B is `rows`.

    It returns a buffer, (B, N) or (G, B, N), which its next call overwrites. each: x is (G, B, K), one for each of
    the matrices. The copies of U and the buffer are kept in `buffers`, under `name`.
    """
    matrices = U.reshape(-1, *U.shape[-2:])
    G, K, N = matrices.shape
    products = buffers(f"{name} product", G, rows, N)
    result = products.reshape(*U.shape[:-2], rows, N)
    if rows == 1 and not each:
        return _times_one_row(buffers(name, K, G * N), matrices, products, result)

    group, band = group_and_band(rows, K, N)
    groups, bands = rows // group, N // band
    cut = buffers(name, G, bands, K, band)
    cut[...] = matrices.reshape(G, K, bands, band).swapaxes(1, 2)
    into = products.reshape(G, groups, group, bands, band).transpose(1, 0, 3, 2, 4)

    def product(x: Floats) -> Floats:
        np.matmul(x[:, None] if each else x, cut, out=into[0])
        return result

    def product_in_groups(x: Floats) -> Floats:
        rows_in_groups = x.reshape(-1, groups, group, K).swapaxes(0, 1)
        np.matmul(rows_in_groups[:, :, None], cut, out=into)
        return result

    return product if groups == 1 else product_in_groups


def _times_one_row(side_by_side: Floats, matrices: Floats, products: Floats, result: Floats) -> Times:
    """For x (1, K), the function with the least overhead; side_by_side: (K, G N), of undefined content."""
    G, K, N = matrices.shape
    side_by_side.reshape(K, G, N)[...] = matrices.swapaxes(0, 1)
    row = products.reshape(1, G * N)

    def product(x: Floats) -> Floats:
        np.dot(x, side_by_side, row)
        return result

    return product


def group_and_band(rows: int, height: int, width: int) -> tuple[int, int]:
    """The rows of a group and the columns of a band that make small products with a matrix (height, width).

    The widest bands that divide the width, and the largest groups that divide the rows; all rows and the whole width
    where nothing suitable divides them.
    """
    for band in _divisors(width, NARROWEST, WIDEST):
        for group in _divisors(rows, min(rows, LEAST_ROWS), SMALL // (height * band)):
            return group, band
    return rows, width


def _divisors(number: int, least: int, most: int) -> list[int]:
    """The divisors of a number from `most` down to `least`."""
    return [divisor for divisor in range(min(number, most), least - 1, -1) if number % divisor == 0]
