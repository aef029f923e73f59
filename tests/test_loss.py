"""Losses and their gradients against their formulas, in plain Python floats."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.nn.loss import cross_entropy, mean_squared_error

T, B, V = 4, 3, 6
SEEDS = st.integers(0, 2**32 - 1)


def case(seed: int, scale: float = 2.0, dtype: type[np.floating[Any]] = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Random logits (T, B, V) and targets (T, B)."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, scale, (T, B, V)).astype(dtype), rng.integers(V, size=(T, B)).astype(np.uint8)


def by_formula(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """-log(exp(logit of the target) / sum of exp(logits)) for each prediction, one by one."""
    nats = np.empty(targets.shape)
    for place in np.ndindex(targets.shape):
        row = [float(a) for a in logits[place]]
        nats[place] = math.log(math.fsum(math.exp(a - row[targets[place]]) for a in row))
    return nats


@given(SEEDS, st.sampled_from([0.01, 1.0, 20.0]))
def test_the_loss_is_the_mean_of_the_formula(seed: int, scale: float) -> None:
    """Mean nats per character over the T*B predictions."""
    logits, targets = case(seed, scale)
    nats, _ = cross_entropy(logits.copy(), targets)
    assert isinstance(nats, float)
    assert nats == pytest.approx(by_formula(logits, targets).mean(), rel=1e-13, abs=1e-15)


@given(SEEDS)
def test_dlogits_is_the_gradient_of_the_loss(seed: int) -> None:
    """dlogits against central differences of the formula, element by element."""
    logits, targets = case(seed)
    _, dlogits = cross_entropy(logits.copy(), targets)
    step = 1e-5
    for place in np.ndindex(logits.shape):
        above, below = logits.copy(), logits.copy()
        above[place] += step
        below[place] -= step
        row = place[:2]
        numeric = by_formula(above[row][None], targets[row][None]) - by_formula(below[row][None], targets[row][None])
        assert dlogits[place] == pytest.approx(numeric.item() / (2 * step) / (T * B), abs=1e-10)


@given(SEEDS, st.sampled_from([np.float32, np.float64]))
def test_each_row_of_the_gradient_sums_to_zero(seed: int, dtype: type[np.floating[Any]]) -> None:
    """Only differences between logits matter, so every row sums to zero; only the target's element is negative."""
    logits, targets = case(seed, dtype=dtype)
    _, dlogits = cross_entropy(logits, targets)
    assert dlogits.shape == (T, B, V) and dlogits.dtype == dtype
    np.testing.assert_allclose(dlogits.sum(axis=-1), 0, rtol=0, atol=1e-7 if dtype == np.float32 else 1e-15)
    at_target = np.eye(V, dtype=bool)[targets]
    assert np.all(dlogits[at_target] < 0) and np.all(dlogits[~at_target] > 0)


@given(SEEDS, st.floats(-1000, 1000))
def test_a_shift_of_all_logits_changes_nothing(seed: int, shift: float) -> None:
    """Loss and gradient are the same when all logits are moved by the same amount."""
    logits, targets = case(seed)
    nats, dlogits = cross_entropy(logits.copy(), targets)
    moved, moved_dlogits = cross_entropy(logits + shift, targets)
    assert moved == pytest.approx(nats, abs=1e-11)
    np.testing.assert_allclose(moved_dlogits, dlogits, rtol=0, atol=1e-12)


@pytest.mark.parametrize("V", [1, 2, 65, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_knowing_nothing_costs_ln_V(V: int, dtype: type[np.floating[Any]]) -> None:
    """Equal logits are a uniform guess: ln V nats, whatever the targets."""
    targets = np.arange(T * B).reshape(T, B) % V
    assert cross_entropy(np.full((T, B, V), 3, dtype), targets)[0] == pytest.approx(math.log(V), rel=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_certainty_is_exact_at_both_ends(dtype: type[np.floating[Any]]) -> None:
    """A certain hit costs nothing, a certain miss its distance in logits; nothing overflows."""
    logits = np.zeros((1, 2, V), dtype)
    logits[..., 2] = 30_000
    targets = np.array([[2, 5]])
    nats, dlogits = cross_entropy(logits, targets)
    assert nats == 15_000
    np.testing.assert_array_equal(dlogits, 0.5 * np.array([[[0] * 6, [0, 0, 1, 0, 0, -1]]]))


@given(SEEDS)
def test_means_do_not_depend_on_the_size_of_the_window(seed: int) -> None:
    """The same predictions twice are the same loss; each has half the gradient."""
    logits, targets = case(seed)
    nats, dlogits = cross_entropy(logits.copy(), targets)
    for axis in (0, 1):
        twice, twice_dlogits = cross_entropy(
            np.concatenate([logits, logits], axis), np.concatenate([targets, targets], axis)
        )
        assert twice == pytest.approx(nats, rel=1e-13)
        np.testing.assert_allclose(twice_dlogits, np.concatenate([dlogits, dlogits], axis) / 2, rtol=0, atol=1e-15)


@given(SEEDS)
def test_float32_is_close_to_float64(seed: int) -> None:
    """Single precision changes only the last digits."""
    logits, targets = case(seed, scale=4, dtype=np.float32)
    wide, wide_dlogits = cross_entropy(logits.astype(np.float64), targets)
    nats, dlogits = cross_entropy(logits, targets)
    assert nats == pytest.approx(wide, abs=1e-6)
    np.testing.assert_allclose(dlogits, wide_dlogits, rtol=0, atol=1e-7)


def test_the_gradient_is_written_over_the_logits() -> None:
    """No second array of the size of the logits is allocated, and the targets are left as they are."""
    logits, targets = case(1)
    before = targets.copy()
    _, dlogits = cross_entropy(logits, targets)
    assert np.shares_memory(dlogits, logits)
    np.testing.assert_array_equal(targets, before)


@given(SEEDS)
def test_pytorch_agrees(seed: int) -> None:
    """Loss and gradient are those of torch.nn.functional.cross_entropy."""
    torch = pytest.importorskip("torch")
    logits, targets = case(seed)
    theirs = torch.tensor(logits.reshape(-1, V), requires_grad=True)
    loss = torch.nn.functional.cross_entropy(theirs, torch.tensor(targets.reshape(-1).astype(np.int64)))
    loss.backward()
    nats, dlogits = cross_entropy(logits, targets)
    assert nats == pytest.approx(loss.item(), rel=1e-13)
    np.testing.assert_allclose(dlogits.reshape(-1, V), theirs.grad.numpy(), rtol=0, atol=1e-15)


@given(SEEDS)
def test_mean_squared_error_is_its_formula(seed: int) -> None:
    """The mean over all elements, and its central differences, written over the outputs."""
    rng = np.random.default_rng(seed)
    outputs, targets = rng.standard_normal((2, T, B, V))
    start = outputs.copy()
    loss, doutputs = mean_squared_error(outputs, targets)
    assert loss == pytest.approx(np.mean((start - targets) ** 2), rel=1e-13)
    assert doutputs is outputs
    np.testing.assert_allclose(doutputs, 2 * (start - targets) / start.size, rtol=1e-13)
