"""The network: characters as one-hot or learned vectors, a stack of recurrent cells, a read-out; its gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from charlm.arrays import Buffers, Flags, Floats, Ids, NamedArrays
from charlm.errors import SpecError, UnsuitableError
from charlm.nn.bidirectional import DIRECTIONS
from charlm.nn.cells import ACTIVATIONS, CELLS, OPTIONS, RESETS, make_cell
from charlm.nn.embedding import sum_rows_by_id
from charlm.nn.initialisation import uniform_fan_in
from charlm.nn.products import times
from charlm.nn.readout import read_out, read_out_backward
from charlm.nn.stack import Masks, Stack, StackTape, State

MOST_PARAMETERS = 2**28
MOST_CHARACTERS = 500_000  # Unicode has 160,000; each takes up to 14 bytes of a checkpoint's header


@dataclass(frozen=True)
class ModelSpec:
    """The sizes and the kind of a network. `charlm train` takes its defaults from here.

    vocabulary: V. hidden: H units per layer. layers: L. cell: one of CELLS. reset: where a GRU applies its reset
    gate, "before" or "after" the recurrent product. activation: of the plain rnn, "tanh" or "relu". embedding: size
    of the learned vector of a character; 0 for one-hot. tied: the read-out uses the embedding's matrix, transposed.
    residual: every layer but the first adds its input to its output. bidirectional: every layer reads in both
    directions; such a network cannot predict the next character. Raises SpecError for values that make no network.
    """

    vocabulary: int
    hidden: int = 256
    layers: int = 1
    cell: str = "gru"
    reset: str = RESETS[0]
    activation: str = ACTIVATIONS[0]
    embedding: int = 0
    tied: bool = False
    residual: bool = True
    bidirectional: bool = False

    def __post_init__(self) -> None:
        for name, least in (("vocabulary", 1), ("hidden", 1), ("layers", 1), ("embedding", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise SpecError(f"{name} must be a whole number of at least {least}, not {value!r}")
        for name, choices in {"cell": tuple(CELLS), **OPTIONS}.items():
            if getattr(self, name) not in choices:
                raise SpecError(f"{name} must be one of {', '.join(choices)}, not {getattr(self, name)!r}")
        for name in ("tied", "residual", "bidirectional"):
            if not isinstance(getattr(self, name), bool):
                raise SpecError(f"{name} must be true or false, not {getattr(self, name)!r}")
        if self.tied and self.embedding != self.hidden * (1 + self.bidirectional):
            raise SpecError(
                f"a tied read-out needs an embedding as large as the last layer's output "
                f"({self.hidden * (1 + self.bidirectional)}), not {self.embedding}: set both to one size"
            )
        if self.layers > 1000 or self.vocabulary > MOST_CHARACTERS or self.parameters > MOST_PARAMETERS:
            raise SpecError(
                f"{self.layers} layers of {self.hidden} units over {self.vocabulary} characters are too large: at "
                f"most 1,000 layers, {MOST_CHARACTERS:,} characters and {MOST_PARAMETERS:,} parameters; "
                "use a smaller hidden size"
            )

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of all parameters, in the order of the flat buffer."""
        stack = make_stack(self)
        shapes: dict[str, tuple[int, ...]] = {}
        if self.embedding:
            shapes["embedding.E"] = (self.vocabulary, self.embedding)
        shapes |= stack.shapes
        if not self.tied:
            shapes["readout.W"] = (stack.output_size, self.vocabulary)
        return shapes | {"readout.b": (self.vocabulary,)}

    @property
    def parameters(self) -> int:
        """The number of parameters."""
        return sum(map(math.prod, self.shapes.values()))

    @property
    def character_axes(self) -> dict[str, int]:
        """The parameters that have an axis over the vocabulary, with the number of that axis."""
        if self.embedding:
            axes = {"embedding.E": 0}
        elif self.bidirectional:
            axes = {f"layer0.{direction}.W": 0 for direction in DIRECTIONS}
        else:
            axes = {"layer0.W": 0}
        if not self.tied:
            axes["readout.W"] = 1
        return axes | {"readout.b": 0}


def make_stack(spec: ModelSpec, dtype: DTypeLike = np.float32) -> Stack:
    """The recurrent layers of a network."""
    above = spec.hidden * (1 + spec.bidirectional)
    sizes = [spec.embedding or spec.vocabulary] + [above] * (spec.layers - 1)
    options = {name: getattr(spec, name) for name in (*OPTIONS, "bidirectional")}
    return Stack([make_cell(spec.cell, size, spec.hidden, dtype, **options) for size in sizes], spec.residual)


class ModelTape(NamedTuple):
    """What forward leaves for backward: valid until the model's next forward, and for one backward."""

    inputs: Ids  # (T, B)
    stack: StackTape
    top: Floats  # (T, B, output size): outputs of the last layer


class CharLM:
    """A character-level language model as a function: it holds sizes and buffers, no parameters and no state.

    It is not thread-safe: give each thread its own, which costs little.
    """

    def __init__(self, spec: ModelSpec, dtype: DTypeLike = np.float32) -> None:
        self.spec = spec
        self.dtype = np.dtype(dtype)
        self.stack = make_stack(spec, dtype)
        self._buffers = Buffers(dtype)

    @property
    def causal(self) -> bool:
        """Whether no output depends on the characters that it is to predict."""
        return self.stack.causal

    def require_causal(self) -> None:
        """Raise UnsuitableError for a network that reads the characters it is to predict."""
        if not self.causal:
            raise UnsuitableError(
                "a bidirectional network has read the character that it is to predict, so it can neither be trained "
                "to predict the next one, nor score, nor sample: set bidirectional to false, or see charlm.nn.sequence"
            )

    def initial_params(self, rng: np.random.Generator) -> NamedArrays:
        """New parameters; the same generator state gives the same parameters, up to rounding to the dtype."""
        params = NamedArrays(self.spec.shapes, self.dtype)
        self.stack.initialise(params, rng)
        if "embedding.E" in params:
            params["embedding.E"][...] = uniform_fan_in(rng, params["embedding.E"].shape, fan_in=self.spec.embedding)
        if "readout.W" in params:
            params["readout.W"][...] = uniform_fan_in(rng, params["readout.W"].shape, fan_in=self.stack.output_size)
        return params

    def zero_state(self, batch: int) -> State:
        """The state at the start of a text."""
        return self.stack.zero_state(batch)

    def prepare(self, params: NamedArrays) -> tuple[Any, ...]:
        """The weights of every layer: made once per update, or once for a whole text. See Cell.prepare."""
        return self.stack.prepare(params)

    def dropout_masks(self, rng: np.random.Generator, rate: float, batch: int) -> Masks | None:
        """Dropout masks of one window for every layer's outputs; None for a rate of 0."""
        return self.stack.dropout_masks(rng, rate, batch) if rate else None

    def forward(
        self,
        params: NamedArrays,
        inputs: Ids,
        state: State,
        *,
        weights: tuple[Any, ...] | None = None,
        masks: Masks | None = None,
        begins: Flags | None = None,
    ) -> tuple[Floats, State, ModelTape]:
        """Predict the character after each character of a window.

        inputs: ids (T, B). state: from `zero_state` or from the window before. weights: `prepare(params)`, where the
        params stay the same over many calls. masks: dropout, in training only. begins: (T, B), where a record
        begins: there the state is zero before the character is read. By default no record begins in the window.
        Returns logits (T, B, V), the state after the window, and the tape for `backward`. The logits are a buffer:
        valid until this model's next forward; the caller may overwrite them.
        """
        weights = weights or self.prepare(params)
        x = self._embedded(params, inputs)
        carry = None if begins is None else (~begins[..., None]).astype(self.dtype)
        top, state, tape = self.stack.forward(weights, x, state, masks, carry)
        logits = read_out(top, self._readout(params), params["readout.b"], self._buffers)
        return logits, state, ModelTape(inputs, tape, top)

    def activations(self, tape: ModelTape) -> tuple[dict[str, Floats], ...]:
        """Per layer, the states and gates of a window by name, each (T, B, H): see Cell.activations."""
        return self.stack.activations(tape.stack)

    def stepper(
        self, params: NamedArrays, batch: int, *, weights: tuple[Any, ...] | None = None
    ) -> Callable[[Ids, State], tuple[Floats, State]]:
        """`forward` for a single time step, as a function with little overhead.

        It takes ids (B,) and the state, and returns logits (B, V), a buffer that its next call overwrites, and the
        next state, all new arrays. Later changes of the params have no effect on it.
        """
        step_stack = self.stack.stepper(weights or self.prepare(params), batch)
        times_W = times("W", self._readout(params), batch, Buffers(self.dtype))
        b, E = params["readout.b"].copy(), params["embedding.E"].copy() if self.spec.embedding else None

        def step(ids: Ids, state: State) -> tuple[Floats, State]:
            top, state = step_stack(ids if E is None else E.take(ids, axis=0), state)
            logits = times_W(top)
            logits += b
            return logits, state

        return step

    def backward(self, params: NamedArrays, tape: ModelTape, dlogits: Floats, grads: NamedArrays) -> None:
        """Write the gradients of the loss to `grads`; dlogits: its gradient in the logits (T, B, V).

        Raises RuntimeError, before anything is written, for a tape that was used or overwritten: see Cell.backward.
        """
        self.stack.check_tape(tape.stack)
        W = self._readout(params)
        dW = grads["readout.W"] if "readout.W" in grads else self._buffers("tied", *W.shape)
        dtop = read_out_backward(tape.top, dlogits, W, dW, grads["readout.b"], self._buffers)
        dx = self.stack.backward(tape.stack, dtop, grads)
        if dx is not None:
            T, B, N = dx.shape
            sum_rows_by_id(tape.inputs.reshape(-1), dx.reshape(T * B, N), grads["embedding.E"])
        if self.spec.tied:
            grads["embedding.E"] += dW.T

    def _embedded(self, params: NamedArrays, inputs: Ids) -> Ids | Floats:
        """The characters' learned vectors (T, B, N), or the ids themselves, which cells read as one-hot vectors."""
        if not self.spec.embedding:
            return inputs
        out = self._buffers("embedded", *inputs.shape, self.spec.embedding)
        return np.take(params["embedding.E"], inputs, axis=0, out=out, mode="clip")

    def _readout(self, params: NamedArrays) -> Floats:
        """W_y (H, V)."""
        return params["embedding.E"].T if self.spec.tied else params["readout.W"]
