"""The network as a predictor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from charlm.arrays import Floats, Ids, NamedArrays
from charlm.nn.model import CharLM
from charlm.nn.softmax import log_softmax
from charlm.nn.stack import State
from charlm.predict.long_text import BLOCK, long_text_nats
from charlm.predict.predictor import Predictor, Reader
from charlm.predict.short_texts import short_texts_nats
from charlm.predict.window_scorer import WindowScorer
from charlm.runs.checkpoint import Checkpoint
from charlm.text.pieces import grouped, paired

ModelStep = Callable[[Ids, State], tuple[Floats, State]]


class Network(Predictor):
    """A network with its parameters, laid out for reading: make another one after a change of `params`.

    It works in the model's buffers: the model is not to be trained meanwhile. Every reader has buffers of its own.
    Raises SpecError for a bidirectional network.
    """

    def __init__(self, model: CharLM, params: NamedArrays, start: int) -> None:
        model.require_causal()
        self.model, self.params, self.start, self.V = model, params, start, model.spec.vocabulary
        self._weights = model.prepare(params)

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Network:
        """The network of a checkpoint; its params are read-only."""
        params = NamedArrays(checkpoint.spec.shapes)
        params.copy_from(checkpoint.params)
        for array in (params.flat, *params.values()):
            array.flags.writeable = False
        return cls(CharLM(checkpoint.spec), params, checkpoint.vocabulary.start)

    def with_own_buffers(self) -> Network:
        """The same network for another thread."""
        other = object.__new__(Network)
        vars(other).update(vars(self) | {"model": CharLM(self.model.spec, self.model.dtype)})
        return other

    def reader(self, prompt: Ids | None = None) -> NetworkReader:
        """A reader, with the prompt read in one forward pass."""
        own = self.with_own_buffers()
        reader = NetworkReader(own.model, self.params, self._weights, own.model.zero_state(1))
        ids = np.array([self.start]) if prompt is None else np.concatenate(([self.start], prompt))
        reader.read_window(ids[:, None])
        return reader

    def nats(self, pieces: Iterable[Ids], *, reset: bool = False) -> Iterator[Floats]:
        """On all processors: parts of a long text, or many short texts, side by side."""
        scorer = WindowScorer(self.model, self.params, self._weights)
        if reset:
            yield from short_texts_nats(scorer, pieces, self.start)
            return

        def joined_nats(groups: Iterator[list[Ids]]) -> Iterator[Floats]:
            return long_text_nats(scorer, map(np.concatenate, groups), self.start)

        for group, nats in paired(grouped(pieces, BLOCK), joined_nats):
            yield from np.split(nats, np.cumsum([len(piece) for piece in group])[:-1])

    def distributions(self, pieces: Iterable[Ids], *, reset: bool = False) -> Iterator[Floats]:
        """Window by window in forward passes."""
        state, before = self.model.zero_state(1), self.start
        for piece in pieces:
            if reset:
                state, before = self.model.zero_state(1), self.start
            for targets in self.windows(piece):
                inputs = np.append(targets.dtype.type(before), targets[:-1])
                logits, state, _ = self.model.forward(self.params, inputs[:, None], state, weights=self._weights)
                before = int(targets[-1])
                yield log_softmax(logits[:, 0])

    def activations(self, ids: Ids) -> Iterator[tuple[dict[str, Floats], ...]]:
        """What the units of every layer are after each character of a text (N,), for n characters at a time.

        Per layer the arrays of `Cell.activations`, each (n, H), as copies.
        """
        start = np.array([[self.start]])
        _, state, _ = self.model.forward(self.params, start, self.model.zero_state(1), weights=self._weights)
        for inputs in self.windows(ids):
            _, state, tape = self.model.forward(self.params, inputs[:, None], state, weights=self._weights)
            layers = self.model.activations(tape)
            yield tuple({name: array[:, 0].copy() for name, array in layer.items()} for layer in layers)


class NetworkReader(Reader):
    """Reads with a network: windows in forward passes, single characters with its stepper."""

    def __init__(self, model: CharLM, params: NamedArrays, weights: tuple[Any, ...], state: State) -> None:
        self.state = state  # per layer (B, H); for an LSTM (2, B, H)
        self._model, self._params, self._weights = model, params, weights
        self._logits: Floats = np.zeros((0, 0), np.float32)
        self._step: ModelStep | None = None  # made when it is needed

    def logits(self) -> Floats:
        """(B, V), float32."""
        return self._logits

    def read(self, ids: Ids) -> None:
        """One step of the stepper, which is far faster than a forward pass over one character."""
        if self._step is None:
            self._step = self._model.stepper(self._params, len(ids), weights=self._weights)
        with np.errstate(over="ignore", invalid="ignore"):  # logits that are not finite are found by who uses them
            self._logits, self.state = self._step(ids, self.state)

    def read_window(self, ids: Ids) -> None:
        """One forward pass."""
        if len(ids):
            with np.errstate(over="ignore", invalid="ignore"):
                logits, self.state, _ = self._model.forward(self._params, ids, self.state, weights=self._weights)
            self._logits = logits[-1].copy()

    def rows(self, places: Ids) -> NetworkReader:
        """The states and logits of these places, copied."""
        state = tuple(layer[..., places, :] for layer in self.state)
        model = CharLM(self._model.spec, self._model.dtype)
        other = NetworkReader(model, self._params, self._weights, state)
        other._logits = self._logits[places]
        return other
