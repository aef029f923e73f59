"""The ids of a text that is read once, whose characters are not known beforehand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from charlm.text.vocabulary import CODE_POINTS, Vocabulary, code_points

UNMET = np.uint32(2**32 - 1)
MANY_TIMES = 2


class GrowingVocabulary:
    """Numbers characters as they are met, and tells at the end which id each number stands for.

    The numbers depend on the pieces in which a text came; the vocabulary and the ids, in the order of code points,
    do not. known: characters that it has from the beginning, met in another text and never to count as coming once.
    """

    def __init__(self, known: str = "") -> None:
        self._numbers = np.full(CODE_POINTS, UNMET)  # of every code point
        self._met = np.empty(0, np.uint32)  # the code point of every number
        self._counts = np.empty(0, np.int64)  # and how often it came
        self._meet(code_points(known))
        self._counts[:] = MANY_TIMES

    def __len__(self) -> int:
        return len(self._met)

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """The smallest unsigned integer type for all ids, the escape's too; it grows from 1 byte to 2 and to 4."""
        return np.min_scalar_type(len(self))

    @property
    def vocabulary(self) -> Vocabulary:
        """What was met, as `Vocabulary.of` the whole text and the known characters has it."""
        return Vocabulary("".join(map(chr, np.sort(self._met).tolist())))

    @property
    def order(self) -> NDArray[np.unsignedinteger]:
        """For every number its id, (V,)."""
        ids = np.empty(len(self), self.dtype)
        ids[np.argsort(self._met)] = np.arange(len(self))
        return ids

    @property
    def once(self) -> tuple[int, ...]:
        """The ids of the characters that came once."""
        return tuple(sorted(self.order[self._counts == 1].tolist()))

    def encode(self, text: str) -> NDArray[np.unsignedinteger]:
        """The numbers of a piece of text, (N,), in the type that is the smallest by now."""
        points = code_points(text)
        numbers = np.take(self._numbers, points, mode="clip")
        if numbers.size and numbers.max() == UNMET:
            self._meet(points[numbers == UNMET])
            numbers = np.take(self._numbers, points, mode="clip")
        self._counts += np.bincount(numbers, minlength=len(self))
        return numbers.astype(self.dtype)

    def _meet(self, points: NDArray[np.unsignedinteger]) -> None:
        present = np.zeros(CODE_POINTS, bool)
        present[points] = True
        new = np.flatnonzero(present).astype(np.uint32)
        self._numbers[new] = np.arange(len(self), len(self) + len(new))
        self._met = np.concatenate((self._met, new))
        self._counts = np.concatenate((self._counts, np.zeros(len(new), np.int64)))
