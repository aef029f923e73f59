"""Two cells over the same window, one reading from its beginning, one from its end; not causal.

    output_t = [forward output_t, backward output_t]        (T, B, 2H)

Schuster & Paliwal, "Bidirectional recurrent neural networks", 1997. Every output depends on the whole window, so such
a layer can label a text but cannot predict the next character, which is among its inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from charlm.arrays import Floats, Ids, group
from charlm.nn.cell import Cell, Step

DIRECTIONS = ("forward", "backward")


class Bidirectional(Cell):
    """Two cells of one kind, from the beginning of the window and from its end: D inputs to 2H outputs."""

    causal = False

    def __init__(self, forward_cell: Cell, backward_cell: Cell) -> None:
        super().__init__(forward_cell.input_size, forward_cell.hidden_size, forward_cell.dtype)
        self.cells = (forward_cell, backward_cell)
        self.gates = tuple(f"{direction}.{name}" for direction in DIRECTIONS for name in forward_cell.gates)
        self.scalars_per_unit = 2 * forward_cell.scalars_per_unit + 2  # and the outputs

    @property
    def output_size(self) -> int:
        """2H: both outputs side by side."""
        return 2 * self.hidden_size

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Those of both cells, under "forward." and "backward."."""
        return {
            f"{direction}.{name}": shape
            for direction, cell in zip(DIRECTIONS, self.cells, strict=True)
            for name, shape in cell.shapes.items()
        }

    def initialise(self, params: Mapping[str, Floats], rng: np.random.Generator) -> None:
        """Fill both cells' params."""
        for direction, cell in zip(DIRECTIONS, self.cells, strict=True):
            cell.initialise(group(params, direction), rng)

    def zero_state(self, batch: int) -> Floats:
        """Both cells' zeros, stacked: (2, B, H), for LSTMs (2, 2, B, H)."""
        return np.stack([cell.zero_state(batch) for cell in self.cells])

    def prepare(self, params: Mapping[str, Floats]) -> tuple[Any, Any]:
        """Both cells' weights."""
        forward, backward = (
            cell.prepare(group(params, direction)) for direction, cell in zip(DIRECTIONS, self.cells, strict=True)
        )
        return forward, backward

    def forward(
        self, weights: tuple[Any, Any], inputs: Ids | Floats, state: Floats, carry: Floats | None = None
    ) -> tuple[Floats, Floats, tuple[Any, Any]]:
        """Run over a window; the backward cell's state is that before the window's end, and after its beginning.

        Raises TypeError for a window with records.
        """
        if carry is not None:
            raise TypeError("a bidirectional layer reads whole sequences: give each record as a window of its own")
        T, B = inputs.shape[:2]
        H = self.hidden_size
        outputs = self._buffers("outputs", T, B, 2 * H)
        forward_cell, backward_cell = self.cells
        outputs[..., :H], state_forward, tape_forward = forward_cell.forward(weights[0], inputs, state[0])
        reversed_outputs, state_backward, tape_backward = backward_cell.forward(weights[1], inputs[::-1], state[1])
        outputs[..., H:] = reversed_outputs[::-1]
        return outputs, np.stack([state_forward, state_backward]), (tape_forward, tape_backward)

    def activations(self, tape: tuple[Any, Any]) -> dict[str, Floats]:
        """Those of both cells, under "forward." and "backward.", both in the order of the window."""
        forward, backward = (cell.activations(own) for cell, own in zip(self.cells, tape, strict=True))
        both = {f"forward.{name}": array for name, array in forward.items()}
        return both | {f"backward.{name}": array[::-1] for name, array in backward.items()}

    def stepper(self, weights: tuple[Any, Any], batch: int) -> Step:
        """Raises TypeError: an output depends on later inputs, so there is no single step."""
        raise TypeError("a bidirectional layer has no single step: give forward a whole window")

    def backward(
        self, weights: tuple[Any, Any], tape: tuple[Any, Any], doutputs: Floats, grads: Mapping[str, Floats]
    ) -> Floats | None:
        """The backward passes of both cells; their gradients in the inputs add up."""
        self.check_tape(tape)
        H = self.hidden_size
        forward_cell, backward_cell = self.cells
        dx = forward_cell.backward(weights[0], tape[0], doutputs[..., :H], group(grads, "forward"))
        dx_reversed = backward_cell.backward(weights[1], tape[1], doutputs[::-1, :, H:], group(grads, "backward"))
        if dx is None or dx_reversed is None:
            return None
        dx += dx_reversed[::-1]
        return dx

    def check_tape(self, tape: tuple[Any, Any]) -> None:
        """Raise RuntimeError unless both cells accept their tapes."""
        for cell, own in zip(self.cells, tape, strict=True):
            cell.check_tape(own)
