"""The plain recurrent network over a whole window: equation, forward, and backward right under it.

    h' = f(x W + h U + b)        f = tanh or relu

Elman, "Finding structure in time", 1990. Without gates its gradients shrink or grow with every step; the GRU and the
LSTM were made to avoid that. T time steps, B parallel sequences, D inputs, H units: W (D, H), U (H, H), b (H,).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from charlm.arrays import Buffers, Floats, Ids, time_pieces
from charlm.nn.cell import Cell, Step, carried, carry_backwards, last_step_first
from charlm.nn.embedding import input_gradient, project, project_backward, step_projection
from charlm.nn.gates import tanh_derivative
from charlm.nn.initialisation import orthogonal, uniform_fan_in
from charlm.nn.products import times


class Weights(NamedTuple):
    """Copies of the parameters for the passes of one update."""

    W: Floats  # (D, H)
    b: Floats  # (H,)
    U: Floats  # (H, H)


class Tape(NamedTuple):
    """What forward leaves for backward."""

    mark: object
    inputs: Ids | Floats  # (T, B) or (T, B, D)
    before: Floats  # (T, B, H): the h that every step reads
    after: Floats  # (T, B, H): h after every step
    carry: Floats | None  # (T, B, 1)


class RNN(Cell):
    """One plain recurrent layer, D inputs to H units, with `activation` "tanh" or "relu"."""

    scalars_per_unit = 2  # h, and the gradient of its argument

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
        """The weights for the passes of one update."""
        W, U, b = (self._copy(name, params[name]) for name in ("W", "U", "b"))
        return Weights(W, b, U)

    def forward(
        self, weights: Weights, inputs: Ids | Floats, state: Floats, carry: Floats | None = None
    ) -> tuple[Floats, Floats, Tape]:
        """Run over a window; the outputs are h, the state is h (B, H)."""
        mark = self._record()
        T, B = inputs.shape[:2]
        states = self._buffers("states", T + 1, B, self.hidden_size)
        times_U = times("U", weights.U, B, self._buffers)
        project(inputs, weights.W[None], weights.b[None], states[1:, None], self._buffers)
        states[0] = state
        before, after = self._before("h", states, carry), states[1:]
        for h, a in zip(carried(states, carry, before), after, strict=True):
            a += times_U(h)
            if self.activation == "tanh":
                np.tanh(a, out=a)
            else:
                np.maximum(a, 0, out=a)
        return after, states[T].copy(), Tape(mark, inputs, before, after, carry)

    def activations(self, tape: Tape) -> dict[str, Floats]:
        """h (T, B, H) of a window."""
        self.check_tape(tape)
        return {"h": tape.after}

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
        """The backward pass. With dh the gradient in h', and a the argument of f:

        da  = dh * f'(a)           tanh' = 1 - h' h',   relu' = 1 where h' > 0
        dh <- da U^T
        """
        self._use(tape)
        _, inputs, before, after, carry = tape
        T, B, H = doutputs.shape
        da = self._derivatives(after)
        times_U_T = times("U_T", weights.U.T, B, self._buffers)
        dh = self._buffers("dh", B, H)
        dh[...] = 0
        for (doutput, da_t), factor in zip(last_step_first(doutputs, da), carry_backwards(carry), strict=False):
            dh += doutput
            da_t *= dh
            dh = times_U_T(da_t)
            if factor is not None:
                dh *= factor

        np.matmul(before.reshape(T * B, H).T, da.reshape(T * B, H), out=grads["U"])
        project_backward(inputs, da[None], grads["W"][None], grads["b"][None])
        return input_gradient(inputs, da[None], weights.W[None], self._buffers)

    def _derivatives(self, h: Floats) -> Floats:
        """f'(a) for the whole window (T, B, H), in terms of h = f(a)."""
        T, B, H = h.shape
        derivatives = self._buffers("derivatives", T, B, H)
        for piece in time_pieces(T, B * H):
            if self.activation == "tanh":
                tanh_derivative(h[piece], out=derivatives[piece])
            else:
                np.greater(h[piece], 0, out=derivatives[piece], casting="unsafe")
        return derivatives
