"""Two networks that read a whole sequence before they answer: labels for every step, and gaps to be filled."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from charlm.nn.arrays import Buffers, Floats, Ids, NamedArrays, group
from charlm.nn.init import uniform_fan_in
from charlm.nn.readout import read_out, read_out_back
from charlm.nn.stack import Stack, StackTape, make_cell


class SequenceTape(NamedTuple):
    """What forward leaves for backward; valid until the network's next forward."""

    stacks: tuple[StackTape, ...]
    top: Floats  # (T, B, output size)


class SequenceModel:
    """Vectors in, vectors out, step for step: recurrent layers and a dense one. Bidirectional unless told otherwise.

    inputs (T, B, D) to outputs (T, B, O); cell: "gru", "lstm" or "rnn". Train it on `mean_squared_error` for numbers
    or on `cross_entropy` for classes.
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
        dtype: DTypeLike = np.float32,
    ) -> None:
        above = hidden_size * (1 + bidirectional)
        sizes = [input_size] + [above] * (layers - 1)
        self.stack = Stack([make_cell(cell, size, hidden_size, dtype, bidirectional=bidirectional) for size in sizes])
        self.shapes = {**self.stack.shapes, "readout.W": (above, output_size), "readout.b": (output_size,)}
        self.causal = self.stack.causal
        self._buffers = Buffers(dtype)

    def initial_params(self, rng: np.random.Generator) -> NamedArrays:
        """Fresh parameters."""
        params = NamedArrays(self.shapes, self._buffers.dtype)
        self.stack.initialise(params, rng)
        params["readout.W"][...] = uniform_fan_in(rng, params["readout.W"].shape, fan_in=self.stack.output_size)
        return params

    def forward(self, params: NamedArrays, inputs: Floats) -> tuple[Floats, SequenceTape]:
        """Outputs (T, B, O), a buffer, for inputs (T, B, D), every sequence from a zero state; and the tape."""
        weights = self.stack.prepare(params)
        top, _, tape = self.stack.forward(weights, inputs, self.stack.zero_state(inputs.shape[1]))
        return read_out(top, params["readout.W"], params["readout.b"], self._buffers), SequenceTape((tape,), top)

    def backward(self, params: NamedArrays, tape: SequenceTape, doutputs: Floats, grads: NamedArrays) -> None:
        """The gradients, written to `grads`; doutputs: slope of the loss in the outputs (T, B, O)."""
        W, dW, db = params["readout.W"], grads["readout.W"], grads["readout.b"]
        slope = read_out_back(tape.top, doutputs, W, dW, db, self._buffers)
        self.stack.backward(tape.stacks[0], slope, grads)


class Cloze:
    """Predicts every character of a window from all the others: what stands before it and what stands after it.

        logits_t = [h_(t-1), g_(t+1)] W_y + b_y        h reads from the beginning, g from the end

    Neither state has met character t, so nothing leaks, at any number of layers: the two directions join only here.
    """

    causal = False

    def __init__(
        self, vocabulary: int, hidden_size: int, *, layers: int = 1, cell: str = "gru", dtype: DTypeLike = np.float32
    ) -> None:
        sizes = [vocabulary] + [hidden_size] * (layers - 1)
        self.reader = Stack([make_cell(cell, size, hidden_size, dtype) for size in sizes])
        self.returner = Stack([make_cell(cell, size, hidden_size, dtype) for size in sizes])
        self.hidden_size = hidden_size
        self.shapes: dict[str, tuple[int, ...]] = {
            **{f"before.{name}": shape for name, shape in self.reader.shapes.items()},
            **{f"after.{name}": shape for name, shape in self.returner.shapes.items()},
            "readout.W": (2 * hidden_size, vocabulary),
            "readout.b": (vocabulary,),
        }
        self._buffers = Buffers(dtype)

    def initial_params(self, rng: np.random.Generator) -> NamedArrays:
        """Fresh parameters."""
        params = NamedArrays(self.shapes, self._buffers.dtype)
        self.reader.initialise(group(params, "before"), rng)
        self.returner.initialise(group(params, "after"), rng)
        params["readout.W"][...] = uniform_fan_in(rng, params["readout.W"].shape, fan_in=2 * self.hidden_size)
        return params

    def forward(self, params: NamedArrays, ids: Ids) -> tuple[Floats, SequenceTape]:
        """Logits (T, B, V), a buffer, for the character at every place of ids (T, B); and the tape."""
        T, B = ids.shape
        H = self.hidden_size
        before, tape_before = _read(self.reader, group(params, "before"), ids)
        after, tape_after = _read(self.returner, group(params, "after"), ids[::-1])
        joined = self._buffers("joined", T, B, 2 * H)
        joined[0, :, :H] = 0
        joined[1:, :, :H] = before[:-1]
        joined[-1, :, H:] = 0
        joined[:-1, :, H:] = after[::-1][1:]
        logits = read_out(joined, params["readout.W"], params["readout.b"], self._buffers)
        return logits, SequenceTape((tape_before, tape_after), joined)

    def backward(self, params: NamedArrays, tape: SequenceTape, dlogits: Floats, grads: NamedArrays) -> None:
        """The gradients, written to `grads`; dlogits: slope of the loss in the logits (T, B, V)."""
        T, B, _ = dlogits.shape
        H = self.hidden_size
        W, dW, db = params["readout.W"], grads["readout.W"], grads["readout.b"]
        slope = read_out_back(tape.top, dlogits, W, dW, db, self._buffers)
        shifted = self._buffers("shifted", T, B, H)
        shifted[:-1] = slope[1:, :, :H]
        shifted[-1] = 0
        self.reader.backward(tape.stacks[0], shifted, group(grads, "before"))
        shifted[:-1] = slope[:-1, :, H:][::-1]
        shifted[-1] = 0
        self.returner.backward(tape.stacks[1], shifted, group(grads, "after"))


def _read(stack: Stack, params: Any, ids: Ids) -> tuple[Floats, StackTape]:
    outputs, _, tape = stack.forward(stack.prepare(params), ids, stack.zero_state(ids.shape[1]))
    return outputs, tape
