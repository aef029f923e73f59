"""What every recurrent cell has in common: its doors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from charlm.nn.arrays import Buffers, Floats, Ids

Step: TypeAlias = Callable[[Ids | Floats, Floats], tuple[Floats, Floats]]


class Cell(ABC):
    """One recurrent layer over a window, D inputs to H units: sizes and buffers, no parameters and no state.

    causal: whether an output depends on no later input. A network that predicts the next character must be.
    """

    causal = True
    gates: tuple[str, ...] = ()  # of `activations`, those that are gates: from 0, shut, to 1, open

    def __init__(self, input_size: int, hidden_size: int, dtype: DTypeLike = np.float32) -> None:
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.dtype = np.dtype(dtype)
        self._buffers = Buffers(dtype)  # of a window
        self._prepared = Buffers(dtype)  # copies of the weights

    @property
    def output_size(self) -> int:
        """The size of an output: H, but for cells made of several."""
        return self.hidden_size

    @property
    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the parameters."""

    @abstractmethod
    def initialise(self, params: Mapping[str, Floats], rng: np.random.Generator) -> None:
        """Fill `params` with first values."""

    def zero_state(self, batch: int) -> Floats:
        """The state at the start of a text: zeros (B, H)."""
        return np.zeros((batch, self.hidden_size), self.dtype)

    @abstractmethod
    def prepare(self, params: Mapping[str, Floats]) -> Any:
        """Lay out the parameters for the passes of one update; what it returns is valid until the next `prepare`."""

    @abstractmethod
    def forward(self, weights: Any, inputs: Ids | Floats, state: Floats) -> tuple[Floats, Floats, Any]:
        """Run over a window.

        weights: of `prepare`. inputs: ids (T, B), each a one-hot vector of size D, or vectors (T, B, D). state: as
        `zero_state` has it. Returns the outputs (T, B, output size), the state after the last step, and the tape for
        `backward`. The outputs are a buffer: valid until the next forward of this cell, and not to be changed.
        """

    @abstractmethod
    def backward(self, weights: Any, tape: Any, doutputs: Floats, grads: Mapping[str, Floats]) -> Floats | None:
        """The way back through a window, by the chain rule, truncated at its first step.

        doutputs: slope of the loss in every output. The gradients of the parameters are written to `grads`.
        Returns the slope in the inputs (T, B, D), a buffer, or None for ids. A tape serves once.
        """

    @abstractmethod
    def activations(self, tape: Any) -> dict[str, Floats]:
        """What a window made the units do, by name, each (T, B, H): views of the tape, which backward consumes.

        "h" is the state after every step; the others are named as in the cell's equations.
        """

    @abstractmethod
    def stepper(self, weights: Any, batch: int) -> Step:
        """One time step of `forward`, as a function, for who writes a character at a time; no tape is kept.

        It takes x, ids (B,) or vectors (B, D), and the state, and returns the output (B, output size) and the next
        state, both new arrays. It stays valid when other weights are prepared.
        """

    def _copy(self, name: str, array: Floats) -> Floats:
        """A copy of an array in a buffer of that name: with a large alphabet, fresh ones cost more than the step."""
        copy = self._prepared(name, *array.shape)
        copy[...] = array
        return copy


def planes(packed: Floats, gates: int) -> Floats:
    """Gates packed side by side in the last axis, (..., G H), as a view that has each for itself, (G, ..., H)."""
    return np.moveaxis(packed.reshape(*packed.shape[:-1], gates, -1), -2, 0)


def by_gate(gates: Floats) -> Floats:
    """The view (G, T, B, H) of gates (T, G, B, H): every gate over all time steps."""
    return gates.swapaxes(0, 1)


def by_step(slopes: Floats) -> Floats:
    """The view (T, G, B, H) of slopes (G, T, B, H): all gates of one time step after the other."""
    return slopes.swapaxes(0, 1)


def backwards(*arrays: Floats) -> Iterator[tuple[Floats, ...]]:
    """Arrays (T, ...) side by side, one time step after the other, the last one first."""
    return zip(*(array[::-1] for array in arrays), strict=True)
