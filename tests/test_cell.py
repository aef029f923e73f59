"""The laws of every recurrent cell: its equations, its gradients, its windows, its initialisation."""

from __future__ import annotations

import math
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from cell_oracles import (
    VARIANTS,
    Array,
    cell_named,
    empty_grads,
    random_params,
    random_state,
    reference_window,
    variant_of,
    variants,
)
from gradient_check import exact_derivative, exact_gradients
from hypothesis import given
from hypothesis import strategies as st

from charlm.nn.cells import CELLS, OPTIONS, make_cell
from charlm.nn.model import ModelSpec

T, B, D, H = 5, 3, 4, 2
SEEDS = st.integers(0, 2**32 - 1)
every_cell = pytest.mark.parametrize("name", VARIANTS)


def run_forward(name: str, params: dict[str, Array], inputs: Array, state: Array) -> tuple[Array, Array]:
    """Outputs and last state of a new cell."""
    cell = cell_named(name, params["W"].shape[0], params["U"].shape[0], params["W"].dtype)
    outputs, last, _ = cell.forward(cell.prepare(params), inputs, state)
    return outputs, last


def run_both_passes(
    name: str, params: dict[str, Array], inputs: Array, state: Array, doutputs: Array
) -> tuple[Array, dict[str, Array], Array | None]:
    """Outputs, gradients and the gradient in the inputs of a new cell."""
    cell = cell_named(name, params["W"].shape[0], params["U"].shape[0], params["W"].dtype)
    weights = cell.prepare(params)
    outputs, _, tape = cell.forward(weights, inputs, state)
    outputs = outputs.copy()
    grads = empty_grads(params)
    dinputs = cell.backward(weights, tape, doutputs, grads)
    return outputs, grads, dinputs


def close(one: Array, other: Array, tolerance: float = 1e-12) -> None:
    """Equal up to an error that is small beside the largest element, or beside 1."""
    np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * max(1, np.abs(other).max(initial=0)))


@every_cell
@given(seed=SEEDS, sizes=st.tuples(*[st.integers(1, 5)] * 4))
def test_a_window_is_the_reference_step_by_step(name: str, seed: int, sizes: tuple[int, int, int, int]) -> None:
    """Law: outputs and last state over a window are those of charlm.reference, one step after the other."""
    rng = np.random.default_rng(seed)
    T, B, D, H = sizes
    cell = cell_named(name, D, H)
    params, inputs, state = random_params(cell, rng), rng.standard_normal((T, B, D)), random_state(cell, rng, B)
    outputs, last = run_forward(name, params, inputs, state)
    expected, expected_last = reference_window(name, params, inputs, state)
    close(outputs, expected)
    close(last, expected_last)


@every_cell
@given(seed=SEEDS, lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_a_window_can_be_cut_anywhere(name: str, seed: int, lengths: list[int]) -> None:
    """Law: however a text is cut into windows, one cell gives the same outputs and the same last state."""
    rng = np.random.default_rng(seed)
    cell = cell_named(name, D, H)
    params, inputs = random_params(cell, rng), rng.integers(D, size=(sum(lengths), B))
    state = random_state(cell, rng, B)
    whole, last = run_forward(name, params, inputs, state)

    weights = cell.prepare(params)
    pieces = []
    for start, end in pairwise(np.cumsum([0, *lengths])):
        outputs, state, _ = cell.forward(weights, inputs[start:end], state)
        pieces.append(outputs.copy())
    close(np.concatenate(pieces), whole)
    close(state, last)


@every_cell
def test_the_carried_state_outlives_the_next_window(name: str, rng: np.random.Generator) -> None:
    """Law: the returned state is no buffer of the cell, and forward leaves the state it is given as it is."""
    cell = cell_named(name, D, H)
    weights, start = cell.prepare(random_params(cell, rng)), random_state(cell, rng, B)
    kept_start = start.copy()
    _, state, _ = cell.forward(weights, rng.integers(D, size=(T, B)), start)
    kept_state = state.copy()
    cell.forward(weights, rng.integers(D, size=(T, B)), state)
    np.testing.assert_array_equal(state, kept_state)
    np.testing.assert_array_equal(start, kept_start)


@every_cell
@given(seed=SEEDS, changed=st.integers(0, B - 1))
def test_parallel_sequences_are_independent(name: str, seed: int, changed: int) -> None:
    """Law: other inputs and another state of one sequence leave the outputs of all others as they were."""
    rng = np.random.default_rng(seed)
    cell = cell_named(name, D, H)
    params, inputs, state = random_params(cell, rng), rng.integers(D, size=(T, B)), random_state(cell, rng, B)
    before, _ = run_forward(name, params, inputs, state)
    inputs, state = inputs.copy(), state.copy()
    inputs[:, changed] = (inputs[:, changed] + 1) % D
    state[..., changed, :] *= -1
    after, _ = run_forward(name, params, inputs, state)
    others = np.arange(B) != changed
    close(after[:, others], before[:, others], 1e-14)


@every_cell
@given(seed=SEEDS)
def test_the_gradient_is_the_sum_over_sequences(name: str, seed: int) -> None:
    """Law: the gradients of single sequences add up to those of all together."""
    rng = np.random.default_rng(seed)
    cell = cell_named(name, D, H)
    params, inputs, state = random_params(cell, rng), rng.standard_normal((T, B, D)), random_state(cell, rng, B)
    doutputs = rng.standard_normal((T, B, H))
    _, together, dinputs = run_both_passes(name, params, inputs, state, doutputs)
    assert dinputs is not None
    total = {array: np.zeros_like(value) for array, value in params.items()}
    for b in range(B):
        own = slice(b, b + 1)
        _, grads, own_dinputs = run_both_passes(name, params, inputs[:, own], state[..., own, :], doutputs[:, own])
        assert own_dinputs is not None
        close(own_dinputs, dinputs[:, own])
        for array in total:
            total[array] += grads[array]
    for array in total:
        close(together[array], total[array])


@every_cell
@given(seed=SEEDS, dtype=st.sampled_from([np.uint8, np.uint16, np.int32, np.int64]))
def test_an_id_means_a_one_hot_vector(name: str, seed: int, dtype: type[np.integer[Any]]) -> None:
    """Law: ids and the vectors they stand for give the same outputs and the same gradients."""
    rng = np.random.default_rng(seed)
    cell = cell_named(name, D, H)
    params, ids = random_params(cell, rng), rng.integers(D, size=(T, B)).astype(dtype)
    state, doutputs = random_state(cell, rng, B), rng.standard_normal((T, B, H))
    by_id, id_grads, nothing = run_both_passes(name, params, ids, state, doutputs)
    by_vector, vector_grads, dinputs = run_both_passes(name, params, np.eye(D)[ids], state, doutputs)
    assert nothing is None and dinputs is not None and dinputs.shape == (T, B, D)
    close(by_id, by_vector)
    for array in params:
        close(id_grads[array], vector_grads[array])


@every_cell
@pytest.mark.parametrize("sizes", [(2, 3, 4, 5), (5, 4, 3, 2), (1, 2, 3, 1), (4, 1, 1, 3)], ids=str)
def test_backward_is_the_derivative_of_the_reference(
    name: str, sizes: tuple[int, ...], rng: np.random.Generator
) -> None:
    """Law: the gradients in parameters and inputs are those of the reference, for any gradient in the outputs."""
    T, B, D, H = sizes
    cell = cell_named(name, D, H)
    params, inputs, state = random_params(cell, rng), rng.standard_normal((T, B, D)), random_state(cell, rng, B)
    doutputs = rng.standard_normal((T, B, H))
    _, grads, dinputs = run_both_passes(name, params, inputs, state, doutputs)

    def loss(arrays: dict[str, Any]) -> Any:
        return np.sum(doutputs * reference_window(name, arrays, arrays["inputs"], state)[0])

    for array, expected in exact_gradients(loss, params | {"inputs": inputs}).items():
        found = dinputs if array == "inputs" else grads[array]
        assert found is not None
        close(found, expected)


@every_cell
@pytest.mark.parametrize("batch", [96, 256])
def test_backward_is_right_where_it_works_in_pieces(name: str, batch: int, rng: np.random.Generator) -> None:
    """Law: as right at sizes where a window's derivatives are computed in pieces, of several steps or of one."""
    T, D, H = 5, 3, 80
    cell = cell_named(name, D, H)
    params, inputs = random_params(cell, rng, 0.2), rng.standard_normal((T, batch, D))
    state, doutputs = random_state(cell, rng, batch), rng.standard_normal((T, batch, H))
    _, grads, dinputs = run_both_passes(name, params, inputs, state, doutputs)
    assert dinputs is not None
    arrays, gradients = params | {"inputs": inputs}, grads | {"inputs": dinputs}

    def loss(arrays: dict[str, Any]) -> Any:
        return np.sum(doutputs * reference_window(name, arrays, arrays["inputs"], state)[0])

    for array in arrays:
        direction = {other: np.zeros_like(value) for other, value in arrays.items()}
        direction[array][...] = rng.standard_normal(arrays[array].shape)
        expected = exact_derivative(loss, arrays, direction)
        assert np.sum(gradients[array] * direction[array]) == pytest.approx(expected, rel=1e-10)


@every_cell
def test_backward_ends_at_the_first_step_of_the_window(name: str, rng: np.random.Generator) -> None:
    """Law: backpropagation is truncated: the state is a constant, whatever windows the cell has read before."""
    cell = cell_named(name, D, H)
    params = random_params(cell, rng)
    weights = cell.prepare(params)
    first, second = rng.integers(D - 1, size=(T, B)), rng.integers(1, D, size=(T - 1, B))
    doutputs = rng.standard_normal((T - 1, B, H))

    _, state, tape = cell.forward(weights, first, random_state(cell, rng, B))
    cell.backward(weights, tape, rng.standard_normal((T, B, H)), empty_grads(params))
    _, _, tape = cell.forward(weights, second, state)
    grads = empty_grads(params)
    cell.backward(weights, tape, doutputs, grads)

    _, alone, _ = run_both_passes(name, params, second, state, doutputs)
    for array in params:
        close(grads[array], alone[array])
    assert not grads["W"][0].any(), "id 0 was read before the window only"


@every_cell
def test_backward_does_not_look_ahead(name: str, rng: np.random.Generator) -> None:
    """Law: a loss on the first steps alone has the gradient of a window that ends there."""
    cell = cell_named(name, D, H)
    params, inputs, state = random_params(cell, rng), rng.standard_normal((T, B, D)), random_state(cell, rng, B)
    doutputs = rng.standard_normal((T, B, H))
    doutputs[3:] = 0
    _, long, dinputs = run_both_passes(name, params, inputs, state, doutputs)
    _, short, short_dinputs = run_both_passes(name, params, inputs[:3], state, doutputs[:3])
    assert dinputs is not None and short_dinputs is not None and not dinputs[3:].any()
    close(dinputs[:3], short_dinputs)
    for array in params:
        close(long[array], short[array])


@every_cell
@given(seed=SEEDS)
def test_float32_is_close_to_float64(name: str, seed: int) -> None:
    """Law: single precision changes only the last digits, forward and backward."""
    rng = np.random.default_rng(seed)
    cell = cell_named(name, D, 8)
    params = {array: value.astype(np.float32) for array, value in random_params(cell, rng, 0.4).items()}
    inputs, state = rng.integers(D, size=(20, B)), random_state(cell, rng, B).astype(np.float32)
    doutputs = rng.standard_normal((20, B, 8)).astype(np.float32)
    outputs, grads, _ = run_both_passes(name, params, inputs, state, doutputs)
    wide = {array: value.astype(np.float64) for array, value in params.items()}
    wide_outputs, wide_grads, _ = run_both_passes(
        name, wide, inputs, state.astype(np.float64), doutputs.astype(np.float64)
    )
    assert outputs.dtype == np.float32 and wide_outputs.dtype == np.float64
    close(outputs, wide_outputs, 5e-6)
    for array in params:
        close(grads[array], wide_grads[array], 1e-5)


@every_cell
def test_prepared_weights_are_a_copy(name: str, rng: np.random.Generator) -> None:
    """Law: later changes of the params have no effect on prepared weights, forward or backward."""
    cell = cell_named(name, D, H)
    params, inputs, state = random_params(cell, rng), rng.standard_normal((T, B, D)), random_state(cell, rng, B)
    doutputs = rng.standard_normal((T, B, H))
    outputs, grads, dinputs = run_both_passes(name, params, inputs, state, doutputs)

    weights = cell.prepare(params)
    for value in params.values():
        value += 1
    again, _, tape = cell.forward(weights, inputs, state)
    np.testing.assert_array_equal(again, outputs)
    late_grads = empty_grads(params)
    late_dinputs = cell.backward(weights, tape, doutputs, late_grads)
    assert late_dinputs is not None and dinputs is not None
    np.testing.assert_array_equal(late_dinputs, dinputs)
    for array in params:
        np.testing.assert_array_equal(late_grads[array], grads[array])


@every_cell
def test_arguments_are_left_as_they_are(name: str, rng: np.random.Generator) -> None:
    """Law: params may be read-only, as those of a memory-mapped checkpoint are; so may doutputs."""
    cell = cell_named(name, D, H)
    params, doutputs = random_params(cell, rng), rng.standard_normal((T, B, H))
    for array in (*params.values(), doutputs):
        array.flags.writeable = False
    run_both_passes(name, params, rng.integers(D, size=(T, B)), cell.zero_state(B), doutputs)


@every_cell
def test_initial_matrices(name: str, rng: np.random.Generator) -> None:
    """Law: W is within 1/sqrt(H), each gate's U orthogonal and its own, up to a factor; every array is filled."""
    H = 16
    cell = cell_named(name, 7, H)
    params = {array: np.full(shape, np.nan) for array, shape in cell.shapes.items()}
    cell.initialise(params, rng)
    assert all(np.isfinite(value).all() for value in params.values())
    assert 0.2 < np.abs(params["W"]).max() <= 0.25
    gates = np.split(params["U"], params["U"].shape[1] // H, axis=1)
    for U in gates:
        product = U @ U.T
        close(product, product[0, 0] * np.eye(H))
    assert all(not np.allclose(one, other) for one, other in pairwise(gates))


@every_cell
def test_a_text_starts_from_zeros(name: str) -> None:
    """Law: the initial state is zeros in the cell's dtype, (..., B, H), and a new array each time."""
    cell = cell_named(name, D, H, np.float32)
    state = cell.zero_state(B)
    assert state.shape[-2:] == (B, H) and state.dtype == np.float32 and not state.any()
    assert not np.shares_memory(state, cell.zero_state(B))


def test_variants_are_all_cells_with_all_their_options() -> None:
    """Law: each kind once per value of its options; every one is a valid ModelSpec, under a name of its own."""
    assert {"gru before", "gru after", "lstm", "rnn tanh", "rnn relu"} <= set(variants())
    assert len(variants()) == sum(math.prod(len(OPTIONS[name]) for name in cell.options) for cell in CELLS.values())
    for name, fields in variants().items():
        assert list(fields) == ["cell", *CELLS[fields["cell"]].options]
        assert variant_of(ModelSpec(5, **fields)) == name


def test_no_two_variants_are_the_same_cell(rng: np.random.Generator) -> None:
    """Law: from zeros, with the same inputs and the same random numbers as parameters, the outputs differ."""
    inputs, outputs = rng.standard_normal((T, B, D)), []
    for name in VARIANTS:
        cell = cell_named(name, D, H)
        params = random_params(cell, np.random.default_rng(0))
        outputs.append(run_forward(name, params, inputs, cell.zero_state(B))[0])
    assert not any(np.allclose(one, other) for one, other in combinations(outputs, 2))


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("transformer", {}, rf"a cell must be one of {', '.join(CELLS)}, not 'transformer'"),
        ("gru", {"reset": "never"}, r"reset must be one of before, after, not 'never'"),
        ("rnn", {"activation": "sine"}, r"activation must be one of tanh, relu, not 'sine'"),
    ],
)
def test_an_unknown_cell_is_refused(kind: str, options: dict[str, Any], expected: str) -> None:
    """Law: with the values there are; an option of another kind is ignored."""
    with pytest.raises(ValueError, match=expected):
        make_cell(kind, D, H, **options)
    for option in OPTIONS:
        others: dict[str, Any] = {option: "x"}
        assert make_cell("lstm", D, H, **others).shapes
