"""Predict: the probabilities of every next character, and what the units do, while a text is read.

Scoring keeps one number a character and reads in lanes, side by side. Here whole rows are kept, of texts that people
look at, so one pass in order is enough: window by window with the state carried, at bounded memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from charlm.nn.arrays import Floats, Ids, NamedArrays
from charlm.nn.model import CharLM
from charlm.text.vocabulary import Vocabulary

WINDOW = 256  # characters read at a time
MOST_LOGITS = 2**22  # scalars: with a large alphabet, fewer characters at a time


def predictions(
    model: CharLM, params: NamedArrays, vocabulary: Vocabulary, pieces: Iterable[str], *, reset: bool = False
) -> Iterator[Floats]:
    """Before each character of a text, the log-probabilities (n, V), float64, of what could come; n rows at a time.

    The place of a character is its id; the last, the escape, is that of all characters outside the vocabulary, taken
    together. The pieces are one text, read on from each to the next; with `reset`, each is a text of its own.
    """
    model.require_causal()
    weights, state, before = model.prepare(params), model.zero_state(1), vocabulary.start
    for piece in pieces:
        if reset:
            state, before = model.zero_state(1), vocabulary.start
        for targets in _windows(vocabulary.encode(piece, escape=True), model):
            inputs = np.append(targets.dtype.type(before), targets[:-1])
            logits, state, _ = model.forward(params, inputs[:, None], state, weights=weights)
            before = int(targets[-1])
            yield _log_softmax(logits[:, 0])


def activations(
    model: CharLM, params: NamedArrays, vocabulary: Vocabulary, text: str
) -> Iterator[tuple[dict[str, Floats], ...]]:
    """What the units of every layer did when they read each character of a text, n of them at a time.

    Per layer the arrays of `Cell.activations`, each (n, H), and copies: free to be kept.
    """
    model.require_causal()
    weights = model.prepare(params)
    start = np.array([[vocabulary.start]])  # is read before every text
    _, state, _ = model.forward(params, start, model.zero_state(1), weights=weights)
    for inputs in _windows(vocabulary.encode(text, escape=True), model):
        _, state, tape = model.forward(params, inputs[:, None], state, weights=weights)
        yield tuple({name: array[:, 0].copy() for name, array in layer.items()} for layer in model.activations(tape))


def likeliest(log_p: Floats, count: int) -> tuple[Ids, Floats]:
    """Of rows of log-probabilities (n, V), the ids and probabilities (n, k) of the k likeliest, these first.

    k is `count`, or V where that is less; of equally likely ones the smaller id comes first.
    """
    k = min(count, log_p.shape[1])
    ids = np.argsort(-log_p, axis=1, kind="stable")[:, :k]
    return ids, np.exp(np.take_along_axis(log_p, ids, axis=1))


def _windows(ids: Ids, model: CharLM) -> Iterator[Ids]:
    length = min(WINDOW, max(1, MOST_LOGITS // model.spec.vocabulary))
    return (ids[at : at + length] for at in range(0, len(ids), length))


def _log_softmax(logits: Floats) -> Floats:
    result = logits.astype(np.float64)
    result -= result.max(axis=-1, keepdims=True)
    result -= np.log(np.exp(result).sum(axis=-1, keepdims=True))
    return result
