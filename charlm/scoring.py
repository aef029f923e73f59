"""Score: text to nats, streaming.

A text is read from its beginning with the state carried all the way, and every character is predicted exactly once,
the first one from a newline that is read before it. That number is what training reports and what `score` returns.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import tee

import numpy as np

from charlm import lanes
from charlm.errors import DivergenceError
from charlm.lanes import BLOCK
from charlm.lines import surprisal_of_lines
from charlm.nn.arrays import Floats, Ids, NamedArrays
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


def surprisal(
    model: CharLM, params: NamedArrays, vocabulary: Vocabulary, pieces: Iterable[str], *, reset: bool = False
) -> Iterator[Floats]:
    """For every piece of a text, the nats (N,), float64, of its characters.

    The pieces are one text, read on from each to the next, at bounded memory; with `reset`, every one is a text of
    its own. A character outside the vocabulary costs what the escape costs, and ln of how many such characters there
    are: all of them are equally likely, so the probabilities of all characters together are 1. Raises
    DivergenceError where the network explodes.
    """
    read = _apart if reset else _joined
    for ids, nats in read(model, params, vocabulary, pieces):
        if not np.isfinite(nats).all():
            raise DivergenceError(
                "the model's numbers grew beyond all bounds, so its predictions are none: score with another "
                "checkpoint, or train it anew with a lower --lr"
            )
        nats[ids == vocabulary.escape] += math.log(vocabulary.others)
        yield nats


Pairs = Iterator[tuple[Ids, Floats]]


def _joined(model: CharLM, params: NamedArrays, vocabulary: Vocabulary, pieces: Iterable[str]) -> Pairs:
    """The ids and nats of every piece, where all are one text."""
    groups: deque[tuple[Ids, list[int]]] = deque()

    def blocks() -> Iterator[Ids]:
        for group in _groups(pieces):
            groups.append((vocabulary.encode("".join(group), escape=True), [len(piece) for piece in group]))
            yield groups[-1][0]

    for nats in lanes.surprisal(model, params, blocks(), vocabulary.start):
        ids, lengths = groups.popleft()
        edges = np.cumsum(lengths)[:-1]
        yield from zip(np.split(ids, edges), np.split(nats, edges), strict=True)


def _apart(model: CharLM, params: NamedArrays, vocabulary: Vocabulary, pieces: Iterable[str]) -> Pairs:
    """The ids and nats of every piece, where each is a text of its own."""
    encoded, again = tee(vocabulary.encode(piece, escape=True) for piece in pieces)
    return zip(again, surprisal_of_lines(model, params, encoded, vocabulary.start), strict=True)


def _groups(pieces: Iterable[str]) -> Iterator[list[str]]:
    """Pieces in groups of BLOCK characters or a little more; with many small ones a long text is read fast, too."""
    group: list[str] = []
    size = 0
    for piece in pieces:
        group.append(piece)
        size += len(piece) + 1
        if size >= BLOCK:
            yield group
            group, size = [], 0
    if group:
        yield group


def score(model: CharLM, params: NamedArrays, vocabulary: Vocabulary, text: str | Iterable[str]) -> Score:
    """Score a text, or the pieces of one, at bounded memory."""
    return total(surprisal(model, params, vocabulary, in_blocks(text)))


def in_blocks(text: str | Iterable[str]) -> Iterator[str]:
    """A text, or the pieces of one, in pieces of at most BLOCK characters."""
    pieces = [text] if isinstance(text, str) else text
    return (piece[at : at + BLOCK] for piece in pieces for at in range(0, len(piece), BLOCK))


def total(surprisals: Iterable[Floats]) -> Score:
    """The score of a text whose pieces cost so many nats (N,) by character."""
    result = Score(0, 0.0)
    for nats in surprisals:
        result += Score(len(nats), float(nats.sum()))
    return result


def score_ids(model: CharLM, params: NamedArrays, ids: Ids, start: int) -> Score:
    """Score a text that is encoded already; ids (N,), `start` the id read before the first of them."""
    blocks = (ids[at : at + BLOCK] for at in range(0, len(ids), BLOCK))
    return Score(len(ids), sum(float(nats.sum()) for nats in lanes.surprisal(model, params, blocks, start)))
