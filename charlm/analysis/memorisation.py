"""How much of a sample was copied from the training text.

Runs of L characters are compared by hashes of 64 bits (Karp and Rabin 1987): equal runs have equal hashes. Every
character stands for a random number x, and with an odd p and all arithmetic modulo 2^64

    G[i] = sum of x[j] p^j over j < i            the hash of x[i], ..., x[i + L - 1] is (G[i + L] - G[i]) p^-i

so all runs of one length take a few operations on arrays. The text is read once, in pieces; in each, only places where
SPAN characters agree are tried for longer runs than were found so far.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from charlm.arrays import Ids, Keys
from charlm.errors import CorpusError
from charlm.runs.find import run_of
from charlm.text.joined import IdsLike
from charlm.text.pieces import lines_of
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
    """The text that a model was trained on, without the validation part.

    whole: all of the text, in which `has_line` looks.
    """

    def __init__(self, ids: IdsLike, vocabulary: Vocabulary, whole: IdsLike | None = None) -> None:
        self.ids = ids
        self.vocabulary = vocabulary
        self._whole = ids if whole is None else whole

    @classmethod
    def of(cls, target: str | Path, sources: Sequence[str | Path] | None = None) -> TrainingText:
        """That of a run directory or of a checkpoint in one, read again.

        sources: where the whole text of the run is now, in the same order; by default, where it was.
        Raises RunError, and CorpusError if the text is missing or has changed.
        """
        run = run_of(target)
        try:
            corpus = run.corpus(sources)
        except CorpusError as error:
            advice = "" if sources else "; --corpus FILE says where it is"
            raise CorpusError(
                f"copies are found by comparing with the training text, which cannot be read: {error}{advice}"
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

    def has_line(self, text: str) -> bool:
        """Whether a text, with or without a line end, is a line of the whole text, the validation part included.

        The lines are read once, and 8 bytes of each distinct one are kept.
        """
        wanted = _line_hash(text.removesuffix("\n"))
        place = int(np.searchsorted(self._lines, wanted))
        return place < len(self._lines) and bool(self._lines[place] == wanted)

    @cached_property
    def _lines(self) -> Keys:
        """The hashes of all lines, ascending."""
        ids = self._whole
        pieces = (self.vocabulary.decode(ids[at : at + PIECE]) for at in range(0, len(ids), PIECE))
        hashes = (_line_hash(line.removesuffix("\n")) for line in lines_of(pieces))
        return np.unique(np.fromiter(hashes, np.uint64))


def _line_hash(line: str) -> np.uint64:
    digest = hashlib.blake2b(line.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def compare(sample: Ids, text: IdsLike, V: int, own: int = 0) -> tuple[int, int, int, int]:
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
