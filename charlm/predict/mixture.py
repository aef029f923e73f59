"""A network's probabilities and an n-gram's, interpolated.

    P(w) = weight * P_network(w) + (1 - weight) * P_ngram(w)

Both are distributions over the same V ids, so P is one, too. A network generalises, an n-gram remembers: together they
are better than either, most of all on texts that repeat themselves, or after short training.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import tee

import numpy as np

from charlm.arrays import Floats, Ids
from charlm.nn.softmax import log_softmax
from charlm.predict.predictor import Predictor, Reader
from charlm.text.pieces import paired

HALVINGS = 40  # of the interval that holds the weight
MOST_RATIO = 300.0  # nats; a larger difference of two models is cut to this, so that its exponential is finite


class Mixture(Predictor):
    """Two predictors over the same ids. weight: of the first one, 0 to 1."""

    def __init__(self, network: Predictor, ngram: Predictor, weight: float) -> None:
        self.network, self.ngram, self.weight = network, ngram, weight
        self.start, self.V = network.start, network.V

    def reader(self, prompt: Ids | None = None) -> MixtureReader:
        """A reader of both."""
        return MixtureReader(self.network.reader(prompt), self.ngram.reader(prompt), self.weight)

    def nats(self, pieces: Iterable[Ids], *, reset: bool = False) -> Iterator[Floats]:
        """From the nats of both."""
        by_network = paired(pieces, partial(self.network.nats, reset=reset))
        by_both = paired(by_network, lambda read: self.ngram.nats((piece for piece, _ in read), reset=reset))
        return (mixed_nats(network, ngram, self.weight) for (_, network), ngram in by_both)

    def distributions(self, pieces: Iterable[Ids], *, reset: bool = False) -> Iterator[Floats]:
        """From the distributions of both."""
        pieces, again = tee(pieces)
        network, ngram = self.network.distributions(pieces, reset=reset), self.ngram.distributions(again, reset=reset)
        return (-mixed_nats(-one, -other, self.weight) for one, other in zip(network, ngram, strict=True))


class MixtureReader(Reader):
    """Reads with both."""

    def __init__(self, network: Reader, ngram: Reader, weight: float) -> None:
        self.network, self.ngram, self.weight = network, ngram, weight

    def logits(self) -> Floats:
        """The log-probabilities (B, V), float64, of P."""
        return -mixed_nats(-log_softmax(self.network.logits()), -log_softmax(self.ngram.logits()), self.weight)

    def read(self, ids: Ids) -> None:
        """By both."""
        self.network.read(ids)
        self.ngram.read(ids)

    def read_window(self, ids: Ids) -> None:
        """By both."""
        self.network.read_window(ids)
        self.ngram.read_window(ids)

    def rows(self, places: Ids) -> MixtureReader:
        """Of both."""
        return MixtureReader(self.network.rows(places), self.ngram.rows(places), self.weight)


def mixed_nats(network: Floats, ngram: Floats, weight: float) -> Floats:
    """-ln P of characters that cost so many nats by the network alone and by the n-gram alone, arrays of one shape."""
    with np.errstate(divide="ignore"):  # ln 0 for a weight of 0 or 1
        logs = np.log([weight, 1 - weight])
    result: Floats = -np.logaddexp(logs[0] - network, logs[1] - ngram)
    return result


def best_weight(network: Floats, ngram: Floats) -> float:
    """The weight that minimises the mean of `mixed_nats` over characters (N,), never worse than either alone.

    ln P is concave in the weight: a derivative of 0 means the maximum, and bisection finds it.
    """
    ratio = np.exp(np.clip(network - ngram, -MOST_RATIO, MOST_RATIO))  # P_ngram / P_network

    def derivative(weight: float) -> float:
        return float(np.sum((1 - ratio) / (weight + (1 - weight) * ratio)))

    if derivative(1.0) >= 0:
        return 1.0
    if derivative(0.0) <= 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if derivative(middle) > 0 else (low, middle)
    return (low + high) / 2
