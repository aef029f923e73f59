"""Sigmoid and tanh in place, and their derivatives in terms of their results."""

from __future__ import annotations

import numpy as np

from charlm.arrays import Floats

HALF = {kind: np.array(0.5, kind) for kind in "fd"}  # arrays: a small product takes these faster than numbers


def sigmoid_of_double(a: Floats) -> Floats:
    """sigmoid(2 a) = (1 + tanh a) / 2, written over `a`, which is returned.

    Cells halve a gate's weights once per update and call this once per time step: that saves a pass over the gate
    at every step, and tanh does not overflow at any argument.
    """
    half = HALF[a.dtype.char]
    np.tanh(a, out=a)
    a *= half
    a += half
    return a


def sigmoid_derivative(y: Floats, out: Floats) -> Floats:
    """d sigmoid / d a = y (1 - y), in terms of y = sigmoid(a); written to `out`, which is returned."""
    np.subtract(1, y, out=out)
    out *= y
    return out


def tanh_derivative(y: Floats, out: Floats) -> Floats:
    """d tanh / d a = 1 - y y, in terms of y = tanh(a); written to `out`, which is returned."""
    np.multiply(y, y, out=out)
    np.subtract(1, out, out=out)
    return out
