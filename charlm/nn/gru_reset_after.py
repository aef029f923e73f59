"""The GRU with the reset gate after the recurrent product, over a whole window.

    z  = sigmoid(x W_z + h U_z + b_z)           update gate
    r  = sigmoid(x W_r + h U_r + b_r)           reset gate
    q  = h U_n + b_rn                           recurrent part of the candidate
    n  = tanh(x W_n + b_n + r * q)              candidate
    h' = (1 - z) * h + z * n                    z weights the candidate, always

The form of cuDNN, PyTorch and Keras: the three recurrent products of a step are one matmul, and the candidate has a
recurrent bias b_rn (H,) of its own. It is another function than reset "before": no change of weights converts one into
the other. Sizes and packing are those of gru.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from charlm.arrays import Buffers, Floats, Ids
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
from charlm.nn.gates import sigmoid_of_double
from charlm.nn.gru import blend, gate_derivatives
from charlm.nn.initialisation import orthogonal_gates, uniform_fan_in
from charlm.nn.products import times


class Weights(NamedTuple):
    """Copies of the parameters for the passes of one update, one matrix per gate."""

    W: Floats  # (3, D, H), z and r halved: see sigmoid_of_double
    b: Floats  # (3, H),    z and r halved
    U: Floats  # (3, H, H), z and r halved
    b_rn: Floats  # (H,)
    W_given: Floats  # (3, D, H)
    U_given: Floats  # (3, H, H)


class Tape(NamedTuple):
    """What forward leaves for backward, which overwrites it."""

    mark: object
    inputs: Ids | Floats  # (T, B) or (T, B, D)
    gates: Floats  # (T, 3, B, H): z, r and n
    q: Floats  # (T, B, H)
    before: Floats  # (T, B, H): the h that every step reads
    after: Floats  # (T, B, H): h after every step
    carry: Floats | None  # (T, B, 1)


class GRUResetAfter(Cell):
    """One GRU layer, D inputs to H units, with the reset gate after the recurrent product."""

    gates = ("z", "r")
    scalars_per_unit = 11  # z, r and n; q; h; the gradients of z, r and n, and of h U

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the parameters."""
        D, H = self.input_size, self.hidden_size
        return {"W": (D, 3 * H), "U": (H, 3 * H), "b": (3 * H,), "b_rn": (H,)}

    def initialise(self, params: Mapping[str, Floats], rng: np.random.Generator) -> None:
        """W uniform, each gate's U orthogonal, biases zero."""
        params["W"][...] = uniform_fan_in(rng, params["W"].shape, fan_in=self.hidden_size)
        orthogonal_gates(rng, params["U"])
        params["b"][...] = 0
        params["b_rn"][...] = 0

    def prepare(self, params: Mapping[str, Floats]) -> Weights:
        """The weights for the passes of one update."""
        W, U, b = (self._copy(name, unpack_gates(params[name], 3)) for name in ("W", "U", "b"))
        for array in (W, U, b):
            array[:2] *= 0.5
        W_given, U_given = (self._copy(f"{name} given", unpack_gates(params[name], 3)) for name in ("W", "U"))
        return Weights(W, b, U, params["b_rn"].copy(), W_given, U_given)

    def forward(
        self, weights: Weights, inputs: Ids | Floats, state: Floats, carry: Floats | None = None
    ) -> tuple[Floats, Floats, Tape]:
        """Run over a window; the outputs are h, the state is h (B, H)."""
        mark = self._record()
        T, B = inputs.shape[:2]
        H = self.hidden_size
        gates = project(inputs, weights.W, weights.b, self._buffers("gates", T, 3, B, H), self._buffers)
        q_all = self._buffers("q", T, B, H)
        states = self._buffers("states", T + 1, B, H)
        reset_q = self._buffers("reset_q", B, H)
        times_U = times("U", weights.U, B, self._buffers)

        states[0] = state
        before, after = self._before("h", states, carry), states[1:]
        steps = zip(carried(states, carry, before), after, gates[:, :2], *by_gate(gates), q_all, strict=True)
        for h, h_next, zr, z, r, n, q in steps:
            from_h = times_U(h)
            zr += from_h[:2]
            sigmoid_of_double(zr)
            np.add(from_h[2], weights.b_rn, out=q)
            n += np.multiply(r, q, out=reset_q)
            np.tanh(n, out=n)
            blend(z, n, h, out=h_next)
        return after, states[T].copy(), Tape(mark, inputs, gates, q_all, before, after, carry)

    def activations(self, tape: Tape) -> dict[str, Floats]:
        """h, z, r and n (T, B, H) of a window."""
        self.check_tape(tape)
        return {"h": tape.after, **dict(zip("zrn", by_gate(tape.gates), strict=True))}

    def stepper(self, weights: Weights, batch: int) -> Step:
        """One time step; the output is the next state."""
        x_W, b_rn = step_projection(weights.W, weights.b), weights.b_rn
        times_U = times("U", weights.U, batch, Buffers(self.dtype))

        def step(x: Ids | Floats, h: Floats) -> tuple[Floats, Floats]:
            a, from_h = x_W(x), times_U(h)
            zr, n, q = a[:2], a[2], from_h[2]
            zr += from_h[:2]
            sigmoid_of_double(zr)
            q += b_rn
            q *= zr[1]
            n += q
            np.tanh(n, out=n)
            h = blend(zr[0], n, h, out=np.empty_like(h))
            return h, h

        return step

    def backward(self, weights: Weights, tape: Tape, doutputs: Floats, grads: Mapping[str, Floats]) -> Floats | None:
        """The backward pass. With dh the gradient in h', and a_z, a_r, a_n the arguments of sigmoid and tanh:

        da_z = dh * (n - h) * z (1 - z)            da_n = dh * z * (1 - n n)
        da_r = da_n * q * r (1 - r)                dq   = da_n * r
        dh  <- dh * (1 - z) + da_z U_z^T + da_r U_r^T + dq U_n^T
        """
        self._use(tape)
        _, inputs, gates, q_all, before, after, carry = tape
        T, B, H = doutputs.shape
        da = gate_derivatives(gates, before, after, q_all, self._buffers)
        keep_all, r_all, _ = by_gate(gates)  # keep = 1 - z, written there by gate_derivatives
        dhU_all = self._buffers("dhU", 3, T, B, H)  # gradients of h U: da_z, da_r and dq
        times_U_T = times("U_T", weights.U_given.swapaxes(1, 2), B, self._buffers, each=True)

        dh = self._buffers("dh", B, H)
        dh[...] = 0
        steps = last_step_first(doutputs, *da, by_step(da[:2]), by_step(dhU_all), keep_all, r_all)
        for (doutput, da_z, da_r, da_n, da_zr, dhU, keep, r), factor in zip(
            steps, carry_backwards(carry), strict=False
        ):
            dh += doutput
            da_z *= dh
            da_n *= dh
            da_r *= da_n
            dhU[:2] = da_zr
            np.multiply(da_n, r, out=dhU[2])
            via_h = times_U_T(dhU)

            dh *= keep
            dh += via_h[0]
            dh += via_h[1]
            dh += via_h[2]
            if factor is not None:
                dh *= factor

        dhU_rows = dhU_all.reshape(3, T * B, H)
        np.matmul(before.reshape(T * B, H).T, dhU_rows, out=unpack_gates(grads["U"], 3))
        np.sum(dhU_rows[2], axis=0, out=grads["b_rn"])
        project_backward(inputs, da, unpack_gates(grads["W"], 3), unpack_gates(grads["b"], 3))
        return input_gradient(inputs, da, weights.W_given, self._buffers)
