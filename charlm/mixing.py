"""Mix: a network's probabilities and an n-gram's, interpolated.

    P(w) = weight * P_network(w) + (1 - weight) * P_ngram(w)

Both are distributions over the same V ids, so P is one, too. A network generalises, an n-gram remembers: together they
are better than either, most of all on texts that repeat themselves, or after short training.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from charlm.ngram import NGram
from charlm.nn.arrays import Floats, Ids
from charlm.text.vocabulary import Vocabulary

HALVINGS = 40  # of the interval that holds the weight
GROUP = 2**18  # characters that the n-gram scores at a time
MOST_RATIO = 300.0  # nats; more than this one model is never ahead of the other by


@dataclass(frozen=True)
class Mixture:
    """An n-gram, and how much of the probability is the network's: `weight`, 0 to 1."""

    ngram: NGram
    weight: float

    def nats(self, network: Floats, ngram: Floats) -> Floats:
        """What characters cost, (N,), that cost this much by the network alone and by the n-gram alone."""
        with np.errstate(divide="ignore"):  # ln 0 of a weight that is 0 or 1
            logs = np.log([self.weight, 1 - self.weight])
        result: Floats = -np.logaddexp(logs[0] - network, logs[1] - ngram)
        return result

    def log_probabilities(self, logits: Floats, contexts: Ids) -> Floats:
        """The logarithms (B, V), float64, of P after contexts (B, order - 1), see `NGram.context`.

        logits: (B, V), the network's, or its log-probabilities.
        """
        p = np.exp(np.subtract(logits, logits.max(axis=1, keepdims=True), dtype=np.float64))
        p *= self.weight / p.sum(axis=1, keepdims=True)
        p += (1 - self.weight) * self.ngram.probabilities(contexts)
        with np.errstate(divide="ignore"):
            result: Floats = np.log(p)
        return result


def fit_weight(network: Floats, ngram: Floats) -> float:
    """The weight with which characters cost least that cost (N,) nats by the network and by the n-gram.

    The logarithm of P is concave in the weight: where its slope is 0, all are. Never worse than either alone.
    """
    ratio = np.exp(np.clip(network - ngram, -MOST_RATIO, MOST_RATIO))  # P_ngram / P_network

    def slope(weight: float) -> float:
        return float(np.sum((1 - ratio) / (weight + (1 - weight) * ratio)))

    if slope(1.0) >= 0:
        return 1.0
    if slope(0.0) <= 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return (low + high) / 2


def mixed_surprisal(
    mixture: Mixture, vocabulary: Vocabulary, pieces: Iterable[str], network: Iterable[Floats], reset: bool
) -> Iterator[Floats]:
    """For every piece of a text the nats (N,), float64, of its characters; network: the same, of the network alone.

    The pieces are one text, read on from each to the next; with `reset`, each is a text of its own.
    """
    counted = _counted(mixture.ngram, vocabulary, pieces, reset)
    return (mixture.nats(nats, by_ngram) for nats, by_ngram in zip(network, counted, strict=True))


def _counted(ngram: NGram, vocabulary: Vocabulary, pieces: Iterable[str], reset: bool) -> Iterator[Floats]:
    """For every piece the nats of its characters by the n-gram; many small pieces are read in one go."""
    before = beginning = ngram.context([vocabulary.start])
    for group in _groups(pieces):
        each = [vocabulary.encode(piece, escape=True) for piece in group]
        between = beginning if reset else beginning[:0]  # is scored, too, and left out
        ids = np.concatenate([part for piece in each for part in (between, piece)])
        nats = ngram.nats(ids, before)
        nats[ids == vocabulary.escape] += math.log(vocabulary.others)
        before = ngram.context(np.concatenate([before, ids]))
        ends = np.cumsum([len(between) + len(piece) for piece in each])
        yield from (nats[end - len(piece) : end] for end, piece in zip(ends, each, strict=True))


def _groups(pieces: Iterable[str]) -> Iterator[list[str]]:
    """Pieces in groups of GROUP characters or a little more."""
    group: list[str] = []
    size = 0
    for piece in pieces:
        group.append(piece)
        size += len(piece) + 1
        if size >= GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group


def mixed_predictions(
    mixture: Mixture, vocabulary: Vocabulary, pieces: Iterable[str], network: Iterator[Floats], reset: bool
) -> Iterator[Floats]:
    """The log-probabilities (n, V) before each character of a text; network: the same, of the network alone."""
    span = mixture.ngram.order - 1
    before = beginning = mixture.ngram.context([vocabulary.start])
    for piece in pieces:
        known = np.concatenate([beginning if reset else before, vocabulary.encode(piece, escape=True)])
        at = 0
        while at < len(known) - span:
            rows = next(network)
            where = at + np.arange(len(rows))[:, None] + np.arange(span)
            yield mixture.log_probabilities(rows, known[where])
            at += len(rows)
        before = mixture.ngram.context(known)
