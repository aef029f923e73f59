"""Products of a few rows equal the plain product, however rows and matrix are cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.arrays import Buffers
from charlm.nn.products import LEAST_ROWS, NARROWEST, SMALL, WIDEST, group_and_band, times

SIZES = [(1, 5, 7), (3, 4, 6), (32, 256, 256), (32, 200, 300), (2, 8, 257), (40, 512, 64), (1, 300, 200), (48, 600, 96)]


@pytest.mark.parametrize(("B", "K", "N"), SIZES)
@pytest.mark.parametrize("G", [None, 1, 3])
def test_a_product_is_the_plain_one(B: int, K: int, N: int, G: int | None, rng: np.random.Generator) -> None:
    """Law: for one matrix and for several, with the same rows for all and with rows for each, from any view."""
    stack = [] if G is None else [G]
    U = np.swapaxes(rng.standard_normal((*stack, N, K)), -1, -2)
    buffers = Buffers(np.float64)
    times_U, x = times("U", U, B, buffers), rng.standard_normal((B, K))
    np.testing.assert_allclose(times_U(x), x @ U, rtol=0, atol=1e-11)
    if G is not None:
        each, rows = times("each", U, B, buffers, each=True), rng.standard_normal((B, G, K)).swapaxes(0, 1)
        np.testing.assert_allclose(each(rows), rows @ U, rtol=0, atol=1e-11)
    x += 1
    np.testing.assert_allclose(times_U(x), x @ U, rtol=0, atol=1e-11)


@pytest.mark.parametrize("B", [1, 3])
def test_the_matrix_is_a_copy_and_the_result_a_buffer(B: int, rng: np.random.Generator) -> None:
    """Law: later changes of the matrix have no effect, and the next product is in the same memory."""
    U, x = rng.standard_normal((4, 6)).astype(np.float32), rng.standard_normal((B, 4)).astype(np.float32)
    times_U, expected = times("U", U, B, Buffers()), x @ U
    U[...] = 0
    product = times_U(x)
    np.testing.assert_allclose(product, expected, rtol=0, atol=1e-6)
    assert times_U(0 * x) is product and not product.any()


@given(st.integers(1, 600), st.integers(1, 2000), st.integers(1, 2000))
def test_pieces_are_even_and_small_or_there_is_one(rows: int, height: int, width: int) -> None:
    """Law: groups divide the rows, bands the width; where there are several, they are small, but not too small."""
    group, band = group_and_band(rows, height, width)
    assert rows % group == 0 and width % band == 0
    if (group, band) != (rows, width):
        assert group * height * band <= SMALL and NARROWEST <= band <= WIDEST and group >= min(rows, LEAST_ROWS)


def test_usual_sizes_are_cut() -> None:
    """Law: the usual hidden sizes, with a worker's usual batch, are cut; where nothing divides, there is no cut."""
    usual = {64: (32, 64), 100: (32, 100), 128: (32, 64), 200: (32, 100), 256: (32, 64), 512: (16, 64), 1024: (8, 64)}
    assert {H: group_and_band(32, H, H) for H in usual} == usual
    others = {256: (256, 32, 64), 512: (64, 16, 64), 1024: (37, 37, 1024), 257: (32, 32, 257)}
    assert {H: (rows, *group_and_band(rows, H, H)) for H, (rows, _, _) in others.items()} == others
    assert group_and_band(31, 512, 512) == (31, 32)
