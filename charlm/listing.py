"""List: the scores of texts, one by one, of their lines, or of their characters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, tee

import numpy as np

from charlm.errors import SpecError
from charlm.nn.arrays import Floats
from charlm.scoring import Score
from charlm.text.lines import lines_of
from charlm.text.source import Source
from charlm.trained import TrainedModel

UNITS = ("file", "line", "char")
WORST = 0.1  # share of a line's characters; with 5 % of them wrong, their mean tells more than that of all
RESETS_OF_STATE = ("never", "file", "line")


@dataclass(frozen=True)
class Entry:
    """One file, line or character, and what it costs."""

    source: str
    line: int | None  # from 1; None for a whole file
    column: int | None  # from 1; None but for a character
    text: str  # of the line, with its end, or the character; empty for a file
    score: Score
    adapted: Score | None = None  # what it costs a model that learns from what it has scored
    worst: Score | None = None  # of a line, the tenth of its characters that cost most, at least one


@dataclass(frozen=True)
class _Piece:
    number: int  # of its text: two of them may have one name
    source: str
    line: int | None
    text: str


def entries(
    model: TrainedModel, texts: Iterable[Source], per: str = "file", *, reset: str = "file", adapt: float = 0.0
) -> Iterator[Entry]:
    """Score texts, and yield what each unit costs, in their order and at bounded memory.

    per: "file", "line" or "char". reset: where the state starts anew: "never" reads all texts as one, "file" each from
    its beginning, "line" every line. adapt: where above 0, the rate at which a second reading learns from the text,
    for `Entry.adapted`. Raises SpecError, and CorpusError for what is no text.
    """
    for name, value, choices in (("per", per, UNITS), ("reset", reset, RESETS_OF_STATE)):
        if value not in choices:
            raise SpecError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    by_line = per != "file" or reset == "line"
    together = [texts] if reset != "file" else ([text] for text in texts)
    for group in together:
        scored = _scored(model, _pieces(group, by_line, per == "file"), reset == "line", adapt)
        if per == "file":
            yield from _files(scored)
        elif per == "line":
            yield from (Entry(p.source, p.line, None, p.text, _of(n), _sum(a), _worst(n)) for p, n, a in scored)
        else:
            for piece, nats, adapted in scored:
                yield from _characters(piece, nats, adapted)


Scored = Iterator[tuple[_Piece, Floats, Floats | None]]


def _pieces(texts: Iterable[Source], by_line: bool, begun_empty: bool) -> Iterator[_Piece]:
    """The pieces or lines of all texts; with `begun_empty` an empty one first, so that no text is without one."""
    for number, text in enumerate(texts):
        if begun_empty:
            yield _Piece(number, text.source, None, "")
        if by_line:
            yield from (_Piece(number, text.source, count, line) for count, line in enumerate(lines_of(text), 1))
        else:
            yield from (_Piece(number, text.source, None, piece) for piece in text)


def _scored(model: TrainedModel, pieces: Iterator[_Piece], reset: bool, adapt: float) -> Scored:
    """Every piece with its characters' nats, and with those of an adapting model."""
    pieces, plain, adapting = tee(pieces, 3)
    nats = model.surprisals((piece.text for piece in plain), reset=reset)
    if not adapt:
        del adapting  # it would hold the whole text
        yield from ((piece, n, None) for piece, n in zip(pieces, nats, strict=True))
        return
    adapted = model.surprisals((piece.text for piece in adapting), reset=reset, adapt=adapt)
    yield from zip(pieces, nats, adapted, strict=True)


def _files(scored: Scored) -> Iterator[Entry]:
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
