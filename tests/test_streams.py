"""Windows of a text. Most texts here are 0, 1, 2, ...: there an id says where in the text it stands."""

from __future__ import annotations

from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from charlm.text.streams import Window, fitting_window, streams, windows_per_epoch, with_escape

SIZES = st.tuples(st.integers(2, 120), st.integers(1, 7), st.integers(1, 5))  # N, T, B
SEEDS = st.integers(0, 10)


def first_windows(n: int, N: int, T: int, B: int, seed: int = 0, start: int = 0) -> list[Window]:
    """The first n windows of a text of N characters that count themselves."""
    return list(islice(streams(np.arange(N), T, B, seed, start), n))


def same(one: Window, two: Window) -> bool:
    """Equal in everything."""
    return (
        np.array_equal(one.inputs, two.inputs)
        and np.array_equal(one.targets, two.targets)
        and (one.epoch, one.starts_epoch) == (two.epoch, two.starts_epoch)
    )


@given(SIZES, SEEDS)
def test_every_target_follows_its_input(sizes: tuple[int, int, int], seed: int) -> None:
    """Windows are (T, B), and a target is the character after its input, in every stream, step and epoch."""
    N, T, B = sizes
    count = windows_per_epoch(N, T, B)
    assume(count)
    for window in first_windows(2 * count + 1, N, T, B, seed):
        assert window.inputs.shape == window.targets.shape == (T, B)
        np.testing.assert_array_equal(window.targets, window.inputs + 1)
        np.testing.assert_array_equal(np.diff(window.inputs, axis=0), np.ones((T - 1, B)))


@given(SIZES, SEEDS)
def test_each_stream_goes_on_where_it_stopped(sizes: tuple[int, int, int], seed: int) -> None:
    """Within an epoch, stream b of a window begins with the last target of stream b of the window before."""
    N, T, B = sizes
    count = windows_per_epoch(N, T, B)
    assume(count)
    for one, two in pairwise(first_windows(2 * count, N, T, B, seed)):
        if not two.starts_epoch:
            np.testing.assert_array_equal(two.inputs[0], one.targets[-1])


@given(SIZES, SEEDS)
def test_an_epoch_reads_its_characters_once(sizes: tuple[int, int, int], seed: int) -> None:
    """The windows of an epoch share no input and no target, and read one run of W*T*B characters of the text."""
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
    """Each epoch has the same number of windows, and says so at its first one alone."""
    N, T, B = sizes
    count = windows_per_epoch(N, T, B)
    assume(count)
    windows = first_windows(3 * count, N, T, B, seed)
    assert [window.epoch for window in windows] == [0] * count + [1] * count + [2] * count
    assert [window.starts_epoch for window in windows] == ([True] + [False] * (count - 1)) * 3


@given(SIZES, SEEDS, st.integers(0, 150))
def test_a_restart_goes_on_as_if_nothing_had_happened(sizes: tuple[int, int, int], seed: int, start: int) -> None:
    """From window number `start` on: the windows that come there when all are read from number 0."""
    N, T, B = sizes
    assume(windows_per_epoch(N, T, B))
    from_zero = first_windows(start + 4, N, T, B, seed)[start:]
    assert all(map(same, from_zero, first_windows(4, N, T, B, seed, start)))


def test_the_same_seed_is_the_same_order() -> None:
    """Windows follow from sizes and seed alone; another seed reads from other places."""
    one, two, other = (first_windows(40, 99, 5, 4, seed) for seed in (1, 1, 2))
    assert all(map(same, one, two))
    assert not all(map(same, one, other))


def test_every_character_is_met() -> None:
    """What is left out varies from epoch to epoch: over many, every character is an input and a target."""
    N, T, B = 30, 5, 2  # 2 windows of 10, 9 characters to spare
    windows = first_windows(2 * 100, N, T, B)
    assert {window.inputs[0, 0].item() for window in windows if window.starts_epoch} == set(range(10))
    assert {i for window in windows for i in window.inputs.flat} == set(range(N - 1))
    assert {i for window in windows for i in window.targets.flat} == set(range(1, N))


def test_a_text_that_fits_exactly_is_read_whole() -> None:
    """With nothing to spare, every epoch is the same, from the first character to the last."""
    for window in first_windows(3, 2 * 3 + 1, 3, 2):
        np.testing.assert_array_equal(window.inputs, [[0, 3], [1, 4], [2, 5]])
        np.testing.assert_array_equal(window.targets, [[1, 4], [2, 5], [3, 6]])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_windows_hold_the_ids_of_the_text(dtype: type, rng: np.random.Generator) -> None:
    """Ids keep their values and dtype; a read-only text will do, and a window is a copy of its own."""
    ids = rng.integers(200, size=50).astype(dtype)
    ids.flags.writeable = False
    places = first_windows(9, 50, 4, 3)
    for window, place in zip(streams(ids, 4, 3), places, strict=False):
        np.testing.assert_array_equal(window.inputs, ids[place.inputs])
        np.testing.assert_array_equal(window.targets, ids[place.targets])
        assert window.inputs.dtype == window.targets.dtype == dtype
        assert not np.shares_memory(window.inputs, ids)


@pytest.mark.parametrize(("N", "T", "B"), [(0, 1, 1), (1, 1, 1), (6, 3, 2), (10, 10, 1)])
def test_a_text_too_short_for_a_window_is_refused(N: int, T: int, B: int) -> None:
    """A window takes T*B characters and one more, the last target; anything less raises at once."""
    assert windows_per_epoch(N, T, B) == 0 or N == 0
    with pytest.raises(ValueError, match=str(N)):
        next(streams(np.arange(N), T, B))


@given(st.integers(1, 500), st.integers(1, 20), st.integers(1, 20))
def test_windows_per_epoch_is_all_that_fit(N: int, T: int, B: int) -> None:
    """One target more than inputs must fit, and one window more would not."""
    count = windows_per_epoch(N, T, B)
    assert count * T * B + 1 <= N < (count + 1) * T * B + 1


@given(st.integers(2, 500), st.integers(1, 300), st.integers(1, 300))
def test_a_fitting_window_is_the_largest_that_fits(N: int, T: int, B: int) -> None:
    """No larger than asked for, never empty, and it fits; time steps first, then streams, as many as there can be."""
    fit_T, fit_B = fitting_window(N, T, B)
    assert 1 <= fit_T <= T and 1 <= fit_B <= B
    assert windows_per_epoch(N, fit_T, fit_B) >= 1
    assert fit_T == T or windows_per_epoch(N, fit_T + 1, 1) == 0
    assert fit_B == B or windows_per_epoch(N, fit_T, fit_B + 1) == 0
    assert next(streams(np.arange(N), fit_T, fit_B)).inputs.shape == (fit_T, fit_B)


@pytest.mark.parametrize(
    ("asked", "given_back"),
    [
        ((2, 64, 32), (1, 1)),
        ((3, 64, 32), (2, 1)),
        ((65, 64, 32), (64, 1)),
        ((129, 64, 32), (64, 2)),
        ((9, 1, 4), (1, 4)),
    ],
)
def test_tiny_texts_get_tiny_windows(asked: tuple[int, int, int], given_back: tuple[int, int]) -> None:
    """Two characters make a window of one; streams are given up before time steps."""
    assert fitting_window(*asked) == given_back


@given(
    text=st.lists(st.integers(0, 6), min_size=30, max_size=200),
    T=st.integers(1, 5),
    B=st.integers(1, 4),
    seed=st.integers(0, 9),
)
def test_characters_that_come_once_teach_the_escape(text: list[int], T: int, B: int, seed: int) -> None:
    """Law: in even epochs they are read as the escape, in odd ones as themselves; nothing else ever changes."""
    ids = np.array(text, np.uint8)
    once = {v for v in text if text.count(v) == 1}
    reading = with_escape(sorted(once), escape=7)
    assert reading.tolist() == [7 if v in once else v for v in range(7)] + [7]
    plain, read = streams(ids, T, B, seed), streams(ids, T, B, seed, reading=reading)
    for window, other in islice(zip(plain, read, strict=False), 3 * windows_per_epoch(len(ids), T, B)):
        assert (window.epoch, window.starts_epoch) == (other.epoch, other.starts_epoch)
        for before, after in ((window.inputs, other.inputs), (window.targets, other.targets)):
            expected = np.where(np.isin(before, list(once)), 7, before) if window.epoch % 2 == 0 else before
            np.testing.assert_array_equal(after, expected)
