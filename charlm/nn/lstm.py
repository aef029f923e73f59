"""The long short-term memory over a whole window: equations, forward, and backward right under it.

    i  = sigmoid(x W_i + h U_i + b_i)           input gate
    f  = sigmoid(x W_f + h U_f + b_f)           forget gate
    o  = sigmoid(x W_o + h U_o + b_o)           output gate
    g  = tanh(x W_g + h U_g + b_g)              candidate
    c' = f * c + i * g
    h' = o * tanh(c')

Hochreiter & Schmidhuber 1997, with the forget gate of Gers, Schmidhuber & Cummins 2000.
Gates are packed in the order i, f, o, g: W (D, 4H), U (H, 4H), b (4H,). The state is (2, B, H): h, then c.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from charlm.nn.arrays import Buffers, Floats, Ids, time_pieces
from charlm.nn.cell import Cell, Step, backwards, by_gate, by_step, planes
from charlm.nn.embedding import input_slope, project, project_back, step_projection
from charlm.nn.gates import sigmoid_of_double, sigmoid_slope, tanh_slope
from charlm.nn.init import orthogonal_gates, uniform_fan_in
from charlm.nn.products import times


class Weights(NamedTuple):
    """What one update's forward and backward passes read: copies in which every gate is a matrix for itself."""

    W: Floats  # (4, D, H), i, f and o halved: see sigmoid_of_double
    b: Floats  # (4, H),    i, f and o halved
    U: Floats  # (4, H, H), i, f and o halved
    W_given: Floats  # (4, D, H)
    U_given: Floats  # (4, H, H)


class Tape(NamedTuple):
    """What forward leaves for backward; valid until the cell's next forward, consumed by backward."""

    inputs: Ids | Floats  # (T, B) or (T, B, D)
    gates: Floats  # (T, 4, B, H): i, f, o and g
    h: Floats  # (T + 1, B, H): before the first step, and after every step
    c: Floats  # (T + 1, B, H): the same
    tanh_c: Floats  # (T, B, H): of c after every step


class LSTM(Cell):
    """One LSTM layer, D inputs to H units.

    Memory per window of T steps and B streams, kept from window to window: T B (12 H) scalars forward and backward
    (gates 4H, h, c and tanh c H each, slopes 5H), and T B D more for the gradient of vector inputs.
    """

    gates = ("i", "f", "o")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the parameters."""
        D, H = self.input_size, self.hidden_size
        return {"W": (D, 4 * H), "U": (H, 4 * H), "b": (4 * H,)}

    def initialise(self, params: Mapping[str, Floats], rng: np.random.Generator) -> None:
        """W uniform, each gate's U orthogonal, b zero but for b_f = 1: remember at first.

        Jozefowicz, Zaremba & Sutskever 2015 found that bias to matter more than most changes of the cell.
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
        """Lay out the parameters for the passes of one update."""
        W, U, b = (self._copy(name, planes(params[name], 4)) for name in ("W", "U", "b"))
        for array in (W, U, b):
            array[:3] *= 0.5
        W_given, U_given = (self._copy(f"{name} given", planes(params[name], 4)) for name in ("W", "U"))
        return Weights(W, b, U, W_given, U_given)

    def forward(self, weights: Weights, inputs: Ids | Floats, state: Floats) -> tuple[Floats, Floats, Tape]:
        """Run over a window; the outputs are h, the state is h and c (2, B, H)."""
        T, B = inputs.shape[:2]
        H = self.hidden_size
        gates = project(inputs, weights.W, weights.b, self._buffers("gates", T, 4, B, H), self._buffers)
        h_all, c_all = (self._buffers(name, T + 1, B, H) for name in ("h", "c"))
        tanh_c, new = self._buffers("tanh_c", T, B, H), self._buffers("new", B, H)
        times_U = times("U", weights.U, B, self._buffers)

        h_all[0], c_all[0] = state
        states = zip(h_all, h_all[1:], c_all, c_all[1:], strict=False)
        steps = zip(states, gates, gates[:, :3], *by_gate(gates), tanh_c, strict=False)
        for (h, h_next, c, c_next), a, ifo, i, f, o, g, tanh_c_next in steps:
            a += times_U(h)
            sigmoid_of_double(ifo)
            np.tanh(g, out=g)

            np.multiply(f, c, out=c_next)
            c_next += np.multiply(i, g, out=new)
            np.tanh(c_next, out=tanh_c_next)
            np.multiply(o, tanh_c_next, out=h_next)
        return h_all[1:], np.stack([h_all[T], c_all[T]]), Tape(inputs, gates, h_all, c_all, tanh_c)

    def activations(self, tape: Tape) -> dict[str, Floats]:
        """h, c, tanh_c, i, f, o and g (T, B, H) of a window; h and the two of c after every step."""
        states = {"h": tape.h[1:], "c": tape.c[1:], "tanh_c": tape.tanh_c}
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
        """The way back through a window. With dh and dc the slopes in h' and c', dc from the step after:

        dc  += dh * o (1 - tanh(c')^2)          da_o = dh * tanh(c') * o (1 - o)
        da_i = dc * g * i (1 - i)               da_f = dc * c * f (1 - f)        da_g = dc * i * (1 - g g)
        dc  <- dc * f                           dh  <- the sum of da U^T over the gates
        """
        T, B, H = doutputs.shape
        da_all, dc_dh_all = self._slopes(tape)
        times_U_T = times("U_T", weights.U_given.swapaxes(1, 2), B, self._buffers, each=True)
        dh, dc, via_h = (self._buffers(name, B, H) for name in ("dh", "dc", "via_h"))
        dh[...] = 0
        dc[...] = 0
        steps = backwards(doutputs, dc_dh_all, tape.gates[:, 1], by_step(da_all), *da_all)
        for doutput, dc_dh, f, da, da_i, da_f, da_o, da_g in steps:
            dh += doutput
            dc += np.multiply(dh, dc_dh, out=via_h)
            da_i *= dc
            da_f *= dc
            da_o *= dh
            da_g *= dc
            dc *= f
            np.sum(times_U_T(da), axis=0, out=dh)

        np.matmul(tape.h[:T].reshape(T * B, H).T, da_all.reshape(4, T * B, H), out=planes(grads["U"], 4))
        project_back(tape.inputs, da_all, planes(grads["W"], 4), planes(grads["b"], 4))
        return input_slope(tape.inputs, da_all, weights.W_given, self._buffers)

    def _slopes(self, tape: Tape) -> tuple[Floats, Floats]:
        """What dc (for o: dh) is multiplied with, (4, T, B, H), and dc'/dh' = o (1 - tanh(c')^2), (T, B, H)."""
        T, G, B, H = tape.gates.shape
        slopes, dc_dh = self._buffers("slopes", G, T, B, H), self._buffers("dc_dh", T, B, H)
        for piece in time_pieces(T, B * H):
            i, f, o, g = by_gate(tape.gates[piece])
            s_i, s_f, s_o, s_g = slopes[:, piece]
            sigmoid_slope(i, out=s_i)
            s_i *= g
            sigmoid_slope(f, out=s_f)
            s_f *= tape.c[piece]
            sigmoid_slope(o, out=s_o)
            s_o *= tape.tanh_c[piece]
            tanh_slope(g, out=s_g)
            s_g *= i
            tanh_slope(tape.tanh_c[piece], out=dc_dh[piece])
            dc_dh[piece] *= o
        return slopes, dc_dh
