"""The plain recurrent network over a whole window: equation, forward, and backward right under it.

    h' = f(x W + h U + b)        f = tanh or relu

Elman, "Finding structure in time", 1990. It has no gates, so its slopes shrink or grow with every step; the GRU and
the LSTM exist because of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from charlm.nn.arrays import Buffers, Floats, Ids, time_pieces
from charlm.nn.cell import Cell, Step
from charlm.nn.embedding import input_slope, project, project_back, step_projection
from charlm.nn.gates import tanh_slope
from charlm.nn.init import orthogonal, uniform_fan_in
from charlm.nn.products import times


class Weights(NamedTuple):
    """What one update's forward and backward passes read: copies."""

    W: Floats  # (D, H)
    b: Floats  # (H,)
    U: Floats  # (H, H)


class Tape(NamedTuple):
    """What forward leaves for backward; valid until the cell's next forward."""

    inputs: Ids | Floats  # (T, B) or (T, B, D)
    states: Floats  # (T + 1, B, H): h before the first step, and after every step


class RNN(Cell):
    """One plain recurrent layer, D inputs to H units, with `activation` "tanh" or "relu".

    Memory per window of T steps and B streams, kept from window to window: T B (2 H) scalars forward and backward
    (states H, slopes H), and T B D more for the gradient of vector inputs.
    """

    def __init__(
        self, input_size: int, hidden_size: int, dtype: DTypeLike = np.float32, activation: str = "tanh"
    ) -> None:
        super().__init__(input_size, hidden_size, dtype)
        self.activation = activation

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the parameters."""
        D, H = self.input_size, self.hidden_size
        return {"W": (D, H), "U": (H, H), "b": (H,)}

    def initialise(self, params: Mapping[str, Floats], rng: np.random.Generator) -> None:
        """W uniform, U orthogonal, b zero. With relu, which does not bound the state, U is half of that: it shrinks."""
        params["W"][...] = uniform_fan_in(rng, params["W"].shape, fan_in=self.hidden_size)
        params["U"][...] = orthogonal(rng, self.hidden_size) * (0.5 if self.activation == "relu" else 1)
        params["b"][...] = 0

    def prepare(self, params: Mapping[str, Floats]) -> Weights:
        """Lay out the parameters for the passes of one update."""
        W, U, b = (self._copy(name, params[name]) for name in ("W", "U", "b"))
        return Weights(W, b, U)

    def forward(self, weights: Weights, inputs: Ids | Floats, state: Floats) -> tuple[Floats, Floats, Tape]:
        """Run over a window; the outputs are h, the state is h (B, H)."""
        T, B = inputs.shape[:2]
        states = self._buffers("states", T + 1, B, self.hidden_size)
        times_U = times("U", weights.U, B, self._buffers)
        project(inputs, weights.W[None], weights.b[None], states[1:, None], self._buffers)
        states[0] = state
        for t in range(T):
            a = states[t + 1]
            a += times_U(states[t])
            if self.activation == "tanh":
                np.tanh(a, out=a)
            else:
                np.maximum(a, 0, out=a)
        return states[1:], states[T].copy(), Tape(inputs, states)

    def activations(self, tape: Tape) -> dict[str, Floats]:
        """h (T, B, H) of a window."""
        return {"h": tape.states[1:]}

    def stepper(self, weights: Weights, batch: int) -> Step:
        """One time step; the output is the next state."""
        x_W = step_projection(weights.W[None], weights.b[None])
        times_U = times("U", weights.U, batch, Buffers(self.dtype))

        def step(x: Ids | Floats, h: Floats) -> tuple[Floats, Floats]:
            a = x_W(x)[0]
            a += times_U(h)
            h = np.tanh(a, out=a) if self.activation == "tanh" else np.maximum(a, 0, out=a)
            return h, h

        return step

    def backward(self, weights: Weights, tape: Tape, doutputs: Floats, grads: Mapping[str, Floats]) -> Floats | None:
        """The way back through a window. With dh the slope in h':

        da  = dh * f'(a)           tanh' = 1 - h' h',   relu' = 1 where h' > 0
        dh <- da U^T
        """
        inputs, states = tape
        T, B, H = doutputs.shape
        da = self._slopes(states[1:])
        times_U_T = times("U_T", weights.U.T, B, self._buffers)
        dh = self._buffers("dh", B, H)
        dh[...] = 0
        for t in reversed(range(T)):
            dh += doutputs[t]
            da[t] *= dh
            dh = times_U_T(da[t])

        np.matmul(states[:T].reshape(T * B, H).T, da.reshape(T * B, H), out=grads["U"])
        project_back(inputs, da[None], grads["W"][None], grads["b"][None])
        return input_slope(inputs, da[None], weights.W[None], self._buffers)

    def _slopes(self, h: Floats) -> Floats:
        """f'(a) for the whole window (T, B, H), in terms of h = f(a)."""
        T, B, H = h.shape
        slopes = self._buffers("slopes", T, B, H)
        for piece in time_pieces(T, B * H):
            if self.activation == "tanh":
                tanh_slope(h[piece], out=slopes[piece])
            else:
                np.greater(h[piece], 0, out=slopes[piece], casting="unsafe")
        return slopes
