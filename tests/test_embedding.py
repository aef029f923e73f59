"""A row look-up is a one-hot product, and its backward pass is a sum by id."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.arrays import Buffers
from charlm.nn.embedding import is_ids, project, project_backward, sum_rows_by_id

ID_DTYPES = [np.uint8, np.uint16, np.int32, np.int64]
SEEDS = st.integers(0, 2**32 - 1)
T, B, D, G, H = 5, 3, 7, 2, 4


@given(SEEDS, st.sampled_from(ID_DTYPES))
def test_ids_are_projected_as_one_hot_vectors(seed: int, dtype: type[np.integer[Any]]) -> None:
    """project(ids) = one_hot(ids) @ W + b, written to `out`, with W and b left as they are."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(D, size=(T, B)).astype(dtype)
    W, b = rng.standard_normal((G, D, H)), rng.standard_normal((G, H))
    kept_W, kept_b, out = W.copy(), b.copy(), np.full((T, G, B, H), np.nan)
    assert project(ids, W, b, out, Buffers(np.float64)) is out
    for gate in range(G):
        np.testing.assert_allclose(out[:, gate], np.eye(D)[ids] @ W[gate] + b[gate], rtol=0, atol=1e-14)
    np.testing.assert_array_equal(W, kept_W)
    np.testing.assert_array_equal(b, kept_b)


@given(SEEDS)
def test_vectors_are_projected_one_by_one(seed: int) -> None:
    """project(x)[t, g, b] = x[t, b] @ W[g] + b[g] for every step, gate and sequence."""
    rng = np.random.default_rng(seed)
    x, W, b = rng.standard_normal((T, B, D)), rng.standard_normal((G, D, H)), rng.standard_normal((G, H))
    out = project(x, W, b, np.full((T, G, B, H), np.nan), Buffers(np.float64))
    for g, t, sequence in np.ndindex(G, T, B):
        np.testing.assert_allclose(out[t, g, sequence], x[t, sequence] @ W[g] + b[g], rtol=0, atol=1e-13)


@given(SEEDS, st.booleans())
def test_the_backward_pass_is_the_transposed_product(seed: int, by_id: bool) -> None:
    """dW = x^T da and db = the sum of da over steps and sequences, for each gate, for ids and for vectors."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(D, size=(T, B))
    x = np.eye(D)[ids] if by_id else rng.standard_normal((T, B, D))
    da = rng.standard_normal((G, T, B, H))
    dW, db = np.full((G, D, H), np.nan), np.full((G, H), np.nan)
    project_backward(ids if by_id else x, da, dW, db)
    np.testing.assert_allclose(dW, np.einsum("tbd,gtbh->gdh", x, da), rtol=0, atol=1e-13)
    np.testing.assert_allclose(db, da.sum(axis=(1, 2)), rtol=0, atol=1e-13)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.sampled_from(ID_DTYPES), SEEDS)
def test_rows_are_summed_by_id(ids: list[int], dtype: type[np.integer[Any]], seed: int) -> None:
    """As np.add.at, for any ids; rows of ids that do not occur are zero."""
    rows = np.random.default_rng(seed).standard_normal((len(ids), H))
    expected, out = np.zeros((10, H)), np.full((10, H), np.nan)
    np.add.at(expected, ids, rows)
    sum_rows_by_id(np.array(ids, dtype), rows, out)
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-13)


def test_the_sum_of_no_rows_is_zero() -> None:
    """No ids at all: every sum is empty."""
    out = np.full((3, H), np.nan)
    sum_rows_by_id(np.zeros(0, np.uint8), np.zeros((0, H)), out)
    np.testing.assert_array_equal(out, np.zeros((3, H)))


@pytest.mark.parametrize("dtype", [np.uint16, np.int64])
def test_a_large_alphabet_is_summed_as_well(dtype: type[np.integer[Any]], rng: np.random.Generator) -> None:
    """Thousands of characters, most of them absent, the first and the last among those present."""
    V = 20_000
    ids = np.concatenate([rng.integers(V, size=1000), [0, V - 1, V - 1]]).astype(dtype)
    rows = rng.standard_normal((len(ids), H)).astype(np.float32)
    expected, out = np.zeros((V, H), np.float64), np.full((V, H), np.nan, np.float32)
    np.add.at(expected, ids, rows.astype(np.float64))
    sum_rows_by_id(ids, rows, out)
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-5)
    assert np.array_equal(np.flatnonzero(out.any(axis=1)), np.unique(ids))


def test_integers_are_ids_and_floats_are_vectors() -> None:
    """Every kind of integer means a one-hot vector; floats never do."""
    assert all(is_ids(np.zeros((2, 2), dtype)) for dtype in [*ID_DTYPES, np.int8, np.uint64])
    assert not any(is_ids(np.zeros((2, 2), dtype)) for dtype in [np.float32, np.float64])
