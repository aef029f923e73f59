"""Score: the negative log-likelihood of a text, streaming.

A text is read from its beginning, after a newline, with the state carried all the way, and every character is
predicted exactly once. That number is what training reports and what `charlm score` prints.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from charlm.arrays import Floats
from charlm.errors import DivergenceError
from charlm.predict.predictor import Predictor, nats_of
from charlm.text.joined import IdsLike
from charlm.text.pieces import paired
from charlm.text.vocabulary import Vocabulary

BLOCK = 2**20  # characters of a piece, at most


@dataclass(frozen=True)
class Score:
    """How well a model predicts a text: its `characters` cost `nats` in all."""

    characters: int
    nats: float

    @property
    def bits(self) -> float:
        """All nats as bits: nats / ln 2."""
        return self.nats / math.log(2)

    @property
    def nats_per_char(self) -> float:
        """The loss that training reports. NaN for an empty text."""
        return self.nats / self.characters if self.characters else math.nan

    @property
    def bits_per_char(self) -> float:
        """Bits per character (bpc): nats per character / ln 2."""
        return self.nats_per_char / math.log(2)

    @property
    def perplexity(self) -> float:
        """exp of the nats per character: the number of equally likely characters that would be as hard to predict."""
        return math.inf if self.nats_per_char > 700 else math.exp(self.nats_per_char)

    def __add__(self, other: Score) -> Score:
        return Score(self.characters + other.characters, self.nats + other.nats)


def surprisals(
    predictor: Predictor, vocabulary: Vocabulary, pieces: Iterable[str], *, reset: bool = False
) -> Iterator[Floats]:
    """For every piece of a text, the nats (N,), float64, of its characters, at bounded memory.

    Each piece is read on from the one before; with `reset`, each from its own beginning. A character outside the
    vocabulary costs what the unknown character costs, and what it costs to say which one it is: so the probabilities
    of all characters sum to 1. Raises DivergenceError if the predictor's numbers are not finite.
    """
    encoded = (vocabulary.encode(piece, unknown=True) for piece in pieces)
    for ids, nats in paired(encoded, partial(predictor.nats, reset=reset)):
        if not np.isfinite(nats).all():
            raise DivergenceError(
                "the model diverged: its numbers are not finite, so it predicts nothing; score with another "
                "checkpoint, or train it again with a lower --lr"
            )
        yield vocabulary.add_unknown_cost(nats, ids)


def total(surprisals: Iterable[Floats]) -> Score:
    """The score of a text from the nats (N,) of its pieces."""
    result = Score(0, 0.0)
    for nats in surprisals:
        result += Score(len(nats), float(nats.sum()))
    return result


def score_ids(predictor: Predictor, ids: IdsLike) -> Score:
    """Score the ids of a text, or records, each from its own beginning: what an evaluation does."""
    return total(nats_of(predictor, ids))
