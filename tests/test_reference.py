"""The textbook functions: golden numbers from elsewhere, their own laws, and the fast cells beside them."""

from __future__ import annotations

import numpy as np
import pytest

from charlm import reference
from charlm.nn.gru import GRU
from charlm.nn.gru_reset_after import GRUResetAfter
from charlm.nn.lstm import LSTM
from charlm.nn.rnn import RNN

Params = dict[str, np.ndarray]


def drawn(cell: GRU | GRUResetAfter | LSTM | RNN, rng: np.random.Generator) -> Params:
    """Random parameters of a cell, of a size at which every gate works."""
    return {name: 0.7 * rng.standard_normal(shape) for name, shape in cell.shapes.items()}


def gru_columns(params: Params) -> list[np.ndarray]:
    """W_z, U_z, b_z, W_r, U_r, b_r, W_h, U_h, b_h as columns have them, from packed rows."""
    H = params["U"].shape[0]
    gates = [slice(gate * H, (gate + 1) * H) for gate in range(3)]
    return [array for g in gates for array in (params["W"][:, g].T, params["U"][:, g].T, params["b"][g])]


def test_golden_step_from_a_zero_state() -> None:
    """x = [1, 0.5], gates 0.1, candidate 0.2, no biases: z 0.5374, candidate 0.2913, h' 0.1565."""
    H, D = 3, 2
    gate, candidate = (np.full((H, D), 0.1), np.full((H, H), 0.1)), (np.full((H, D), 0.2), np.full((H, H), 0.1))
    arguments = (np.array([1, 0.5]), np.zeros(H), *gate, np.zeros(H), *gate, np.zeros(H), *candidate, np.zeros(H))
    z, _, c = reference.gru_gates(*arguments)
    np.testing.assert_allclose(z, 0.5374, atol=5e-5)
    np.testing.assert_allclose(c, 0.2913, atol=5e-5)
    # 0.1565 is the product of the two rounded figures, cut off; unrounded it is 0.15656.
    np.testing.assert_allclose(reference.gru_cell(*arguments), [0.1565] * 3, atol=7e-5)


SHARED_GATE = {
    "x": [[0.23, 0.12], [0.48, 0.98]],
    "U_z": [[0.35], [0.6]], "U_r": [[0.45], [0.12]], "U_h": [[0.56, 0.1, 0.3], [0.2, 0.5, 0.21]],
    "W_z": [[0.12], [0.67], [0.34]], "W_r": [[0.21], [0.22], [0.45]],
    "W_h": [[0.54, 0.1, 0.2], [0.2, 0.66, 0.3], [0.9, 0.87, 0.3]],
}  # fmt: skip
GOLDEN_STATES = [[0.07, 0.0383, 0.0434], [0.1948, 0.1878, 0.1401]]
GOLDEN_CANDIDATES = [[0.1516, 0.0828, 0.0939], [0.4738, 0.5223, 0.3563]]
GOLDEN_KEEP, GOLDEN_RESET = [0.5381, 0.691], [0.5294, 0.593]


def shared_gate_params() -> Params:
    """That network in our form: one gate value for three units is three equal columns; z of the old state negates."""
    a = {name: np.array(value) for name, value in SHARED_GATE.items()}
    tiled = {name: np.tile(a[name], 3) for name in ("U_z", "U_r", "W_z", "W_r")}
    return {
        "W": np.hstack([-tiled["U_z"], tiled["U_r"], a["U_h"]]),
        "U": np.hstack([-tiled["W_z"], tiled["W_r"], a["W_h"]]),
        "b": np.zeros(9),
    }


def test_golden_shared_gate_with_the_reference() -> None:
    """Two steps of a row-vector GRU whose z keeps the old state and whose gates are single numbers."""
    columns = gru_columns(shared_gate_params())
    s = np.zeros(3)
    for t, x in enumerate(np.array(SHARED_GATE["x"])):
        z, r, c = reference.gru_gates(x, s, *columns)
        s = reference.gru_cell(x, s, *columns)
        # The published figures carry their own rounding from step to step.
        np.testing.assert_allclose(1 - z, GOLDEN_KEEP[t], atol=6e-4)
        np.testing.assert_allclose(r, GOLDEN_RESET[t], atol=6e-4)
        np.testing.assert_allclose(c, GOLDEN_CANDIDATES[t], atol=6e-4)
        np.testing.assert_allclose(s, GOLDEN_STATES[t], atol=6e-4)


def test_golden_shared_gate_with_the_fast_cell() -> None:
    """The same states from the production GRU through the same conversion."""
    cell = GRU(2, 3, np.float64)
    x = np.array(SHARED_GATE["x"])[:, None, :]
    states, _, _ = cell.forward(cell.prepare(shared_gate_params()), x, np.zeros((1, 3)))
    np.testing.assert_allclose(states[:, 0], GOLDEN_STATES, atol=6e-4)


@pytest.mark.parametrize("reset", ["before", "after"])
def test_fast_gru_is_the_textbook_step_after_step(reset: str, rng: np.random.Generator) -> None:
    """Every stream and every time step of a window."""
    T, B, D, H = 5, 4, 3, 2
    cell = GRU(D, H, np.float64) if reset == "before" else GRUResetAfter(D, H, np.float64)
    params = drawn(cell, rng)
    x, h0 = rng.standard_normal((T, B, D)), rng.standard_normal((B, H))
    outputs, _, _ = cell.forward(cell.prepare(params), x, h0)
    for b in range(B):
        h = h0[b]
        for t in range(T):
            if reset == "before":
                h = reference.gru_cell(x[t, b], h, *gru_columns(params))
            else:
                h = reference.gru_cell_reset_after(x[t, b], h, *gru_columns(params), params["b_rc"])
            np.testing.assert_allclose(outputs[t, b], h, rtol=1e-12, atol=1e-14)


def test_sequence_is_cell_after_cell(rng: np.random.Generator) -> None:
    """gru_sequence equals the fast cell over a window, and an empty sequence has no states."""
    cell = GRU(3, 4, np.float64)
    params = drawn(cell, rng)
    x, h0 = rng.standard_normal((6, 3)), rng.standard_normal(4)
    outputs, _, _ = cell.forward(cell.prepare(params), x[:, None], h0[None])
    np.testing.assert_allclose(reference.gru_sequence(x, h0, *gru_columns(params)), outputs[:, 0], rtol=1e-12)
    assert reference.gru_sequence(x[:0], h0, *gru_columns(params)).shape == (0, 4)


def test_fast_lstm_is_the_textbook_step_after_step(rng: np.random.Generator) -> None:
    """h and c of every step, gates packed i, f, o, g."""
    T, D, H = 5, 3, 2
    cell = LSTM(D, H, np.float64)
    params = drawn(cell, rng)
    x, state = rng.standard_normal((T, 1, D)), rng.standard_normal((2, 1, H))
    outputs, after, _ = cell.forward(cell.prepare(params), x, state)
    i, f, o, g = (slice(gate * H, (gate + 1) * H) for gate in range(4))
    matrices = [array for gate in (f, i, g, o) for array in (params["W"][:, gate].T, params["U"][:, gate].T)]
    biases = [params["b"][gate] for gate in (f, i, g, o)]
    h, c = state[:, 0]
    for t in range(T):
        h, c = reference.lstm_cell(x[t, 0], h, c, *matrices, *biases)
        np.testing.assert_allclose(outputs[t, 0], h, rtol=1e-12)
    np.testing.assert_allclose(after[:, 0], [h, c], rtol=1e-12)


def test_fast_rnn_is_the_textbook_forward_and_backward(rng: np.random.Generator) -> None:
    """States, and the gradients of a slope that enters at the last step."""
    T, D, H = 6, 3, 4
    cell = RNN(D, H, np.float64)
    params = drawn(cell, rng)
    x, h0, delta = rng.standard_normal((T, D)), rng.standard_normal(H), rng.standard_normal(H)
    weights = cell.prepare(params)
    outputs, _, tape = cell.forward(weights, x[:, None], h0[None])
    doutputs = np.zeros_like(outputs)
    doutputs[-1, 0] = delta
    grads = {name: np.empty(shape) for name, shape in cell.shapes.items()}
    h = h0
    for t in range(T):
        h = reference.rnn_cell(x[t], h, params["W"].T, params["U"].T, params["b"])
        np.testing.assert_allclose(outputs[t, 0], h, rtol=1e-12)
    cell.backward(weights, tape, doutputs, grads)
    dW, dU, db, _ = reference.rnn_backpropagation(x, h0, delta, params["W"].T, params["U"].T, params["b"])
    for ours, theirs in ((grads["W"].T, dW), (grads["U"].T, dU), (grads["b"], db)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-14)


def test_truncated_backpropagation_is_the_whole_one_from_a_later_start(rng: np.random.Generator) -> None:
    """The last k steps of T give what k steps give that begin in the state before them; k = 0 gives nothing."""
    T, D, H, k = 7, 2, 3, 3
    W, U, b = rng.standard_normal((H, D)), rng.standard_normal((H, H)), rng.standard_normal(H)
    x, h, delta = rng.standard_normal((T, D)), rng.standard_normal(H), rng.standard_normal(H)
    truncated = reference.rnn_backpropagation(x, h, delta, W, U, b, k=k)
    for step in x[: T - k]:
        h = reference.rnn_cell(step, h, W, U, b)
    later = reference.rnn_backpropagation(x[T - k :], h, delta, W, U, b)
    for one, other in zip(truncated, later, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    nothing = reference.rnn_backpropagation(x, h, delta, W, U, b, k=0)
    assert not any(array.any() for array in nothing[:3])
    np.testing.assert_array_equal(nothing[3], delta)


def complex_step(function, array: np.ndarray) -> np.ndarray:
    """The exact derivative of a real function by a step along the imaginary axis (Squire & Trapp 1998)."""
    slope = np.empty(array.shape)
    for index in np.ndindex(array.shape):
        moved = array.astype(complex)
        moved[index] += 1e-30j
        slope[index] = function(moved).imag / 1e-30
    return slope


def test_exercise_cell_has_the_exact_derivatives(rng: np.random.Generator) -> None:
    """All six matrices, dx and dh of GRUCell.backward."""
    D, H = 3, 4
    cell = reference.GRUCell(D, H, rng)
    x, h, delta = rng.standard_normal(D), rng.standard_normal(H), rng.standard_normal(H)
    cell.forward(x, h)
    dx, dh = cell.backward(delta)
    names = ("Wzx", "Wzh", "Wrx", "Wrh", "Wx", "Wh")
    for name in names:
        original = getattr(cell, name)

        def loss(moved: np.ndarray, name: str = name) -> complex:
            setattr(cell, name, moved)
            return delta @ cell.forward(x, h)

        np.testing.assert_allclose(getattr(cell, "d" + name), complex_step(loss, original), rtol=1e-12, atol=1e-15)
        setattr(cell, name, original)
    np.testing.assert_allclose(dx, complex_step(lambda moved: delta @ cell.forward(moved, h), x), rtol=1e-12)
    np.testing.assert_allclose(dh, complex_step(lambda moved: delta @ cell.forward(x, moved), h), rtol=1e-12)


def test_exercise_cell_agrees_with_the_plain_function(rng: np.random.Generator) -> None:
    """GRUCell.forward is gru_cell without biases."""
    cell = reference.GRUCell(2, 3, rng)
    x, h = rng.standard_normal(2), rng.standard_normal(3)
    expected = reference.gru_cell(x, h, cell.Wzx, cell.Wzh, 0.0, cell.Wrx, cell.Wrh, 0.0, cell.Wx, cell.Wh, 0.0)
    np.testing.assert_allclose(cell.forward(x, h), expected, rtol=1e-14)


def test_lstm_cell_without_inputs_only_forgets() -> None:
    """With all weights zero every gate is 1/2 and the candidate 0: c halves, h is tanh(c) / 2."""
    H, D = 3, 2
    c = np.array([0.4, -1.0, 2.0])
    W, U = np.zeros((H, D)), np.zeros((H, H))
    h_next, c_next = reference.lstm_cell(np.ones(D), np.ones(H), c, W, U, W, U, W, U, W, U)
    np.testing.assert_allclose(c_next, c / 2)
    np.testing.assert_allclose(h_next, np.tanh(c / 2) / 2)
