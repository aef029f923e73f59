"""Count the n-grams of a text, as arrays.

An n-gram is one number of 64 bits with its newest character in the highest bits. Sorted, all n-grams with the same
ending lie together, and a shift to the right gives the shorter n-grams, sorted, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from charlm.arrays import Ids, Keys
from charlm.text.joined import IdsLike, Records

MOST_ORDER = 12
MOST_COUNTED = 2**22  # characters, the last ones of a text: 1.3 seconds and 180 MB for source code
MOST_GRAMS = 2**23  # distinct ones, of all orders together: bounds the memory for texts that never repeat themselves


def longest_order(V: int) -> int:
    """The longest n-grams over V ids that fit into 64 bits, with one id more that stands before a text's beginning."""
    return min(MOST_ORDER, 64 // bits_per_id(V))


@dataclass(frozen=True)
class Counts:
    """How often each n-gram occurs in a text: all that an NGram is made of."""

    vocabulary: int  # V
    order: int
    grams: Keys  # (G,), ascending; the id V stands before the text's beginning
    counts: Ids  # (G,), int64, all at least 1

    @classmethod
    def of(cls, text: IdsLike, V: int, order: int) -> Counts:
        """Count the n-grams that end at each id of a text (N,), N at least 1, each id below V.

        Before a record stand a line end, as when it is scored, and then nothing but V. Only the last MOST_COUNTED ids
        are counted, of records as many, chosen at random. The order is lower if the text is shorter than `order`, or
        has more than MOST_GRAMS distinct n-grams.
        """
        order = min(order, len(text))
        if isinstance(text, Records):
            ids = text.shuffled(np.random.default_rng(0))[-MOST_COUNTED:]
            ids = np.concatenate([np.full(order - 1, V), [text.end], ids])
            ends = np.flatnonzero(ids == text.end)
            places = np.arange(order, len(ids))
            before = ends[np.searchsorted(ends, places) - 1]
            keys = pack(ids[1:], order, V, places - before)
        else:
            keys = pack(np.concatenate([np.full(order - 1, V), text[-MOST_COUNTED:]]), order, V)
        keys.sort()
        first = first_of_each(keys)
        counts = cls(V, order, keys[first], np.diff(first, append=len(keys)))
        del keys
        shifts = [np.uint64(bits_per_id(V) * (order - k)) for k in range(1, order + 1)]
        distinct = np.cumsum([len(first_of_each(counts.grams >> shift)) for shift in shifts])
        for _ in range(max(1, int(np.count_nonzero(distinct <= MOST_GRAMS))), order):
            counts = counts.shorter()
        return counts

    def check(self) -> None:
        """Raise ValueError if these cannot be the counts of a text: for counts that were read from a file."""
        grams, bits = self.grams, np.uint64(bits_per_id(self.vocabulary))
        if not len(grams) or (grams[1:] <= grams[:-1]).any() or self.counts.min() < 1:
            raise ValueError("its n-grams do not ascend, or occur less than once")
        if self.counts.sum() > MOST_COUNTED or (grams & ~mask(self.order, self.vocabulary)).any():
            raise ValueError("its n-grams are too many or too long")
        begun = np.zeros(len(grams), bool)  # the beginning of the text lies within the n-gram
        for place in reversed(range(self.order)):
            ids = (grams >> (np.uint64(place) * bits)) & mask(1, self.vocabulary)
            most = self.vocabulary if place < self.order - 1 else self.vocabulary - 1
            if (ids > most).any() or (begun & (ids != self.vocabulary)).any():
                raise ValueError("its n-grams hold ids that do not exist")
            begun |= ids == self.vocabulary

    def shorter(self) -> Counts:
        """The counts of the n-grams that are one character shorter."""
        grams = self.grams >> np.uint64(bits_per_id(self.vocabulary))
        first = first_of_each(grams)
        return Counts(self.vocabulary, self.order - 1, grams[first], np.add.reduceat(self.counts, first))

    def predecessors(self) -> Ids:
        """For every n-gram of `shorter`, how many distinct characters, or the text's beginning, come before it.

        An n-gram that comes at the beginning of texts only could have no other: for it, how often it occurs.
        """
        grams = self.grams >> np.uint64(bits_per_id(self.vocabulary))
        first = first_of_each(grams)
        found = np.diff(first, append=len(grams))
        begins = (found == 1) & (self.grams[first] & mask(1, self.vocabulary) == self.vocabulary)
        return np.where(begins, self.counts[first], found)


def bits_per_id(V: int) -> int:
    """How many bits an id takes; V itself stands before a text's beginning."""
    return int(V).bit_length()


def mask(length: int, V: int) -> np.uint64:
    """A number whose lowest bits, those of `length` ids, are set."""
    return np.uint64((1 << bits_per_id(V) * length) - 1)


def pack(ids: Ids, order: int, V: int, reach: Ids | None = None) -> Keys:
    """All n-grams (N,) in ids (order - 1 + N,), the newest character of each in the highest bits.

    reach: (N,), how many ids before the newest one belong to its text; in place of those before them stands V.
    """
    count, bits = len(ids) - order + 1, bits_per_id(V)
    wide = ids.astype(np.uint64)
    keys = np.zeros(count, np.uint64)
    for place in range(order):
        here = wide[place : place + count]
        if reach is not None:
            here = np.where(order - 1 - place > reach, np.uint64(V), here)
        keys |= here << np.uint64(bits * place)
    return keys


def pack_rows(ids: Ids, V: int) -> Keys:
    """Each row of ids (B, k) as one n-gram, (B,)."""
    keys = np.zeros(len(ids), np.uint64)
    for place in range(ids.shape[1]):
        keys |= ids[:, place].astype(np.uint64) << np.uint64(bits_per_id(V) * place)
    return keys


def first_of_each(keys: Keys) -> Ids:
    """The places at which ascending keys change, the first one included."""
    return np.concatenate([[0], np.flatnonzero(keys[1:] != keys[:-1]) + 1])


def find(keys: Keys, wanted: Keys) -> Ids:
    """The places of wanted keys (N,) among ascending keys (G,); -1 for those that are missing."""
    if not len(keys):
        return np.full(wanted.shape, -1)
    place = np.searchsorted(keys, wanted)
    np.minimum(place, len(keys) - 1, out=place)
    place[keys[place] != wanted] = -1
    return place
