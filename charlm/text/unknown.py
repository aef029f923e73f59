"""Count the characters of a text that a vocabulary does not have, at bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from charlm.text.pieces import Source
from charlm.text.vocabulary import CODE_POINTS, Vocabulary, code_points, name_of

NAMED = 3


class Unseen:
    """Counts the unknown characters of a text that comes in pieces: how many, how many distinct, and the first few."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.characters = 0
        self.first: list[str] = []  # the first few distinct ones, as messages show them
        self._vocabulary = vocabulary
        self._seen = np.zeros(CODE_POINTS, bool)

    @property
    def kinds(self) -> int:
        """How many distinct characters these were."""
        return int(np.count_nonzero(self._seen))

    def of(self, texts: Iterable[Source]) -> Iterator[Source]:
        """The same texts; their unknown characters are counted while they are read."""
        return (_Counted(text, self.add) for text in texts)

    def add(self, piece: str) -> None:
        """Count a piece of the text."""
        unknown = self._vocabulary.encode(piece, unknown=True) == self._vocabulary.unknown
        if not unknown.any():
            return
        points = code_points(piece)[unknown]
        self.characters += len(points)
        if len(self.first) < NAMED:
            for point in dict.fromkeys(points.tolist()):
                if not self._seen[point] and len(self.first) < NAMED:
                    self.first.append(name_of(chr(point)))
        self._seen[points] = True

    @property
    def names(self) -> str:
        """The first distinct ones by name, and how many more there are."""
        more = self.kinds - len(self.first)
        return ", ".join(self.first) + (f" and {more:,} more kinds" if more > 1 else " and one more kind" * more)

    def __str__(self) -> str:
        """One sentence for people; empty if there were none."""
        if not self.characters:
            return ""
        return f"The model never saw {self.characters:,} of these characters, and they cost much: {self.names}"


class _Counted:
    def __init__(self, text: Source, add: Callable[[str], None]) -> None:
        self.source = text.source
        self._text = text
        self._add = add

    def __iter__(self) -> Iterator[str]:
        for piece in self._text:
            self._add(piece)
            yield piece
