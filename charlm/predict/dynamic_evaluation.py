"""Dynamic evaluation: a network that learns from the text it reads.

The text is read in short windows. Each is predicted first, and then learned from: one gradient step, and one step of
weight decay towards the trained weights, so that what was learned fades when the text moves on.

    p <- p - rate * g + decay * (p0 - p)

Mikolov et al., "Recurrent neural network based language model", 2010; the decay is that of Krause et al., "Dynamic
evaluation of neural sequence models", 2018, without their scaling by the root mean square of gradients.

The constants are the best of those tried on plays that the model was not trained on (scripts/study_adapting.py): a
window of 20 gained as much as 10 or 50; a decay of 0.0003 about as much as none, also if one play followed another;
a decay of 0.001 gained 5 to 10 % less.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import chain

import numpy as np

from charlm.arrays import Floats, Ids, NamedArrays
from charlm.errors import DivergenceError, SpecError
from charlm.nn.loss import cross_entropy
from charlm.nn.model import CharLM, ModelTape
from charlm.nn.softmax import target_nats
from charlm.nn.stack import State
from charlm.optim.clip import clip_by_global_norm
from charlm.parallel.blas import blas_threads
from charlm.predict.predictor import Predictor, Reader

WINDOW = 20  # characters between two steps
DECAY = 0.0003  # share of the distance to the trained weights, per step: half of it in 46,000 characters
MOST_NORM = 1.0  # of a gradient
USUAL_RATE = 0.2
MOST_RATE = 2.0  # the best on any text was 0.8, on one in another language; at 5 all were worse than without adapting


class DynamicEvaluation(Predictor):
    """A network that adapts while it reads, at a learning rate; `params` stay as they are.

    Raises SpecError for an impossible rate; reading raises DivergenceError if the network diverges at this rate.
    """

    def __init__(self, model: CharLM, params: NamedArrays, start: int, rate: float) -> None:
        if not 0 <= rate <= MOST_RATE:
            raise SpecError(
                f"the rate of adapting must be a number from 0 to {MOST_RATE:g} ({USUAL_RATE:g} is usual), not {rate}"
            )
        model.require_causal()
        self.model, self.params, self.start, self.rate = model, params, start, rate
        self.V = model.spec.vocabulary

    def reader(self, prompt: Ids | None = None) -> AdaptingReader:
        """A reader, which learns from the prompt, too."""
        reader = AdaptingReader(self._adapting(), self.model.zero_state(1), self.start)
        if prompt is not None:
            reader.read_window(prompt[:, None])
        return reader

    def nats(self, pieces: Iterable[Ids], *, reset: bool = False) -> Iterator[Floats]:
        """Window by window; where the text is cut into pieces makes no difference. Raises SpecError for `reset`."""
        if reset:
            raise SpecError("dynamic evaluation learns from one text to the next: leave reset out")
        network, state, before = self._adapting(), self.model.zero_state(1), self.start
        waiting: deque[int] = deque()  # lengths of the pieces whose nats are not all known
        unread, nats = np.empty(0, np.intp), np.empty(0)
        for piece in chain(pieces, [None]):
            if piece is not None:
                waiting.append(len(piece))
                unread = np.concatenate((unread, piece))
            end = len(unread) if piece is None else len(unread) // WINDOW * WINDOW
            parts: list[Floats] = [nats]
            with blas_threads(1) if end else nullcontext():  # a window of one sequence is too little work to share
                for at in range(0, end, WINDOW):
                    window = unread[at : at + WINDOW]
                    found, state = network.predict_and_learn(before, window, state)
                    before = int(window[-1])
                    parts.append(found)
            nats, unread = np.concatenate(parts), unread[end:]
            while waiting and waiting[0] <= len(nats):
                length = waiting.popleft()
                yield nats[:length].copy()
                nats = nats[length:]

    def distributions(self, pieces: Iterable[Ids], *, reset: bool = False) -> Iterator[Floats]:
        """Character by character. Raises SpecError for `reset`."""
        if reset:
            raise SpecError("dynamic evaluation learns from one text to the next: leave reset out")
        return super().distributions(pieces)

    def _adapting(self) -> _AdaptingNetwork:
        return _AdaptingNetwork(CharLM(self.model.spec, self.model.dtype), self.params, self.rate)


class AdaptingReader(Reader):
    """Reads one text character by character, with the numbers of `DynamicEvaluation.nats`."""

    def __init__(self, network: _AdaptingNetwork, state: State, start: int) -> None:
        self._network, self._begin = network, state  # the state at the beginning of the window
        self._ids = [start]  # the last one of the window before, and those of this one

    def logits(self) -> Floats:
        """(1, V), after a forward pass over the window so far."""
        last: Floats = self._network.logits(np.array(self._ids), self._begin)[-1]
        return last

    def read(self, ids: Ids) -> None:
        """Read one character, and learn at the end of a window."""
        self._ids.append(int(ids[0]))
        if len(self._ids) > WINDOW:
            before, *window = self._ids
            _, self._begin = self._network.predict_and_learn(before, np.array(window), self._begin)
            self._ids = self._ids[-1:]

    def rows(self, places: Ids) -> Reader:
        """Raises SpecError: every text would need parameters of its own."""
        raise SpecError("dynamic evaluation reads one text at a time: leave it out to sample or to branch")


class _AdaptingNetwork:
    """A network with parameters of its own, which learn."""

    def __init__(self, model: CharLM, trained: NamedArrays, rate: float) -> None:
        self._model, self._trained, self._rate = model, trained, rate
        self._now, self._grads = NamedArrays.like(trained), NamedArrays.like(trained)
        self._now.flat[...] = trained.flat
        self._distance = np.empty_like(trained.flat)

    def logits(self, inputs: Ids, state: State) -> Floats:
        """(T, 1, V) after inputs (T,)."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self._model.forward(self._now, inputs[:, None], state)[0]

    def predict_and_learn(self, before: int, targets: Ids, state: State) -> tuple[Floats, State]:
        """The nats (T,) of a window (T,) after `before` and the state after it; then one step of learning from it."""
        inputs = np.concatenate(([before], targets[:-1]))
        with np.errstate(over="ignore", invalid="ignore"):  # divergence is found below
            logits, state, tape = self._model.forward(self._now, inputs[:, None], state)
            nats = target_nats(logits.copy(), targets[:, None])[:, 0]
        if not np.isfinite(nats).all():
            raise DivergenceError(f"the model diverged while it adapted at the rate {self._rate:g}: use a lower rate")
        if self._rate:
            self._learn(logits, targets, tape)
        return nats, state

    def _learn(self, logits: Floats, targets: Ids, tape: ModelTape) -> None:
        _, dlogits = cross_entropy(logits, targets[:, None])
        with np.errstate(over="ignore", invalid="ignore"):
            self._model.backward(self._now, tape, dlogits, self._grads)
            clip_by_global_norm(self._grads, MOST_NORM)
            np.subtract(self._trained.flat, self._now.flat, out=self._distance)
            self._distance *= DECAY
            self._now.flat += self._distance
            self._grads.flat *= self._rate
            self._now.flat -= self._grads.flat
