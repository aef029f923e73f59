"""What the units did is what the textbook says they do, step by step; and it is the cell's own memory, not a copy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from charlm import reference
from charlm.nn.bidirectional import Bidirectional
from charlm.nn.cell import Cell
from charlm.nn.gru import GRU
from charlm.nn.gru_after import GRUResetAfter
from charlm.nn.lstm import LSTM
from charlm.nn.model import CharLM, ModelSpec
from charlm.nn.rnn import RNN
from charlm.reference import sigmoid

T, B, D, H = 6, 2, 3, 4
CELLS: dict[str, tuple[Any, list[str]]] = {
    "gru": (GRU, ["h", "z", "r", "c"]),
    "gru-after": (GRUResetAfter, ["h", "z", "r", "c"]),
    "lstm": (LSTM, ["h", "c", "tanh_c", "i", "f", "o", "g"]),
    "rnn": (RNN, ["h"]),
}


def textbook(name: str, p: dict[str, np.ndarray], x: np.ndarray, h: np.ndarray, c: np.ndarray) -> dict[str, np.ndarray]:
    """One step of a cell, x (D,), h and c (H,), everything in it by name."""
    W, U, b = ([part.T for part in np.split(p[kind], p["b"].size // H, axis=-1)] for kind in "WUb")
    if name == "rnn":
        return {"h": reference.rnn_cell(x, h, W[0], U[0], b[0])}
    if name == "lstm":
        i, f, o = (sigmoid(W[k] @ x + U[k] @ h + b[k]) for k in range(3))
        g = np.tanh(W[3] @ x + U[3] @ h + b[3])
        weights = [W[1], U[1], W[0], U[0], W[3], U[3], W[2], U[2], b[1], b[0], b[3], b[2]]
        h, c = reference.lstm_cell(x, h, c, *weights)
        return {"h": h, "c": c, "tanh_c": np.tanh(c), "i": i, "f": f, "o": o, "g": g}
    arguments = [array for k in range(3) for array in (W[k], U[k], b[k])]
    z, r, candidate = reference.gru_gates(x, h, *arguments)
    if name == "gru":
        return {"h": reference.gru_cell(x, h, *arguments), "z": z, "r": r, "c": candidate}
    candidate = np.tanh(W[2] @ x + b[2] + r * (U[2] @ h + p["b_rc"]))
    after = reference.gru_cell_reset_after(x, h, *arguments, p["b_rc"])
    return {"h": after, "z": z, "r": r, "c": candidate}


def drawn(cell: Cell, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {name: rng.standard_normal(shape) for name, shape in cell.shapes.items()}


@pytest.mark.parametrize("name", CELLS)
def test_activations_are_the_textbooks(name: str, rng: np.random.Generator) -> None:
    """Law: after forward every named array is, for every step and stream, what the functions of one step give."""
    kind, names = CELLS[name]
    cell = kind(D, H, np.float64)
    params, x = drawn(cell, rng), rng.standard_normal((T, B, D))
    state = rng.standard_normal(cell.zero_state(B).shape)
    outputs, after, tape = cell.forward(cell.prepare(params), x, state)
    found = cell.activations(tape)
    assert list(found) == names
    assert {array.shape for array in found.values()} == {(T, B, H)}
    for stream in range(B):
        h, c = state[:, stream] if name == "lstm" else (state[stream], np.zeros(H))
        for t in range(T):
            expected = textbook(name, params, x[t, stream], h, c)
            for array in names:
                np.testing.assert_allclose(found[array][t, stream], expected[array], atol=1e-12, err_msg=array)
            h, c = expected["h"], expected.get("c", c)
    np.testing.assert_array_equal(found["h"], outputs)
    np.testing.assert_array_equal(found["h"][-1], after[0] if name == "lstm" else after)


@pytest.mark.parametrize("name", CELLS)
def test_gates_are_between_shut_and_open(name: str, rng: np.random.Generator) -> None:
    """Law: what a cell calls gates lies in [0, 1], in a network whose gates are driven far beyond; the rest may not."""
    kind, names = CELLS[name]
    cell = kind(D, H)
    params = {array: 30 * value.astype(np.float32) for array, value in drawn(cell, rng).items()}
    _, _, tape = cell.forward(cell.prepare(params), rng.integers(0, D, (50, B)), cell.zero_state(B))
    found = cell.activations(tape)
    assert set(cell.gates) <= set(names)
    for gate in cell.gates:
        assert found[gate].min() >= 0 and found[gate].max() <= 1
        assert found[gate].min() < 0.1 and found[gate].max() > 0.9
    assert found["h"].min() < 0


def test_nothing_is_copied(rng: np.random.Generator) -> None:
    """Law: activations are views: to look costs no memory, in training neither."""
    for kind, _ in CELLS.values():
        cell = kind(D, H)
        _, _, tape = cell.forward(cell.prepare(drawn(cell, rng)), rng.integers(0, D, (T, B)), cell.zero_state(B))
        assert all(array.base is not None for array in cell.activations(tape).values())


def test_both_directions(rng: np.random.Generator) -> None:
    """Law: of a bidirectional cell both are told, in the order of the window: its outputs."""
    cell = Bidirectional(LSTM(D, H, np.float64), LSTM(D, H, np.float64))
    outputs, _, tape = cell.forward(cell.prepare(drawn(cell, rng)), rng.standard_normal((T, B, D)), cell.zero_state(B))
    found = cell.activations(tape)
    np.testing.assert_array_equal(np.concatenate([found["forward.h"], found["backward.h"]], axis=-1), outputs)
    assert {f"{part}.{gate}" for part in ("forward", "backward") for gate in "ifo"} == set(cell.gates) <= set(found)


def test_every_layer_of_a_model(rng: np.random.Generator) -> None:
    """Law: a model tells of each of its layers; the second reads what the first put out."""
    model = CharLM(ModelSpec(7, hidden=H, layers=2, residual=False), np.float64)
    params = model.initial_params(rng)
    _, state, tape = model.forward(params, rng.integers(0, 7, (T, B)), model.zero_state(B))
    first, second = model.activations(tape)
    np.testing.assert_array_equal(first["h"][-1], state[0])
    np.testing.assert_array_equal(second["h"][-1], state[1])
    upper = model.stack.cells[1]
    again, _, _ = upper.forward(upper.prepare({n: params[f"layer1.{n}"] for n in "WUb"}), first["h"], np.zeros((B, H)))
    np.testing.assert_array_equal(again, second["h"])
