"""Memory: each cell takes what its docstring states, measured where it is allocated."""

from __future__ import annotations

import gc
import re
import tracemalloc

import numpy as np
import pytest

from charlm.nn.arrays import NamedArrays
from charlm.nn.cell import Cell
from charlm.nn.gru import GRU
from charlm.nn.gru_after import GRUResetAfter
from charlm.nn.lstm import LSTM
from charlm.nn.rnn import RNN

LAW = re.compile(r"T B \((\d+) H\) scalars .* and T B D more for the gradient of vector inputs", re.DOTALL)
D, H, B = 6, 16, 8
SCALAR = 4  # bytes of a float32


def allocated(kind: type[Cell], T: int, vectors: bool) -> int:
    """Bytes that a cell holds after two windows, its input and the slopes of its outputs not counted."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(T, B, D)).astype(np.float32) if vectors else rng.integers(0, D, (T, B))
    doutputs = np.ones((T, B, H), np.float32)
    tracemalloc.start()
    cell = kind(D, H)
    params = NamedArrays(cell.shapes)
    grads = NamedArrays.like(params)
    for _ in range(2):
        weights = cell.prepare(params)
        _, state, tape = cell.forward(weights, inputs, cell.zero_state(B))
        cell.backward(weights, tape, doutputs, grads)
    del state, tape
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held


@pytest.mark.parametrize("vectors", [False, True], ids=["ids", "vectors"])
@pytest.mark.parametrize("kind", [GRU, GRUResetAfter, LSTM, RNN])
def test_a_window_takes_what_is_stated(kind: type[Cell], vectors: bool) -> None:
    """Law: n more time steps hold n B times what the docstring says, within 2 %."""
    stated = LAW.search(kind.__doc__ or "")
    assert stated is not None
    scalars = int(stated[1]) * H + (D if vectors else 0)
    short, long = 200, 600
    allocated(kind, short, vectors)  # what is imported and cached at the first use is not of the cell
    grown = allocated(kind, long, vectors) - allocated(kind, short, vectors)
    assert grown / (SCALAR * B * (long - short)) == pytest.approx(scalars, rel=0.02)
