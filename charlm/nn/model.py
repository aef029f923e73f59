"""The network: one-hot characters, a stack of recurrent cells, a softmax read-out; and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from charlm.errors import SpecError
from charlm.nn.arrays import Buffers, Floats, Ids, NamedArrays
from charlm.nn.gru import GRU, Tape, Weights
from charlm.nn.init import uniform_fan_in

State: TypeAlias = tuple[Floats, ...]
"""What is carried from window to window: per layer (B, H)."""


@dataclass(frozen=True)
class ModelSpec:
    """The sizes of a network. `vocabulary` is V, `hidden` is H, `layers` is L."""

    vocabulary: int
    hidden: int = 256
    layers: int = 1

    def __post_init__(self) -> None:
        for name in ("vocabulary", "hidden", "layers"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise SpecError(f"{name} must be a whole number of at least 1, not {value!r}")
        if self.parameters > 2**28:
            raise SpecError(
                f"{self.layers} layers of {self.hidden} units over {self.vocabulary} characters are "
                f"{self.parameters:,} parameters; at most {2**28:,} are supported: use a smaller hidden size"
            )

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of all parameters, in the order of the flat buffer."""
        V, H = self.vocabulary, self.hidden
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(self.layers):
            cell = GRU(V if layer == 0 else H, H)
            shapes |= {f"layer{layer}.{name}": shape for name, shape in cell.shapes.items()}
        return shapes | {"readout.W": (H, V), "readout.b": (V,)}

    @property
    def parameters(self) -> int:
        """The number of parameters: one-hot input, L layers, read-out. Counted in closed form."""
        V, H, L = self.vocabulary, self.hidden, self.layers
        inputs = V + (L - 1) * H
        return 3 * H * (inputs + L * (H + 1)) + (H + 1) * V


class ModelTape(NamedTuple):
    """What forward leaves for backward; valid until the model's next forward."""

    weights: tuple[Weights, ...]
    cells: tuple[Tape, ...]
    top: Floats  # (T, B, H): outputs of the last layer


class CharLM:
    """A character-level language model as a function: it holds sizes and buffers, no parameters and no state.

    Not for use by two threads at once: give each its own, they are cheap.
    """

    def __init__(self, spec: ModelSpec, dtype: DTypeLike = np.float32) -> None:
        self.spec = spec
        self.dtype = np.dtype(dtype)
        inputs = [spec.vocabulary] + [spec.hidden] * (spec.layers - 1)
        self.cells = tuple(GRU(size, spec.hidden, dtype) for size in inputs)
        self._buffers = Buffers(dtype)

    def initial_params(self, rng: np.random.Generator) -> NamedArrays:
        """Fresh parameters; the same generator state gives the same parameters, whatever the dtype."""
        params = NamedArrays(self.spec.shapes, self.dtype)
        for layer, cell in enumerate(self.cells):
            cell.initialise(params.group(f"layer{layer}"), rng)
        params["readout.W"][...] = uniform_fan_in(rng, params["readout.W"].shape, fan_in=self.spec.hidden)
        return params

    def zero_state(self, batch: int) -> State:
        """The state at the start of a text: per layer zeros (B, H)."""
        return tuple(cell.zero_state(batch) for cell in self.cells)

    def prepare(self, params: NamedArrays) -> tuple[Weights, ...]:
        """Per layer, the weights as its passes want them; made once per update, or once for a whole text."""
        return tuple(cell.prepare(params.group(f"layer{layer}")) for layer, cell in enumerate(self.cells))

    def forward(
        self, params: NamedArrays, inputs: Ids, state: State, weights: tuple[Weights, ...] | None = None
    ) -> tuple[Floats, State, ModelTape]:
        """Predict the character after each of a window's.

        inputs: ids (T, B). state: per layer (B, H). weights: `prepare(params)`, where params stay the same over
        many calls. Returns logits (T, B, V), the state after the window, and the tape for `backward`.
        The logits are a buffer: valid until this model's next forward, and free to be overwritten until then.
        """
        T, B = inputs.shape
        weights = weights or self.prepare(params)
        states, tapes = [], []
        x: Ids | Floats = inputs
        for cell, cell_weights, cell_state in zip(self.cells, weights, state, strict=True):
            x, last, tape = cell.forward(cell_weights, x, cell_state)
            states.append(last)
            tapes.append(tape)
        top = tapes[-1].states[1:]

        logits = self._buffers("logits", T * B, self.spec.vocabulary)
        np.matmul(top.reshape(T * B, -1), params["readout.W"], out=logits)
        logits += params["readout.b"]
        return logits.reshape(T, B, -1), tuple(states), ModelTape(weights, tuple(tapes), top)

    def backward(self, params: NamedArrays, tape: ModelTape, dlogits: Floats, grads: NamedArrays) -> None:
        """The gradients of the loss in every parameter, written to `grads`; dlogits: its slope in logits (T, B, V)."""
        T, B, H = tape.top.shape
        top, dlogits = tape.top.reshape(T * B, H), dlogits.reshape(T * B, -1)
        np.matmul(top.T, dlogits, out=grads["readout.W"])
        np.sum(dlogits, axis=0, out=grads["readout.b"])

        dx = self._buffers("dtop", T * B, H)
        np.matmul(dlogits, params["readout.W"].T, out=dx)
        slope: Floats | None = dx.reshape(T, B, H)
        for layer in reversed(range(len(self.cells))):
            assert slope is not None
            slope = self.cells[layer].backward(
                tape.weights[layer], tape.cells[layer], slope, grads.group(f"layer{layer}")
            )
