"""Muon: momentum, orthogonalised. Every matrix moves by the same amount in all the directions that its gradient has.

Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024. A gradient's few largest singular
values, the directions in which a network learns what is common, drown all the others; made equal, the rare ones are
learned as fast.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Arrays = Mapping[str, Floats]

ITERATIONS = 3  # five, as is usual, learn the same and take longer: docs/recipes.md
LINEAR, CUBIC, QUINTIC = 3.4445, -4.7750, 2.0315  # Jordan's: steep at 0, and near enough to 1


class Muon:
    """Momentum as in SGD, of Nesterov's kind, and then a step whose singular values are all about 1:

        v <- m v + g
        p <- p - learning_rate * sqrt(max(R, C)) * orthogonal(g + m v)        for a matrix (R, C)

    A vector is a matrix of one row, whose orthogonal form is 0.7 times its direction. The learning rate is so about the
    root mean square of what the elements of an array change by, whatever its size. With `weight_decay` w a matrix
    shrinks first, p <- p - learning_rate * w * p, as in AdamW; vectors do not.
    """

    def __init__(self, params: Arrays, momentum: float = 0.95, *, weight_decay: float = 0.0) -> None:
        self.momentum, self.weight_decay = momentum, weight_decay
        self.memory = {f"velocity.{name}": np.zeros_like(array) for name, array in params.items()} if momentum else {}
        self._scratch = {name: np.zeros_like(array) for name, array in params.items()}

    def update(self, params: Arrays, grads: Arrays, learning_rate: float) -> None:
        """Change `params` and the velocity in place."""
        for name, p in params.items():
            g, step = grads[name], self._scratch[name]
            step[...] = g
            if self.momentum:
                v = self.memory[f"velocity.{name}"]
                v *= self.momentum
                v += g
                step += self.momentum * v
            step = orthogonal(np.atleast_2d(step)).reshape(p.shape)
            if self.weight_decay and p.ndim > 1:
                p *= 1 - learning_rate * self.weight_decay
            step *= learning_rate * math.sqrt(max(p.shape))
            p -= step


def orthogonal(matrix: Floats) -> Floats:
    """A matrix (R, C) with the singular vectors of the one given and singular values near 1, between 0.68 and 1.21.

    Newton and Schulz's iteration. An odd polynomial of a matrix is the same polynomial of its singular values, and

        X <- R X        with        R = a I + b A + c A A        and        A = X X^T

    brings all that lie between 0.02 and 1 near to 1, and makes smaller ones 40 times as large. R and A commute, so
    A <- R A R, and the X in between are never needed: the work is done in matrices as small as A. A matrix of zeros
    stays one.
    """
    largest = np.abs(matrix).max(initial=0)
    if largest == 0:
        return matrix.copy()
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    X = wide / largest  # first: the squares of very small or large numbers would be 0 or infinite
    X /= np.linalg.norm(X)
    A = X @ X.T
    R = product = _polynomial(A)
    for _ in range(ITERATIONS - 1):
        A = R @ A @ R
        R = _polynomial(A)
        product = R @ product
    X = product @ X
    result: Floats = X if wide is matrix else X.T
    return result


def _polynomial(A: Floats) -> Floats:
    R = CUBIC * A + QUINTIC * (A @ A)
    R.flat[:: len(R) + 1] += LINEAR  # the diagonal
    return R
