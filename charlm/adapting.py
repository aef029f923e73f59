"""Adapt: score a text while learning from it (dynamic evaluation).

The text is read in short windows. Each is scored first, and then learned from: a small step down its gradient, and
a step of the same kind back to the trained weights, so that what was learned fades when the text moves on.

    p <- p - rate * g + decay * (p0 - p)

Mikolov et al., "Recurrent neural network based language model", 2010; the way back is that of Krause et al.,
"Dynamic evaluation of neural sequence models", 2018, without their scaling by the root mean square of gradients.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np

from charlm.errors import DivergenceError, SpecError
from charlm.nn.arrays import Floats, Ids, NamedArrays
from charlm.nn.loss import cross_entropy, target_nats
from charlm.nn.model import CharLM, ModelTape
from charlm.optim.clip import clip_by_global_norm
from charlm.text.vocabulary import Vocabulary

WINDOW = 20  # characters between two steps
DECAY = 0.001  # share of the way back to the trained weights, per step
MOST_NORM = 1.0  # of a gradient
MOST_RATE = 100


def adapted_surprisal(
    model: CharLM, params: NamedArrays, vocabulary: Vocabulary, pieces: Iterable[str], rate: float
) -> Iterator[Floats]:
    """For every piece of a text, the nats (N,), float64, of its characters, scored before they are learned from.

    The pieces are one text, whose windows do not depend on where it was cut. rate: of learning; 0 scores as
    `charlm.scoring.surprisal` does. The params are left as they are. Raises SpecError for a rate that makes no sense,
    DivergenceError for one at which the model explodes.
    """
    if not 0 <= rate <= MOST_RATE:
        raise SpecError(f"the rate of adapting must be a number from 0 to {MOST_RATE} (0.1 is usual), not {rate}")
    model.require_causal()
    reader = _AdaptingReader(model, params, vocabulary.start, rate)
    waiting: deque[Ids] = deque()  # pieces whose nats are not all known
    unread, nats = np.empty(0, vocabulary.dtype), np.empty(0)
    for piece in chain(pieces, [None]):
        if piece is not None:
            waiting.append(vocabulary.encode(piece, escape=True))
            unread = np.concatenate((unread, waiting[-1]))
        end = len(unread) if piece is None else len(unread) // WINDOW * WINDOW
        nats = np.concatenate((nats, *(reader.read(unread[at : at + WINDOW]) for at in range(0, end, WINDOW))))
        unread = unread[end:]
        while waiting and len(waiting[0]) <= len(nats):
            ids = waiting.popleft()
            of_piece, nats = nats[: len(ids)], nats[len(ids) :]
            of_piece[ids == vocabulary.escape] += math.log(vocabulary.others)
            yield of_piece


class _AdaptingReader:
    """Reads a text on from window to window, with weights of its own that learn."""

    def __init__(self, model: CharLM, params: NamedArrays, start: int, rate: float) -> None:
        self._model, self._trained, self._rate = model, params, rate
        self._now, self._grads = NamedArrays.like(params), NamedArrays.like(params)
        self._now.flat[...] = params.flat
        self._back = np.empty_like(params.flat)
        self._state, self._before = model.zero_state(1), start

    def read(self, targets: Ids) -> Floats:
        """The nats (T,) of a window (T,); then one step from it."""
        inputs = np.concatenate(([self._before], targets[:-1]))
        with np.errstate(over="ignore", invalid="ignore"):  # what that leads to is seen and told below
            logits, self._state, tape = self._model.forward(self._now, inputs[:, None], self._state)
            nats = target_nats(logits.copy(), targets[:, None])[:, 0]
        if not np.isfinite(nats).all():
            raise DivergenceError(f"at the rate {self._rate:g} the model exploded while it adapted: use a lower rate")
        self._before = int(targets[-1])
        if self._rate:
            self._learn(logits, targets, tape)
        return nats

    def _learn(self, logits: Floats, targets: Ids, tape: ModelTape) -> None:
        _, dlogits = cross_entropy(logits, targets[:, None])
        with np.errstate(over="ignore", invalid="ignore"):
            self._model.backward(self._now, tape, dlogits, self._grads)
            clip_by_global_norm(self._grads, MOST_NORM)
            np.subtract(self._trained.flat, self._now.flat, out=self._back)
            self._back *= DECAY
            self._now.flat += self._back
            self._grads.flat *= self._rate
            self._now.flat -= self._grads.flat
