"""Analytic gradients against numeric ones, in float64: central differences, and steps along the imaginary axis.

`loss()` reads the arrays of `params`, which are moved a little in place and put back. `grads` has the same names and
shapes. `element_errors` and `direction_errors` return the worst relative error per array; a right gradient is below
1e-6, a wrong one is not. `exact_gradients` is for functions that take complex numbers, and exact up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from charlm.arrays import Arrays, Floats

Loss = Callable[[], float]

STEP = 1e-3
TOLERANCE = 1e-6
TINY = np.finfo(np.float64).tiny


def derivative_along(loss: Loss, params: Arrays, direction: Arrays) -> float:
    """The derivative of the loss in a direction: the central difference with an error of the step's fourth power."""
    start = {name: params[name].copy() for name in direction}

    def loss_at(distance: float) -> float:
        for name, way in direction.items():
            params[name][...] = start[name] + distance * way
        return loss()

    try:
        near = loss_at(STEP) - loss_at(-STEP)
        far = loss_at(2 * STEP) - loss_at(-2 * STEP)
    finally:
        for name, array in start.items():
            params[name][...] = array
    return (8 * near - far) / (12 * STEP)


def element_errors(loss: Loss, params: Arrays, grads: Arrays) -> dict[str, float]:
    """Per array, the worst relative error of any one element.

    Elements below 1e-4 of the array's largest are measured against that: their differences are mostly rounding.
    """
    worst = {}
    for name, array in params.items():
        assert array.dtype == np.float64 and grads[name].shape == array.shape
        numeric = np.empty_like(array)
        for place in np.ndindex(array.shape):
            way = np.zeros_like(array)
            way[place] = 1
            numeric[place] = derivative_along(loss, params, {name: way})
        floor = 1e-4 * np.abs(numeric).max() + TINY
        size = np.maximum(np.maximum(np.abs(numeric), np.abs(grads[name])), floor)
        worst[name] = float(np.max(np.abs(numeric - grads[name]) / size))
    return worst


def direction_errors(
    loss: Loss, params: Arrays, grads: Arrays, rng: np.random.Generator, directions: int = 2
) -> dict[str, float]:
    """The worst relative error in some random directions: per array, and under "all" in all arrays at once."""
    worst = {}
    for label in [*params, "all"]:
        names = list(params) if label == "all" else [label]
        errors = []
        for _ in range(directions):
            way = {name: rng.standard_normal(params[name].shape) for name in names}
            length = sum(float(np.sum(array**2)) for array in way.values()) ** 0.5
            way = {name: array / length for name, array in way.items()}
            analytic = sum(float(np.sum(grads[name] * array)) for name, array in way.items())
            numeric = derivative_along(loss, params, way)
            errors.append(abs(analytic - numeric) / max(abs(analytic), abs(numeric), TINY))
        worst[label] = max(errors)
    return worst


def exact_gradients(loss: Callable[[dict[str, Any]], Any], params: Arrays) -> dict[str, Floats]:
    """The gradients of a real function of named arrays, by complex steps (Squire & Trapp 1998), element by element."""
    gradients: dict[str, Floats] = {}
    for name, array in params.items():
        gradients[name] = np.empty(array.shape)
        for place in np.ndindex(array.shape):
            moved = array.astype(complex)
            moved[place] += 1e-30j
            gradients[name][place] = loss({**params, name: moved}).imag / 1e-30
    return gradients


def exact_derivative(loss: Callable[[dict[str, Any]], Any], params: Arrays, direction: Arrays) -> float:
    """The derivative of a real function of named arrays in a direction, by one complex step."""
    moved = {name: array + 1e-30j * direction[name] for name, array in params.items()}
    return float(loss(moved).imag / 1e-30)
