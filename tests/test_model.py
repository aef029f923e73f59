"""The network as a function: its sizes, its parts put together, and what it leaves unchanged."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from cell_oracles import VARIANTS, reference_window, variants
from hypothesis import given
from hypothesis import strategies as st

from charlm.arrays import Floats, NamedArrays, group
from charlm.errors import SpecError
from charlm.nn.model import CharLM, ModelSpec

T, B, V, H = 5, 3, 7, 4
SIZE = st.integers(1, 40)


def random_model(layers: int, rng: np.random.Generator, **network: Any) -> tuple[CharLM, NamedArrays]:
    """A float64 network and parameters, all random; network: more fields of ModelSpec."""
    model = CharLM(ModelSpec(V, H, layers, **network), np.float64)
    params = NamedArrays(model.spec.shapes, np.float64)
    params.flat[...] = rng.normal(0, 0.7, params.flat.shape)
    return model, params


@given(SIZE, SIZE, st.integers(1, 5))
def test_parameters_are_counted_in_closed_form(V: int, H: int, L: int) -> None:
    """The sum of all sizes: per layer 3 gates of (inputs, H units, a bias), and the read-out."""
    spec = ModelSpec(V, H, L)
    per_layer = [3 * (D * H + H * H + H) for D in [V] + [H] * (L - 1)]
    assert spec.parameters == sum(per_layer) + H * V + V
    assert spec.parameters == sum(math.prod(shape) for shape in spec.shapes.values())
    assert spec.parameters == CharLM(spec).initial_params(np.random.default_rng(0)).flat.size


def test_a_known_network_has_a_known_size() -> None:
    """65 characters, 256 units, one and two layers, counted by hand."""
    assert ModelSpec(65, 256).parameters == 264_001
    assert ModelSpec(65, 256, 2).parameters == 264_001 + 393_984


def test_parameters_are_named_by_layer() -> None:
    """The order in the flat buffer: layers from the first to the last, then the read-out."""
    assert list(ModelSpec(V, H, 2).shapes.items()) == [
        ("layer0.W", (V, 3 * H)),
        ("layer0.U", (H, 3 * H)),
        ("layer0.b", (3 * H,)),
        ("layer1.W", (H, 3 * H)),
        ("layer1.U", (H, 3 * H)),
        ("layer1.b", (3 * H,)),
        ("readout.W", (H, V)),
        ("readout.b", (V,)),
    ]


@pytest.mark.parametrize(
    "network",
    [{}, {"embedding": 3}, {"embedding": 4, "tied": True}, {"bidirectional": True}, {"embedding": 3, "layers": 2}],
    ids=str,
)
@pytest.mark.parametrize("name", VARIANTS)
def test_character_axes_are_those_that_grow_with_the_vocabulary(name: str, network: dict[str, Any]) -> None:
    """Law: with one character more, exactly these axes of exactly these parameters are longer, by one."""
    spec = ModelSpec(9, H, **{**network, **variants()[name]})
    more = dataclasses.replace(spec, vocabulary=10)
    grown = {
        parameter: [axis for axis, size in enumerate(shape) if more.shapes[parameter][axis] == size + 1]
        for parameter, shape in spec.shapes.items()
        if more.shapes[parameter] != shape
    }
    assert grown == {parameter: [axis] for parameter, axis in spec.character_axes.items()}


@pytest.mark.parametrize("name", ["vocabulary", "hidden", "layers"])
@pytest.mark.parametrize("value", [0, -1, True, 1.5, 2.0, "8", None])
def test_senseless_sizes_are_refused(name: str, value: object) -> None:
    """A size is a whole number of at least 1; the message has the field and the value."""
    with pytest.raises(SpecError, match=name) as refusal:
        ModelSpec(**({"vocabulary": 5, "hidden": 4, "layers": 1} | {name: value}))  # type: ignore[arg-type]
    assert repr(value) in str(refusal.value)


@pytest.mark.parametrize("sizes", [(65, 10**5, 1), (10**9, 1, 1), (2, 2, 10**8), (65, 10**30, 1)], ids=str)
def test_networks_beyond_all_memory_are_refused(sizes: tuple[int, int, int]) -> None:
    """Before anything is allocated, in one line that says what to do."""
    with pytest.raises(SpecError, match="parameters") as refusal:
        ModelSpec(*sizes)
    assert "\n" not in str(refusal.value) and "hidden" in str(refusal.value)


@pytest.mark.parametrize("name", ["cell", "reset", "activation"])
@pytest.mark.parametrize("value", ["", "GRU", None, 1, [], {}])
def test_unknown_kinds_are_refused(name: str, value: Any) -> None:
    """A file may hold any JSON value; the message has the field, the known values and the one that came."""
    with pytest.raises(SpecError, match=f"{name} must be one of .*, not ") as refusal:
        ModelSpec(V, **{name: value})
    assert repr(value) in str(refusal.value)


def test_a_spec_is_frozen() -> None:
    """A spec is a value: it does not change, and equal sizes are equal specs."""
    spec = ModelSpec(V, H)
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.hidden = 5  # type: ignore[misc]
    assert spec == ModelSpec(vocabulary=V, hidden=H, layers=1) and hash(spec) == hash(ModelSpec(V, H))


def test_the_same_generator_gives_the_same_parameters() -> None:
    """Parameters depend on spec and generator alone; in float32 they are those of float64, rounded."""
    spec = ModelSpec(V, H, 2)
    one, two = (CharLM(spec).initial_params(np.random.default_rng(5)) for _ in range(2))
    wide = CharLM(spec, np.float64).initial_params(np.random.default_rng(5))
    other = CharLM(spec).initial_params(np.random.default_rng(6))
    np.testing.assert_array_equal(one.flat, two.flat)
    np.testing.assert_array_equal(one.flat, wide.flat.astype(np.float32))
    assert one.flat.dtype == np.float32 and wide.flat.dtype == np.float64
    assert not np.array_equal(one.flat, other.flat)


def test_initial_predictions_are_almost_uniform(rng: np.random.Generator) -> None:
    """The initial read-out is small and without bias, and the layers are not copies of each other."""
    params = CharLM(ModelSpec(V, 64, 2)).initial_params(rng)
    assert not params["readout.b"].any()
    assert 0.1 < np.abs(params["readout.W"]).max() <= 1 / 8
    assert not np.array_equal(params["layer0.U"], params["layer1.U"])


@pytest.mark.parametrize("layers", [1, 3])
def test_the_initial_state_is_zeros_for_every_layer(layers: int) -> None:
    """Per layer zeros (B, H), in the model's dtype, no two sharing memory."""
    for dtype in (np.float32, np.float64):
        state = CharLM(ModelSpec(V, H, layers), dtype).zero_state(B)
        assert len(state) == layers
        assert all(h.shape == (B, H) and h.dtype == dtype and not h.any() for h in state)
        assert len({h.ctypes.data for h in state}) == layers


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("name", VARIANTS)
def test_a_model_is_its_layers_on_top_of_each_other(name: str, layers: int, rng: np.random.Generator) -> None:
    """Each layer reads the outputs below and adds them to its own; logits are top @ W + b."""
    model, params = random_model(layers, rng, **variants()[name])
    inputs = rng.integers(V, size=(T, B))
    state = tuple(rng.uniform(-1, 1, zeros.shape) for zeros in model.zero_state(B))
    logits, after, _ = model.forward(params, inputs, state)

    x = np.eye(V)[inputs]
    for layer in range(layers):
        outputs, last = reference_window(name, group(params, f"layer{layer}"), x, state[layer])
        x = outputs + x if layer else outputs  # residual: all layers but the first add their input
        np.testing.assert_allclose(after[layer], last, rtol=1e-12, atol=1e-12)
    expected = np.einsum("tbh,hv->tbv", x, params["readout.W"]) + params["readout.b"]
    assert logits.shape == (T, B, V)
    np.testing.assert_allclose(logits, expected, rtol=1e-12, atol=1e-12)


def test_prepared_weights_give_the_same(rng: np.random.Generator) -> None:
    """Preparing once for many windows changes nothing, bit for bit."""
    model, params = random_model(2, rng)
    inputs, state = rng.integers(V, size=(T, B)), tuple(rng.uniform(-1, 1, (B, H)) for _ in range(2))
    logits, after, _ = model.forward(params, inputs, state)
    logits, weights = logits.copy(), model.prepare(params)
    for _ in range(2):
        again, state_again, _ = model.forward(params, inputs, state, weights=weights)
        np.testing.assert_array_equal(again, logits)
        for one, two in zip(after, state_again, strict=True):
            np.testing.assert_array_equal(one, two)


def test_a_model_has_no_state_between_calls(rng: np.random.Generator) -> None:
    """Other windows, also larger and smaller ones, have no effect: the same call gives the same bits."""
    model, params = random_model(2, rng)
    inputs, state = rng.integers(V, size=(T, B)), tuple(rng.uniform(-1, 1, (B, H)) for _ in range(2))
    logits, _, _ = model.forward(params, inputs, state)
    logits, kept = logits.copy(), params.flat.copy()
    grads = NamedArrays.like(params)
    for steps, batch in [(9, 5), (1, 1), (T, B)]:
        other, _, tape = model.forward(params, rng.integers(V, size=(steps, batch)), model.zero_state(batch))
        model.backward(params, tape, other, grads)
    again, _, _ = model.forward(params, inputs, state)
    np.testing.assert_array_equal(again, logits)
    np.testing.assert_array_equal(params.flat, kept)


def test_the_logits_may_be_overwritten_before_backward(rng: np.random.Generator) -> None:
    """The loss writes its gradient over the logits: backward reads that gradient only."""
    model, params = random_model(2, rng)
    inputs, state = rng.integers(V, size=(T, B)), model.zero_state(B)
    dlogits = rng.standard_normal((T, B, V))
    grads, others = NamedArrays.like(params), NamedArrays.like(params)
    _, _, tape = model.forward(params, inputs, state)
    model.backward(params, tape, dlogits, grads)
    logits, _, tape = model.forward(params, inputs, state)
    logits[...] = dlogits
    model.backward(params, tape, logits, others)
    np.testing.assert_array_equal(grads.flat, others.flat)


def test_backward_writes_over_old_gradients(rng: np.random.Generator) -> None:
    """Gradients are written, not added: the buffer's content before has no effect."""
    model, params = random_model(2, rng)
    inputs, state, dlogits = rng.integers(V, size=(T, B)), model.zero_state(B), rng.standard_normal((T, B, V))
    results = []
    for old in (0, np.nan):
        grads = NamedArrays.like(params)
        grads.flat[...] = old
        _, _, tape = model.forward(params, inputs, state)
        model.backward(params, tape, dlogits, grads)
        results.append(grads.flat)
    over_zeros, over_nan = results
    np.testing.assert_array_equal(over_zeros, over_nan)


def test_a_state_of_another_depth_is_refused(rng: np.random.Generator) -> None:
    """A state must have one array per layer."""
    model, params = random_model(2, rng)
    with pytest.raises(ValueError):
        model.forward(params, np.zeros((T, B), np.uint8), CharLM(ModelSpec(V, H, 1), np.float64).zero_state(B))


@pytest.mark.parametrize("embedding", [0, 3])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("name", VARIANTS)
def test_single_steps_are_a_window(name: str, layers: int, embedding: int) -> None:
    """Law: step after step gives the logits and the state of `forward`, and leaves its arguments unchanged."""
    rng = np.random.default_rng(1)
    model = CharLM(ModelSpec(V, H, layers, embedding=embedding, **variants()[name]), np.float64)
    params = NamedArrays(model.spec.shapes, np.float64)
    params.flat[...] = rng.normal(0, 0.5, params.flat.shape)
    ids = rng.integers(0, V, (T, B))
    first: tuple[Floats, ...] = tuple(rng.normal(0, 0.5, layer.shape) for layer in model.zero_state(B))
    state = first
    before = [layer.copy() for layer in first]
    logits, step = [], model.stepper(params, B)
    for row in ids:
        row_logits, state = step(row, state)
        logits.append(row_logits.copy())
    expected, expected_state, _ = model.forward(params, ids, first)
    np.testing.assert_allclose(np.stack(logits), expected, rtol=1e-12, atol=1e-12)
    for layer, expected_layer in zip(state, expected_state, strict=True):
        np.testing.assert_allclose(layer, expected_layer, rtol=1e-12, atol=1e-12)
    assert all(np.array_equal(*pair) for pair in zip(first, before, strict=True))
