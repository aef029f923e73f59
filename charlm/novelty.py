"""Novelty: how much of a sample was copied from the text that the model learned from.

Runs of L characters are looked up by a number of 64 bits each (Karp and Rabin 1987): equal runs have equal numbers.
Every character stands for a random number x, and with an odd p and all arithmetic modulo 2^64

    G[i] = sum of x[j] p^j over j < i            the number of x[i], ..., x[i + L - 1] is (G[i + L] - G[i]) p^-i

so all runs of any one length take a few operations on arrays. The text is read once, in pieces; in each, only places
where SPAN characters agree are tried for longer runs than were found so far.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from charlm.errors import CorpusError
from charlm.nn.arrays import Ids
from charlm.plan import split, train_spec
from charlm.store.run import Run
from charlm.text.vocabulary import Vocabulary

Numbers: TypeAlias = NDArray[np.uint64]
Places: TypeAlias = NDArray[np.intp]

SPAN = 8  # characters of the runs whose share is told
PIECE = 2**20  # places of the text that are tried together
FACTOR = 0x9E3779B97F4A7C15  # p
WORD = 2**64
SIEVE = 16  # highest bits of a number that are looked up first, for all places at once


@dataclass(frozen=True)
class Novelty:
    """What a sample has in common with a text."""

    copied: str  # the longest run of the sample that the text has
    spans: int  # how many different runs of SPAN characters the sample has
    new_spans: int  # how many of them the text does not have

    @property
    def share(self) -> float | None:
        """The share of the different runs of SPAN characters that are new; None for a sample that has none."""
        return self.new_spans / self.spans if self.spans else None


class TrainingText:
    """The text that a model learned from, without the part that was kept for validation."""

    def __init__(self, ids: Ids, vocabulary: Vocabulary) -> None:
        self.ids = ids
        self.vocabulary = vocabulary

    @classmethod
    def of(cls, target: str | Path) -> TrainingText:
        """That of a run directory or of a checkpoint in one, read again from where it came from.

        Raises RunError, or CorpusError where the text is gone, or another one by now.
        """
        run = Run.of(target)
        spec = train_spec(run)
        try:
            corpus = run.corpus()
        except CorpusError as error:
            raise CorpusError(f"what is copied is told from the training text, which is missing: {error}") from None
        return cls(split(corpus.ids, spec.val_fraction, spec.val_limit)[0], corpus.vocabulary)

    def novelty(self, sample: str) -> Novelty:
        """What is copied in a sample, and what is new. In time of one reading of the text, at bounded memory."""
        ids = self.vocabulary.encode(sample, escape=True)
        start, length, spans, new = compare(ids, self.ids, len(self.vocabulary) + 1)
        return Novelty(sample[start : start + length], spans, new)


def compare(sample: Ids, text: Ids, V: int) -> tuple[int, int, int, int]:
    """The longest run of a sample (N,) that a text (M,) has, and how many of its different runs of SPAN are new.

    Returns where the run starts in the sample, its length, the number of different runs of SPAN, and of new ones.
    """
    runs = _Runs(sample, V)
    spans = runs.of_length(SPAN)[0]
    sieve, met, start, best = _Sieve(spans), np.zeros(len(spans), bool), 0, 0
    for at in range(0, len(text), PIECE):
        piece = _Runs(text[at : at + PIECE + max(SPAN, len(sample)) - 1], V)
        here, which = sieve.search(piece.numbers(SPAN))
        met[which] = True
        high, step = min(len(sample), len(piece.ids)), 1
        while best < high:  # in growing steps; most pieces are done after one try
            length = min(best + step, high)
            places = here if length >= SPAN else np.arange(min(PIECE, len(piece.ids)))
            found = _common(runs, piece, places[places + length <= len(piece.ids)], length)
            if found is None:
                high, step = length - 1, 1
            else:
                start, best, step = found, length, 2 * step
    return start, best, len(spans), int(np.count_nonzero(~met))


def _common(runs: _Runs, piece: _Runs, places: Places, length: int) -> int | None:
    """Where in the sample a run of that length starts which the piece has at one of some places."""
    numbers, starts = runs.of_length(length)
    found, which = _Sieve(numbers).search(piece.numbers(length, places))
    for place, number in zip(places[found], which, strict=True):
        start = int(starts[number])
        if np.array_equal(runs.ids[start : start + length], piece.ids[place : place + length]):
            return start
    return None


class _Runs:
    """The numbers of all runs of ids (N,), of any length."""

    def __init__(self, ids: Ids, V: int) -> None:
        self.ids = ids
        powers, self._inverses = _powers(1 << (len(ids)).bit_length())
        self._sums = np.zeros(len(ids) + 1, np.uint64)
        np.cumsum(_characters(V)[ids] * powers[: len(ids)], out=self._sums[1:])

    def numbers(self, length: int, places: Places | None = None) -> Numbers:
        """Those of all runs of one length, or of those that start at some places."""
        if places is None:
            count = max(0, len(self.ids) - length + 1)
            return (self._sums[length : length + count] - self._sums[:count]) * self._inverses[:count]
        return (self._sums[places + length] - self._sums[places]) * self._inverses[places]

    def of_length(self, length: int) -> tuple[Numbers, Places]:
        """The different numbers of all runs of one length, ascending, and where each starts first."""
        return np.unique(self.numbers(length), return_index=True)


class _Sieve:
    """Ascending numbers, to search many others for them."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self._beginnings = np.zeros(1 << SIEVE, bool)
        self._beginnings[self._top(numbers)] = True

    def search(self, others: Numbers) -> tuple[Places, Places]:
        """The places of others that are among the numbers, and which of the numbers each is."""
        places = np.flatnonzero(self._beginnings[self._top(others)])
        which = np.searchsorted(self._numbers, others[places])
        which = np.minimum(which, max(0, len(self._numbers) - 1))
        same = self._numbers[which] == others[places] if len(self._numbers) else np.zeros(0, bool)
        return places[same], which[same]

    @staticmethod
    def _top(numbers: Numbers) -> Places:
        return (numbers >> np.uint64(64 - SIEVE)).astype(np.intp)


@cache
def _characters(V: int) -> Numbers:
    """The random number that every id stands for, (V,), the same every time."""
    return np.random.default_rng(V).integers(WORD, size=V, dtype=np.uint64)


@cache
def _powers(count: int) -> tuple[Numbers, Numbers]:
    """p^0, p^1, ... and p^0, p^-1, ..., each (count,)."""
    both = []
    for base in (FACTOR, pow(FACTOR, -1, WORD)):
        powers = np.full(count, base, np.uint64)
        powers[0] = 1
        both.append(np.cumprod(powers))
    return both[0], both[1]
