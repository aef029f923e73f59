"""Optimizers: how a gradient becomes a change of the parameters.

An optimizer's memory is a dictionary of arrays named after the params, so a checkpoint keeps it without knowing it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.floating[Any]]]


class SGD:
    """Stochastic gradient descent, plain or with Nesterov momentum m:

        v <- m v + g
        p <- p - learning_rate (g + m v)

    Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013, in the form that
    evaluates the gradient at p. With m = 0 nothing is remembered: p <- p - learning_rate g.
    """

    def __init__(self, params: Arrays, momentum: float = 0.9) -> None:
        self.momentum = momentum
        self.memory = {f"velocity.{name}": np.zeros_like(array) for name, array in params.items() if momentum}
        self._scratch = {name: np.empty_like(array) for name, array in params.items()}

    def update(self, params: Arrays, grads: Arrays, learning_rate: float) -> None:
        """Change `params` and the memory in place."""
        for name, p in params.items():
            g, step = grads[name], self._scratch[name]
            m, rate = p.dtype.type(self.momentum), p.dtype.type(learning_rate)
            if self.momentum:
                v = self.memory[f"velocity.{name}"]
                v *= m
                v += g
                np.multiply(v, m, out=step)
                step += g
                step *= rate
            else:
                np.multiply(g, rate, out=step)
            p -= step
