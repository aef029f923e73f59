"""Pieces of a long array of ids, read as one array without a copy: a text with parts left out, or in another order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from charlm.arrays import Ids


class Joined:
    """Pieces of ids (N,), from `starts` (K,) up to `ends` (K,), one after the other; none is empty.

    It holds 24 bytes per piece, however long the pieces are.
    """

    def __init__(self, ids: Ids, starts: Ids, ends: Ids) -> None:
        self.ids, self.starts, self.ends = ids, starts, ends
        self._until = np.cumsum(ends - starts)  # where each piece ends here

    def __len__(self) -> int:
        return int(self._until[-1]) if len(self._until) else 0

    def __getitem__(self, index: slice | Ids, /) -> Ids:
        """The ids at some places, an array of any shape, or of a slice."""
        places = np.arange(*index.indices(len(self))) if isinstance(index, slice) else index
        piece = np.searchsorted(self._until, places, side="right")
        found: Ids = self.ids[places - self._until[piece] + self.ends[piece]]
        return found


class Records(Joined):
    """Records, each with its line end, which is the id `end`: texts of their own that are read in any order."""

    def __init__(self, ids: Ids, starts: Ids, ends: Ids, end: int) -> None:
        super().__init__(ids, starts, ends)
        self.end = end

    def each(self) -> Iterator[Ids]:
        """The records one by one, with their line ends."""
        return (self.ids[start:end] for start, end in zip(self.starts, self.ends, strict=True))

    def mapped(self, table: Ids) -> Records:
        """A copy in which every id is replaced by its entry in a table (V,)."""
        lengths = self.ends - self.starts
        ends = np.cumsum(lengths)
        return Records(table[self[:]], ends - lengths, ends, int(table[self.end]))

    def shuffled(self, rng: np.random.Generator) -> Records:
        """The same records in a random order."""
        order = rng.permutation(len(self.starts))
        return Records(self.ids, self.starts[order], self.ends[order], self.end)


IdsLike: TypeAlias = Ids | Joined
"""What can be read like an array of ids (N,)."""
