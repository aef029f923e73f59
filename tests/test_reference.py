"""The textbook functions: published numbers, their own laws, and their gradients. (The fast cells: test_cell.py.)"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from cell_oracles import Array, cell_named, random_params
from gradient_check import exact_gradients

from charlm import reference

Params = dict[str, Array]


def gru_arguments(params: Params) -> list[Array]:
    """W_z, U_z, b_z, W_r, U_r, b_r, W_n, U_n, b_n as columns, from packed rows."""
    H = params["U"].shape[0]
    gates = [slice(gate * H, (gate + 1) * H) for gate in range(3)]
    return [array for g in gates for array in (params["W"][:, g].T, params["U"][:, g].T, params["b"][g])]


def test_golden_step_from_a_zero_state() -> None:
    """x = [1, 0.5], gates 0.1, candidate 0.2, no biases: z 0.5374, candidate 0.2913, h' 0.1565."""
    H, D = 3, 2
    gate, candidate = (np.full((H, D), 0.1), np.full((H, H), 0.1)), (np.full((H, D), 0.2), np.full((H, H), 0.1))
    arguments = (np.array([1, 0.5]), np.zeros(H), *gate, np.zeros(H), *gate, np.zeros(H), *candidate, np.zeros(H))
    z, _, n = reference.gru_gates(*arguments)
    np.testing.assert_allclose(z, 0.5374, atol=5e-5)
    np.testing.assert_allclose(n, 0.2913, atol=5e-5)
    # 0.1565 is the product of the two rounded figures, truncated; exactly it is 0.15656.
    np.testing.assert_allclose(reference.gru_cell(*arguments), [0.1565] * 3, atol=7e-5)


SHARED_GATE = {
    "x": [[0.23, 0.12], [0.48, 0.98]],
    "U_z": [[0.35], [0.6]], "U_r": [[0.45], [0.12]], "U_n": [[0.56, 0.1, 0.3], [0.2, 0.5, 0.21]],
    "W_z": [[0.12], [0.67], [0.34]], "W_r": [[0.21], [0.22], [0.45]],
    "W_n": [[0.54, 0.1, 0.2], [0.2, 0.66, 0.3], [0.9, 0.87, 0.3]],
}  # fmt: skip
GOLDEN_STATES = [[0.07, 0.0383, 0.0434], [0.1948, 0.1878, 0.1401]]
GOLDEN_CANDIDATES = [[0.1516, 0.0828, 0.0939], [0.4738, 0.5223, 0.3563]]
GOLDEN_KEEP, GOLDEN_RESET = [0.5381, 0.691], [0.5294, 0.593]


def shared_gate_params() -> Params:
    """That network in our form: one gate for three units is three equal columns; its z weights the old state."""
    a = {name: np.array(value) for name, value in SHARED_GATE.items()}
    tiled = {name: np.tile(a[name], 3) for name in ("U_z", "U_r", "W_z", "W_r")}
    return {
        "W": np.hstack([-tiled["U_z"], tiled["U_r"], a["U_n"]]),
        "U": np.hstack([-tiled["W_z"], tiled["W_r"], a["W_n"]]),
        "b": np.zeros(9),
    }


def test_golden_shared_gate_with_the_reference() -> None:
    """Two steps of a row-vector GRU whose z keeps the old state and whose gates are single numbers."""
    arguments = gru_arguments(shared_gate_params())
    s: Array = np.zeros(3)
    for t, x in enumerate(np.array(SHARED_GATE["x"])):
        z, r, n = reference.gru_gates(x, s, *arguments)
        s = reference.gru_cell(x, s, *arguments)
        # The published figures were rounded at every step.
        np.testing.assert_allclose(1 - z, GOLDEN_KEEP[t], atol=6e-4)
        np.testing.assert_allclose(r, GOLDEN_RESET[t], atol=6e-4)
        np.testing.assert_allclose(n, GOLDEN_CANDIDATES[t], atol=6e-4)
        np.testing.assert_allclose(s, GOLDEN_STATES[t], atol=6e-4)


def test_golden_shared_gate_with_the_fast_cell() -> None:
    """The same states from the fast GRU, with the same conversion."""
    cell = cell_named("gru before", 2, 3)
    x = np.array(SHARED_GATE["x"])[:, None, :]
    states, _, _ = cell.forward(cell.prepare(shared_gate_params()), x, np.zeros((1, 3)))
    np.testing.assert_allclose(states[:, 0], GOLDEN_STATES, atol=6e-4)


def test_sequence_is_cell_after_cell(rng: np.random.Generator) -> None:
    """gru_sequence equals the fast cell over a window, and an empty sequence has no states."""
    cell = cell_named("gru before", 3, 4)
    params = random_params(cell, rng)
    x, h0 = rng.standard_normal((6, 3)), rng.standard_normal(4)
    outputs, _, _ = cell.forward(cell.prepare(params), x[:, None], h0[None])
    np.testing.assert_allclose(reference.gru_sequence(x, h0, *gru_arguments(params)), outputs[:, 0], rtol=1e-12)
    assert reference.gru_sequence(x[:0], h0, *gru_arguments(params)).shape == (0, 4)


CELL_SHAPES = {"W": (4, 3), "U": (4, 4), "b": (4,)}


def check_backward(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    names: Sequence[str],
    states: int,
    rng: np.random.Generator,
) -> None:
    """A backward function against complex-step derivatives of its forward function, in all of its arguments."""
    arguments = {"x": rng.standard_normal(3)} | {f"state{n}": rng.standard_normal(4) for n in range(states)}
    arguments |= {name: rng.standard_normal(CELL_SHAPES[name[0]]) for name in names}
    deltas = [rng.standard_normal(4) for _ in range(states)]

    def loss(arrays: dict[str, Any]) -> Any:
        after = forward(*arrays.values())
        return sum(delta @ state for delta, state in zip(deltas, after if states > 1 else [after], strict=True))

    *inputs, gradients = backward(*deltas, *arguments.values())
    found = dict(zip(["x", *(f"state{n}" for n in range(states))], inputs, strict=True)) | gradients
    exact = exact_gradients(loss, arguments)
    assert found.keys() == exact.keys()
    for name, expected in exact.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-10, atol=1e-14, err_msg=name)


GRU_NAMES = [f"{kind}_{gate}" for gate in "zrn" for kind in "WUb"]


def test_backward_of_every_cell_is_exact(rng: np.random.Generator) -> None:
    """Law: dx, the gradients in the states, and those of all parameters."""
    check_backward(reference.gru_cell, reference.gru_cell_backward, GRU_NAMES, 1, rng)
    after = reference.gru_cell_reset_after, reference.gru_cell_reset_after_backward
    check_backward(*after, [*GRU_NAMES, "b_rn"], 1, rng)
    lstm = [f"{kind}_{gate}" for gate in "figo" for kind in "WU"] + [f"b_{gate}" for gate in "figo"]
    check_backward(reference.lstm_cell, reference.lstm_cell_backward, lstm, 2, rng)
    for activation in ("tanh", "sigmoid"):
        forward = partial(reference.rnn_cell, activation=activation)
        check_backward(forward, partial(reference.rnn_cell_backward, activation=activation), "WUb", 1, rng)


def test_backward_of_relu(rng: np.random.Generator) -> None:
    """Law: only units above 0 pass a gradient on: elsewhere it is 0."""
    x, h, delta = np.array([1.0]), np.zeros(2), np.array([2.0, 3.0])
    W, U = np.array([[1.0], [-1.0]]), rng.standard_normal((2, 2))
    dx, dh, gradients = reference.rnn_cell_backward(delta, x, h, W, U, activation="relu")
    np.testing.assert_array_equal(gradients["W"], [[2.0], [0.0]])
    np.testing.assert_array_equal(gradients["b"], [2.0, 0.0])
    np.testing.assert_array_equal(dx, [2.0])
    np.testing.assert_array_equal(dh, 2.0 * U[0])


def test_examples_as_columns(rng: np.random.Generator) -> None:
    """Law: m columns are m examples: states side by side, gradients summed."""
    W, U, b = rng.standard_normal((4, 3)), rng.standard_normal((4, 4)), rng.standard_normal((4, 1))
    x, h, delta = (rng.standard_normal((rows, 5)) for rows in (3, 4, 4))
    arguments = (W, U, b) * 3
    states = reference.gru_cell(x, h, *arguments)
    dx, dh, gradients = reference.gru_cell_backward(delta, x, h, *arguments)
    single = [array if array.shape != (4, 1) else array[:, 0] for array in arguments]
    each = [reference.gru_cell_backward(delta[:, m], x[:, m], h[:, m], *single) for m in range(5)]
    for m in range(5):
        np.testing.assert_allclose(states[:, m], reference.gru_cell(x[:, m], h[:, m], *single))
        np.testing.assert_allclose(dx[:, m], each[m][0])
        np.testing.assert_allclose(dh[:, m], each[m][1])
    for name, gradient in gradients.items():
        np.testing.assert_allclose(np.squeeze(gradient), sum(found[2][name] for found in each))


def lecture(rng: np.random.Generator, T: int = 6, D: int = 3, H: int = 4, O: int = 2) -> dict[str, Array]:  # noqa: E741
    """Random arguments of rnn_backpropagation."""
    shapes = {"W": (H, H), "U": (H, D), "V": (O, H), "x": (T, D), "y": (T, O)}
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def tanh_prime(a: Array) -> Array:
    """1 - tanh^2."""
    return np.asarray(1 - np.tanh(a) ** 2)


def squared_error_prime(y_true: Array, y_pred: Array) -> Array:
    """The derivative of half the squared error."""
    return y_pred - y_true


def test_lecture_backpropagation_is_the_gradient_of_the_sum_of_errors(rng: np.random.Generator) -> None:
    """Law: with k = T, dW, dU and dV are the exact derivatives, with W at the state and U at the input."""
    arguments: dict[str, Any] = lecture(rng)

    def error(arrays: dict[str, Any]) -> Any:
        h, total = np.zeros(4), 0.0
        for x_t, y_t in zip(arguments["x"], arguments["y"], strict=True):
            h = np.tanh(arrays["U"] @ x_t + arrays["W"] @ h)
            total = total + 0.5 * ((arrays["V"] @ h - y_t) ** 2).sum()
        return total

    found = reference.rnn_backpropagation(**arguments, k=6, g=np.tanh, g_prime=tanh_prime, e_prime=squared_error_prime)
    exact = exact_gradients(error, {name: arguments[name] for name in "WUV"})
    for name, gradient in zip("WUV", found, strict=True):
        np.testing.assert_allclose(gradient, exact[name], rtol=1e-10, atol=1e-14)


def test_lecture_backpropagation_is_truncated_after_k_steps(rng: np.random.Generator) -> None:
    """Law: each error travels k steps: the same as the full gradient from the state before them, held constant."""
    arguments = lecture(rng)
    W, U, V, x, y = arguments.values()
    call = partial(reference.rnn_backpropagation, g=np.tanh, g_prime=tanh_prime, e_prime=squared_error_prime)
    states = [np.zeros(4)]
    for x_t in x:
        states.append(np.tanh(U @ x_t + W @ states[-1]))
    for k in (1, 2, 3):

        def error(arrays: dict[str, Any], k: int = k) -> Any:
            total = 0.0
            for t in range(6):
                h = states[max(0, t + 1 - k)]
                for x_s in x[max(0, t + 1 - k) : t + 1]:
                    h = np.tanh(arrays["U"] @ x_s + arrays["W"] @ h)
                total = total + 0.5 * ((V @ h - y[t]) ** 2).sum()
            return total

        exact = exact_gradients(error, {"W": W, "U": U})
        dW, dU, _ = call(W, U, V, x, y, k)
        np.testing.assert_allclose(dW, exact["W"], rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(dU, exact["U"], rtol=1e-10, atol=1e-14)


def test_the_printed_recursion_by_hand() -> None:
    """One unit, two steps, all numbers by hand: e' = h - y at the state, no W between steps, g' one step off in dV."""
    one = np.ones((1, 1))
    x, y = np.array([[1.0], [0.5]]), np.array([[0.0], [1.0]])
    call = partial(reference.rnn_backpropagation, 0.5 * one, one, one, x, y, 2, np.tanh, tanh_prime)
    h1 = np.tanh(1.0)
    h2 = np.tanh(0.5 + 0.5 * h1)
    g1, g2 = 1 - h1**2, 1 - h2**2
    d1, d2 = h1 * g1, (h2 - 1) * g2
    dW, dU, dV = call(squared_error_prime, recursion="printed")
    np.testing.assert_allclose(dW, [[d2 * h1]])  # h_0 = 0
    np.testing.assert_allclose(dU, [[d1 * 1.0 + d2 * 0.5 + d2 * g1 * 1.0]])
    np.testing.assert_allclose(dV, [[h1 * 1.0 * h1 + (h2 - 1) * g1 * h2]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"W": np.ones((4, 3)), "U": np.ones((4, 4))},
            r"W must have the shape \(4, 4\), not \(4, 3\): W multiplies the state",
        ),
        ({"V": np.ones((3, 4))}, r"V must have the shape \(2, 4\)"),
        ({"y": np.ones((5, 2))}, r"y must have the shape \(6, 2\)"),
        ({"x": np.ones(6)}, "x must have two dimensions"),
        ({"k": 0}, "k must be a whole number of at least 1"),
        ({"k": -1}, "k must be a whole number of at least 1"),
        ({"recursion": "exact"}, "recursion must be gradient or printed"),
        ({"recursion": "printed"}, "V must have 4 rows"),
    ],
)
def test_lecture_arguments_that_do_not_fit(change: dict[str, Any], message: str, rng: np.random.Generator) -> None:
    """Law: the message says which argument, what came and what was expected."""
    usual: dict[str, Any] = {
        **lecture(rng),
        "k": 2,
        "g": np.tanh,
        "g_prime": tanh_prime,
        "e_prime": squared_error_prime,
    }
    with pytest.raises(ValueError, match=message):
        reference.rnn_backpropagation(**(usual | change))


def test_matrices_in_the_wrong_place(rng: np.random.Generator) -> None:
    """Law: a W and a U that were exchanged, or a transposed W, are noticed if D and H differ, by name."""
    W, U, b = rng.standard_normal((4, 3)), rng.standard_normal((4, 4)), np.zeros(4)
    x, h = np.ones(3), np.zeros(4)
    with pytest.raises(
        ValueError, match=r"W_z multiplies x with 3 rows .*\(4, 3\), not \(4, 4\): is it in the place of"
    ):
        reference.gru_cell(x, h, U, W, b, W, U, b, W, U, b)
    with pytest.raises(ValueError, match=r"W multiplies x .*\(3, 4\): is it transposed"):
        reference.rnn_cell(x, h, W.T, U)
    with pytest.raises(ValueError, match="activation must be one of tanh, relu, sigmoid, not 'elu'"):
        reference.rnn_cell(x, h, W, U, activation="elu")


def test_whole_numbers_are_numbers() -> None:
    """Law: integer inputs and states give what their floating-point values give; text is refused by name."""
    W, U = np.full((3, 2), 0.1), np.full((3, 3), 0.1)
    matrices = (W, U) * 3
    found = reference.gru_forward(np.array([[1, 0], [0, 1]]), np.zeros(3, int), *matrices)
    np.testing.assert_array_equal(found, reference.gru_forward(np.eye(2), np.zeros(3), *matrices))
    with pytest.raises(TypeError, match="h_init must be an array of numbers"):
        reference.gru_forward(np.eye(2), np.array(["a"]), *matrices)


def test_the_forms_of_notes_are_the_same_function(rng: np.random.Generator) -> None:
    """Law: gru_step, gru_forward, GRU_Cell and row vectors with z keeping the old state give the states of gru_cell."""
    W = {gate: rng.standard_normal((4, 3)) for gate in "zrn"}
    U = {gate: rng.standard_normal((4, 4)) for gate in "zrn"}
    b = {gate: rng.standard_normal(4) for gate in "zrn"}
    x, h = rng.standard_normal((5, 3)), rng.standard_normal(4)
    six = [array for gate in "zrn" for array in (W[gate], U[gate])]
    expected = reference.gru_sequence(x, h, *(array for gate in "zrn" for array in (W[gate], U[gate], b[gate])))
    np.testing.assert_array_equal(reference.gru_forward(x, h, *six, *b.values()), expected)
    np.testing.assert_array_equal(reference.gru_step(x[0], h, *six, *b.values()), expected[0])
    rows = [array for gate in "zrn" for array in (W[gate].T * (-1) ** (gate == "z"), U[gate].T * (-1) ** (gate == "z"))]
    z, _, _, state = reference.gru_row_step(x[0], h, *[*rows, -b["z"], b["r"], b["n"]])
    np.testing.assert_allclose(state, expected[0], rtol=1e-12)
    assert ((z > 0) & (z < 1)).all()
    cell = reference.GRU_Cell(3, 4, bias=True)
    cell.Wzx, cell.Wzh, cell.Wrx, cell.Wrh, cell.Wx, cell.Wh = six
    cell.bz, cell.br, cell.b = b.values()
    np.testing.assert_array_equal(cell.forward(x[0], h), expected[0])
    gates = reference.gru_gates(x[0], h, *(array for gate in "zrn" for array in (W[gate], U[gate], b[gate])))
    np.testing.assert_array_equal([cell.z, cell.r, cell.n], gates)


def test_broadcasting_as_numpy_does() -> None:
    """A lecture's example: inputs (3, 1) and h_init (3, 1) give states (3, 3), since rows meet columns."""
    W, U = np.full((3, 1), 0.1), np.full((3, 3), 0.1)
    inputs, h_init = np.ones((3, 1)), np.zeros((3, 1))
    states = reference.gru_sequence(inputs, h_init, *(W, U, np.zeros(3)) * 3)
    assert states.shape == (3, 3, 3)
    np.testing.assert_array_equal(states, reference.gru_forward(inputs, h_init, *(W, U) * 3))


def test_exercise_cell_has_the_exact_gradients(rng: np.random.Generator) -> None:
    """All six matrices, dx and dh of GRUCell.backward."""
    D, H = 3, 4
    cell, other = reference.GRUCell(D, H, rng), reference.GRUCell(D, H)
    x, h, delta = rng.standard_normal(D), rng.standard_normal(H), rng.standard_normal(H)
    cell.forward(x, h)
    dx, dh = cell.backward(delta)
    matrices = {name: getattr(cell, name) for name in ("Wzx", "Wzh", "Wrx", "Wrh", "Wx", "Wh")}

    def loss(arrays: dict[str, Any]) -> Any:
        for name in matrices:
            setattr(other, name, arrays[name])
        return delta @ other.forward(arrays["x"], arrays["h"])

    found = {name: getattr(cell, "d" + name) for name in matrices} | {"x": dx, "h": dh}
    for name, expected in exact_gradients(loss, matrices | {"x": x, "h": h}).items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-12, atol=1e-15)


def test_backward_of_the_exercise_cell_needs_a_forward() -> None:
    """The message says what to call; after a forward, backward works."""
    cell = reference.GRUCell(2, 3)
    with pytest.raises(RuntimeError, match=r"call forward\(x, h\) first"):
        cell.backward(np.ones(3))
    cell.forward(np.ones(2), np.zeros(3))
    cell.backward(np.ones(3))


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


# ---------------------------------------------------------------------------------------------------- wrong shapes


def test_columns_are_examples(rng: np.random.Generator) -> None:
    """Law: GRU_Cell on columns (D, m) does what it does on each column, and its gradients are their sums."""
    cell = reference.GRU_Cell(2, 3, rng, bias=True)
    x, h, delta = rng.standard_normal((2, 4)), rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    together = cell.forward(x, h)
    dx, dh = cell.backward(delta)
    gradients = {name: getattr(cell, name) for name in ("dWzx", "dWrh", "dWx", "dbz", "dbr", "db")}
    sums = {name: np.zeros_like(gradient) for name, gradient in gradients.items()}
    for m in range(4):
        np.testing.assert_allclose(cell.forward(x[:, m], h[:, m]), together[:, m], rtol=1e-12)
        dx_m, dh_m = cell.backward(delta[:, m])
        np.testing.assert_allclose(dx[:, m], dx_m, rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(dh[:, m], dh_m, rtol=1e-10, atol=1e-14)
        for name in sums:
            sums[name] += getattr(cell, name)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, sums[name], rtol=1e-10, atol=1e-13)


def test_one_column_stays_a_column() -> None:
    """Law: (D, 1) and (H, 1) give (H, 1), with the zero biases of a new cell, too."""
    assert reference.GRU_Cell(2, 3).forward(np.ones((2, 1)), np.zeros((3, 1))).shape == (3, 1)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("gru_cell", [np.zeros((3, 2)), np.zeros((3, 3)), np.zeros(3)] * 3),
        ("gru_cell_reset_after", [np.zeros((3, 2)), np.zeros((3, 3)), np.zeros(3)] * 3),
        ("rnn_cell", [np.zeros((3, 2)), np.zeros((3, 3)), np.zeros(3)]),
    ],
)
def test_a_flat_bias_beside_columns_is_refused(name: str, arguments: list[np.ndarray]) -> None:
    """With as many columns as units NumPy would add it along the wrong axis, without a word."""
    with pytest.raises(ValueError, match=r"b.* it must have the shape \(3, 1\), not \(3,\)"):
        getattr(reference, name)(np.ones((2, 3)), np.ones((3, 3)), *arguments)


@pytest.mark.parametrize("name", ["U_z", "W_z", "U_r", "W_r", "U_h", "W_h"])
def test_rows_and_a_matrix_of_another_shape(name: str) -> None:
    """Law: the message names the matrix, what was expected and what came."""
    matrices = {
        letter: np.zeros((2 if letter[0] == "U" else 3, 3)) for letter in ("U_z", "W_z", "U_r", "W_r", "U_h", "W_h")
    }
    expected = matrices[name].shape
    matrices[name] = np.zeros((5, 3))
    with pytest.raises(ValueError, match=rf"{name} must have the shape {re.escape(str(expected))}.*, not \(5, 3\)"):
        reference.gru_row_step(np.ones(2), np.ones(3), **matrices)


def test_a_cell_and_shapes_that_do_not_fit() -> None:
    """Law: GRU_Cell names what does not fit, before it computes anything."""
    cell = reference.GRU_Cell(2, 3)
    with pytest.raises(ValueError, match=r"Wzx|W_z"):
        cell.forward(np.ones(4), np.ones(3))
    with pytest.raises(ValueError, match=r"x and h must be .* not \(2, 1\) and \(3,\)"):
        cell.forward(np.ones((2, 1)), np.ones(3))
    cell.forward(np.ones(2), np.ones(3))
    with pytest.raises(ValueError, match=r"delta must have the shape of the state, \(3,\), not \(2,\)"):
        cell.backward(np.ones(2))
