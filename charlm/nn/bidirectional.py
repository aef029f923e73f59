"""Two cells over the same window, one reading from its beginning, one from its end; not causal.

    output_t = [forward output_t, backward output_t]        (T, B, 2H)

Schuster & Paliwal, "Bidirectional recurrent neural networks", 1997. Every output has seen the whole window, so such a
layer can label a text but cannot predict what comes next: the answer is among its inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from charlm.nn.arrays import Floats, Ids, group
from charlm.nn.cell import Cell, Step

PARTS = ("forward", "backward")


class Bidirectional(Cell):
    """Any cell, twice: `reader` from the beginning of the window, `returner` from its end. D inputs to 2H outputs."""

    causal = False

    def __init__(self, reader: Cell, returner: Cell) -> None:
        super().__init__(reader.input_size, reader.hidden_size, reader.dtype)
        self.cells = (reader, returner)
        self.gates = tuple(f"{part}.{name}" for part in PARTS for name in reader.gates)

    @property
    def output_size(self) -> int:
        """2H: both outputs side by side."""
        return 2 * self.hidden_size

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Those of both cells, under "forward." and "backward."."""
        return {
            f"{part}.{name}": shape
            for part, cell in zip(PARTS, self.cells, strict=True)
            for name, shape in cell.shapes.items()
        }

    def initialise(self, params: Mapping[str, Floats], rng: np.random.Generator) -> None:
        """Fill both cells' params."""
        for part, cell in zip(PARTS, self.cells, strict=True):
            cell.initialise(group(params, part), rng)

    def zero_state(self, batch: int) -> Floats:
        """Both cells' zeros, stacked: (2, B, H), for LSTMs (2, 2, B, H)."""
        return np.stack([cell.zero_state(batch) for cell in self.cells])

    def prepare(self, params: Mapping[str, Floats]) -> tuple[Any, Any]:
        """Both cells' weights."""
        reader, returner = self.cells
        return reader.prepare(group(params, "forward")), returner.prepare(group(params, "backward"))

    def forward(
        self, weights: tuple[Any, Any], inputs: Ids | Floats, state: Floats
    ) -> tuple[Floats, Floats, tuple[Any, Any]]:
        """Run over a window; the backward state comes in at the window's end and leaves at its beginning."""
        T, B = inputs.shape[:2]
        H = self.hidden_size
        outputs = self._buffers("outputs", T, B, 2 * H)
        reader, returner = self.cells
        outputs[..., :H], state_forward, tape_forward = reader.forward(weights[0], inputs, state[0])
        reversed_outputs, state_backward, tape_backward = returner.forward(weights[1], inputs[::-1], state[1])
        outputs[..., H:] = reversed_outputs[::-1]
        return outputs, np.stack([state_forward, state_backward]), (tape_forward, tape_backward)

    def activations(self, tape: tuple[Any, Any]) -> dict[str, Floats]:
        """Those of both cells, under "forward." and "backward.", both in the order of the window."""
        read, returned = (cell.activations(one) for cell, one in zip(self.cells, tape, strict=True))
        both = {f"forward.{name}": array for name, array in read.items()}
        return both | {f"backward.{name}": array[::-1] for name, array in returned.items()}

    def stepper(self, weights: tuple[Any, Any], batch: int) -> Step:
        """There is none: an output depends on inputs to come. Raises TypeError."""
        raise TypeError("a bidirectional layer has no single step: give forward a whole window")

    def backward(
        self, weights: tuple[Any, Any], tape: tuple[Any, Any], doutputs: Floats, grads: Mapping[str, Floats]
    ) -> Floats | None:
        """The way back through both; their slopes in the inputs add up."""
        H = self.hidden_size
        reader, returner = self.cells
        dx = reader.backward(weights[0], tape[0], doutputs[..., :H], group(grads, "forward"))
        dx_reversed = returner.backward(weights[1], tape[1], doutputs[::-1, :, H:], group(grads, "backward"))
        if dx is None or dx_reversed is None:
            return None
        dx += dx_reversed[::-1]
        return dx
