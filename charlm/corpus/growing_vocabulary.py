"""Encode a text that is read only once, although its characters are not known beforehand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from charlm.arrays import UnsignedIds
from charlm.text.vocabulary import CODE_POINTS, Vocabulary, code_points

NO_NUMBER = np.uint32(2**32 - 1)
SEVERAL = 2


class GrowingVocabulary:
    """Gives each character a number when it first occurs, and at the end the id that each number stands for.

    The numbers depend on the pieces in which a text is read. The vocabulary and the ids, which follow the order of
    code points, do not. known: characters that the vocabulary has from the beginning; they never count as occurring
    once.
    """

    def __init__(self, known: str = "") -> None:
        self._numbers = np.full(CODE_POINTS, NO_NUMBER)  # by code point
        self._code_points = np.empty(0, np.uint32)  # by number
        self._counts = np.empty(0, np.int64)  # occurrences, by number
        self._add(code_points(known))
        self._counts[:] = SEVERAL

    def __len__(self) -> int:
        return len(self._code_points)

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """The smallest unsigned integer type that holds every id, the unknown character's too: 1, 2 or 4 bytes."""
        return np.min_scalar_type(len(self))

    @property
    def vocabulary(self) -> Vocabulary:
        """`Vocabulary.of` all characters so far, the known ones included."""
        return Vocabulary("".join(map(chr, np.sort(self._code_points).tolist())))

    @property
    def order(self) -> UnsignedIds:
        """A table (V,) from numbers to ids."""
        ids = np.empty(len(self), self.dtype)
        ids[np.argsort(self._code_points)] = np.arange(len(self))
        return ids

    @property
    def once(self) -> tuple[int, ...]:
        """The ids of the characters that occur once."""
        return tuple(sorted(self.order[self._counts == 1].tolist()))

    def encode(self, text: str) -> UnsignedIds:
        """The numbers of a piece of text, (N,), in the present dtype."""
        points = code_points(text)
        numbers = np.take(self._numbers, points, mode="clip")
        if numbers.size and numbers.max() == NO_NUMBER:
            self._add(points[numbers == NO_NUMBER])
            numbers = np.take(self._numbers, points, mode="clip")
        self._counts += np.bincount(numbers, minlength=len(self))
        return numbers.astype(self.dtype)

    def _add(self, points: NDArray[np.uint32]) -> None:
        present = np.zeros(CODE_POINTS, bool)
        present[points] = True
        new = np.flatnonzero(present).astype(np.uint32)
        self._numbers[new] = np.arange(len(self), len(self) + len(new))
        self._code_points = np.concatenate((self._code_points, new))
        self._counts = np.concatenate((self._counts, np.zeros(len(new), np.int64)))
