"""Softmax cross-entropy and its slope against their formulas, in plain Python floats."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.nn.loss import cross_entropy, target_nats

T, B, V = 4, 3, 6
SEEDS = st.integers(0, 2**32 - 1)


def case(seed: int, scale: float = 2.0, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
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
def test_each_target_has_its_own_nats(seed: int) -> None:
    """target_nats is the formula at each place, and its mean is the loss."""
    logits, targets = case(seed)
    nats = target_nats(logits.copy(), targets)
    assert nats.shape == (T, B) and nats.dtype == np.float64
    np.testing.assert_allclose(nats, by_formula(logits, targets), rtol=1e-13, atol=1e-15)
    assert cross_entropy(logits, targets)[0] == pytest.approx(nats.mean(), rel=1e-13)


@given(SEEDS)
def test_the_slope_is_that_of_the_loss(seed: int) -> None:
    """dlogits against central differences of the formula, element by element."""
    logits, targets = case(seed)
    _, slope = cross_entropy(logits.copy(), targets)
    step = 1e-5
    for place in np.ndindex(logits.shape):
        above, below = logits.copy(), logits.copy()
        above[place] += step
        below[place] -= step
        row = place[:2]
        numeric = by_formula(above[row][None], targets[row][None]) - by_formula(below[row][None], targets[row][None])
        assert slope[place] == pytest.approx(numeric.item() / (2 * step) / (T * B), abs=1e-10)


@given(SEEDS, st.sampled_from([np.float32, np.float64]))
def test_each_row_of_the_slope_sums_to_zero(seed: int, dtype: type) -> None:
    """Only differences between logits count, so no row pushes all of them; only the target's is pulled up."""
    logits, targets = case(seed, dtype=dtype)
    _, slope = cross_entropy(logits, targets)
    assert slope.shape == (T, B, V) and slope.dtype == dtype
    np.testing.assert_allclose(slope.sum(axis=-1), 0, rtol=0, atol=1e-7 if dtype == np.float32 else 1e-15)
    at_target = np.eye(V, dtype=bool)[targets]
    assert np.all(slope[at_target] < 0) and np.all(slope[~at_target] > 0)


@given(SEEDS, st.floats(-1000, 1000))
def test_a_shift_of_all_logits_changes_nothing(seed: int, shift: float) -> None:
    """Loss, slope and nats per target are the same when every logit is moved by the same amount."""
    logits, targets = case(seed)
    nats, slope = cross_entropy(logits.copy(), targets)
    moved, moved_slope = cross_entropy(logits + shift, targets)
    assert moved == pytest.approx(nats, abs=1e-11)
    np.testing.assert_allclose(moved_slope, slope, rtol=0, atol=1e-12)
    np.testing.assert_allclose(target_nats(logits + shift, targets), target_nats(logits, targets), rtol=0, atol=1e-11)


@pytest.mark.parametrize("V", [1, 2, 65, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_knowing_nothing_costs_ln_V(V: int, dtype: type) -> None:
    """Equal logits are a uniform guess: ln V nats, whatever the targets."""
    targets = np.arange(T * B).reshape(T, B) % V
    assert cross_entropy(np.full((T, B, V), 3, dtype), targets)[0] == pytest.approx(math.log(V), rel=1e-6)
    np.testing.assert_allclose(target_nats(np.full((T, B, V), 3, dtype), targets), math.log(V), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_certainty_is_exact_at_both_ends(dtype: type) -> None:
    """A sure hit costs nothing, and a sure miss its distance in logits; nothing overflows on the way."""
    logits = np.zeros((1, 2, V), dtype)
    logits[..., 2] = 30_000
    targets = np.array([[2, 5]])
    np.testing.assert_array_equal(target_nats(logits.copy(), targets), [[0, 30_000]])
    nats, slope = cross_entropy(logits, targets)
    assert nats == 15_000
    np.testing.assert_array_equal(slope, 0.5 * np.array([[[0] * 6, [0, 0, 1, 0, 0, -1]]]))


@given(SEEDS)
def test_means_do_not_know_the_size_of_the_window(seed: int) -> None:
    """The same predictions twice are the same loss; each has half the slope."""
    logits, targets = case(seed)
    nats, slope = cross_entropy(logits.copy(), targets)
    for axis in (0, 1):
        twice, twice_slope = cross_entropy(
            np.concatenate([logits, logits], axis), np.concatenate([targets, targets], axis)
        )
        assert twice == pytest.approx(nats, rel=1e-13)
        np.testing.assert_allclose(twice_slope, np.concatenate([slope, slope], axis) / 2, rtol=0, atol=1e-15)


@given(SEEDS)
def test_float32_is_close_to_float64(seed: int) -> None:
    """Single precision costs the last digits only."""
    logits, targets = case(seed, scale=4, dtype=np.float32)
    wide, wide_slope = cross_entropy(logits.astype(np.float64), targets)
    np.testing.assert_allclose(
        target_nats(logits.copy(), targets), target_nats(logits.astype(float), targets), rtol=0, atol=1e-5
    )
    nats, slope = cross_entropy(logits, targets)
    assert nats == pytest.approx(wide, abs=1e-6)
    np.testing.assert_allclose(slope, wide_slope, rtol=0, atol=1e-7)


def test_the_slope_takes_the_place_of_the_logits() -> None:
    """No second array of the size of the logits is made, and the targets are left as they are."""
    logits, targets = case(1)
    before = targets.copy()
    _, slope = cross_entropy(logits, targets)
    assert np.shares_memory(slope, logits)
    np.testing.assert_array_equal(targets, before)


@given(SEEDS)
def test_pytorch_agrees(seed: int) -> None:
    """Loss and slope are those of torch.nn.functional.cross_entropy."""
    torch = pytest.importorskip("torch")
    logits, targets = case(seed)
    theirs = torch.tensor(logits.reshape(-1, V), requires_grad=True)
    loss = torch.nn.functional.cross_entropy(theirs, torch.tensor(targets.reshape(-1).astype(np.int64)))
    loss.backward()
    nats, slope = cross_entropy(logits, targets)
    assert nats == pytest.approx(loss.item(), rel=1e-13)
    np.testing.assert_allclose(slope.reshape(-1, V), theirs.grad.numpy(), rtol=0, atol=1e-15)
