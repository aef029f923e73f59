"""Two networks that read a whole sequence before they answer: labels for every step, and masked characters."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from charlm.arrays import Buffers, Floats, Ids, NamedArrays, group
from charlm.nn.cells import make_cell
from charlm.nn.initialisation import uniform_fan_in
from charlm.nn.readout import read_out, read_out_backward
from charlm.nn.stack import Stack, StackTape


class SequenceTape(NamedTuple):
    """What forward leaves for backward: valid until the network's next forward, and for one backward."""

    stacks: tuple[StackTape, ...]
    top: Floats  # (T, B, output size)


class SequenceModel:
    """One output vector per input vector: recurrent layers, bidirectional by default, and a dense layer.

    inputs (T, B, D) to outputs (T, B, O), or with `batch_first` (B, T, D) to (B, T, O): nothing in an array tells the
    two apart, so name the order of yours. cell: "gru", "lstm" or "rnn". Train it on `mean_squared_error` for numbers or
    on `cross_entropy` for classes.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        *,
        layers: int = 1,
        cell: str = "lstm",
        bidirectional: bool = True,
        batch_first: bool = False,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.input_size = input_size
        self.batch_first = batch_first
        above = hidden_size * (1 + bidirectional)
        sizes = [input_size] + [above] * (layers - 1)
        self.stack = Stack([make_cell(cell, size, hidden_size, dtype, bidirectional=bidirectional) for size in sizes])
        self.shapes = {**self.stack.shapes, "readout.W": (above, output_size), "readout.b": (output_size,)}
        self._buffers = Buffers(dtype)

    def initial_params(self, rng: np.random.Generator) -> NamedArrays:
        """New parameters."""
        params = NamedArrays(self.shapes, self._buffers.dtype)
        self.stack.initialise(params, rng)
        params["readout.W"][...] = uniform_fan_in(rng, params["readout.W"].shape, fan_in=self.stack.output_size)
        return params

    def forward(self, params: NamedArrays, inputs: Floats) -> tuple[Floats, SequenceTape]:
        """Outputs, a buffer, for inputs of the class's shape, every sequence from a zero state; and the tape.

        Raises ValueError for inputs of another shape.
        """
        order = "(B, T, D)" if self.batch_first else "(T, B, D)"
        if inputs.ndim != 3 or inputs.shape[2] != self.input_size:
            raise ValueError(f"inputs must have the shape {order} with D = {self.input_size}, not {inputs.shape}")
        time_major = inputs.swapaxes(0, 1) if self.batch_first else inputs
        weights = self.stack.prepare(params)
        top, _, tape = self.stack.forward(weights, time_major, self.stack.zero_state(time_major.shape[1]))
        outputs = read_out(top, params["readout.W"], params["readout.b"], self._buffers)
        return outputs.swapaxes(0, 1) if self.batch_first else outputs, SequenceTape((tape,), top)

    def backward(self, params: NamedArrays, tape: SequenceTape, doutputs: Floats, grads: NamedArrays) -> None:
        """Write the gradients to `grads`; doutputs: gradient of the loss in the outputs, in their shape.

        Raises RuntimeError for a used or overwritten tape.
        """
        self.stack.check_tape(tape.stacks[0])
        if self.batch_first:
            doutputs = doutputs.swapaxes(0, 1)
        W, dW, db = params["readout.W"], grads["readout.W"], grads["readout.b"]
        dtop = read_out_backward(tape.top, doutputs, W, dW, db, self._buffers)
        self.stack.backward(tape.stacks[0], dtop, grads)


class Cloze:
    """Predicts every character of a window from all the others, before and after it.

        logits_t = [h_(t-1), g_(t+1)] W_y + b_y        h reads from the beginning, g from the end

    Neither state has read character t, so nothing leaks, at any number of layers: the two directions join only here.
    """

    def __init__(
        self, vocabulary: int, hidden_size: int, *, layers: int = 1, cell: str = "gru", dtype: DTypeLike = np.float32
    ) -> None:
        sizes = [vocabulary] + [hidden_size] * (layers - 1)
        self.before = Stack([make_cell(cell, size, hidden_size, dtype) for size in sizes])
        self.after = Stack([make_cell(cell, size, hidden_size, dtype) for size in sizes])
        self.hidden_size = hidden_size
        self.shapes: dict[str, tuple[int, ...]] = {
            **{f"before.{name}": shape for name, shape in self.before.shapes.items()},
            **{f"after.{name}": shape for name, shape in self.after.shapes.items()},
            "readout.W": (2 * hidden_size, vocabulary),
            "readout.b": (vocabulary,),
        }
        self._buffers = Buffers(dtype)

    def initial_params(self, rng: np.random.Generator) -> NamedArrays:
        """New parameters."""
        params = NamedArrays(self.shapes, self._buffers.dtype)
        self.before.initialise(group(params, "before"), rng)
        self.after.initialise(group(params, "after"), rng)
        params["readout.W"][...] = uniform_fan_in(rng, params["readout.W"].shape, fan_in=2 * self.hidden_size)
        return params

    def forward(self, params: NamedArrays, ids: Ids) -> tuple[Floats, SequenceTape]:
        """Logits (T, B, V), a buffer, for the character at every position of ids (T, B); and the tape."""
        T, B = ids.shape
        H = self.hidden_size
        before, tape_before = _read(self.before, group(params, "before"), ids)
        after, tape_after = _read(self.after, group(params, "after"), ids[::-1])
        joined = self._buffers("joined", T, B, 2 * H)
        joined[0, :, :H] = 0
        joined[1:, :, :H] = before[:-1]
        joined[-1, :, H:] = 0
        joined[:-1, :, H:] = after[::-1][1:]
        logits = read_out(joined, params["readout.W"], params["readout.b"], self._buffers)
        return logits, SequenceTape((tape_before, tape_after), joined)

    def backward(self, params: NamedArrays, tape: SequenceTape, dlogits: Floats, grads: NamedArrays) -> None:
        """Write the gradients to `grads`; dlogits: gradient of the loss in the logits (T, B, V).

        Raises RuntimeError for a used or overwritten tape.
        """
        self.before.check_tape(tape.stacks[0])
        self.after.check_tape(tape.stacks[1])
        T, B, _ = dlogits.shape
        H = self.hidden_size
        W, dW, db = params["readout.W"], grads["readout.W"], grads["readout.b"]
        djoined = read_out_backward(tape.top, dlogits, W, dW, db, self._buffers)
        doutputs = self._buffers("doutputs", T, B, H)
        doutputs[:-1] = djoined[1:, :, :H]
        doutputs[-1] = 0
        self.before.backward(tape.stacks[0], doutputs, group(grads, "before"))
        doutputs[:-1] = djoined[:-1, :, H:][::-1]
        doutputs[-1] = 0
        self.after.backward(tape.stacks[1], doutputs, group(grads, "after"))


def _read(stack: Stack, params: Any, ids: Ids) -> tuple[Floats, StackTape]:
    """Outputs and tape of a stack that reads ids (T, B) from a zero state."""
    outputs, _, tape = stack.forward(stack.prepare(params), ids, stack.zero_state(ids.shape[1]))
    return outputs, tape
