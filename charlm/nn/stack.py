"""Layers on top of each other: each reads what the one below puts out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from charlm.nn.arrays import Buffers, Floats, Ids, group
from charlm.nn.bidirectional import Bidirectional
from charlm.nn.cell import Cell
from charlm.nn.gru import GRU
from charlm.nn.gru_after import GRUResetAfter
from charlm.nn.lstm import LSTM
from charlm.nn.rnn import RNN

State: TypeAlias = tuple[Floats, ...]
"""What is carried from window to window: one array per layer, (B, H); for an LSTM (2, B, H), h and c.
"""
Masks: TypeAlias = tuple[Floats, ...]
"""Per layer (B, output size): what its outputs are multiplied with at every time step of a window."""

STREAMS = -2  # the axis of every layer's state that counts streams
CELLS = ("gru", "lstm", "rnn")
RESETS = ("before", "after")
ACTIVATIONS = ("tanh", "relu")


def make_cell(
    kind: str,
    input_size: int,
    hidden_size: int,
    dtype: Any = np.float32,
    *,
    reset: str = "before",
    activation: str = "tanh",
    bidirectional: bool = False,
) -> Cell:
    """The cell of that name: one of CELLS; `reset` is the GRU's, `activation` the plain network's."""

    def make() -> Cell:
        match kind, reset:
            case "gru", "before":
                return GRU(input_size, hidden_size, dtype)
            case "gru", "after":
                return GRUResetAfter(input_size, hidden_size, dtype)
            case "lstm", _:
                return LSTM(input_size, hidden_size, dtype)
            case "rnn", _:
                return RNN(input_size, hidden_size, dtype, activation)
        raise ValueError(f"a cell is one of {', '.join(CELLS)} with reset before or after, not {kind!r}, {reset!r}")

    return Bidirectional(make(), make()) if bidirectional else make()


class StackTape(NamedTuple):
    """What forward leaves for backward; valid until the stack's next forward."""

    weights: tuple[Any, ...]
    tapes: tuple[Any, ...]
    masks: Masks | None


class Stack:
    """L cells, the first reading the inputs, each other one the outputs below it.

    residual: every layer but the first adds its input to its output, so slopes have a straight way down
    (He et al. 2015). Dropout is a mask per layer, the same at every time step of a window (Gal & Ghahramani 2016).
    """

    def __init__(self, cells: Sequence[Cell], residual: bool = False) -> None:
        self.cells = tuple(cells)
        self.residual = residual
        self._buffers = Buffers(cells[0].dtype)

    @property
    def causal(self) -> bool:
        """Whether no output depends on a later input."""
        return all(cell.causal for cell in self.cells)

    @property
    def output_size(self) -> int:
        """The size of the last layer's outputs."""
        return self.cells[-1].output_size

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the parameters: "layer0.W" and so on."""
        return {
            f"layer{layer}.{name}": shape
            for layer, cell in enumerate(self.cells)
            for name, shape in cell.shapes.items()
        }

    def initialise(self, params: Mapping[str, Floats], rng: np.random.Generator) -> None:
        """Fill all layers' params, from the first to the last."""
        for layer, cell in enumerate(self.cells):
            cell.initialise(group(params, f"layer{layer}"), rng)

    def zero_state(self, batch: int) -> State:
        """The state at the start of a text."""
        return tuple(cell.zero_state(batch) for cell in self.cells)

    def prepare(self, params: Mapping[str, Floats]) -> tuple[Any, ...]:
        """Per layer, the weights as its passes want them."""
        return tuple(cell.prepare(group(params, f"layer{layer}")) for layer, cell in enumerate(self.cells))

    def dropout_masks(self, rng: np.random.Generator, rate: float, batch: int) -> Masks:
        """Masks for one window: 0 with probability `rate`, else 1 / (1 - rate), so that the mean stays."""
        dtype = self._buffers.dtype
        return tuple(
            ((rng.random((batch, cell.output_size)) >= rate) / (1 - rate)).astype(dtype) for cell in self.cells
        )

    def forward(
        self, weights: tuple[Any, ...], inputs: Ids | Floats, state: State, masks: Masks | None = None
    ) -> tuple[Floats, State, StackTape]:
        """Run over a window: as Cell.forward, with one state and one mask per layer."""
        x: Ids | Floats = inputs
        states, tapes = [], []
        for layer, (cell, cell_weights, before) in enumerate(zip(self.cells, weights, state, strict=True)):
            outputs, after, tape = cell.forward(cell_weights, x, before)
            states.append(after)
            tapes.append(tape)
            if masks is not None:
                outputs = np.multiply(outputs, masks[layer], out=self._buffers(f"masked{layer}", *outputs.shape))
            if self.residual and layer > 0:
                outputs = np.add(outputs, x, out=self._buffers(f"sum{layer}", *outputs.shape))
            x = outputs
        return outputs, tuple(states), StackTape(weights, tuple(tapes), masks)

    def activations(self, tape: StackTape) -> tuple[dict[str, Floats], ...]:
        """Per layer, what the window made its units do: see Cell.activations."""
        return tuple(cell.activations(one) for cell, one in zip(self.cells, tape.tapes, strict=True))

    def stepper(self, weights: tuple[Any, ...], batch: int) -> Callable[[Ids | Floats, State], tuple[Floats, State]]:
        """One time step: as Cell.stepper, with one state per layer."""
        first, *others = (cell.stepper(own, batch) for cell, own in zip(self.cells, weights, strict=True))

        def step(x: Ids | Floats, state: State) -> tuple[Floats, State]:
            output, after = first(x, state[0])
            states = [after]
            for layer, before in zip(others, state[1:], strict=True):
                above, after = layer(output, before)
                states.append(after)
                output = np.add(above, output) if self.residual else above
            return output, tuple(states)

        return step

    def backward(self, tape: StackTape, doutputs: Floats, grads: Mapping[str, Floats]) -> Floats | None:
        """The way back: as Cell.backward. `doutputs` is overwritten."""
        slope: Floats | None = doutputs
        for layer in reversed(range(len(self.cells))):
            assert slope is not None
            past = self._kept(slope, layer) if self.residual and layer > 0 else None
            if tape.masks is not None:
                slope *= tape.masks[layer]
            slope = self.cells[layer].backward(
                tape.weights[layer], tape.tapes[layer], slope, group(grads, f"layer{layer}")
            )
            if past is not None and slope is not None:
                slope += past
        return slope

    def _kept(self, slope: Floats, layer: int) -> Floats:
        kept = self._buffers(f"past{layer}", *slope.shape)
        kept[...] = slope
        return kept
