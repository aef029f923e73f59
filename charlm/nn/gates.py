"""Sigmoid and tanh in place, and their slopes written in terms of what they put out."""

from __future__ import annotations

import numpy as np

from charlm.nn.arrays import Floats

HALF = {kind: np.array(0.5, kind) for kind in "fd"}  # as arrays, which a small product takes faster than numbers


def sigmoid_of_double(a: Floats) -> Floats:
    """sigmoid(2 a) = (1 + tanh a) / 2, written over `a`, which is returned.

    Cells halve a gate's weights once per update and call this once per time step: that saves a pass over the gate
    at every step, and tanh has no argument at which it overflows.
    """
    half = HALF[a.dtype.char]
    np.tanh(a, out=a)
    a *= half
    a += half
    return a


def sigmoid_slope(y: Floats, out: Floats) -> Floats:
    """d sigmoid / d a = y (1 - y), in terms of y = sigmoid(a); written to `out`."""
    np.subtract(1, y, out=out)
    out *= y
    return out


def tanh_slope(y: Floats, out: Floats) -> Floats:
    """d tanh / d a = 1 - y y, in terms of y = tanh(a); written to `out`."""
    np.multiply(y, y, out=out)
    np.subtract(1, out, out=out)
    return out
