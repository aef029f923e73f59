"""Optimizers: how a gradient becomes a change of the parameters.

An optimizer's memory is a dictionary of arrays named after the params, so a checkpoint of any optimizer has one form.
`update` changes the params and the memory in place, and leaves the gradients as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from charlm.arrays import Arrays, Floats
from charlm.optim.muon import Muon


class Optimizer(Protocol):
    """The interface that training uses."""

    memory: dict[str, Floats]

    def update(self, params: Arrays, grads: Arrays, learning_rate: float) -> None:
        """Change `params` and the memory in place."""


class SGD:
    """Stochastic gradient descent with Nesterov's momentum m, with classical momentum, or plain.

        v <- m v + g
        p <- p - learning_rate * (g + m v)      nesterov
        p <- p - learning_rate * v              otherwise

    Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013, in the form that
    evaluates the gradient at p. With m = 0 no velocity is kept: p <- p - learning_rate g.
    """

    def __init__(self, params: Arrays, momentum: float, *, nesterov: bool = True) -> None:
        self.momentum = momentum
        self.nesterov = nesterov
        self.memory = _zeros("velocity", params) if momentum else {}
        self._scratch = _zeros("step", params)

    def update(self, params: Arrays, grads: Arrays, learning_rate: float) -> None:
        """Change `params` and the velocity in place."""
        for name, p in params.items():
            g, step = grads[name], self._scratch[f"step.{name}"]
            if not self.momentum:
                p -= np.multiply(g, learning_rate, out=step)
                continue
            v = self.memory[f"velocity.{name}"]
            v *= self.momentum
            v += g
            if self.nesterov:
                np.multiply(v, self.momentum, out=step)
                step += g
                step *= learning_rate
            else:
                np.multiply(v, learning_rate, out=step)
            p -= step


class RMSProp:
    """Divides the gradient by the running root mean square of its elements:

        s <- rho s + (1 - rho) g g
        p <- p - learning_rate * g / (sqrt(s) + epsilon)

    Tieleman & Hinton, Coursera "Neural networks for machine learning", lecture 6.5, 2012.
    """

    def __init__(self, params: Arrays, *, rho: float = 0.99, epsilon: float = 1e-8) -> None:
        self.rho, self.epsilon = rho, epsilon
        self.memory = _zeros("square", params)
        self._scratch = _zeros("step", params)

    def update(self, params: Arrays, grads: Arrays, learning_rate: float) -> None:
        """Change `params` and the mean squares in place."""
        for name, p in params.items():
            g, s, step = grads[name], self.memory[f"square.{name}"], self._scratch[f"step.{name}"]
            _running_mean(s, g, g, self.rho, step)
            np.sqrt(s, out=step)
            step += self.epsilon
            np.divide(g, step, out=step)
            step *= learning_rate
            p -= step


class Adam:
    """Running means of the gradient and of its square, both corrected for their initialisation with zero:

        m <- b1 m + (1 - b1) g              m^ = m / (1 - b1^t)
        s <- b2 s + (1 - b2) g g            s^ = s / (1 - b2^t)
        p <- p - learning_rate * m^ / (sqrt(s^) + epsilon)

    in update number t = 1, 2, ... Kingma & Ba 2015 (arXiv 1412.6980). With `weight_decay` w it is AdamW, Loshchilov &
    Hutter 2019 (arXiv 1711.05101): first p <- p - learning_rate * w * p, apart from the gradient. Weights decay,
    biases do not: only arrays of two dimensions or more shrink.
    """

    def __init__(
        self,
        params: Arrays,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.betas, self.epsilon, self.weight_decay = betas, epsilon, weight_decay
        self.memory = _zeros("mean", params) | _zeros("square", params) | {"updates": np.zeros(1)}
        self._scratch = _zeros("step", params)

    def update(self, params: Arrays, grads: Arrays, learning_rate: float) -> None:
        """Change `params` and the means in place."""
        self.memory["updates"] += 1
        t = int(self.memory["updates"][0])
        b1, b2 = self.betas
        for name, p in params.items():
            g, step = grads[name], self._scratch[f"step.{name}"]
            m, s = self.memory[f"mean.{name}"], self.memory[f"square.{name}"]
            if self.weight_decay and p.ndim > 1:
                p *= 1 - learning_rate * self.weight_decay
            m *= b1
            m += np.multiply(g, 1 - b1, out=step)
            _running_mean(s, g, g, b2, step)
            np.sqrt(s, out=step)
            step /= (1 - b2**t) ** 0.5
            step += self.epsilon
            np.divide(m, step, out=step)
            step *= learning_rate / (1 - b1**t)
            p -= step


@dataclass(frozen=True)
class Settings:
    """The defaults of an optimizer; None where it has no such setting.

    momentum: of Nesterov's kind. weight_decay: the share by which a matrix shrinks, per unit of learning rate.
    arrays: how many arrays of the size of the params its memory has; with a momentum of 0, muon and sgd have none.
    """

    learning_rate: float
    momentum: float | None = None
    weight_decay: float | None = None
    arrays: int = 1


OPTIMIZERS: Mapping[str, Settings] = {
    "muon": Settings(0.006, momentum=0.95, weight_decay=0.5),
    "sgd": Settings(2.0, momentum=0.9),
    "rmsprop": Settings(0.002),
    "adam": Settings(0.004, arrays=2),
    "adamw": Settings(0.004, weight_decay=0.01, arrays=2),
}
"""The optimizers by name, with their defaults."""


def make_optimizer(name: str, params: Arrays, *, momentum: float | None, weight_decay: float | None) -> Optimizer:
    """The optimizer of that name for these params; None means its default, see OPTIMIZERS.

    A setting that the optimizer does not have is ignored. Raises ValueError for an unknown name.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"an optimizer must be one of {', '.join(OPTIMIZERS)}, not {name!r}")
    usual = OPTIMIZERS[name]
    momentum = usual.momentum if momentum is None else momentum
    weight_decay = usual.weight_decay if weight_decay is None else weight_decay
    match name:
        case "muon":
            return Muon(params, momentum or 0.0, weight_decay=weight_decay or 0.0)
        case "sgd":
            return SGD(params, momentum or 0.0)
        case "rmsprop":
            return RMSProp(params)
        case "adam":
            return Adam(params)
        case "adamw":
            return Adam(params, weight_decay=weight_decay or 0.0)
    raise AssertionError(f"{name} is in OPTIMIZERS and not made here")


def takes(optimizer: Optimizer, memory: Arrays) -> bool:
    """Whether a saved memory fits this optimizer: the same names, shapes and dtypes, and no negative squares."""
    own = optimizer.memory
    return own.keys() == memory.keys() and all(
        (array.shape, array.dtype) == (own[name].shape, own[name].dtype)
        and not (name.startswith(("square.", "updates")) and (array < 0).any())
        for name, array in memory.items()
    )


def _zeros(kind: str, params: Arrays) -> dict[str, Floats]:
    """An array of zeros for every parameter, named "kind.name"."""
    return {f"{kind}.{name}": np.zeros_like(array) for name, array in params.items()}


def _running_mean(mean: Floats, a: Floats, b: Floats, keep: float, scratch: Floats) -> None:
    """mean <- keep mean + (1 - keep) a b, in place."""
    mean *= keep
    np.multiply(a, b, out=scratch)
    scratch *= 1 - keep
    mean += scratch
