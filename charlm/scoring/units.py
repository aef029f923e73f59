"""Score texts one by one, line by line, or character by character."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol, TypeAlias

import numpy as np

from charlm.arrays import Floats
from charlm.errors import SpecError
from charlm.scoring.score import Score
from charlm.text.pieces import Source, lines_of, paired

UNITS = ("file", "line", "char")
WORST = 0.1  # share of a line's characters; if 5 % of them are wrong, these tell more than the mean of all
RESETS_OF_STATE = ("never", "file", "line")


class Model(Protocol):
    """What can score pieces of text: a `charlm.TrainedModel`."""

    @property
    def usual_reset(self) -> str:
        """Where its state starts again, if nothing else is asked for."""

    def surprisals(self, pieces: Iterable[str], *, reset: bool = False, adapt: float = 0.0) -> Iterator[Floats]:
        """The nats (N,) of the characters of every piece."""


@dataclass(frozen=True)
class Entry:
    """The score of one file, line or character."""

    source: str
    line: int | None  # from 1; None for a file
    column: int | None  # from 1; None for a file or a line
    text: str  # the line, with its end, or the character; empty for a file
    score: Score
    adapted: Score | None = None  # of a model that learns from what it has scored
    worst: Score | None = None  # of a line: the tenth of its characters that cost most, at least one


@dataclass(frozen=True)
class _Piece:
    number: int  # of its text: two texts may have the same name
    source: str
    line: int | None
    text: str


_Scored: TypeAlias = Iterator[tuple[_Piece, Floats, Floats | None]]


def entries(
    model: Model, texts: Iterable[Source], per: str = "file", *, reset: str | None = None, adapt: float = 0.0
) -> Iterator[Entry]:
    """Score texts, and yield one entry per unit, in order and at bounded memory.

    per: "file", "line" or "char". reset: where the state starts again: "never" reads all texts as one, "file" each from
    its beginning, "line" every line; by default "line" for a model of records, else "file". adapt: above 0, the
    learning rate of a second reading that adapts to the text, for `Entry.adapted`. Raises SpecError, and CorpusError
    for a source that is not text.
    """
    reset = reset or model.usual_reset
    for name, value, choices in (("per", per, UNITS), ("reset", reset, RESETS_OF_STATE)):
        if value not in choices:
            raise SpecError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    by_line = per != "file" or reset == "line"
    together = [texts] if reset != "file" else ([text] for text in texts)
    for group in together:
        scored = _score(model, _pieces(group, by_line, per == "file"), reset == "line", adapt)
        if per == "file":
            yield from _files(scored)
        elif per == "line":
            yield from (Entry(p.source, p.line, None, p.text, _of(n), _sum(a), _worst(n)) for p, n, a in scored)
        else:
            for piece, nats, adapted in scored:
                yield from _characters(piece, nats, adapted)


def _pieces(texts: Iterable[Source], by_line: bool, empty_first: bool) -> Iterator[_Piece]:
    """The pieces or lines of all texts; with `empty_first` each text has an empty piece first, so at least one."""
    for number, text in enumerate(texts):
        if empty_first:
            yield _Piece(number, text.source, None, "")
        if by_line:
            yield from (_Piece(number, text.source, count, line) for count, line in enumerate(lines_of(text), 1))
        else:
            yield from (_Piece(number, text.source, None, piece) for piece in text)


def _score(model: Model, pieces: Iterator[_Piece], reset: bool, adapt: float) -> _Scored:
    """Every piece with the nats of its characters, and with those of an adapting model."""

    def plain(pieces: Iterator[_Piece]) -> Iterator[Floats]:
        return model.surprisals((piece.text for piece in pieces), reset=reset)

    def adapting(scored: Iterator[tuple[_Piece, Floats]]) -> Iterator[Floats]:
        return model.surprisals((piece.text for piece, _ in scored), reset=reset, adapt=adapt)

    scored = paired(pieces, plain)
    if not adapt:
        return ((piece, nats, None) for piece, nats in scored)
    return ((piece, nats, adapted) for (piece, nats), adapted in paired(scored, adapting))


def _files(scored: _Scored) -> Iterator[Entry]:
    for _, group in groupby(scored, key=lambda entry: entry[0].number):
        source, score, adapted = "", Score(0, 0.0), None
        for piece, nats, adapted_nats in group:
            source = piece.source
            score += _of(nats)
            if adapted_nats is not None:
                adapted = (adapted or Score(0, 0.0)) + _of(adapted_nats)
        yield Entry(source, None, None, "", score, adapted)


def _characters(piece: _Piece, nats: Floats, adapted: Floats | None) -> Iterator[Entry]:
    for index, character in enumerate(piece.text):
        found = None if adapted is None else Score(1, float(adapted[index]))
        yield Entry(piece.source, piece.line, index + 1, character, Score(1, float(nats[index])), found)


def _of(nats: Floats) -> Score:
    return Score(len(nats), float(np.sum(nats)))


def _worst(nats: Floats) -> Score:
    count = max(1, round(len(nats) * WORST))
    return _of(np.partition(nats, len(nats) - count)[len(nats) - count :])


def _sum(nats: Floats | None) -> Score | None:
    return None if nats is None else _of(nats)
