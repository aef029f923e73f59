"""Layers on top of each other: each reads the outputs of the one below."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from charlm.arrays import Buffers, Floats, Ids, group
from charlm.nn.cell import Cell

State: TypeAlias = tuple[Floats, ...]
"""What is carried from window to window: one array per layer, (B, H); for an LSTM (2, B, H), h and c."""
Masks: TypeAlias = tuple[Floats, ...]
"""Dropout: per layer (B, output size), multiplied with its outputs at every time step of a window."""

BATCH_AXIS = -2  # of every layer's state


class StackTape(NamedTuple):
    """What forward leaves for backward: valid until the stack's next forward, and for one backward."""

    weights: tuple[Any, ...]
    tapes: tuple[Any, ...]
    masks: Masks | None


class Stack:
    """L cells: the first reads the inputs, each of the others the outputs below it.

    residual: every layer but the first adds its input to its output, so that gradients reach the lower layers
    directly (He et al. 2015). Dropout is a mask per layer, the same at every time step of a window (Gal & Ghahramani
    2016).
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
        """Fill the params of all layers, from the first to the last."""
        for layer, cell in enumerate(self.cells):
            cell.initialise(group(params, f"layer{layer}"), rng)

    def zero_state(self, batch: int) -> State:
        """The state at the start of a text."""
        return tuple(cell.zero_state(batch) for cell in self.cells)

    def prepare(self, params: Mapping[str, Floats]) -> tuple[Any, ...]:
        """The weights of every layer: see Cell.prepare."""
        return tuple(cell.prepare(group(params, f"layer{layer}")) for layer, cell in enumerate(self.cells))

    def dropout_masks(self, rng: np.random.Generator, rate: float, batch: int) -> Masks:
        """Masks for one window: 0 with probability `rate`, else 1 / (1 - rate), which keeps the mean."""
        dtype = self._buffers.dtype
        return tuple(
            ((rng.random((batch, cell.output_size)) >= rate) / (1 - rate)).astype(dtype) for cell in self.cells
        )

    def forward(
        self,
        weights: tuple[Any, ...],
        inputs: Ids | Floats,
        state: State,
        masks: Masks | None = None,
        carry: Floats | None = None,
    ) -> tuple[Floats, State, StackTape]:
        """Run over a window: as Cell.forward, with one state and one mask per layer."""
        x: Ids | Floats = inputs
        states, tapes = [], []
        for layer, (cell, cell_weights, before) in enumerate(zip(self.cells, weights, state, strict=True)):
            outputs, after, tape = cell.forward(cell_weights, x, before, carry)
            states.append(after)
            tapes.append(tape)
            if masks is not None:
                outputs = np.multiply(outputs, masks[layer], out=self._buffers(f"masked{layer}", *outputs.shape))
            if self.residual and layer > 0:
                outputs = np.add(outputs, x, out=self._buffers(f"sum{layer}", *outputs.shape))
            x = outputs
        return outputs, tuple(states), StackTape(weights, tuple(tapes), masks)

    def activations(self, tape: StackTape) -> tuple[dict[str, Floats], ...]:
        """Per layer, the states and gates of a window: see Cell.activations."""
        return tuple(cell.activations(own) for cell, own in zip(self.cells, tape.tapes, strict=True))

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
        """Backpropagation from the last layer to the first: as Cell.backward. `doutputs` is overwritten."""
        self.check_tape(tape)
        gradient: Floats | None = doutputs
        for layer in reversed(range(len(self.cells))):
            assert gradient is not None
            past = self._kept(gradient, layer) if self.residual and layer > 0 else None
            if tape.masks is not None:
                gradient *= tape.masks[layer]
            gradient = self.cells[layer].backward(
                tape.weights[layer], tape.tapes[layer], gradient, group(grads, f"layer{layer}")
            )
            if past is not None and gradient is not None:
                gradient += past
        return gradient

    def check_tape(self, tape: StackTape) -> None:
        """Raise RuntimeError unless every layer accepts its tape: see Cell.check_tape."""
        for cell, own in zip(self.cells, tape.tapes, strict=True):
            cell.check_tape(own)

    def _kept(self, gradient: Floats, layer: int) -> Floats:
        """A copy of the gradient in a layer's outputs, which goes past that layer."""
        kept = self._buffers(f"past{layer}", *gradient.shape)
        kept[...] = gradient
        return kept
