"""Cells with gates: what open and closed gates do, where the reset gate is applied, and initial biases."""

from __future__ import annotations

import numpy as np
import pytest
from cell_oracles import Array, cell_named, random_params
from hypothesis import given
from hypothesis import strategies as st

T, B, D, H = 5, 3, 4, 2
SEEDS = st.integers(0, 2**32 - 1)
both_resets = pytest.mark.parametrize("name", ["gru before", "gru after"])


def run_forward(name: str, params: dict[str, Array], inputs: Array, state: Array) -> tuple[Array, Array]:
    """Outputs and last state of a new cell."""
    cell = cell_named(name, params["W"].shape[0], params["U"].shape[0])
    outputs, last, _ = cell.forward(cell.prepare(params), inputs, state)
    return outputs, last


def new_params(name: str, rng: np.random.Generator, hidden_size: int = H, scale: float = 0.8) -> dict[str, Array]:
    """Random parameters."""
    return random_params(cell_named(name, D, hidden_size), rng, scale)


@both_resets
def test_one_hand_computed_step(name: str) -> None:
    """With every weight zero, z = r = 1/2 and n = tanh(b_n): h' is halfway between h and n."""
    params = {"W": np.zeros((3, 3)), "U": np.zeros((1, 3)), "b": np.array([0, 0, 1.0]), "b_rn": np.zeros(1)}
    outputs, _ = run_forward(name, params, np.array([[2]]), np.array([[0.5]]))
    assert outputs.item() == pytest.approx(0.5 * 0.5 + 0.5 * 0.7615941559557649, abs=1e-15)


@both_resets
def test_a_closed_update_gate_keeps_the_state_exactly(name: str, rng: np.random.Generator) -> None:
    """z = 0: the state stays the same through the window, bit for bit."""
    params = new_params(name, rng)
    params["b"][:H] = -1000
    state = rng.uniform(-1, 1, (B, H))
    outputs, last = run_forward(name, params, rng.integers(D, size=(T, B)), state)
    for h in [*outputs, last]:
        np.testing.assert_array_equal(h, state)


@both_resets
def test_an_open_update_gate_gives_the_candidate(name: str, rng: np.random.Generator) -> None:
    """z = 1: the new state is the candidate, and nothing else of the old state is kept."""
    params = new_params(name, rng)
    params["b"][:H] = 1000
    params["b"][H : 2 * H] = -1000  # r = 0: the candidate does not depend on the state
    ids = rng.integers(D, size=(T, B))
    outputs, _ = run_forward(name, params, ids, rng.uniform(-1, 1, (B, H)))
    n = np.tanh(params["W"][ids, 2 * H :] + params["b"][2 * H :])
    np.testing.assert_allclose(outputs, n, rtol=0, atol=1e-15)


def test_where_the_reset_gate_is_applied(rng: np.random.Generator) -> None:
    """With z = 1: before the product r weighs the units of h, after it the elements of the product and of b_rn."""
    for name in ("gru before", "gru after"):
        params = new_params(name, rng, hidden_size=3)
        params["b"][:3] = 1000
        params["W"][:, 3:6] = params["U"][:, 3:6] = 0
        params["b"][3:6] = 1000, -1000, 0
        r, h, U_n = np.array([1, 0, 0.5]), rng.uniform(-1, 1, (1, 3)), params["U"][:, 6:]
        outputs, _ = run_forward(name, params, np.array([[1]]), h)
        recurrent = (r * h[0]) @ U_n if name == "gru before" else r * (h[0] @ U_n + params["b_rn"])
        a_n = params["W"][1, 6:] + params["b"][6:] + recurrent
        np.testing.assert_allclose(outputs[0, 0], np.tanh(a_n), rtol=0, atol=1e-14)


@both_resets
@given(seed=SEEDS)
def test_a_state_stays_within_one(name: str, seed: int) -> None:
    """A mean of the old state and a tanh: no element leaves [-1, 1], however large the weights."""
    rng = np.random.default_rng(seed)
    params = new_params(name, rng, scale=1000)
    outputs, _ = run_forward(name, params, rng.integers(D, size=(20, B)), np.zeros((B, H)))
    assert np.abs(outputs).max() <= 1


@both_resets
def test_initial_biases_are_zero(name: str, rng: np.random.Generator) -> None:
    """Law: the update gate begins half open."""
    cell = cell_named(name, D, H)
    params = {array: np.full(shape, np.nan) for array, shape in cell.shapes.items()}
    cell.initialise(params, rng)
    assert not any(value.any() for array, value in params.items() if array.startswith("b"))


def test_the_initial_forget_gate_of_an_lstm_is_open(rng: np.random.Generator) -> None:
    """Law: b_f = 1 and the other biases are zero, in the packed order i, f, o, g."""
    cell = cell_named("lstm", D, H)
    params = {array: np.full(shape, np.nan) for array, shape in cell.shapes.items()}
    cell.initialise(params, rng)
    np.testing.assert_array_equal(params["b"].reshape(4, H), np.repeat([[0], [1], [0], [0]], H, axis=1))
