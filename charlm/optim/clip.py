"""Gradient clipping, in place."""

from __future__ import annotations

import math

import numpy as np

from charlm.arrays import Arrays


def global_norm(grads: Arrays) -> float:
    """The Euclidean length of all gradients taken as one vector."""
    squares = [float(np.vdot(grad, grad)) for grad in grads.values()]
    if math.inf in squares:  # too large for float32, where the sum is fastest
        squares = [float(np.sum(np.square(grad, dtype=np.float64))) for grad in grads.values()]
    return math.sqrt(sum(squares))


def clip_by_global_norm(grads: Arrays, max_norm: float) -> float:
    """Scale the gradient down to `max_norm` if it is longer, keeping its direction; returns its norm before that.

    Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks", 2013.
    """
    norm = global_norm(grads)
    if norm > max_norm:
        for grad in grads.values():
            grad *= grad.dtype.type(max_norm / norm)
    return norm


def clip_by_value(grads: Arrays, limit: float) -> None:
    """Clip every element to [-limit, limit]; this can change the direction of the gradient."""
    for grad in grads.values():
        np.clip(grad, -limit, limit, out=grad)
