"""The gated recurrent unit over a whole window: equations, forward, and backward right under it.

    z  = sigmoid(x W_z + h U_z + b_z)           update gate
    r  = sigmoid(x W_r + h U_r + b_r)           reset gate
    c  = tanh(x W_c + (r * h) U_c + b_c)        candidate
    h' = (1 - z) * h + z * c                    z weights the candidate, always

Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", 2014, with z where they write 1 - z.
Gates are packed in the order z, r, c: W (D, 3H), U (H, 3H), b (3H,).
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

    W: Floats  # (3, D, H), z and r halved: see sigmoid_of_double
    b: Floats  # (3, H),    z and r halved
    U: Floats  # (3, H, H), z and r halved
    W_given: Floats  # (3, D, H)
    U_given: Floats  # (3, H, H)


class Tape(NamedTuple):
    """What forward leaves for backward; valid until the cell's next forward, consumed by backward."""

    inputs: Ids | Floats  # (T, B) or (T, B, D)
    gates: Floats  # (T, 3, B, H): z, r and c
    reset: Floats  # (T, B, H): r * h
    states: Floats  # (T + 1, B, H): h before the first step, and after every step


class GRU(Cell):
    """One GRU layer, D inputs to H units, reset applied before the recurrent matmul.

    Memory per window of T steps and B streams, kept from window to window: T B (8 H) scalars forward and backward
    (gates 3H, r*h H, states H, gate slopes 3H), and T B D more for the gradient of vector inputs.
    """

    gates = ("z", "r")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the parameters."""
        D, H = self.input_size, self.hidden_size
        return {"W": (D, 3 * H), "U": (H, 3 * H), "b": (3 * H,)}

    def initialise(self, params: Mapping[str, Floats], rng: np.random.Generator) -> None:
        """W uniform, each gate's U orthogonal, b zero (b_z = -1, remember at first, learned more slowly here)."""
        params["W"][...] = uniform_fan_in(rng, params["W"].shape, fan_in=self.hidden_size)
        orthogonal_gates(rng, params["U"])
        params["b"][...] = 0

    def prepare(self, params: Mapping[str, Floats]) -> Weights:
        """Lay out the parameters for the passes of one update."""
        W, U, b = (self._copy(name, planes(params[name], 3)) for name in ("W", "U", "b"))
        for array in (W, U, b):
            array[:2] *= 0.5
        W_given, U_given = (self._copy(f"{name} given", planes(params[name], 3)) for name in ("W", "U"))
        return Weights(W, b, U, W_given, U_given)

    def forward(self, weights: Weights, inputs: Ids | Floats, state: Floats) -> tuple[Floats, Floats, Tape]:
        """Run over a window; the outputs are h, the state is h (B, H)."""
        T, B = inputs.shape[:2]
        H = self.hidden_size
        gates = project(inputs, weights.W, weights.b, self._buffers("gates", T, 3, B, H), self._buffers)
        reset = self._buffers("reset", T, B, H)
        states = self._buffers("states", T + 1, B, H)
        times_U_zr = times("U_zr", weights.U[:2], B, self._buffers)
        times_U_c = times("U_c", weights.U[2], B, self._buffers)

        states[0] = state
        steps = zip(states, states[1:], gates[:, :2], *by_gate(gates), reset, strict=False)
        for h, h_next, zr, z, r, c, rh in steps:
            zr += times_U_zr(h)
            sigmoid_of_double(zr)
            np.multiply(r, h, out=rh)
            c += times_U_c(rh)
            np.tanh(c, out=c)
            mix(z, c, h, out=h_next)
        return states[1:], states[T].copy(), Tape(inputs, gates, reset, states)

    def activations(self, tape: Tape) -> dict[str, Floats]:
        """h, z, r and c (T, B, H) of a window."""
        return {"h": tape.states[1:], **dict(zip("zrc", by_gate(tape.gates), strict=True))}

    def stepper(self, weights: Weights, batch: int) -> Step:
        """One time step; the output is the next state."""
        own = Buffers(self.dtype)
        x_W = step_projection(weights.W, weights.b)
        times_U_zr = times("U_zr", weights.U[:2], batch, own)
        times_U_c = times("U_c", weights.U[2], batch, own)
        rh = own("rh", batch, self.hidden_size)

        def step(x: Ids | Floats, h: Floats) -> tuple[Floats, Floats]:
            a = x_W(x)
            zr, c = a[:2], a[2]
            zr += times_U_zr(h)
            sigmoid_of_double(zr)
            c += times_U_c(np.multiply(zr[1], h, out=rh))
            np.tanh(c, out=c)
            h = mix(zr[0], c, h, out=np.empty_like(h))
            return h, h

        return step

    def backward(self, weights: Weights, tape: Tape, doutputs: Floats, grads: Mapping[str, Floats]) -> Floats | None:
        """The way back through a window. With dh the slope in h':

        da_z = dh * (c - h) * z (1 - z)            da_c = dh * z * (1 - c c)
        drh  = da_c U_c^T                          da_r = drh * h * r (1 - r)
        dh  <- dh * (1 - z) + drh * r + da_z U_z^T + da_r U_r^T
        """
        inputs, gates, reset, states = tape
        T, B, H = doutputs.shape
        da = gate_slopes(gates, states, states, self._buffers)
        keep_all, r_all, _ = by_gate(gates)  # keep = 1 - z, left there by gate_slopes
        U_T = weights.U_given.swapaxes(1, 2)
        times_U_zr_T = times("U_zr_T", U_T[:2], B, self._buffers, each=True)
        times_U_c_T = times("U_c_T", U_T[2], B, self._buffers)

        dh = self._buffers("dh", B, H)
        dh[...] = 0
        steps = backwards(doutputs, *da, by_step(da[:2]), keep_all, r_all)
        for doutput, da_z, da_r, da_c, da_zr, keep, r in steps:
            dh += doutput
            da_z *= dh
            da_c *= dh
            drh = times_U_c_T(da_c)
            da_r *= drh
            via_zr = times_U_zr_T(da_zr)

            dh *= keep
            drh *= r
            dh += drh
            dh += via_zr[0]
            dh += via_zr[1]

        da_rows, dU = da.reshape(3, T * B, H), planes(grads["U"], 3)
        h_rows, rh_rows = states[:T].reshape(T * B, H), reset.reshape(T * B, H)
        np.matmul(h_rows.T, da_rows[:2], out=dU[:2])
        np.matmul(rh_rows.T, da_rows[2], out=dU[2])
        project_back(inputs, da, planes(grads["W"], 3), planes(grads["b"], 3))
        return input_slope(inputs, da, weights.W_given, self._buffers)


def mix(z: Floats, c: Floats, h: Floats, out: Floats) -> Floats:
    """h' = (1 - z) * h + z * c, computed as h + z * (c - h); all (B, H)."""
    np.subtract(c, h, out=out)
    out *= z
    out += h
    return out


def gate_slopes(gates: Floats, states: Floats, beside_r: Floats, buffers: Buffers) -> Floats:
    """What the slopes of a step are multiplied with, (3, T, B, H), for the whole window at once:

    (h' - h) * (1 - z)        beside_r * r (1 - r)        z * (1 - c c)

    where h' - h = z * (c - h). gates: z, r, c (T, 3, B, H), where z is turned into 1 - z. beside_r (T or more, B, H):
    what r multiplies, h itself (reset before) or its image (reset after).
    """
    T, G, B, H = gates.shape
    slopes = buffers("slopes", G, T, B, H)
    for piece in time_pieces(T, B * H):
        z, r, c = by_gate(gates[piece])
        s_z, s_r, s_c = slopes[:, piece]
        tanh_slope(c, out=s_c)
        s_c *= z
        sigmoid_slope(r, out=s_r)
        s_r *= beside_r[piece]
        keep = np.subtract(1, z, out=z)
        np.subtract(states[1:][piece], states[piece], out=s_z)
        s_z *= keep
    return slopes
