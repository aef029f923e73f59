"""The softmax and its pieces against their formulas, in plain Python floats."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.nn.loss import cross_entropy
from charlm.nn.softmax import log_softmax, shifted, target_nats

T, B, V = 4, 3, 6
SEEDS = st.integers(0, 2**32 - 1)
SHAPES = st.sampled_from([(1, V), (1, 1, V), (5, V), (T, B, V), (1, 1), (3, 1), (V,)])
DTYPES = st.sampled_from([np.float32, np.float64])


def by_formula(row: np.ndarray) -> list[float]:
    """log(exp(a) / sum of exp(a)) for every a of a row of logits."""
    logits = [float(a) for a in row]
    return [-math.log(math.fsum(math.exp(other - a) for other in logits)) for a in logits]


@given(SEEDS, SHAPES, DTYPES)
def test_shifted_subtracts_the_largest_of_every_row(
    seed: int, shape: tuple[int, ...], dtype: type[np.floating[Any]]
) -> None:
    """Law: in place; the same bits for one row, which has a path of its own, as for that row among others."""
    logits = np.random.default_rng(seed).normal(0, 5, shape).astype(dtype)
    expected = logits - logits.max(axis=-1, keepdims=True)
    assert shifted(logits) is logits
    np.testing.assert_array_equal(logits, expected)


@pytest.mark.parametrize("rows", [1, 2])
def test_what_is_no_number_stays_none(rows: int) -> None:
    """Law: a NaN makes its row NaN, for one row and for several."""
    with np.errstate(invalid="ignore"):
        found = shifted(np.array([[1.0, np.nan, 2.0]] * rows))
    assert np.isnan(found).all()


@given(SEEDS, SHAPES, DTYPES, st.sampled_from([0.01, 1.0, 20.0]))
def test_log_softmax_is_its_formula(
    seed: int, shape: tuple[int, ...], dtype: type[np.floating[Any]], scale: float
) -> None:
    """Law: a new array in float64, whose exponentials sum to 1; the logits are left as they are."""
    logits = np.random.default_rng(seed).normal(0, scale, shape).astype(dtype)
    before = logits.copy()
    log_p = log_softmax(logits)
    assert log_p.shape == shape and log_p.dtype == np.float64
    expected = [by_formula(row) for row in logits.reshape(-1, shape[-1])]
    np.testing.assert_allclose(log_p.reshape(-1, shape[-1]), expected, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(np.exp(log_p).sum(axis=-1), 1, rtol=1e-13)
    np.testing.assert_array_equal(logits, before)


@given(SEEDS, DTYPES)
def test_each_target_has_its_own_nats(seed: int, dtype: type[np.floating[Any]]) -> None:
    """Law: target_nats is minus log_softmax at every target, in float64, and its mean is the cross-entropy."""
    rng = np.random.default_rng(seed)
    logits, targets = rng.normal(0, 2, (T, B, V)).astype(dtype), rng.integers(V, size=(T, B)).astype(np.uint8)
    nats = target_nats(logits.copy(), targets)
    assert nats.shape == (T, B) and nats.dtype == np.float64
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    expected = -np.take_along_axis(log_softmax(logits), targets[..., None].astype(int), axis=-1)[..., 0]
    np.testing.assert_allclose(nats, expected, rtol=tolerance, atol=tolerance)
    assert cross_entropy(logits, targets)[0] == pytest.approx(nats.mean(), rel=max(tolerance, 1e-12))


@given(SEEDS, st.floats(-1000, 1000))
def test_a_shift_of_all_logits_changes_nothing(seed: int, shift: float) -> None:
    """Law: log-probabilities and nats are the same when all logits are moved by the same amount."""
    rng = np.random.default_rng(seed)
    logits, targets = rng.standard_normal((T, B, V)), rng.integers(V, size=(T, B))
    np.testing.assert_allclose(log_softmax(logits + shift), log_softmax(logits), rtol=0, atol=1e-11)
    np.testing.assert_allclose(target_nats(logits + shift, targets), target_nats(logits, targets), rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_ends_are_exact(dtype: type[np.floating[Any]]) -> None:
    """Law: equal logits cost ln V; a certain hit nothing, a certain miss its distance in logits; nothing overflows."""
    targets = np.array([[2, 5]])
    np.testing.assert_allclose(target_nats(np.full((1, 2, V), 3, dtype), targets), math.log(V), rtol=1e-6)
    logits = np.zeros((1, 2, V), dtype)
    logits[..., 2] = 30_000
    np.testing.assert_array_equal(target_nats(logits, targets), [[0, 30_000]])
