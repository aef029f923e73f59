"""Named views of one buffer, reused memory, and a window in pieces."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.arrays import Buffers, NamedArrays, group, time_pieces

SHAPES = {"layer1.W": (2, 3), "layer1.b": (3,), "layer10.W": (1, 2), "readout.b": (4,)}
SHAPE = st.lists(st.integers(1, 4), max_size=3).map(tuple)


@given(st.dictionaries(st.text(min_size=1), SHAPE, min_size=1, max_size=5), st.sampled_from([np.float32, np.float64]))
def test_named_arrays_tile_one_buffer(shapes: dict[str, tuple[int, ...]], dtype: type) -> None:
    """The arrays, in the order of their names, are the buffer: each scalar once, none left over, all zero at first."""
    named = NamedArrays(shapes, dtype)
    assert list(named) == list(shapes)
    assert {name: array.shape for name, array in named.items()} == shapes
    assert named.flat.shape == (sum(math.prod(shape) for shape in shapes.values()),)
    assert named.flat.dtype == dtype and not named.flat.any()
    named.flat[...] = np.arange(named.flat.size)
    joined = np.concatenate([array.reshape(-1) for array in named.values()])
    np.testing.assert_array_equal(joined, np.arange(named.flat.size))


def test_work_on_the_buffer_is_work_on_the_arrays() -> None:
    """A change of one is a change of the other."""
    named = NamedArrays(SHAPES)
    named["layer1.b"][...] = 7
    assert named.flat.sum() == 21
    named.flat *= 2
    np.testing.assert_array_equal(named["layer1.b"], [14, 14, 14])
    assert all(array.flags.c_contiguous and np.shares_memory(array, named.flat) for array in named.values())


def test_a_group_is_views_under_short_names() -> None:
    """The arrays of one prefix, and none of a prefix that only begins with the same letters."""
    named = NamedArrays(SHAPES)
    layer1 = group(named, "layer1")
    assert list(layer1) == ["W", "b"]
    layer1["W"][...] = 1
    assert named["layer1.W"].sum() == 6 == named.flat.sum()
    assert list(group(named, "layer10")) == ["W"]
    assert group(named, "layer") == {}


def test_like_has_the_same_form_and_its_own_memory() -> None:
    """Zeros with the same names, shapes, order and dtype, sharing nothing."""
    named = NamedArrays(SHAPES, np.float64)
    named.flat[...] = 1
    other = NamedArrays.like(named)
    assert list(other) == list(named) and other.flat.dtype == np.float64
    assert {name: array.shape for name, array in other.items()} == SHAPES
    assert not other.flat.any() and not np.shares_memory(other.flat, named.flat)


def test_copy_from_goes_by_name_and_converts() -> None:
    """Values are copied by name, for any order and dtype of the source; a missing name is an error."""
    named = NamedArrays(SHAPES, np.float32)
    source = {name: np.full(shape, i + 0.1) for i, (name, shape) in enumerate(SHAPES.items())}
    named.copy_from(dict(reversed(source.items())))
    for name, array in named.items():
        np.testing.assert_array_equal(array, source[name].astype(np.float32))
    with pytest.raises(KeyError):
        named.copy_from({"layer1.W": source["layer1.W"]})


def test_buffers_are_reused() -> None:
    """The same name is the same memory, for the same shape or a smaller one; only a larger one takes new memory."""
    buffers = Buffers(np.float64)
    first = buffers("a", 4, 6)
    assert first.shape == (4, 6) and first.dtype == np.float64 and first.flags.c_contiguous
    for shape in [(4, 6), (24,), (2, 3, 4), (3, 5), (1,)]:
        again = buffers("a", *shape)
        assert again.shape == shape and again.flags.c_contiguous
        assert again.ctypes.data == first.ctypes.data
    larger = buffers("a", 5, 6)
    assert larger.shape == (5, 6) and not np.shares_memory(larger, first)
    assert buffers("a", 30).ctypes.data == larger.ctypes.data


def test_buffers_of_other_names_are_other_memory() -> None:
    """Two names never share memory, nor do two cells."""
    buffers, others = Buffers(), Buffers()
    a, b, c = buffers("a", 3), buffers("b", 3), others("a", 3)
    assert not np.shares_memory(a, b) and not np.shares_memory(a, c)
    assert a.dtype == np.float32


def test_a_second_request_allocates_nothing() -> None:
    """Reuse is a view: not even a small array is made."""
    buffers = Buffers()
    buffers("a", 1000, 1000)
    tracemalloc.start()
    try:
        buffers("a", 1000, 999)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2000


@given(st.integers(0, 300), st.integers(1, 10**6))
def test_pieces_cover_every_step_once(steps: int, scalars: int) -> None:
    """In order, without gap or overlap, and within the cache or of one step."""
    pieces = list(time_pieces(steps, scalars))
    covered = [t for piece in pieces for t in range(steps)[piece]]
    assert covered == list(range(steps))
    for piece in pieces:
        length = len(range(steps)[piece])
        assert length == 1 or 1 < length <= 2**15 / scalars


def test_a_small_window_is_one_piece() -> None:
    """A window that fits into the cache is one piece; with one scalar more it is two."""
    assert list(time_pieces(64, 2**9)) == [slice(0, 64)]
    assert list(time_pieces(65, 2**9)) == [slice(0, 64), slice(64, 65)]
