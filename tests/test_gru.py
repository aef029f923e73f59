"""The GRU over a window against its equations, and the laws that any recurrent layer keeps."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from gradient_check import TOLERANCE, Array, direction_errors, element_errors
from hypothesis import given
from hypothesis import strategies as st

from charlm.nn.gru import GRU

T, B, D, H = 5, 3, 4, 2
SEEDS = st.integers(0, 2**32 - 1)


def textbook(W: Array, U: Array, b: Array, inputs: Array, h: Array) -> Array:
    """The equations of the design, one step and one gate at a time; inputs (T, B, D), outputs (T, B, H)."""
    W_z, W_r, W_c = np.split(W, 3, axis=1)
    U_z, U_r, U_c = np.split(U, 3, axis=1)
    b_z, b_r, b_c = np.split(b, 3)
    outputs = []
    for x in inputs:
        z = 1 / (1 + np.exp(-(x @ W_z + h @ U_z + b_z)))
        r = 1 / (1 + np.exp(-(x @ W_r + h @ U_r + b_r)))
        c = np.tanh(x @ W_c + (r * h) @ U_c + b_c)
        h = (1 - z) * h + z * c
        outputs.append(h)
    return np.stack(outputs)


def random_params(cell: GRU, rng: np.random.Generator, scale: float = 0.8) -> dict[str, Array]:
    """Parameters of a cell, every element random, biases too."""
    return {name: rng.normal(0, scale, shape) for name, shape in cell.shapes.items()}


def empty_grads(params: dict[str, Array]) -> dict[str, Array]:
    """Room for gradients, filled with NaN so that whatever is left unwritten is seen."""
    return {name: np.full_like(array, np.nan) for name, array in params.items()}


def one_hot(ids: np.ndarray, size: int, dtype: type = np.float64) -> np.ndarray:
    """Ids as the vectors that they stand for."""
    return np.eye(size, dtype=dtype)[ids]


def run_forward(params: dict[str, Array], inputs: np.ndarray, state: Array) -> tuple[Array, Array]:
    """Outputs and last state of a fresh cell."""
    cell = GRU(*params["W"].shape[:1], params["U"].shape[0], params["W"].dtype)
    outputs, last, _ = cell.forward(cell.prepare(params), inputs, state)
    return outputs, last


def run_both_ways(
    params: dict[str, Array], inputs: np.ndarray, state: Array, doutputs: Array
) -> tuple[Array, dict[str, Array], Array | None]:
    """Outputs, gradients and the slope in the inputs of a fresh cell."""
    cell = GRU(params["W"].shape[0], params["U"].shape[0], params["W"].dtype)
    weights = cell.prepare(params)
    outputs, _, tape = cell.forward(weights, inputs, state)
    outputs = outputs.copy()
    grads = empty_grads(params)
    dinputs = cell.backward(weights, tape, doutputs, grads)
    return outputs, grads, dinputs


@given(SEEDS, st.integers(1, 6), st.integers(1, 4), st.integers(1, 5), st.integers(1, 5))
def test_a_window_is_the_equations_step_by_step(seed: int, T: int, B: int, D: int, H: int) -> None:
    """The outputs over a window are those of the equations, and the last of them is the state."""
    rng = np.random.default_rng(seed)
    params = random_params(GRU(D, H), rng)
    inputs, state = rng.standard_normal((T, B, D)), rng.uniform(-1, 1, (B, H))
    outputs, last = run_forward(params, inputs, state)
    expected = textbook(**params, inputs=inputs, h=state)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-13)
    np.testing.assert_allclose(last, expected[-1], rtol=0, atol=1e-13)


def test_one_hand_computed_step() -> None:
    """With every weight zero, z = r = 1/2 and c = tanh(b_c): h' is halfway between the two."""
    params = {"W": np.zeros((3, 3)), "U": np.zeros((1, 3)), "b": np.array([0, 0, 1.0])}
    outputs, _ = run_forward(params, np.array([[2]]), np.array([[0.5]]))
    assert outputs.item() == pytest.approx(0.5 * 0.5 + 0.5 * 0.7615941559557649, abs=1e-15)


def test_a_window_is_its_steps_one_by_one(rng: np.random.Generator) -> None:
    """T windows of one step, the state carried, give what one window of T steps gives."""
    params = random_params(GRU(D, H), rng)
    inputs, state = rng.integers(D, size=(T, B)), rng.uniform(-1, 1, (B, H))
    whole, last = run_forward(params, inputs, state)
    for t in range(T):
        step, state = run_forward(params, inputs[t : t + 1], state)
        np.testing.assert_allclose(step[0], whole[t], rtol=0, atol=1e-14)
    np.testing.assert_allclose(state, last, rtol=0, atol=1e-14)


@given(SEEDS, st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_a_window_can_be_cut_anywhere(seed: int, lengths: list[int]) -> None:
    """However a text is cut into windows, one and the same cell gives the same outputs and the same last state."""
    rng = np.random.default_rng(seed)
    params = random_params(GRU(D, H), rng)
    inputs, state = rng.integers(D, size=(sum(lengths), B)), rng.uniform(-1, 1, (B, H))
    whole, last = run_forward(params, inputs, state)

    cell = GRU(D, H, np.float64)
    weights = cell.prepare(params)
    pieces = []
    for start, end in pairwise(np.cumsum([0, *lengths])):
        outputs, state, _ = cell.forward(weights, inputs[start:end], state)
        pieces.append(outputs.copy())
    np.testing.assert_allclose(np.concatenate(pieces), whole, rtol=0, atol=1e-14)
    np.testing.assert_allclose(state, last, rtol=0, atol=1e-14)


def test_the_carried_state_outlives_the_next_window(rng: np.random.Generator) -> None:
    """The state that leaves is nobody's buffer: the next window does not write over it, and leaves its own start."""
    cell = GRU(D, H, np.float64)
    weights = cell.prepare(random_params(cell, rng))
    start = rng.uniform(-1, 1, (B, H))
    kept_start = start.copy()
    _, state, _ = cell.forward(weights, rng.integers(D, size=(T, B)), start)
    kept_state = state.copy()
    cell.forward(weights, rng.integers(D, size=(T, B)), state)
    np.testing.assert_array_equal(state, kept_state)
    np.testing.assert_array_equal(start, kept_start)


@given(SEEDS, st.integers(0, B - 1))
def test_streams_do_not_touch_each_other(seed: int, changed: int) -> None:
    """Other inputs and another state in one stream leave the outputs of all others as they were."""
    rng = np.random.default_rng(seed)
    params = random_params(GRU(D, H), rng)
    inputs, state = rng.integers(D, size=(T, B)), rng.uniform(-1, 1, (B, H))
    before, _ = run_forward(params, inputs, state)
    inputs, state = inputs.copy(), state.copy()
    inputs[:, changed] = (inputs[:, changed] + 1) % D
    state[changed] *= -1
    after, _ = run_forward(params, inputs, state)
    others = np.arange(B) != changed
    np.testing.assert_allclose(after[:, others], before[:, others], rtol=0, atol=1e-15)
    assert np.abs(after[:, changed] - before[:, changed]).max() > 1e-6


@given(SEEDS)
def test_the_gradient_is_the_sum_over_streams(seed: int) -> None:
    """Each stream run alone gives its own share of the gradients: they add up to those of all together."""
    rng = np.random.default_rng(seed)
    params = random_params(GRU(D, H), rng)
    inputs, state = rng.standard_normal((T, B, D)), rng.uniform(-1, 1, (B, H))
    doutputs = rng.standard_normal((T, B, H))
    _, together, dinputs = run_both_ways(params, inputs, state, doutputs)
    assert dinputs is not None
    total = {name: np.zeros_like(array) for name, array in params.items()}
    for b in range(B):
        own = slice(b, b + 1)
        _, grads, own_dinputs = run_both_ways(params, inputs[:, own], state[own], doutputs[:, own])
        np.testing.assert_allclose(own_dinputs, dinputs[:, own], rtol=0, atol=1e-13)
        for name in total:
            total[name] += grads[name]
    for name in total:
        np.testing.assert_allclose(together[name], total[name], rtol=0, atol=1e-12)


@given(SEEDS, st.sampled_from([np.uint8, np.uint16, np.int32, np.int64]))
def test_an_id_means_a_one_hot_vector(seed: int, dtype: type) -> None:
    """Ids and the vectors they stand for give the same outputs and the same gradients."""
    rng = np.random.default_rng(seed)
    params = random_params(GRU(D, H), rng)
    ids, state = rng.integers(D, size=(T, B)).astype(dtype), rng.uniform(-1, 1, (B, H))
    doutputs = rng.standard_normal((T, B, H))
    by_id, id_grads, no_slope = run_both_ways(params, ids, state, doutputs)
    by_vector, vector_grads, dinputs = run_both_ways(params, one_hot(ids, D), state, doutputs)
    assert no_slope is None and dinputs is not None and dinputs.shape == (T, B, D)
    np.testing.assert_allclose(by_id, by_vector, rtol=0, atol=1e-14)
    for name in params:
        np.testing.assert_allclose(id_grads[name], vector_grads[name], rtol=0, atol=1e-13)


@pytest.mark.parametrize("sizes", [(2, 3, 4, 5), (5, 4, 3, 2), (1, 2, 3, 1), (4, 1, 1, 3)], ids=str)
def test_backward_is_the_slope_of_the_textbook(sizes: tuple[int, ...], rng: np.random.Generator) -> None:
    """The slopes in W, U, b and the inputs are those of the equations, for any slope in the outputs."""
    T, B, D, H = sizes
    params = random_params(GRU(D, H), rng)
    inputs, state = rng.standard_normal((T, B, D)), rng.uniform(-1, 1, (B, H))
    doutputs = rng.standard_normal((T, B, H))
    _, grads, dinputs = run_both_ways(params, inputs, state, doutputs)
    assert dinputs is not None

    def loss() -> float:
        return float(np.sum(doutputs * textbook(**params, inputs=inputs, h=state)))

    errors = element_errors(loss, params | {"inputs": inputs}, grads | {"inputs": dinputs})
    assert max(errors.values()) < TOLERANCE, errors


@pytest.mark.parametrize("streams", [96, 256])
def test_backward_is_right_where_it_works_in_pieces(streams: int, rng: np.random.Generator) -> None:
    """At sizes where the window's slopes are made piece by piece, several steps or one at a time, they are as right."""
    T, D, H = 5, 3, 80
    params = random_params(GRU(D, H), rng, scale=0.2)
    inputs, state = rng.standard_normal((T, streams, D)), rng.uniform(-1, 1, (streams, H))
    doutputs = rng.standard_normal((T, streams, H))
    _, grads, dinputs = run_both_ways(params, inputs, state, doutputs)
    assert dinputs is not None

    def loss() -> float:
        return float(np.sum(doutputs * textbook(**params, inputs=inputs, h=state)))

    errors = direction_errors(loss, params | {"inputs": inputs}, grads | {"inputs": dinputs}, rng, directions=1)
    assert max(errors.values()) < TOLERANCE, errors


def test_backward_ends_at_the_first_step_of_the_window(rng: np.random.Generator) -> None:
    """Truncation: the gradient takes the state as given, whatever windows the cell has seen before."""
    cell = GRU(D, H, np.float64)
    params = random_params(cell, rng)
    weights = cell.prepare(params)
    first, second = rng.integers(D - 1, size=(T, B)), rng.integers(1, D, size=(T - 1, B))
    doutputs = rng.standard_normal((T - 1, B, H))

    _, state, tape = cell.forward(weights, first, rng.uniform(-1, 1, (B, H)))
    cell.backward(weights, tape, rng.standard_normal((T, B, H)), empty_grads(params))
    _, _, tape = cell.forward(weights, second, state)
    grads = empty_grads(params)
    cell.backward(weights, tape, doutputs, grads)

    _, fresh, _ = run_both_ways(params, second, state, doutputs)
    for name in params:
        np.testing.assert_allclose(grads[name], fresh[name], rtol=0, atol=1e-14)
    assert not grads["W"][0].any(), "id 0 was read before the window only"


def test_backward_does_not_look_ahead(rng: np.random.Generator) -> None:
    """A loss on the first steps alone has the gradient of a window that ends there."""
    params = random_params(GRU(D, H), rng)
    inputs, state = rng.standard_normal((T, B, D)), rng.uniform(-1, 1, (B, H))
    doutputs = rng.standard_normal((T, B, H))
    doutputs[3:] = 0
    _, long, dinputs = run_both_ways(params, inputs, state, doutputs)
    _, short, short_dinputs = run_both_ways(params, inputs[:3], state, doutputs[:3])
    assert dinputs is not None and not dinputs[3:].any()
    np.testing.assert_allclose(dinputs[:3], short_dinputs, rtol=0, atol=1e-14)
    for name in params:
        np.testing.assert_allclose(long[name], short[name], rtol=0, atol=1e-13)


def test_a_shut_update_gate_keeps_the_state_exactly(rng: np.random.Generator) -> None:
    """z = 0: the state goes through the window bit for bit."""
    params = random_params(GRU(D, H), rng)
    params["b"][:H] = -1000
    state = rng.uniform(-1, 1, (B, H))
    outputs, last = run_forward(params, rng.integers(D, size=(T, B)), state)
    for h in [*outputs, last]:
        np.testing.assert_array_equal(h, state)


def test_an_open_update_gate_gives_the_candidate(rng: np.random.Generator) -> None:
    """z = 1: the new state is the candidate, and nothing else of the old state is kept."""
    params = random_params(GRU(D, H), rng)
    params["b"][:H] = 1000
    params["b"][H : 2 * H] = -1000  # r = 0: the candidate does not see the state
    ids = rng.integers(D, size=(T, B))
    outputs, _ = run_forward(params, ids, rng.uniform(-1, 1, (B, H)))
    candidate = np.tanh(params["W"][ids, 2 * H :] + params["b"][2 * H :])
    np.testing.assert_allclose(outputs, candidate, rtol=0, atol=1e-15)


def test_the_reset_gate_is_applied_before_the_matmul(rng: np.random.Generator) -> None:
    """With z = 1, one step is tanh(x W_c + (r * h) U_c + b_c): r weighs the state's units, not the product's."""
    params = random_params(GRU(D, 3), rng)
    params["b"][:3] = 1000
    params["W"][:, 3:6] = params["U"][:, 3:6] = 0
    params["b"][3:6] = 1000, -1000, 0  # r = 1, 0, 1/2
    h = rng.uniform(-1, 1, (1, 3))
    outputs, _ = run_forward(params, np.array([[1]]), h)
    a_c = params["W"][1, 6:] + params["b"][6:] + h[0, 0] * params["U"][0, 6:] + h[0, 2] / 2 * params["U"][2, 6:]
    np.testing.assert_allclose(outputs[0, 0], np.tanh(a_c), rtol=0, atol=1e-14)


@given(SEEDS)
def test_a_state_stays_within_one(seed: int) -> None:
    """A mean of the old state and a tanh: nothing leaves [-1, 1], however large the weights."""
    rng = np.random.default_rng(seed)
    params = random_params(GRU(D, H), rng, scale=1000)
    outputs, _ = run_forward(params, rng.integers(D, size=(20, B)), np.zeros((B, H)))
    assert np.abs(outputs).max() <= 1


@given(SEEDS)
def test_float32_is_close_to_float64(seed: int) -> None:
    """Half the bits lose nothing but the last digits, forward and backward."""
    rng = np.random.default_rng(seed)
    cell = GRU(D, 8)
    params = {name: array.astype(np.float32) for name, array in random_params(cell, rng, scale=0.4).items()}
    inputs = rng.integers(D, size=(20, B))
    state = rng.uniform(-1, 1, (B, 8)).astype(np.float32)
    doutputs = rng.standard_normal((20, B, 8)).astype(np.float32)
    outputs, grads, _ = run_both_ways(params, inputs, state, doutputs)
    wide = {name: array.astype(np.float64) for name, array in params.items()}
    wide_outputs, wide_grads, _ = run_both_ways(wide, inputs, state.astype(np.float64), doutputs.astype(np.float64))
    assert outputs.dtype == np.float32 and wide_outputs.dtype == np.float64
    np.testing.assert_allclose(outputs, wide_outputs, rtol=0, atol=5e-6)
    for name in params:
        np.testing.assert_allclose(grads[name], wide_grads[name], rtol=0, atol=1e-5 * np.abs(wide_grads[name]).max())


def test_prepared_weights_are_a_copy(rng: np.random.Generator) -> None:
    """Later changes of the params do not reach weights that were prepared, forward or backward."""
    params = random_params(GRU(D, H), rng)
    inputs, state = rng.standard_normal((T, B, D)), rng.uniform(-1, 1, (B, H))
    doutputs = rng.standard_normal((T, B, H))
    outputs, grads, dinputs = run_both_ways(params, inputs, state, doutputs)

    cell = GRU(D, H, np.float64)
    weights = cell.prepare(params)
    for array in params.values():
        array += 1
    again, _, tape = cell.forward(weights, inputs, state)
    np.testing.assert_array_equal(again, outputs)
    late_grads = empty_grads(params)
    np.testing.assert_array_equal(cell.backward(weights, tape, doutputs, late_grads), dinputs)
    for name in params:
        np.testing.assert_array_equal(late_grads[name], grads[name])


def test_preparing_leaves_the_params_as_they_are(rng: np.random.Generator) -> None:
    """Preparing reads; the params may be read-only, as those of a memory-mapped checkpoint are."""
    cell = GRU(D, H, np.float64)
    params = random_params(cell, rng)
    before = {name: array.copy() for name, array in params.items()}
    for array in params.values():
        array.flags.writeable = False
    cell.prepare(params)
    for name in params:
        np.testing.assert_array_equal(params[name], before[name])


def test_backward_leaves_its_slopes_as_they_are(rng: np.random.Generator) -> None:
    """The slope in the outputs belongs to the caller."""
    params = random_params(GRU(D, H), rng)
    doutputs = rng.standard_normal((T, B, H))
    before = doutputs.copy()
    run_both_ways(params, rng.integers(D, size=(T, B)), np.zeros((B, H)), doutputs)
    np.testing.assert_array_equal(doutputs, before)


def test_first_parameters_are_what_the_docstring_says(rng: np.random.Generator) -> None:
    """W within 1/sqrt(H), each gate's U orthogonal and its own, b zero."""
    H = 16
    cell = GRU(7, H, np.float64)
    params = {name: np.full(shape, np.nan) for name, shape in cell.shapes.items()}
    cell.initialise(params, rng)
    assert {name: array.shape for name, array in params.items()} == {"W": (7, 48), "U": (16, 48), "b": (48,)}
    assert 0.2 < np.abs(params["W"]).max() <= 0.25
    gates = np.split(params["U"], 3, axis=1)
    for U in gates:
        np.testing.assert_allclose(U @ U.T, np.eye(H), rtol=0, atol=1e-13)
    assert not np.allclose(gates[0], gates[1]) and not np.allclose(gates[1], gates[2])
    np.testing.assert_array_equal(params["b"], 0)


def test_a_text_starts_from_zeros() -> None:
    """The first state is zeros (B, H), in the cell's dtype, and a new array each time."""
    cell = GRU(D, H, np.float32)
    state = cell.zero_state(B)
    assert state.shape == (B, H) and state.dtype == np.float32 and not state.any()
    assert not np.shares_memory(state, cell.zero_state(B))


def test_the_second_window_allocates_next_to_nothing(rng: np.random.Generator) -> None:
    """Working memory is kept: a further window of the same shape asks for less than a twentieth of it."""
    T, B, D, H = 64, 16, 30, 64
    cell = GRU(D, H)
    params = {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in cell.shapes.items()}
    weights, grads = cell.prepare(params), {name: np.zeros_like(array) for name, array in params.items()}
    inputs, doutputs = rng.integers(D, size=(T, B)), np.ones((T, B, H), np.float32)

    def window(state: np.ndarray) -> np.ndarray:
        _, state, tape = cell.forward(weights, inputs, state)
        cell.backward(weights, tape, doutputs, grads)
        return state

    state = window(cell.zero_state(B))
    held = cell._buffers.nbytes
    tracemalloc.start()
    try:
        window(state)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert cell._buffers.nbytes == held
    assert peak < held / 15
