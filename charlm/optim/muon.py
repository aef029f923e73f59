"""Muon: momentum, orthogonalised. Every matrix moves by the same amount in all singular directions of its gradient.

Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024. A gradient has few large singular
values, which belong to frequent patterns; made equal, all directions are learned at the same speed.
"""

from __future__ import annotations

import math

import numpy as np

from charlm.arrays import Arrays, Floats

ITERATIONS = 3  # the usual five give the same loss and take longer: docs/recipes.md
LINEAR, CUBIC, QUINTIC = 3.4445, -4.7750, 2.0315  # Jordan's: steep at 0, roughly 1 further on


class Muon:
    """Nesterov momentum as in SGD, then a step whose singular values are all about 1:

        v <- m v + g
        p <- p - learning_rate * sqrt(max(R, C)) * orthogonal(g + m v)        for a matrix (R, C)

    The elements of an orthogonal matrix (R, C) have the root mean square 1 / sqrt(max(R, C)), so the learning rate is
    about the RMS change of an element, for any shape. Liu et al. 2025, "Muon is scalable for LLM training" (arXiv
    2502.16982), scale by 0.2 sqrt(max(R, C)) to match the RMS of AdamW's updates: this is the same without the 0.2.
    Jordan et al. scale by sqrt(max(1, R / C)). Both leave the embedding, the read-out and the biases to AdamW; here
    Muon moves them, too. A vector is a matrix of one row, whose orthogonal form is 0.7 times its direction.

    With `weight_decay` w a matrix shrinks first, p <- p - learning_rate * w * p, as in AdamW; vectors do not. With
    m = 0 no velocity is kept: the step is that of g.
    """

    def __init__(self, params: Arrays, momentum: float, *, weight_decay: float = 0.0) -> None:
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
    """A matrix (R, C) with the singular vectors of the one given and singular values between 0.68 and 1.21.

    Newton-Schulz iteration: an odd polynomial of a matrix is the same polynomial of its singular values, and

        X <- R X        with        R = LINEAR I + CUBIC A + QUINTIC A A        and        A = X X^T

    takes those between 0.02 and 1 into that range, and multiplies smaller ones by 40. R and A commute, so A <- R A R
    needs no X in between: all products but the last are of matrices as small as A. Zeros stay zeros.
    """
    largest = np.abs(matrix).max(initial=0)
    if largest == 0:
        return matrix.copy()
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    X = wide / largest  # before the norm, in which squares of very small or large numbers would be 0 or infinite
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
    """LINEAR I + CUBIC A + QUINTIC A A."""
    R = CUBIC * A + QUINTIC * (A @ A)
    R.flat[:: len(R) + 1] += LINEAR  # the diagonal
    return R
