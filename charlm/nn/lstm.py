"""The long short-term memory over a whole window: equations, forward, and backward right under it.

    i  = sigmoid(x W_i + h U_i + b_i)           input gate
    f  = sigmoid(x W_f + h U_f + b_f)           forget gate
    o  = sigmoid(x W_o + h U_o + b_o)           output gate
    g  = tanh(x W_g + h U_g + b_g)              candidate
    c' = f * c + i * g                          cell state
    h' = o * tanh(c')

Hochreiter & Schmidhuber 1997, with the forget gate of Gers, Schmidhuber & Cummins 2000.
T time steps, B parallel sequences, D inputs, H units. Gates are packed in the order i, f, o, g: W (D, 4H), U (H, 4H),
b (4H,). The state is (2, B, H): h, then c.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from charlm.arrays import Buffers, Floats, Ids, time_pieces
from charlm.nn.cell import (
    Cell,
    Step,
    by_gate,
    by_step,
    carried,
    carry_backwards,
    last_step_first,
    unpack_gates,
)
from charlm.nn.embedding import input_gradient, project, project_backward, step_projection
from charlm.nn.gates import sigmoid_derivative, sigmoid_of_double, tanh_derivative
from charlm.nn.initialisation import orthogonal_gates, uniform_fan_in
from charlm.nn.products import times


class Weights(NamedTuple):
    """Copies of the parameters for the passes of one update, one matrix per gate."""

    W: Floats  # (4, D, H), i, f and o halved: see sigmoid_of_double
    b: Floats  # (4, H),    i, f and o halved
    U: Floats  # (4, H, H), i, f and o halved
    W_given: Floats  # (4, D, H)
    U_given: Floats  # (4, H, H)


class Tape(NamedTuple):
    """What forward leaves for backward."""

    mark: object
    inputs: Ids | Floats  # (T, B) or (T, B, D)
    gates: Floats  # (T, 4, B, H): i, f, o and g
    h_before: Floats  # (T, B, H): the h that every step reads
    c_before: Floats  # (T, B, H)
    h: Floats  # (T, B, H): after every step
    c: Floats  # (T, B, H)
    carry: Floats | None  # (T, B, 1)
    tanh_c: Floats  # (T, B, H): of c after every step


class LSTM(Cell):
    """One LSTM layer, D inputs to H units."""

    gates = ("i", "f", "o")
    scalars_per_unit = 12  # i, f, o and g; h, c and tanh(c); the gradients of i, f, o and g, and of c'

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the parameters."""
        D, H = self.input_size, self.hidden_size
        return {"W": (D, 4 * H), "U": (H, 4 * H), "b": (4 * H,)}

    def initialise(self, params: Mapping[str, Floats], rng: np.random.Generator) -> None:
        """W uniform, each gate's U orthogonal, b zero except b_f = 1, which favours remembering.

        Jozefowicz, Zaremba & Sutskever 2015 found that this bias matters more than most changes of the cell.
        """
        H = self.hidden_size
        params["W"][...] = uniform_fan_in(rng, params["W"].shape, fan_in=H)
        orthogonal_gates(rng, params["U"])
        params["b"][...] = 0
        params["b"][H : 2 * H] = 1

    def zero_state(self, batch: int) -> Floats:
        """The state at the start of a text: zeros (2, B, H)."""
        return np.zeros((2, batch, self.hidden_size), self.dtype)

    def prepare(self, params: Mapping[str, Floats]) -> Weights:
        """The weights for the passes of one update."""
        W, U, b = (self._copy(name, unpack_gates(params[name], 4)) for name in ("W", "U", "b"))
        for array in (W, U, b):
            array[:3] *= 0.5
        W_given, U_given = (self._copy(f"{name} given", unpack_gates(params[name], 4)) for name in ("W", "U"))
        return Weights(W, b, U, W_given, U_given)

    def forward(
        self, weights: Weights, inputs: Ids | Floats, state: Floats, carry: Floats | None = None
    ) -> tuple[Floats, Floats, Tape]:
        """Run over a window; the outputs are h, the state is h and c (2, B, H)."""
        mark = self._record()
        T, B = inputs.shape[:2]
        H = self.hidden_size
        gates = project(inputs, weights.W, weights.b, self._buffers("gates", T, 4, B, H), self._buffers)
        h_all, c_all = (self._buffers(name, T + 1, B, H) for name in ("h", "c"))
        tanh_c, new = self._buffers("tanh_c", T, B, H), self._buffers("new", B, H)
        times_U = times("U", weights.U, B, self._buffers)

        h_all[0], c_all[0] = state
        h_before, c_before = self._before("h", h_all, carry), self._before("c", c_all, carry)
        read = zip(carried(h_all, carry, h_before), carried(c_all, carry, c_before), strict=True)
        states = ((h, h_next, c, c_next) for (h, c), h_next, c_next in zip(read, h_all[1:], c_all[1:], strict=True))
        steps = zip(states, gates, gates[:, :3], *by_gate(gates), tanh_c, strict=True)
        for (h, h_next, c, c_next), a, ifo, i, f, o, g, tanh_c_next in steps:
            a += times_U(h)
            sigmoid_of_double(ifo)
            np.tanh(g, out=g)

            np.multiply(f, c, out=c_next)
            c_next += np.multiply(i, g, out=new)
            np.tanh(c_next, out=tanh_c_next)
            np.multiply(o, tanh_c_next, out=h_next)
        tape = Tape(mark, inputs, gates, h_before, c_before, h_all[1:], c_all[1:], carry, tanh_c)
        return tape.h, np.stack([h_all[T], c_all[T]]), tape

    def activations(self, tape: Tape) -> dict[str, Floats]:
        """h, c, tanh_c, i, f, o and g (T, B, H) of a window; h, c and tanh_c after every step."""
        self.check_tape(tape)
        states = {"h": tape.h, "c": tape.c, "tanh_c": tape.tanh_c}
        return {**states, **dict(zip("ifog", by_gate(tape.gates), strict=True))}

    def stepper(self, weights: Weights, batch: int) -> Step:
        """One time step; the output is h of the next state."""
        x_W = step_projection(weights.W, weights.b)
        times_U = times("U", weights.U, batch, Buffers(self.dtype))

        def step(x: Ids | Floats, state: Floats) -> tuple[Floats, Floats]:
            a, after = x_W(x), np.empty_like(state)
            h_next, c_next = after[0], after[1]
            a += times_U(state[0])
            sigmoid_of_double(a[:3])
            i, f, o, g = a[0], a[1], a[2], a[3]
            np.tanh(g, out=g)

            np.multiply(f, state[1], out=c_next)
            c_next += np.multiply(i, g, out=g)
            np.multiply(o, np.tanh(c_next, out=h_next), out=h_next)
            return h_next, after

        return step

    def backward(self, weights: Weights, tape: Tape, doutputs: Floats, grads: Mapping[str, Floats]) -> Floats | None:
        """The backward pass. With dh and dc the gradients in h' and c', dc from the step after, and a_i, a_f, a_o,
        a_g the arguments of sigmoid and tanh:

        dc  += dh * o (1 - tanh(c')^2)          da_o = dh * tanh(c') * o (1 - o)
        da_i = dc * g * i (1 - i)               da_f = dc * c * f (1 - f)        da_g = dc * i * (1 - g g)
        dc  <- dc * f                           dh  <- the sum of da U^T over the gates
        """
        self._use(tape)
        T, B, H = doutputs.shape
        da_all, dc_dh_all = self._derivatives(tape)
        times_U_T = times("U_T", weights.U_given.swapaxes(1, 2), B, self._buffers, each=True)
        dh, dc, via_h = (self._buffers(name, B, H) for name in ("dh", "dc", "via_h"))
        dh[...] = 0
        dc[...] = 0
        steps = last_step_first(doutputs, dc_dh_all, tape.gates[:, 1], by_step(da_all), *da_all)
        factors = carry_backwards(tape.carry)
        for (doutput, dc_dh, f, da, da_i, da_f, da_o, da_g), factor in zip(steps, factors, strict=False):
            dh += doutput
            dc += np.multiply(dh, dc_dh, out=via_h)
            da_i *= dc
            da_f *= dc
            da_o *= dh
            da_g *= dc
            dc *= f
            np.sum(times_U_T(da), axis=0, out=dh)
            if factor is not None:
                dc *= factor
                dh *= factor

        np.matmul(tape.h_before.reshape(T * B, H).T, da_all.reshape(4, T * B, H), out=unpack_gates(grads["U"], 4))
        project_backward(tape.inputs, da_all, unpack_gates(grads["W"], 4), unpack_gates(grads["b"], 4))
        return input_gradient(tape.inputs, da_all, weights.W_given, self._buffers)

    def _derivatives(self, tape: Tape) -> tuple[Floats, Floats]:
        """What dc (for o: dh) is multiplied with, (4, T, B, H), and dc'/dh' = o (1 - tanh(c')^2), (T, B, H)."""
        T, G, B, H = tape.gates.shape
        derivatives, dc_dh = self._buffers("derivatives", G, T, B, H), self._buffers("dc_dh", T, B, H)
        for piece in time_pieces(T, B * H):
            i, f, o, g = by_gate(tape.gates[piece])
            d_i, d_f, d_o, d_g = derivatives[:, piece]
            sigmoid_derivative(i, out=d_i)
            d_i *= g
            sigmoid_derivative(f, out=d_f)
            d_f *= tape.c_before[piece]
            sigmoid_derivative(o, out=d_o)
            d_o *= tape.tanh_c[piece]
            tanh_derivative(g, out=d_g)
            d_g *= i
            tanh_derivative(tape.tanh_c[piece], out=dc_dh[piece])
            dc_dh[piece] *= o
        return derivatives, dc_dh
