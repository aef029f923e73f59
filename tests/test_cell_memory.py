"""The memory of every recurrent cell, measured where it is allocated."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest
from cell_oracles import VARIANTS, Array, cell_named, random_params

from charlm.arrays import NamedArrays

pytestmark = pytest.mark.slow

SCALAR = 4  # bytes of a float32
every_cell = pytest.mark.parametrize("name", VARIANTS)


def memory_held(name: str, T: int, vectors: bool, bidirectional: bool = False) -> int:
    """Bytes that a cell holds after two windows, its inputs and the gradient in its outputs not counted."""
    rng = np.random.default_rng(0)
    B, D, H = 8, 6, 16
    inputs = rng.normal(size=(T, B, D)).astype(np.float32) if vectors else rng.integers(0, D, (T, B))
    tracemalloc.start()
    cell = cell_named(name, D, H, np.float32, bidirectional=bidirectional)
    params = NamedArrays(cell.shapes)
    grads = NamedArrays.like(params)
    doutputs = np.ones((T, B, cell.output_size), np.float32)
    for _ in range(2):
        weights = cell.prepare(params)
        _, state, tape = cell.forward(weights, inputs, cell.zero_state(B))
        cell.backward(weights, tape, doutputs, grads)
    del state, tape, doutputs
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held


@pytest.mark.parametrize("inputs", ["ids", "vectors", "bidirectional"])
@every_cell
def test_a_window_takes_scalars_per_unit(name: str, inputs: str) -> None:
    """Law: n more time steps hold n B (H scalars_per_unit) scalars, and n B D more for vectors, within 2 %."""
    B, D, H, short, long = 8, 6, 16, 200, 600
    of_cell = cell_named(name, D, H, bidirectional=inputs == "bidirectional")
    scalars = of_cell.scalars_per_unit * H + (D if inputs == "vectors" else 0)
    options = inputs == "vectors", inputs == "bidirectional"
    memory_held(name, short, *options)  # what is imported and cached at the first use is not of the cell
    grown = memory_held(name, long, *options) - memory_held(name, short, *options)
    assert grown / (SCALAR * B * (long - short)) == pytest.approx(scalars, rel=0.02)


@every_cell
def test_the_second_window_allocates_next_to_nothing(name: str, rng: np.random.Generator) -> None:
    """Law: working memory is kept: another window of the same shape allocates less than an array (T, B, H)."""
    T, B, D, H = 64, 16, 30, 64
    cell = cell_named(name, D, H, np.float32)
    params = {array: value.astype(np.float32) for array, value in random_params(cell, rng, 0.1).items()}
    weights, grads = cell.prepare(params), {array: np.zeros_like(value) for array, value in params.items()}
    inputs, doutputs = rng.integers(D, size=(T, B)), np.ones((T, B, H), np.float32)

    def window(state: Array) -> Array:
        _, state, tape = cell.forward(weights, inputs, state)
        cell.backward(weights, tape, doutputs, grads)
        return state

    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        state = window(cell.zero_state(B))
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        window(state)
        held_again, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    one_array = SCALAR * T * B * H
    assert held - before > one_array
    assert peak - held < one_array
    assert held_again - held < one_array / 20
