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
from charlm.nn.cell import Cell, gates_of
from charlm.nn.embedding import input_slope, project, project_back, project_step
from charlm.nn.gates import sigmoid_of_double, sigmoid_slope, tanh_slope
from charlm.nn.init import orthogonal_gates, uniform_fan_in


class Weights(NamedTuple):
    """What one update's forward and backward passes read: copies in the layout that makes each step cheap."""

    W: Floats  # (D, 3H), z and r halved: see sigmoid_of_double
    b: Floats  # (3H,),   z and r halved
    U_zr: Floats  # (H, 2H), halved
    U_c: Floats  # (H, H)
    W_T: Floats  # (3H, D), as given
    U_zr_T: Floats  # (2H, H), as given
    U_c_T: Floats  # (H, H), as given


class Tape(NamedTuple):
    """What forward leaves for backward; valid until the cell's next forward, consumed by backward."""

    inputs: Ids | Floats  # (T, B) or (T, B, D)
    gates: Floats  # (T, B, 3H): z, r and c
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
        H2 = 2 * self.hidden_size
        W, U, b = (self._copy(name, params[name]) for name in ("W", "U", "b"))
        for array in (W, U, b):
            array[..., :H2] *= 0.5
        return Weights(
            W=W,
            b=b,
            U_zr=U[:, :H2].copy(),
            U_c=U[:, H2:].copy(),
            W_T=self._copy("W_T", params["W"].T),
            U_zr_T=params["U"][:, :H2].T.copy(),
            U_c_T=params["U"][:, H2:].T.copy(),
        )

    def forward(self, weights: Weights, inputs: Ids | Floats, state: Floats) -> tuple[Floats, Floats, Tape]:
        """Run over a window; the outputs are h, the state is h (B, H)."""
        T, B = inputs.shape[:2]
        H = self.hidden_size
        gates = project(inputs, weights.W, weights.b, out=self._buffers("gates", T, B, 3 * H))
        reset = self._buffers("reset", T, B, H)
        states = self._buffers("states", T + 1, B, H)
        from_h = self._buffers("from_h", B, 2 * H)
        from_reset = self._buffers("from_reset", B, H)

        states[0] = state
        for t in range(T):
            h, h_next = states[t], states[t + 1]
            a_zr, a_c = gates[t, :, : 2 * H], gates[t, :, 2 * H :]

            a_zr += np.matmul(h, weights.U_zr, out=from_h)
            zr = sigmoid_of_double(a_zr)
            z, r = zr[:, :H], zr[:, H:]

            rh = np.multiply(r, h, out=reset[t])
            a_c += np.matmul(rh, weights.U_c, out=from_reset)
            c = np.tanh(a_c, out=a_c)
            mix(z, c, h, out=h_next)
        return states[1:], states[T].copy(), Tape(inputs, gates, reset, states)

    def activations(self, tape: Tape) -> dict[str, Floats]:
        """h, z, r and c (T, B, H) of a window."""
        return {"h": tape.states[1:], **dict(zip("zrc", gates_of(tape.gates, 3), strict=True))}

    def step(self, weights: Weights, x: Ids | Floats, state: Floats) -> tuple[Floats, Floats]:
        """One time step; the output is the next state."""
        h, H2 = state, 2 * self.hidden_size
        a = project_step(x, weights.W, weights.b)
        a_zr, a_c = a[:, :H2], a[:, H2:]

        a_zr += h @ weights.U_zr
        zr = sigmoid_of_double(a_zr)
        z, r = zr[:, : H2 // 2], zr[:, H2 // 2 :]
        a_c += (r * h) @ weights.U_c
        c = np.tanh(a_c, out=a_c)
        h = mix(z, c, h, out=np.empty_like(h))
        return h, h

    def backward(self, weights: Weights, tape: Tape, doutputs: Floats, grads: Mapping[str, Floats]) -> Floats | None:
        """The way back through a window. With dh the slope in h':

        da_z = dh * (c - h) * z (1 - z)            da_c = dh * z * (1 - c c)
        drh  = da_c U_c^T                          da_r = drh * h * r (1 - r)
        dh  <- dh * (1 - z) + drh * r + da_z U_z^T + da_r U_r^T
        """
        inputs, gates, reset, states = tape
        T, B, H = doutputs.shape
        da = gate_slopes(gates, states, states, self._buffers)
        dh, drh, from_zr = (self._buffers(name, B, H) for name in ("dh", "drh", "from_zr"))

        dh[...] = 0
        for t in reversed(range(T)):
            keep, r, _ = gates_of(gates[t], 3)  # keep = 1 - z, left there by gate_slopes
            da_z, da_r, da_c = gates_of(da[t], 3)
            dh += doutputs[t]

            da_z *= dh
            da_c *= dh
            np.matmul(da_c, weights.U_c_T, out=drh)
            da_r *= drh

            dh *= keep
            drh *= r
            dh += drh
            dh += np.matmul(da[t, :, : 2 * H], weights.U_zr_T, out=from_zr)

        da_rows = da.reshape(T * B, 3 * H)
        h_rows, rh_rows = states[:T].reshape(T * B, H), reset.reshape(T * B, H)
        np.matmul(h_rows.T, da_rows[:, : 2 * H], out=grads["U"][:, : 2 * H])
        np.matmul(rh_rows.T, da_rows[:, 2 * H :], out=grads["U"][:, 2 * H :])
        project_back(inputs, da, grads["W"], grads["b"])
        return input_slope(inputs, da, weights.W_T, self._buffers)


def mix(z: Floats, c: Floats, h: Floats, out: Floats) -> Floats:
    """h' = (1 - z) * h + z * c, computed as h + z * (c - h); all (B, H)."""
    np.subtract(c, h, out=out)
    out *= z
    out += h
    return out


def gate_slopes(gates: Floats, states: Floats, beside_r: Floats, buffers: Buffers) -> Floats:
    """What the slopes of a step are multiplied with, (T, B, 3H), for the whole window at once:

    (c - h) * z (1 - z)        beside_r * r (1 - r)        z * (1 - c c)

    gates: z, r, c (T, B, 3H), where z is turned into 1 - z and c is lost. beside_r (T or more, B, H): what r
    multiplies, h itself (reset before) or its image (reset after).
    """
    T, B, H3 = gates.shape
    slopes = buffers("slopes", T, B, H3)
    for piece in time_pieces(T, B * H3 // 3):
        z, r, c = gates_of(gates[piece], 3)
        s_z, s_r, s_c = gates_of(slopes[piece], 3)
        tanh_slope(c, out=s_c)
        s_c *= z
        sigmoid_slope(r, out=s_r)
        s_r *= beside_r[piece]
        c -= states[piece]
        sigmoid_slope(z, out=s_z)
        s_z *= c
        np.subtract(1, z, out=z)
    return slopes
