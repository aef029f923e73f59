"""The whole network's gradients against central differences, and the checker against wrong gradients."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from cell_oracles import variants
from gradient_check import TOLERANCE, direction_errors, element_errors

from charlm.arrays import NamedArrays
from charlm.nn.loss import cross_entropy
from charlm.nn.model import CharLM, ModelSpec

SIZES = [(T, B, H, V) for T, B, H, V in permutations((2, 3, 4, 5))]  # all different: a swapped axis is noticed
NAMES = ["layer0.W", "layer0.U", "layer0.b", "readout.W", "readout.b"]


@dataclass
class Case:
    """A network in float64 with random parameters, one window, and the analytic gradients."""

    layers: int
    T: int
    B: int
    H: int
    V: int
    network: dict[str, Any] = field(default_factory=dict)  # fields of ModelSpec
    dropout: float = 0.0

    def __post_init__(self) -> None:
        rng = np.random.default_rng([self.layers, self.T, self.B, self.H, self.V])
        self.model = CharLM(ModelSpec(self.V, self.H, self.layers, **self.network), np.float64)
        self.masks = self.model.dropout_masks(rng, self.dropout, self.B)
        self.params = NamedArrays(self.model.spec.shapes, np.float64)
        self.params.flat[...] = rng.normal(0, 0.7, self.params.flat.shape)
        self.inputs = rng.integers(self.V, size=(self.T, self.B)).astype(np.uint8)
        self.targets = rng.integers(self.V, size=(self.T, self.B)).astype(np.uint8)
        self.state = tuple(rng.uniform(-0.9, 0.9, zeros.shape) for zeros in self.model.zero_state(self.B))
        self.grads = NamedArrays.like(self.params)
        self.grads.flat[...] = np.nan  # elements that backward does not write stay NaN
        logits, _, tape = self.model.forward(self.params, self.inputs, self.state, masks=self.masks)
        _, dlogits = cross_entropy(logits, self.targets)
        self.model.backward(self.params, tape, dlogits, self.grads)

    def loss(self) -> float:
        """Mean nats of the window's targets."""
        logits, _, _ = self.model.forward(self.params, self.inputs, self.state, masks=self.masks)
        return cross_entropy(logits, self.targets)[0]


@pytest.mark.parametrize("sizes", [(3, 2, 4, 5), (5, 4, 2, 3), (2, 5, 3, 4)], ids=str)
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_every_element_is_the_derivative_of_the_loss(layers: int, sizes: tuple[int, int, int, int]) -> None:
    """Element by element, analytic and numeric gradients agree to a relative 1e-6, from a nonzero state."""
    case = Case(layers, *sizes)
    errors = element_errors(case.loss, case.params, case.grads)
    assert set(errors) == set(case.model.spec.shapes)
    assert max(errors.values()) < TOLERANCE, errors


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_derivatives_in_random_directions_at_all_sizes(layers: int, rng: np.random.Generator) -> None:
    """In random directions, in each array and in all at once, at every order of the sizes 2, 3, 4, 5."""
    for sizes in SIZES[layers - 1 :: 3]:
        case = Case(layers, *sizes)
        errors = direction_errors(case.loss, case.params, case.grads, rng, directions=1)
        assert max(errors.values()) < TOLERANCE, (sizes, errors)


NETWORKS: dict[str, dict[str, Any]] = {
    **variants(),
    "bidirectional gru": {"bidirectional": True},
    "bidirectional lstm": {"cell": "lstm", "bidirectional": True},
    "embedding": {"embedding": 6},
    "not residual": {"residual": False},
    "residual lstm with embedding": {"cell": "lstm", "residual": True, "embedding": 1},
}


@pytest.mark.parametrize("sizes", [(3, 2, 4, 5), pytest.param((5, 4, 2, 3), marks=pytest.mark.slow)], ids=str)
@pytest.mark.parametrize("layers", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_kind_of_network_has_the_right_gradients(
    name: str, layers: int, sizes: tuple[int, int, int, int], rng: np.random.Generator
) -> None:
    """Element-wise and in random directions, with and without dropout; every parameter has a gradient."""
    for dropout in (0.0, 0.4):
        case = Case(layers, *sizes, NETWORKS[name], dropout)
        assert max(element_errors(case.loss, case.params, case.grads).values()) < TOLERANCE
        assert max(direction_errors(case.loss, case.params, case.grads, rng).values()) < TOLERANCE


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_tied_readout_has_the_right_gradients(cell: str) -> None:
    """The embedding's gradient is the sum over both of its uses."""
    case = Case(2, 3, 2, 4, 5, {"cell": cell, "embedding": 4, "tied": True})
    assert "readout.W" not in case.params
    assert max(element_errors(case.loss, case.params, case.grads).values()) < TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_the_checker_catches_an_error_of_a_thousandth(name: str, rng: np.random.Generator) -> None:
    """A gradient 0.1 % too long in one array fails both checks, in that array and in no other."""
    case = Case(1, 3, 2, 4, 5)
    case.grads[name] *= 1.001
    by_element = element_errors(case.loss, case.params, case.grads)
    by_direction = direction_errors(case.loss, case.params, case.grads, rng)
    assert [other for other, error in by_element.items() if error > TOLERANCE] == [name]
    assert [other for other, error in by_direction.items() if error > TOLERANCE] == [name, "all"]


@pytest.mark.parametrize("name", NAMES)
def test_the_checker_catches_one_flipped_sign(name: str, rng: np.random.Generator) -> None:
    """One element of middling size with the wrong sign fails both checks, in its array and in no other."""
    case = Case(1, 3, 2, 4, 5)
    flat = case.grads[name].reshape(-1)
    by_size = [place for place in np.argsort(np.abs(flat)) if flat[place] != 0]
    flat[by_size[len(by_size) // 2]] *= -1
    by_element = element_errors(case.loss, case.params, case.grads)
    by_direction = direction_errors(case.loss, case.params, case.grads, rng)
    assert [other for other, error in by_element.items() if error > TOLERANCE] == [name]
    assert [other for other, error in by_direction.items() if error > TOLERANCE] == [name, "all"]


def test_the_checker_puts_the_parameters_back() -> None:
    """After a check the parameters are bit for bit what they were."""
    case = Case(2, 2, 3, 4, 5)
    before = case.params.flat.copy()
    element_errors(case.loss, case.params, case.grads)
    np.testing.assert_array_equal(case.params.flat, before)


def test_a_gradient_step_lowers_the_loss() -> None:
    """A small step against the gradient lowers the loss by about step times the squared length of the gradient."""
    case = Case(2, 4, 3, 5, 2)
    before = case.loss()
    step = 1e-5
    case.params.flat -= step * case.grads.flat
    expected = step * float(np.sum(case.grads.flat**2))
    assert before - case.loss() == pytest.approx(expected, rel=1e-3)
