"""The GRU with the reset gate after the recurrent product, over a whole window.

    z  = sigmoid(x W_z + h U_z + b_z)           update gate
    r  = sigmoid(x W_r + h U_r + b_r)           reset gate
    q  = h U_c + b_rc                           what the state says of the candidate
    c  = tanh(x W_c + b_c + r * q)              candidate
    h' = (1 - z) * h + z * c                    z weights the candidate, always

The form of cuDNN, PyTorch and Keras: the three recurrent products of a step are one matmul, and the candidate has a
recurrent bias b_rc (H,) of its own. It is another function than reset "before"; no change of weights joins the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from charlm.nn.arrays import Buffers, Floats, Ids
from charlm.nn.cell import Cell, Step, backwards, by_gate, by_step, planes
from charlm.nn.embedding import input_slope, project, project_back, step_projection
from charlm.nn.gates import sigmoid_of_double
from charlm.nn.gru import gate_slopes, mix
from charlm.nn.init import orthogonal_gates, uniform_fan_in
from charlm.nn.products import times


class Weights(NamedTuple):
    """What one update's forward and backward passes read: copies in which every gate is a matrix for itself."""

    W: Floats  # (3, D, H), z and r halved: see sigmoid_of_double
    b: Floats  # (3, H),    z and r halved
    U: Floats  # (3, H, H), z and r halved
    b_rc: Floats  # (H,)
    W_given: Floats  # (3, D, H)
    U_given: Floats  # (3, H, H)


class Tape(NamedTuple):
    """What forward leaves for backward; valid until the cell's next forward, consumed by backward."""

    inputs: Ids | Floats  # (T, B) or (T, B, D)
    gates: Floats  # (T, 3, B, H): z, r and c
    q: Floats  # (T, B, H)
    states: Floats  # (T + 1, B, H): h before the first step, and after every step


class GRUResetAfter(Cell):
    """One GRU layer, D inputs to H units, reset applied after the recurrent matmul.

    Memory per window of T steps and B streams, kept from window to window: T B (11 H) scalars forward and backward
    (gates 3H, q H, states H, gate slopes 3H, slopes of h U 3H), and T B D more for the gradient of vector inputs.
    """

    gates = ("z", "r")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the parameters."""
        D, H = self.input_size, self.hidden_size
        return {"W": (D, 3 * H), "U": (H, 3 * H), "b": (3 * H,), "b_rc": (H,)}

    def initialise(self, params: Mapping[str, Floats], rng: np.random.Generator) -> None:
        """W uniform, each gate's U orthogonal, biases zero."""
        params["W"][...] = uniform_fan_in(rng, params["W"].shape, fan_in=self.hidden_size)
        orthogonal_gates(rng, params["U"])
        params["b"][...] = 0
        params["b_rc"][...] = 0

    def prepare(self, params: Mapping[str, Floats]) -> Weights:
        """Lay out the parameters for the passes of one update."""
        W, U, b = (self._copy(name, planes(params[name], 3)) for name in ("W", "U", "b"))
        for array in (W, U, b):
            array[:2] *= 0.5
        W_given, U_given = (self._copy(f"{name} given", planes(params[name], 3)) for name in ("W", "U"))
        return Weights(W, b, U, params["b_rc"].copy(), W_given, U_given)

    def forward(self, weights: Weights, inputs: Ids | Floats, state: Floats) -> tuple[Floats, Floats, Tape]:
        """Run over a window; the outputs are h, the state is h (B, H)."""
        T, B = inputs.shape[:2]
        H = self.hidden_size
        gates = project(inputs, weights.W, weights.b, self._buffers("gates", T, 3, B, H), self._buffers)
        q_all = self._buffers("q", T, B, H)
        states = self._buffers("states", T + 1, B, H)
        reset_q = self._buffers("reset_q", B, H)
        times_U = times("U", weights.U, B, self._buffers)

        states[0] = state
        steps = zip(states, states[1:], gates[:, :2], *by_gate(gates), q_all, strict=False)
        for h, h_next, zr, z, r, c, q in steps:
            from_h = times_U(h)
            zr += from_h[:2]
            sigmoid_of_double(zr)
            np.add(from_h[2], weights.b_rc, out=q)
            c += np.multiply(r, q, out=reset_q)
            np.tanh(c, out=c)
            mix(z, c, h, out=h_next)
        return states[1:], states[T].copy(), Tape(inputs, gates, q_all, states)

    def activations(self, tape: Tape) -> dict[str, Floats]:
        """h, z, r and c (T, B, H) of a window."""
        return {"h": tape.states[1:], **dict(zip("zrc", by_gate(tape.gates), strict=True))}

    def stepper(self, weights: Weights, batch: int) -> Step:
        """One time step; the output is the next state."""
        x_W, b_rc = step_projection(weights.W, weights.b), weights.b_rc
        times_U = times("U", weights.U, batch, Buffers(self.dtype))

        def step(x: Ids | Floats, h: Floats) -> tuple[Floats, Floats]:
            a, from_h = x_W(x), times_U(h)
            zr, c, q = a[:2], a[2], from_h[2]
            zr += from_h[:2]
            sigmoid_of_double(zr)
            q += b_rc
            q *= zr[1]
            c += q
            np.tanh(c, out=c)
            h = mix(zr[0], c, h, out=np.empty_like(h))
            return h, h

        return step

    def backward(self, weights: Weights, tape: Tape, doutputs: Floats, grads: Mapping[str, Floats]) -> Floats | None:
        """The way back through a window. With dh the slope in h':

        da_z = dh * (c - h) * z (1 - z)            da_c = dh * z * (1 - c c)
        da_r = da_c * q * r (1 - r)                dq   = da_c * r
        dh  <- dh * (1 - z) + da_z U_z^T + da_r U_r^T + dq U_c^T
        """
        inputs, gates, q_all, states = tape
        T, B, H = doutputs.shape
        da = gate_slopes(gates, states, q_all, self._buffers)
        keep_all, r_all, _ = by_gate(gates)  # keep = 1 - z, left there by gate_slopes
        dhu_all = self._buffers("dhu", 3, T, B, H)  # slopes of h U: da_z, da_r and dq
        times_U_T = times("U_T", weights.U_given.swapaxes(1, 2), B, self._buffers, each=True)

        dh = self._buffers("dh", B, H)
        dh[...] = 0
        steps = backwards(doutputs, *da, by_step(da[:2]), by_step(dhu_all), keep_all, r_all)
        for doutput, da_z, da_r, da_c, da_zr, dhu, keep, r in steps:
            dh += doutput
            da_z *= dh
            da_c *= dh
            da_r *= da_c
            dhu[:2] = da_zr
            np.multiply(da_c, r, out=dhu[2])
            via_h = times_U_T(dhu)

            dh *= keep
            dh += via_h[0]
            dh += via_h[1]
            dh += via_h[2]

        dhu_rows = dhu_all.reshape(3, T * B, H)
        np.matmul(states[:T].reshape(T * B, H).T, dhu_rows, out=planes(grads["U"], 3))
        np.sum(dhu_rows[2], axis=0, out=grads["b_rc"])
        project_back(inputs, da, planes(grads["W"], 3), planes(grads["b"], 3))
        return input_slope(inputs, da, weights.W_given, self._buffers)
