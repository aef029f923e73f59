"""The gated recurrent unit over a whole window: equations, forward, and backward right under it.

    z  = sigmoid(x W_z + h U_z + b_z)           update gate
    r  = sigmoid(x W_r + h U_r + b_r)           reset gate
    n  = tanh(x W_n + (r * h) U_n + b_n)        candidate
    h' = (1 - z) * h + z * n                    z weights the candidate, always

Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", 2014, with z where they write 1 - z.
T time steps, B parallel sequences, D inputs, H units. Gates are packed in the order z, r, n: W (D, 3H), U (H, 3H),
b (3H,).
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

    W: Floats  # (3, D, H), z and r halved: see sigmoid_of_double
    b: Floats  # (3, H),    z and r halved
    U: Floats  # (3, H, H), z and r halved
    W_given: Floats  # (3, D, H)
    U_given: Floats  # (3, H, H)


class Tape(NamedTuple):
    """What forward leaves for backward, which overwrites it."""

    mark: object
    inputs: Ids | Floats  # (T, B) or (T, B, D)
    gates: Floats  # (T, 3, B, H): z, r and n
    reset: Floats  # (T, B, H): r * h
    before: Floats  # (T, B, H): the h that every step reads
    after: Floats  # (T, B, H): h after every step
    carry: Floats | None  # (T, B, 1)


class GRU(Cell):
    """One GRU layer, D inputs to H units, with the reset gate before the recurrent product."""

    gates = ("z", "r")
    scalars_per_unit = 8  # z, r and n; r * h; h; the gradients of z, r and n

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the parameters."""
        D, H = self.input_size, self.hidden_size
        return {"W": (D, 3 * H), "U": (H, 3 * H), "b": (3 * H,)}

    def initialise(self, params: Mapping[str, Floats], rng: np.random.Generator) -> None:
        """W uniform, each gate's U orthogonal, b zero: b_z = -1, which favours remembering, learned more slowly."""
        params["W"][...] = uniform_fan_in(rng, params["W"].shape, fan_in=self.hidden_size)
        orthogonal_gates(rng, params["U"])
        params["b"][...] = 0

    def prepare(self, params: Mapping[str, Floats]) -> Weights:
        """The weights for the passes of one update."""
        W, U, b = (self._copy(name, unpack_gates(params[name], 3)) for name in ("W", "U", "b"))
        for array in (W, U, b):
            array[:2] *= 0.5
        W_given, U_given = (self._copy(f"{name} given", unpack_gates(params[name], 3)) for name in ("W", "U"))
        return Weights(W, b, U, W_given, U_given)

    def forward(
        self, weights: Weights, inputs: Ids | Floats, state: Floats, carry: Floats | None = None
    ) -> tuple[Floats, Floats, Tape]:
        """Run over a window; the outputs are h, the state is h (B, H)."""
        mark = self._record()
        T, B = inputs.shape[:2]
        H = self.hidden_size
        gates = project(inputs, weights.W, weights.b, self._buffers("gates", T, 3, B, H), self._buffers)
        reset = self._buffers("reset", T, B, H)
        states = self._buffers("states", T + 1, B, H)
        times_U_zr = times("U_zr", weights.U[:2], B, self._buffers)
        times_U_n = times("U_n", weights.U[2], B, self._buffers)

        states[0] = state
        before, after = self._before("h", states, carry), states[1:]
        steps = zip(carried(states, carry, before), after, gates[:, :2], *by_gate(gates), reset, strict=True)
        for h, h_next, zr, z, r, n, rh in steps:
            zr += times_U_zr(h)
            sigmoid_of_double(zr)
            np.multiply(r, h, out=rh)
            n += times_U_n(rh)
            np.tanh(n, out=n)
            blend(z, n, h, out=h_next)
        return after, states[T].copy(), Tape(mark, inputs, gates, reset, before, after, carry)

    def activations(self, tape: Tape) -> dict[str, Floats]:
        """h, z, r and n (T, B, H) of a window."""
        self.check_tape(tape)
        return {"h": tape.after, **dict(zip("zrn", by_gate(tape.gates), strict=True))}

    def stepper(self, weights: Weights, batch: int) -> Step:
        """One time step; the output is the next state."""
        own = Buffers(self.dtype)
        x_W = step_projection(weights.W, weights.b)
        times_U_zr = times("U_zr", weights.U[:2], batch, own)
        times_U_n = times("U_n", weights.U[2], batch, own)
        rh = own("rh", batch, self.hidden_size)

        def step(x: Ids | Floats, h: Floats) -> tuple[Floats, Floats]:
            a = x_W(x)
            zr, n = a[:2], a[2]
            zr += times_U_zr(h)
            sigmoid_of_double(zr)
            n += times_U_n(np.multiply(zr[1], h, out=rh))
            np.tanh(n, out=n)
            h = blend(zr[0], n, h, out=np.empty_like(h))
            return h, h

        return step

    def backward(self, weights: Weights, tape: Tape, doutputs: Floats, grads: Mapping[str, Floats]) -> Floats | None:
        """The backward pass. With dh the gradient in h', and a_z, a_r, a_n the arguments of sigmoid and tanh:

        da_z = dh * (n - h) * z (1 - z)            da_n = dh * z * (1 - n n)
        drh  = da_n U_n^T                          da_r = drh * h * r (1 - r)
        dh  <- dh * (1 - z) + drh * r + da_z U_z^T + da_r U_r^T
        """
        self._use(tape)
        _, inputs, gates, reset, before, after, carry = tape
        T, B, H = doutputs.shape
        da = gate_derivatives(gates, before, after, before, self._buffers)
        keep_all, r_all, _ = by_gate(gates)  # keep = 1 - z, written there by gate_derivatives
        U_T = weights.U_given.swapaxes(1, 2)
        times_U_zr_T = times("U_zr_T", U_T[:2], B, self._buffers, each=True)
        times_U_n_T = times("U_n_T", U_T[2], B, self._buffers)

        dh = self._buffers("dh", B, H)
        dh[...] = 0
        steps = last_step_first(doutputs, *da, by_step(da[:2]), keep_all, r_all)
        for (doutput, da_z, da_r, da_n, da_zr, keep, r), factor in zip(steps, carry_backwards(carry), strict=False):
            dh += doutput
            da_z *= dh
            da_n *= dh
            drh = times_U_n_T(da_n)
            da_r *= drh
            via_zr = times_U_zr_T(da_zr)

            dh *= keep
            drh *= r
            dh += drh
            dh += via_zr[0]
            dh += via_zr[1]
            if factor is not None:
                dh *= factor

        da_rows, dU = da.reshape(3, T * B, H), unpack_gates(grads["U"], 3)
        h_rows, rh_rows = before.reshape(T * B, H), reset.reshape(T * B, H)
        np.matmul(h_rows.T, da_rows[:2], out=dU[:2])
        np.matmul(rh_rows.T, da_rows[2], out=dU[2])
        project_backward(inputs, da, unpack_gates(grads["W"], 3), unpack_gates(grads["b"], 3))
        return input_gradient(inputs, da, weights.W_given, self._buffers)


def blend(z: Floats, n: Floats, h: Floats, out: Floats) -> Floats:
    """h' = (1 - z) * h + z * n, computed as h + z * (n - h), to `out`, which is returned; all (B, H)."""
    np.subtract(n, h, out=out)
    out *= z
    out += h
    return out


def gate_derivatives(gates: Floats, before: Floats, after: Floats, reset_input: Floats, buffers: Buffers) -> Floats:
    """The factors of da_z, da_r and da_n that do not depend on dh, (3, T, B, H), for the whole window at once:

    (h' - h) * (1 - z)        reset_input * r (1 - r)        z * (1 - n n)

    where h' - h = z * (n - h). gates: z, r, n (T, 3, B, H), where z is replaced by 1 - z. before, after (T, B, H): h
    and h'. reset_input (T, B, H): what r multiplies, h (reset before) or h U_n + b_rn (reset after).
    """
    T, G, B, H = gates.shape
    derivatives = buffers("derivatives", G, T, B, H)
    for piece in time_pieces(T, B * H):
        z, r, n = by_gate(gates[piece])
        d_z, d_r, d_n = derivatives[:, piece]
        tanh_derivative(n, out=d_n)
        d_n *= z
        sigmoid_derivative(r, out=d_r)
        d_r *= reset_input[piece]
        keep = np.subtract(1, z, out=z)
        np.subtract(after[piece], before[piece], out=d_z)
        d_z *= keep
    return derivatives
