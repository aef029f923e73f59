"""Windows of a text. Most texts here are 0, 1, 2, ..., so that an id is also its index in the text."""

from __future__ import annotations

from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from charlm.text.batches import Window, batches, fitting_window, input_dropout, rare_as_unknown, windows_per_epoch

SIZES = st.tuples(st.integers(2, 120), st.integers(1, 7), st.integers(1, 5))  # N, T, B
SEEDS = st.integers(0, 10)


def first_windows(n: int, N: int, T: int, B: int, seed: int = 0, start: int = 0) -> list[Window]:
    """The first n windows of the text 0, 1, ..., N - 1."""
    return list(islice(batches(np.arange(N), T, B, seed, start), n))


def same(one: Window, two: Window) -> bool:
    """Whether two windows are equal in everything."""
    return (
        np.array_equal(one.inputs, two.inputs)
        and np.array_equal(one.targets, two.targets)
        and (one.epoch, one.starts_epoch) == (two.epoch, two.starts_epoch)
    )


@given(SIZES, SEEDS)
def test_every_target_follows_its_input(sizes: tuple[int, int, int], seed: int) -> None:
    """Windows are (T, B), and a target is the character after its input, in every sequence, step and epoch."""
    N, T, B = sizes
    count = windows_per_epoch(N, T, B)
    assume(count)
    for window in first_windows(2 * count + 1, N, T, B, seed):
        assert window.inputs.shape == window.targets.shape == (T, B)
        np.testing.assert_array_equal(window.targets, window.inputs + 1)
        np.testing.assert_array_equal(np.diff(window.inputs, axis=0), np.ones((T - 1, B)))


@given(SIZES, SEEDS)
def test_each_sequence_continues(sizes: tuple[int, int, int], seed: int) -> None:
    """Within an epoch, sequence b of a window begins with the last target of sequence b of the window before."""
    N, T, B = sizes
    count = windows_per_epoch(N, T, B)
    assume(count)
    for one, two in pairwise(first_windows(2 * count, N, T, B, seed)):
        if not two.starts_epoch:
            np.testing.assert_array_equal(two.inputs[0], one.targets[-1])


@given(SIZES, SEEDS)
def test_an_epoch_reads_its_characters_once(sizes: tuple[int, int, int], seed: int) -> None:
    """The windows of an epoch share no input and no target, and read W*T*B consecutive characters of the text."""
    N, T, B = sizes
    count = windows_per_epoch(N, T, B)
    assume(count)
    windows = first_windows(2 * count, N, T, B, seed)
    for epoch in (windows[:count], windows[count:]):
        inputs = np.sort(np.concatenate([window.inputs.ravel() for window in epoch]))
        np.testing.assert_array_equal(inputs, np.arange(count * T * B) + inputs[0])
        assert inputs[0] >= 0 and inputs[-1] < N - 1
        first, last = epoch[0], epoch[-1]
        np.testing.assert_array_equal(first.inputs[0, 1:], last.targets[-1, :-1])


@given(SIZES, SEEDS)
def test_epochs_are_counted(sizes: tuple[int, int, int], seed: int) -> None:
    """Each epoch has the same number of windows, and only the first one of them starts it."""
    N, T, B = sizes
    count = windows_per_epoch(N, T, B)
    assume(count)
    windows = first_windows(3 * count, N, T, B, seed)
    assert [window.epoch for window in windows] == [0] * count + [1] * count + [2] * count
    assert [window.starts_epoch for window in windows] == ([True] + [False] * (count - 1)) * 3


@given(SIZES, SEEDS, st.integers(0, 150))
def test_starting_at_a_window_number(sizes: tuple[int, int, int], seed: int, start: int) -> None:
    """Law: the windows from number `start` on are the same as when all are read from number 0."""
    N, T, B = sizes
    assume(windows_per_epoch(N, T, B))
    from_zero = first_windows(start + 4, N, T, B, seed)[start:]
    assert all(map(same, from_zero, first_windows(4, N, T, B, seed, start)))


def test_the_same_seed_is_the_same_order() -> None:
    """Windows depend on the sizes and the seed only; another seed gives other windows."""
    one, two, other = (first_windows(40, 99, 5, 4, seed) for seed in (1, 1, 2))
    assert all(map(same, one, two))
    assert not all(map(same, one, other))


def test_every_character_is_read() -> None:
    """The spare characters vary from epoch to epoch: over many, every character is an input and a target."""
    N, T, B = 30, 5, 2  # 2 windows of 10, 9 characters to spare
    windows = first_windows(2 * 100, N, T, B)
    assert {window.inputs[0, 0].item() for window in windows if window.starts_epoch} == set(range(10))
    assert {i for window in windows for i in window.inputs.flat} == set(range(N - 1))
    assert {i for window in windows for i in window.targets.flat} == set(range(1, N))


def test_a_text_that_fits_exactly_is_read_whole() -> None:
    """Without spare characters every epoch is the same, from the first character to the last."""
    for window in first_windows(3, 2 * 3 + 1, 3, 2):
        np.testing.assert_array_equal(window.inputs, [[0, 3], [1, 4], [2, 5]])
        np.testing.assert_array_equal(window.targets, [[1, 4], [2, 5], [3, 6]])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_windows_hold_the_ids_of_the_text(dtype: type[np.integer[Any]], rng: np.random.Generator) -> None:
    """Ids keep their values and dtype; the text may be read-only, and a window is a copy."""
    ids = rng.integers(200, size=50).astype(dtype)
    ids.flags.writeable = False
    indices = first_windows(9, 50, 4, 3)
    for window, index in zip(batches(ids, 4, 3), indices, strict=False):
        np.testing.assert_array_equal(window.inputs, ids[index.inputs])
        np.testing.assert_array_equal(window.targets, ids[index.targets])
        assert window.inputs.dtype == window.targets.dtype == dtype
        assert not np.shares_memory(window.inputs, ids)


@pytest.mark.parametrize(("N", "T", "B"), [(0, 1, 1), (1, 1, 1), (6, 3, 2), (10, 10, 1)])
def test_a_text_too_short_for_a_window_is_refused(N: int, T: int, B: int) -> None:
    """A window needs T*B characters and one more, the last target; fewer raise ValueError."""
    with pytest.raises(ValueError, match=str(N)):
        next(batches(np.arange(N), T, B))


@given(st.integers(1, 500), st.integers(1, 20), st.integers(1, 20))
def test_windows_per_epoch_is_all_that_fit(N: int, T: int, B: int) -> None:
    """That many windows and one last target fit; one more window would not."""
    count = windows_per_epoch(N, T, B)
    assert count * T * B + 1 <= N < (count + 1) * T * B + 1


@given(st.integers(2, 500), st.integers(1, 300), st.integers(1, 300))
def test_a_fitting_window_is_the_largest_that_fits(N: int, T: int, B: int) -> None:
    """No larger than asked for, never empty, and it fits: as many time steps as possible, then as many sequences."""
    fit_T, fit_B = fitting_window(N, T, B)
    assert 1 <= fit_T <= T and 1 <= fit_B <= B
    assert windows_per_epoch(N, fit_T, fit_B) >= 1
    assert fit_T == T or windows_per_epoch(N, fit_T + 1, 1) == 0
    assert fit_B == B or windows_per_epoch(N, fit_T, fit_B + 1) == 0
    assert next(batches(np.arange(N), fit_T, fit_B)).inputs.shape == (fit_T, fit_B)


@pytest.mark.parametrize(
    ("asked", "fitting"),
    [
        ((2, 64, 32), (1, 1)),
        ((3, 64, 32), (2, 1)),
        ((65, 64, 32), (64, 1)),
        ((129, 64, 32), (64, 2)),
        ((9, 1, 4), (1, 4)),
    ],
)
def test_tiny_texts_get_tiny_windows(asked: tuple[int, int, int], fitting: tuple[int, int]) -> None:
    """Two characters give a window of one step; the batch shrinks before the window does."""
    assert fitting_window(*asked) == fitting


@given(
    text=st.lists(st.integers(0, 6), min_size=30, max_size=200),
    T=st.integers(1, 5),
    B=st.integers(1, 4),
    seed=st.integers(0, 9),
)
def test_characters_that_occur_once_are_read_as_unknown(text: list[int], T: int, B: int, seed: int) -> None:
    """Law: in even epochs they become the unknown character, in odd ones nothing changes; nor do other characters."""
    ids = np.array(text, np.uint8)
    once = {v for v in text if text.count(v) == 1}
    table = rare_as_unknown(sorted(once), unknown=7)
    assert table.tolist() == [7 if v in once else v for v in range(7)] + [7]
    plain, read = batches(ids, T, B, seed), batches(ids, T, B, seed, read_as=table)
    for window, other in islice(zip(plain, read, strict=False), 3 * windows_per_epoch(len(ids), T, B)):
        assert (window.epoch, window.starts_epoch) == (other.epoch, other.starts_epoch)
        for before, after in ((window.inputs, other.inputs), (window.targets, other.targets)):
            expected = np.where(np.isin(before, list(once)), 7, before) if window.epoch % 2 == 0 else before
            np.testing.assert_array_equal(after, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_input_dropout_replaces_a_share_of_the_inputs(dtype: type[np.integer[Any]], rng: np.random.Generator) -> None:
    """Law: about that share, chosen independently, becomes the unknown character; the rest and the dtype stay."""
    inputs = rng.integers(200, size=(100, 40)).astype(dtype)
    dropped = input_dropout(inputs, 0.25, 200, rng)
    assert dropped.dtype == dtype and not np.shares_memory(dropped, inputs)
    replaced = dropped == 200
    np.testing.assert_array_equal(dropped[~replaced], inputs[~replaced])
    assert abs(replaced.mean() - 0.25) < 0.03
    assert (np.abs(replaced.mean(axis=0) - 0.25) < 0.25).all()
    np.testing.assert_array_equal(input_dropout(inputs, 0.0, 200, rng), inputs)
