"""Score many short texts with a network, each from its own beginning: side by side, whatever their lengths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from charlm.arrays import Floats, Ids
from charlm.predict.window_scorer import WindowScorer
from charlm.text.pieces import grouped

TEXTS = 256  # read side by side
HELD = 2**20  # characters and texts that are held back, to be sorted by length
STEPS = 64  # time steps of a window


def short_texts_nats(scorer: WindowScorer, texts: Iterable[Ids], start: int) -> Iterator[Floats]:
    """For every text of ids (N,), the nats (N,), float64, of its characters; the id `start` is read before each text.

    Texts of similar length are read together; their nats come in the order of the texts.
    """
    for held in grouped(texts, HELD):
        order = sorted(range(len(held)), key=lambda number: -len(held[number]))
        found: list[Floats] = [np.empty(0)] * len(held)
        with scorer:
            for first in range(0, len(order), TEXTS):
                batch = order[first : first + TEXTS]
                nats = _score(scorer, [held[number] for number in batch], start)
                for column, number in enumerate(batch):
                    found[number] = nats[: len(held[number]), column].copy()
        yield from found


def _score(scorer: WindowScorer, texts: Sequence[Ids], start: int) -> Floats:
    """Nats (T, K) of K texts, the longest first, T its length; undefined beyond the end of a text."""
    lengths = np.array([len(text) for text in texts])
    targets = np.full((max(1, lengths[0]), len(texts)), start, np.intp)
    for column, text in enumerate(texts):
        targets[: len(text), column] = text
    inputs = np.concatenate([np.full((1, len(texts)), start, np.intp), targets[:-1]])

    nats = np.zeros(targets.shape)
    state = scorer.zero_state(len(texts))
    for at in range(0, int(lengths[0]), STEPS):
        active = int(np.count_nonzero(lengths > at))  # the others have ended
        state = tuple(layer[..., :active, :] for layer in state)
        window = slice(at, at + STEPS)
        nats[window, :active], state = scorer(inputs[window, :active], targets[window, :active], state)
    return nats
