"""How much of a sample was copied from the training text.

Runs of L characters are compared by hashes of 64 bits (Karp and Rabin 1987): equal runs have equal hashes. Every
character stands for a random number x, and with an odd p and all arithmetic modulo 2^64

    G[i] = sum of x[j] p^j over j < i            the hash of x[i], ..., x[i + L - 1] is (G[i + L] - G[i]) p^-i

so all runs of one length take a few operations on arrays. The text is read once, in pieces; in each, only places where
SPAN characters agree are tried for longer runs than were found so far.
"""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from charlm.arrays import Ids, Keys
from charlm.errors import CorpusError
from charlm.runs.find import run_of
from charlm.text.vocabulary import Vocabulary

SPAN = 8  # characters of the runs that are counted
PIECE = 2**20  # places of the text that are tried together
FACTOR = 0x9E3779B97F4A7C15  # p
WORD = 2**64
SIEVE = 16  # highest bits of a hash, which are looked up first, for all places at once


@dataclass(frozen=True)
class Novelty:
    """What a sample has in common with a text."""

    copied: str  # the longest run of characters that both have
    spans: int  # how many distinct runs of SPAN characters the sample has
    new_spans: int  # how many of them the text does not have

    @property
    def share(self) -> float | None:
        """The share of the distinct runs of SPAN characters that are new; None for a sample without such a run."""
        return self.new_spans / self.spans if self.spans else None


class TrainingText:
    """The text that a model was trained on. ids: without the validation part; whole: with it, for its lines."""

    def __init__(self, ids: Ids, vocabulary: Vocabulary, whole: Ids | None = None) -> None:
        self.ids = ids
        self.vocabulary = vocabulary
        self.whole = ids if whole is None else whole

    @classmethod
    def of(cls, target: str | Path) -> TrainingText:
        """That of a run directory or of a checkpoint in one, read again from its sources.

        Raises RunError, and CorpusError if the text is missing or has changed.
        """
        run = run_of(target)
        try:
            corpus = run.corpus()
        except CorpusError as error:
            raise CorpusError(
                f"copies are found by comparing with the training text, which is missing: {error}"
            ) from None
        return cls(corpus.split(run.spec)[0], corpus.vocabulary, corpus.ids)

    def novelty(self, sample: str, seed: str = "") -> Novelty:
        """What a sample copies, and what is new in it. Takes one reading of the text, at bounded memory.

        seed: the text that it continues. A copied run may begin in it, but not end there.
        """
        text = seed + sample
        ids = self.vocabulary.encode(text, unknown=True)
        start, length, spans, new = compare(ids, self.ids, len(self.vocabulary) + 1, len(seed))
        return Novelty(text[start : start + length], spans, new)

    def has_line(self, line: str) -> bool:
        """Whether a line is one of the text, the validation part included; its line end makes no difference.

        The text is read once. Lines are compared by hashes of 64 bits: 8 bytes of memory for each.
        """
        key = _hash_of(self.vocabulary.encode(line.removesuffix("\n"), unknown=True).tobytes()).digest()
        wanted = np.frombuffer(key, np.uint64)[0]
        place = int(np.searchsorted(self._lines, wanted))
        return place < len(self._lines) and bool(self._lines[place] == wanted)

    @cached_property
    def _lines(self) -> Keys:
        """The hashes of all lines, ascending."""
        found, line = array("Q"), _hash_of(b"")
        size, at_end = self.vocabulary.dtype.itemsize, self.vocabulary.characters.find("\n")
        for at in range(0, len(self.whole), PIECE):
            piece = np.asarray(self.whole[at : at + PIECE]).astype(self.vocabulary.dtype)
            data, start = piece.tobytes(), 0
            for end in np.flatnonzero(piece == at_end).tolist() if at_end >= 0 else ():
                line.update(data[start * size : end * size])
                found.frombytes(line.digest())
                line, start = _hash_of(b""), end + 1
            line.update(data[start * size :])
        found.frombytes(line.digest())  # the last line, which is empty if the text ends with a line end
        return np.unique(np.frombuffer(found, np.uint64))


def _hash_of(data: bytes) -> hashlib.blake2b:
    return hashlib.blake2b(data, digest_size=8)


def compare(sample: Ids, text: Ids, V: int, own: int = 0) -> tuple[int, int, int, int]:
    """The longest run of a sample (N,) that a text (M,) has, too, and how many of its distinct runs of SPAN are new.

    own: where the part begins that counts; before it is a seed text. Runs that end before are passed over. Returns
    where that run starts in the sample, its length, the number of distinct runs of SPAN, and of new ones.
    """
    runs = _Runs(sample, V, own)
    spans = np.unique(runs.hashes(SPAN))  # a longer run may begin with one in the seed text
    counted = np.searchsorted(spans, runs.of_length(SPAN)[0])
    sieve, met, start, best = _Sieve(spans), np.zeros(len(spans), bool), 0, 0
    for at in range(0, len(text), PIECE):
        piece = _Runs(text[at : at + PIECE + max(SPAN, len(sample)) - 1], V)
        here, which = sieve.search(piece.hashes(SPAN))
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
    return start, best, len(counted), int(np.count_nonzero(~met[counted]))


def _common(runs: _Runs, piece: _Runs, places: Ids, length: int) -> int | None:
    """Where in the sample a run of that length starts which the piece has at one of some places."""
    numbers, starts = runs.of_length(length)
    found, which = _Sieve(numbers).search(piece.hashes(length, places))
    for place, number in zip(places[found], which, strict=True):
        start = int(starts[number])
        if np.array_equal(runs.ids[start : start + length], piece.ids[place : place + length]):
            return start
    return None


class _Runs:
    """The hashes of all runs of ids (N,), of any length. own: see `compare`."""

    def __init__(self, ids: Ids, V: int, own: int = 0) -> None:
        self.ids = ids
        self._own = own
        powers, self._inverses = _powers(1 << (len(ids)).bit_length())
        self._sums = np.zeros(len(ids) + 1, np.uint64)
        np.cumsum(_characters(V)[ids] * powers[: len(ids)], out=self._sums[1:])

    def hashes(self, length: int, places: Ids | None = None) -> Keys:
        """Those of all runs of one length, or of those that start at some places."""
        if places is None:
            count = max(0, len(self.ids) - length + 1)
            return (self._sums[length : length + count] - self._sums[:count]) * self._inverses[:count]
        return (self._sums[places + length] - self._sums[places]) * self._inverses[places]

    def of_length(self, length: int) -> tuple[Keys, Ids]:
        """The distinct hashes of the runs of one length that end in the own part, ascending, and where each starts."""
        first = max(0, self._own - length + 1)
        hashes, starts = np.unique(self.hashes(length)[first:], return_index=True)
        return hashes, starts + first


class _Sieve:
    """Ascending hashes, to find them among many others."""

    def __init__(self, numbers: Keys) -> None:
        self._numbers = numbers
        self._beginnings = np.zeros(1 << SIEVE, bool)
        self._beginnings[self._top(numbers)] = True

    def search(self, others: Keys) -> tuple[Ids, Ids]:
        """The places of others that are among the hashes, and which of the hashes each is."""
        places = np.flatnonzero(self._beginnings[self._top(others)])
        which = np.searchsorted(self._numbers, others[places])
        which = np.minimum(which, max(0, len(self._numbers) - 1))
        same = self._numbers[which] == others[places] if len(self._numbers) else np.zeros(0, bool)
        return places[same], which[same]

    @staticmethod
    def _top(numbers: Keys) -> Ids:
        return (numbers >> np.uint64(64 - SIEVE)).astype(np.intp)


@cache
def _characters(V: int) -> Keys:
    """The random number that every id stands for, (V,), the same in every call."""
    return np.random.default_rng(V).integers(WORD, size=V, dtype=np.uint64)


@cache
def _powers(count: int) -> tuple[Keys, Keys]:
    """p^0, p^1, ... and p^0, p^-1, ..., each (count,)."""
    both = []
    for base in (FACTOR, pow(FACTOR, -1, WORD)):
        powers = np.full(count, base, np.uint64)
        powers[0] = 1
        both.append(np.cumprod(powers))
    return both[0], both[1]
