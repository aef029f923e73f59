"""Networks that read a whole sequence: what their outputs depend on, what they learn, and what they cannot predict."""

from __future__ import annotations

import re

import numpy as np
import pytest

from charlm.arrays import NamedArrays
from charlm.errors import SpecError
from charlm.nn.cells import CELLS
from charlm.nn.loss import cross_entropy, mean_squared_error
from charlm.nn.model import CharLM, ModelSpec
from charlm.nn.sequence import Cloze, SequenceModel
from charlm.optim.optimizers import Adam


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", list(CELLS))
def test_cloze_does_not_read_the_character_it_predicts(cell: str, layers: int, rng: np.random.Generator) -> None:
    """Another character at t changes nothing at t, and changes something elsewhere on both sides."""
    T, B, V = 6, 2, 5
    model = Cloze(V, 4, layers=layers, cell=cell, dtype=np.float64)
    params = model.initial_params(rng)
    ids = rng.integers(0, V, (T, B))
    before = model.forward(params, ids)[0].copy()
    for t in range(T):
        changed = ids.copy()
        changed[t] = (changed[t] + 1) % V
        after = model.forward(params, changed)[0]
        np.testing.assert_array_equal(after[t], before[t])
        assert all((after[other] != before[other]).any() for other in range(T) if other != t)


def test_cloze_gradients_are_those_of_its_loss(rng: np.random.Generator) -> None:
    """Element-wise central differences over every parameter."""
    T, B, V, H = 4, 3, 5, 2
    model = Cloze(V, H, dtype=np.float64)
    params = model.initial_params(rng)
    ids = rng.integers(0, V, (T, B))

    def loss() -> float:
        return cross_entropy(model.forward(params, ids)[0], ids)[0]

    logits, tape = model.forward(params, ids)
    _, dlogits = cross_entropy(logits, ids)
    grads = NamedArrays.like(params)
    model.backward(params, tape, dlogits, grads)
    numeric = np.empty_like(params.flat)
    for i, value in enumerate(params.flat.copy()):
        losses = []
        for moved in (value + 1e-5, value - 1e-5):
            params.flat[i] = moved
            losses.append(loss())
        params.flat[i] = value
        numeric[i] = (losses[0] - losses[1]) / 2e-5
    np.testing.assert_allclose(grads.flat, numeric, rtol=1e-6, atol=1e-9)


def test_cloze_predicts_a_character_from_later_ones(rng: np.random.Generator) -> None:
    """In a text where every character is repeated once, it learns to predict the earlier copy from the later one."""
    V, T, B = 8, 20, 16
    model = Cloze(V, 16)
    params = model.initial_params(rng)
    grads, optimizer = NamedArrays.like(params), Adam(params)
    for _ in range(150):
        ids = np.repeat(rng.integers(0, V, (T // 2, B)), 2, axis=0)
        logits, tape = model.forward(params, ids)
        nats, dlogits = cross_entropy(logits, ids)
        model.backward(params, tape, dlogits, grads)
        optimizer.update(params, grads, 0.02)
    assert nats < 0.4 * np.log(V)


def test_bidirectional_network_fits_targets_from_both_sides(rng: np.random.Generator) -> None:
    """Targets that depend on the next step are learned by reading in both directions, and not from the past alone."""
    N, T, D = 100, 10, 4
    losses = {}
    for bidirectional in (True, False):
        model = SequenceModel(D, 24, 1, bidirectional=bidirectional)
        params = model.initial_params(rng)
        grads, optimizer = NamedArrays.like(params), Adam(params)
        for _ in range(150):
            x = rng.standard_normal((T, N, D)).astype(np.float32)
            y = np.roll(x[..., :1], -1, axis=0)
            y[-1] = 0
            outputs, tape = model.forward(params, x)
            losses[bidirectional], doutputs = mean_squared_error(outputs, y)
            model.backward(params, tape, doutputs, grads)
            optimizer.update(params, grads, 0.02)
    assert losses[True] < 0.1 < 0.5 < losses[False]


def test_batch_first_is_the_same_network_with_two_axes_exchanged(rng: np.random.Generator) -> None:
    """Law: outputs and gradients of (B, T, D) are those of (T, B, D) with the axes exchanged, to the bit."""
    T, B, D, outs = 7, 3, 4, 2
    time_major = SequenceModel(D, 5, outs, dtype=np.float64)
    batch_major = SequenceModel(D, 5, outs, dtype=np.float64, batch_first=True)
    params = time_major.initial_params(rng)
    one, other = NamedArrays.like(params), NamedArrays.like(params)
    x, doutputs = rng.standard_normal((T, B, D)), rng.standard_normal((T, B, outs))
    outputs, tape = time_major.forward(params, x)
    time_major.backward(params, tape, doutputs, one)
    exchanged, tape = batch_major.forward(params, x.swapaxes(0, 1))
    batch_major.backward(params, tape, doutputs.swapaxes(0, 1), other)
    assert exchanged.shape == (B, T, outs)
    assert np.array_equal(exchanged.swapaxes(0, 1), outputs)
    assert np.array_equal(one.flat, other.flat)


@pytest.mark.parametrize("shape", [(7, 3, 5), (7, 4), (4,)])
def test_inputs_of_another_shape_are_refused(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    """The message says which shape was expected and which came."""
    model = SequenceModel(4, 5, 2)
    params = model.initial_params(rng)
    with pytest.raises(ValueError, match=rf"\(T, B, D\) with D = 4, not {re.escape(str(shape))}"):
        model.forward(params, np.zeros(shape, np.float32))


@pytest.mark.slow
def test_a_thousand_sequences_are_fitted(rng: np.random.Generator) -> None:
    """Inputs (1000, 10, 32) to targets (1000, 10, 1) with 64 units, trained with Adam on squared error."""
    x = rng.standard_normal((1000, 10, 32)).astype(np.float32).swapaxes(0, 1).copy()
    y = np.tanh(x[..., :1] + np.roll(x[..., 1:2], -1, axis=0))
    model = SequenceModel(32, 64, 1)
    params = model.initial_params(rng)
    grads, optimizer = NamedArrays.like(params), Adam(params)
    for _ in range(60):
        outputs, tape = model.forward(params, x)
        loss, doutputs = mean_squared_error(outputs, y)
        model.backward(params, tape, doutputs, grads)
        optimizer.update(params, grads, 0.01)
    assert loss < 0.1 * y.var()


def test_a_network_that_reads_the_future_cannot_predict_it() -> None:
    """It is refused with a message that says why; a causal one is not."""
    model = CharLM(ModelSpec(3, 4, bidirectional=True))
    assert not model.causal
    with pytest.raises(SpecError, match="a bidirectional network has read the character that it is to predict"):
        model.require_causal()
    CharLM(ModelSpec(3, 4)).require_causal()
