"""The interface of a recurrent cell, and what all cells share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import repeat
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from charlm.arrays import Buffers, Floats, Ids

Step: TypeAlias = Callable[[Ids | Floats, Floats], tuple[Floats, Floats]]


class Cell(ABC):
    """One recurrent layer over a window of T time steps and B parallel sequences, D inputs to H units.

    A cell holds sizes and buffers, no parameters and no state.

    causal: whether no output depends on a later input. A network that predicts the next character must be causal.
    gates: which of `activations` are gates, with values from 0, closed, to 1, open.
    scalars_per_unit: memory of a window, forward and backward, kept from window to window: T B H times this number of
    scalars, and T B D more for the gradient of vector inputs.
    """

    causal = True
    gates: tuple[str, ...] = ()
    scalars_per_unit: int

    def __init__(self, input_size: int, hidden_size: int, dtype: DTypeLike = np.float32) -> None:
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.dtype = np.dtype(dtype)
        self._buffers = Buffers(dtype)  # of a window
        self._prepared = Buffers(dtype)  # copies of the weights
        self._mark: object = None  # of the only valid tape

    @property
    def output_size(self) -> int:
        """The size of an output: H, except for cells made of several."""
        return self.hidden_size

    @property
    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the parameters. The one that multiplies the inputs is called W and has D rows."""

    @abstractmethod
    def initialise(self, params: Mapping[str, Floats], rng: np.random.Generator) -> None:
        """Fill `params` as they are before training."""

    def zero_state(self, batch: int) -> Floats:
        """The state at the start of a text: zeros (B, H)."""
        return np.zeros((batch, self.hidden_size), self.dtype)

    @abstractmethod
    def prepare(self, params: Mapping[str, Floats]) -> Any:
        """The weights for the passes of one update: copies of the parameters, valid until the next `prepare`."""

    @abstractmethod
    def forward(
        self, weights: Any, inputs: Ids | Floats, state: Floats, carry: Floats | None = None
    ) -> tuple[Floats, Floats, Any]:
        """Run over a window.

        weights: from `prepare`. inputs: ids (T, B), each a one-hot vector of size D, or vectors (T, B, D). state: of
        the shape that `zero_state` has. carry: (T, B, 1), what the state is multiplied with before a step reads it: 0
        where a record begins, else 1; None for 1 everywhere. Returns the outputs (T, B, output size), the state after
        the last step, and the tape for `backward`. The outputs are a buffer: valid until the next forward of this cell,
        and read-only for the caller.
        """

    @abstractmethod
    def backward(self, weights: Any, tape: Any, doutputs: Floats, grads: Mapping[str, Floats]) -> Floats | None:
        """Backpropagation through a window, truncated at its first step.

        doutputs: gradient of the loss in the outputs. The gradients of the parameters are written to `grads`.
        Returns the gradient in the inputs (T, B, D), a buffer, or None for ids. Raises RuntimeError, before anything
        is written, for a tape that backward has used or a later forward of this cell has overwritten.
        """

    @abstractmethod
    def activations(self, tape: Any) -> dict[str, Floats]:
        """States and gates of a window by name, each (T, B, H): views of the tape, which `backward` overwrites.

        "h" is the state after every step; the others are named as in the cell's equations. Raises RuntimeError for
        the tapes that `backward` refuses.
        """

    @abstractmethod
    def stepper(self, weights: Any, batch: int) -> Step:
        """One time step of `forward` as a function, for writing a character at a time; it keeps no tape.

        It takes x, ids (B,) or vectors (B, D), and the state, and returns the output (B, output size) and the next
        state, both new arrays. It stays valid when other weights are prepared.
        """

    def check_tape(self, tape: Any) -> None:
        """Raise RuntimeError unless the tape is that of this cell's last forward and `backward` has not used it."""
        if tape.mark is not self._mark:
            raise RuntimeError(
                "expected the tape of this cell's last forward, once; this one was used by backward or overwritten by "
                "a later forward: run forward again and use the tape that it returns"
            )

    def _record(self) -> object:
        """Make all earlier tapes invalid; returns the mark that the next tape carries."""
        self._mark = object()
        return self._mark

    def _use(self, tape: Any) -> None:
        """Check the tape, and make it invalid for any later use."""
        self.check_tape(tape)
        self._mark = None

    def _before(self, name: str, states: Floats, carry: Floats | None) -> Floats:
        """Memory for the states that the steps read, (T, B, H), which `carried` fills: that of states if possible."""
        before = states[:-1]
        return before if carry is None else self._buffers(f"{name} before", *before.shape)

    def _copy(self, name: str, array: Floats) -> Floats:
        """A copy of an array in a buffer: with a large alphabet, allocating a new one costs more than a time step."""
        copy = self._prepared(name, *array.shape)
        copy[...] = array
        return copy


def unpack_gates(packed: Floats, gates: int) -> Floats:
    """Gates packed side by side in the last axis, (..., G H), as a view with one array per gate, (G, ..., H)."""
    return np.moveaxis(packed.reshape(*packed.shape[:-1], gates, -1), -2, 0)


def by_gate(gates: Floats) -> Floats:
    """The view (G, T, B, H) of gates (T, G, B, H): every gate over all time steps."""
    return gates.swapaxes(0, 1)


def by_step(gradients: Floats) -> Floats:
    """The view (T, G, B, H) of gradients (G, T, B, H): all gates of every time step."""
    return gradients.swapaxes(0, 1)


def carried(states: Floats, carry: Floats | None, before: Floats) -> Iterator[Floats]:
    """The state that each step reads, (B, H), written to `before` (T, B, H): that after the step before, times carry.

    states: (T + 1, B, H), of which each is read when its step begins.
    """
    if carry is None:
        yield from before
    else:
        for state, factor, out in zip(states, carry, before, strict=False):
            yield np.multiply(state, factor, out=out)


def carry_backwards(carry: Floats | None) -> Iterable[Floats | None]:
    """The factor of each step, (B, 1), from the last to the first; None without end for a window without records."""
    return repeat(None) if carry is None else carry[::-1]


def last_step_first(*arrays: Floats) -> Iterator[tuple[Floats, ...]]:
    """Iterate over the time steps of several arrays (T, ...) together, from the last to the first."""
    return zip(*(array[::-1] for array in arrays), strict=True)
