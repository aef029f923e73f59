"""The interface of predictors: the distribution of the next character after what was read.

Ids in, probabilities out. A predictor is defined by its `Reader`, which reads character by character. Predictors that
can read a whole text faster have methods of their own for that, with the same numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np

from charlm.arrays import Floats, Ids
from charlm.nn.softmax import log_softmax
from charlm.text.joined import IdsLike, Records
from charlm.text.pieces import in_blocks, paired
from charlm.text.vocabulary import add_unknown_cost

WINDOW = 256  # characters whose distributions are computed at a time
BLOCK = 2**20  # characters that are read at a time
MOST_LOGITS = 2**22  # scalars: with a large vocabulary, fewer characters at a time


class Reader(ABC):
    """B texts that are read side by side, one character of each at a time."""

    @abstractmethod
    def logits(self) -> Floats:
        """Of the next character of every text, (B, V): their log_softmax are the log-probabilities.

        The array may be a buffer that the next `read` overwrites.
        """

    @abstractmethod
    def read(self, ids: Ids) -> None:
        """Read the next character of every text, ids (B,)."""

    def read_window(self, ids: Ids) -> None:
        """Read T characters of every text, ids (T, B)."""
        for step in ids:
            self.read(step)

    @abstractmethod
    def rows(self, places: Ids) -> Reader:
        """An independent reader of the texts at some places (K,), in which a place may come several times."""


class Predictor(ABC):
    """The distribution of the next of V ids. start: the id that is read before the first character of every text."""

    start: int
    V: int

    @abstractmethod
    def reader(self, prompt: Ids | None = None) -> Reader:
        """A reader of one text that has read `start` and then the ids of a prompt (N,)."""

    def distributions(self, pieces: Iterable[Ids], *, reset: bool = False) -> Iterator[Floats]:
        """Before each character of a text, the log-probabilities (n, V), float64, of what could come.

        pieces: ids (N,), each read on from the one before; with `reset`, each from its own beginning. A piece is cut
        into `windows`: n is the length of one.
        """
        reader = self.reader()
        for piece in pieces:
            if reset:
                reader = self.reader()
            for window in self.windows(piece):
                rows = []
                for one in window:
                    rows.append(log_softmax(reader.logits()))
                    reader.read(np.array([one]))
                yield np.concatenate(rows)

    def nats(self, pieces: Iterable[Ids], *, reset: bool = False) -> Iterator[Floats]:
        """For every piece the nats (N,), float64, of its characters: -log p. pieces, reset: see distributions."""
        reader = self.reader()
        for piece in pieces:
            if reset:
                reader = self.reader()
            nats = np.empty(len(piece))
            for place, one in enumerate(piece):
                nats[place] = -log_softmax(reader.logits())[0, one]
                reader.read(np.array([one]))
            yield nats

    def windows(self, ids: Ids) -> Iterator[Ids]:
        """Ids (N,) in the windows of `distributions`."""
        length = min(WINDOW, max(1, MOST_LOGITS // self.V))
        return in_blocks([ids], length)


def nats_of(predictor: Predictor, ids: IdsLike) -> Iterator[Floats]:
    """The nats (N,), float64, of all ids of a text, some at a time; of records, each from its own beginning.

    The last of the V ids is the unknown character, which also costs ln(others): see Vocabulary.add_unknown_cost.
    """
    unknown = predictor.V - 1
    blocks = (ids[at : at + BLOCK] for at in range(0, len(ids), BLOCK))
    pieces = ids.each() if isinstance(ids, Records) else blocks
    for piece, nats in paired(pieces, partial(predictor.nats, reset=isinstance(ids, Records))):
        yield add_unknown_cost(nats, piece, unknown)


def likeliest(log_p: Floats, count: int) -> tuple[Ids, Floats]:
    """Of log-probabilities (n, V), the ids and probabilities (n, k) of the k likeliest, in falling order.

    k is `count`, or V if that is less; of equally likely ones the smaller id comes first.
    """
    k = min(count, log_p.shape[1])
    ids = np.argsort(-log_p, axis=1, kind="stable")[:, :k]
    return ids, np.exp(np.take_along_axis(log_p, ids, axis=1))
