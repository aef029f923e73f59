"""Score: text to nats, streaming.

A text is read from its beginning with the state carried all the way, and every character is predicted exactly once,
the first one from a newline that is read before it. That number is what training reports and what `score` returns.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from charlm.errors import UnknownCharacterError
from charlm.lanes import BLOCK, surprisal
from charlm.nn.arrays import Ids, NamedArrays
from charlm.nn.model import CharLM
from charlm.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Score:
    """How well a model predicts a text: `characters` of them cost `nats` in all."""

    characters: int
    nats: float

    @property
    def bits(self) -> float:
        """All nats as bits: nats / ln 2."""
        return self.nats / math.log(2)

    @property
    def nats_per_char(self) -> float:
        """The loss that training reports. Not a number for an empty text."""
        return self.nats / self.characters if self.characters else math.nan

    @property
    def bits_per_char(self) -> float:
        """Bits per character (bpc): nats per character / ln 2."""
        return self.nats_per_char / math.log(2)

    @property
    def perplexity(self) -> float:
        """exp of the nats per character: between how many equally likely characters the model hesitates."""
        return math.inf if self.nats_per_char > 700 else math.exp(self.nats_per_char)

    def __add__(self, other: Score) -> Score:
        return Score(self.characters + other.characters, self.nats + other.nats)


def score(model: CharLM, params: NamedArrays, vocabulary: Vocabulary, text: str | Iterable[str]) -> Score:
    """Score a text, or the pieces of one, at bounded memory.

    Raises UnknownCharacterError for a character that is not in the vocabulary.
    """
    pieces = [text] if isinstance(text, str) else text
    blocks = (ids for piece in pieces for ids in _encoded(vocabulary, piece))
    total = Score(0, 0.0)
    for nats in surprisal(model, params, blocks, vocabulary.start):
        total += Score(len(nats), float(nats.sum()))
    return total


def _encoded(vocabulary: Vocabulary, piece: str) -> Iterator[Ids]:
    """The ids of a piece of text, block by block."""
    try:
        for start in range(0, len(piece), BLOCK):
            yield vocabulary.encode(piece[start : start + BLOCK])
    except UnknownCharacterError:
        vocabulary.encode(piece)  # raises it with the place in the whole piece


def score_ids(model: CharLM, params: NamedArrays, ids: Ids, start: int) -> Score:
    """Score a text that is encoded already; ids (N,), `start` the id read before the first of them."""
    blocks = (ids[at : at + BLOCK] for at in range(0, len(ids), BLOCK))
    return Score(len(ids), sum(float(nats.sum()) for nats in surprisal(model, params, blocks, start)))
