"""A tape is used once: what backward has used, or a later forward has overwritten, is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cell_oracles import VARIANTS, cell_named, empty_grads, random_params, variants

from charlm.arrays import NamedArrays
from charlm.nn.cells import CELLS
from charlm.nn.model import CharLM, ModelSpec
from charlm.nn.sequence import Cloze, SequenceModel

T, B, D, H = 5, 3, 4, 2
every_cell = pytest.mark.parametrize("name", VARIANTS)


def refused(cell_or_model: Any, tape: Any, backward: Any) -> None:
    """Assert that `backward`, and `activations` where there are any, refuse a tape and say what to do."""
    with pytest.raises(RuntimeError, match="run forward again"):
        backward(tape)
    if hasattr(cell_or_model, "activations"):
        with pytest.raises(RuntimeError, match="run forward again"):
            cell_or_model.activations(tape)


@pytest.mark.parametrize("bidirectional", [False, True], ids=["", "bidirectional"])
@every_cell
def test_a_tape_is_used_once(name: str, bidirectional: bool, rng: np.random.Generator) -> None:
    """Law: a tape that was used, overwritten by a later forward, or made by another cell is refused before writing."""
    cell, other = (cell_named(name, D, H, bidirectional=bidirectional) for _ in range(2))
    params = random_params(cell, rng)
    weights, other_weights = cell.prepare(params), other.prepare(params)
    inputs, state = rng.standard_normal((T, B, D)), cell.zero_state(B)
    doutputs, grads = np.ones((T, B, cell.output_size)), empty_grads(params)

    def backward(tape: Any) -> None:
        cell.backward(weights, tape, doutputs, grads)

    _, _, early = cell.forward(weights, inputs, state)
    _, _, late = cell.forward(weights, inputs, state)
    _, _, foreign = other.forward(other_weights, inputs, state)
    refused(cell, early, backward)
    refused(cell, foreign, backward)
    assert all(np.isnan(grad).all() for grad in grads.values())
    cell.activations(late)
    backward(late)
    kept = {array: grad.copy() for array, grad in grads.items()}
    refused(cell, late, backward)
    for array, grad in grads.items():
        np.testing.assert_array_equal(grad, kept[array])


@every_cell
def test_a_forward_that_fails_has_overwritten_the_tape(name: str, rng: np.random.Generator) -> None:
    """Law: what a later forward began to overwrite is not used, even if that forward raised an exception."""
    cell = cell_named(name, D, H)
    params = random_params(cell, rng)
    weights, inputs = cell.prepare(params), rng.integers(D, size=(T, B))
    _, _, tape = cell.forward(weights, inputs, cell.zero_state(B))
    with pytest.raises(ValueError):
        cell.forward(weights, inputs, cell.zero_state(B + 1))
    refused(cell, tape, lambda tape: cell.backward(weights, tape, np.ones((T, B, H)), empty_grads(params)))


@pytest.mark.parametrize("network", [{}, {"embedding": 3}, {"embedding": 4, "tied": True}, {"bidirectional": True}])
@every_cell
def test_the_tape_of_a_model_is_used_once(name: str, network: dict[str, Any], rng: np.random.Generator) -> None:
    """Law: CharLM.backward refuses such a tape before it writes to any gradient."""
    V = 7
    model = CharLM(ModelSpec(V, hidden=4, layers=2, **network, **variants()[name]), np.float64)
    params, ids = model.initial_params(rng), rng.integers(V, size=(T, B))
    grads, dlogits = NamedArrays.like(params), rng.standard_normal((T, B, V))
    grads.flat[...] = np.nan

    def backward(tape: Any) -> None:
        model.backward(params, tape, dlogits.copy(), grads)

    _, _, early = model.forward(params, ids, model.zero_state(B))
    _, _, late = model.forward(params, ids, model.zero_state(B))
    refused(model, early, backward)
    assert np.isnan(grads.flat).all()
    backward(late)
    kept = grads.flat.copy()
    refused(model, late, backward)
    np.testing.assert_array_equal(grads.flat, kept)
    _, _, partly = model.forward(params, ids, model.zero_state(B))
    cell = model.stack.cells[0]
    cell.forward(partly.stack.weights[0], rng.standard_normal((T, B, cell.input_size)), cell.zero_state(B))
    refused(model, partly, backward)  # one layer of it was overwritten
    np.testing.assert_array_equal(grads.flat, kept)


@pytest.mark.parametrize(
    "network",
    [lambda kind: SequenceModel(D, H, 2, cell=kind), lambda kind: Cloze(D, H, cell=kind)],
    ids=["sequence", "cloze"],
)
@pytest.mark.parametrize("kind", list(CELLS))
def test_the_tape_of_a_sequence_network_is_used_once(
    kind: str, network: Callable[[str], Any], rng: np.random.Generator
) -> None:
    """Law: SequenceModel and Cloze refuse such a tape before they write to any gradient."""
    model: Any = network(kind)
    params = model.initial_params(rng)
    inputs = rng.integers(D, size=(T, B)) if isinstance(model, Cloze) else np.ones((T, B, D), np.float32)
    grads = NamedArrays.like(params)
    grads.flat[...] = np.nan
    _, early = model.forward(params, inputs)
    outputs, late = model.forward(params, inputs)

    def backward(tape: Any) -> None:
        model.backward(params, tape, np.ones_like(outputs), grads)

    refused(model, early, backward)
    assert np.isnan(grads.flat).all()
    backward(late)
    kept = grads.flat.copy()
    refused(model, late, backward)
    np.testing.assert_array_equal(grads.flat, kept)
