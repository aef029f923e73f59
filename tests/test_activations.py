"""Activations are the states and gates of the reference, step by step, and views of the tape, not copies."""

from __future__ import annotations

import numpy as np
import pytest
from cell_oracles import VARIANTS, cell_named, random_params, random_state, reference_step, variants

from charlm.arrays import group
from charlm.nn.bidirectional import Bidirectional
from charlm.nn.lstm import LSTM
from charlm.nn.model import CharLM, ModelSpec

T, B, D, H = 6, 2, 3, 4
every_cell = pytest.mark.parametrize("name", VARIANTS)


@every_cell
def test_activations_are_those_of_the_reference(name: str, rng: np.random.Generator) -> None:
    """Law: after forward every named array is, for every step and sequence, what the functions of one step give."""
    cell = cell_named(name, D, H)
    params, x, state = random_params(cell, rng), rng.standard_normal((T, B, D)), random_state(cell, rng, B)
    outputs, after, tape = cell.forward(cell.prepare(params), x, state)
    found = cell.activations(tape)
    assert {array.shape for array in found.values()} == {(T, B, H)}
    for t in range(T):
        expected, state = reference_step(name, params, x[t], state)
        assert list(found) == list(expected)
        for array, values in expected.items():
            np.testing.assert_allclose(found[array][t], values, atol=1e-12, err_msg=array)
    np.testing.assert_array_equal(found["h"], outputs)
    np.testing.assert_array_equal(found["h"][-1], after[0] if name == "lstm" else after)


@every_cell
def test_gates_are_between_closed_and_open(name: str, rng: np.random.Generator) -> None:
    """Law: gates lie in [0, 1] and reach both ends, in a network whose gates saturate."""
    cell = cell_named(name, D, H, np.float32)
    params = {array: 30 * value.astype(np.float32) for array, value in random_params(cell, rng, 1.0).items()}
    _, _, tape = cell.forward(cell.prepare(params), rng.integers(0, D, (20, B)), cell.zero_state(B))
    found = cell.activations(tape)
    assert set(cell.gates) <= set(found)
    for gate in cell.gates:
        assert found[gate].min() >= 0 and found[gate].max() <= 1
        assert found[gate].min() < 0.1 and found[gate].max() > 0.9


@every_cell
def test_nothing_is_copied(name: str, rng: np.random.Generator) -> None:
    """Law: activations are views of the tape and cost no memory."""
    cell = cell_named(name, D, H)
    params = cell.prepare(random_params(cell, rng))
    _, _, tape = cell.forward(params, rng.integers(0, D, (T, B)), cell.zero_state(B))
    first, second = cell.activations(tape), cell.activations(tape)
    assert all(np.shares_memory(first[array], second[array]) for array in first)


def test_both_directions(rng: np.random.Generator) -> None:
    """Law: a bidirectional cell gives both its cells' activations, in the order of the window: its outputs."""
    cell = Bidirectional(LSTM(D, H, np.float64), LSTM(D, H, np.float64))
    weights = cell.prepare(random_params(cell, rng))
    outputs, _, tape = cell.forward(weights, rng.standard_normal((T, B, D)), cell.zero_state(B))
    found = cell.activations(tape)
    np.testing.assert_array_equal(np.concatenate([found["forward.h"], found["backward.h"]], axis=-1), outputs)
    assert {f"{part}.{gate}" for part in ("forward", "backward") for gate in "ifo"} == set(cell.gates) <= set(found)


@every_cell
def test_every_layer_of_a_model(name: str, rng: np.random.Generator) -> None:
    """Law: a model gives the activations of each of its layers; the second reads the outputs of the first."""
    model = CharLM(ModelSpec(7, hidden=H, layers=2, residual=False, **variants()[name]), np.float64)
    params = model.initial_params(rng)
    _, _, tape = model.forward(params, rng.integers(0, 7, (T, B)), model.zero_state(B))
    first, second = ({array: value.copy() for array, value in layer.items()} for layer in model.activations(tape))
    upper = model.stack.cells[1]
    again, _, _ = upper.forward(upper.prepare(group(params, "layer1")), first["h"], upper.zero_state(B))
    np.testing.assert_array_equal(again, second["h"])
