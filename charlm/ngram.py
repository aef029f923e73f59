"""Counting: a character n-gram with interpolated, modified Kneser-Ney smoothing, as arrays.

    P_k(w | h) = max(a(h w) - D(a(h w)), 0) / A(h)  +  b(h) P_k-1(w | h without its oldest character)
    A(h) = sum of a(h w) over w       b(h) = sum of D(a(h w)) over w, / A(h); 1 where h was never met
    P_0(w) = 1 / V

a(g) of the highest order is how often g comes, that of a lower order how many different characters (or the text's
beginning) come before it. D is 0 for 0, and one number each for 1, 2, and 3 or more: estimated from how many g have
a(g) = 1, 2, 3, 4. All of it is from Chen and Goodman 1998, "An empirical study of smoothing techniques for language
modeling", section 3; the pseudo-counts in D are ours. So every one of the V ids has a probability above 0, the
escape's too, and their sum is 1.

Chosen by measurement, on the beginnings and the whole of a text of plays, 200 characters to 1 MB: modified
Kneser-Ney 1.517 nats at its best order, Kneser-Ney with one discount 1.558, Witten-Bell 1.669; the same ranking from
2,000 characters up, and a tie below.

An n-gram is one number of 64 bits, its newest character in the highest bits: sorted, all that end alike lie together,
and a shift to the right gives the shorter n-grams sorted, too. ids in, arrays out: there are no files here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ids: TypeAlias = NDArray[np.integer[Any]]
Floats: TypeAlias = NDArray[np.floating[Any]]
Keys: TypeAlias = NDArray[np.uint64]
Whole: TypeAlias = NDArray[np.int64]

MOST_ORDER = 12
MOST_COUNTED = 2**22  # characters, the last ones of a text: 1.3 seconds and 180 MB for source code
MOST_GRAMS = 2**23  # different ones, of all orders together: bounds the memory for texts that never repeat themselves
BLOCK = 2**18  # characters whose probabilities are computed at a time
PRIOR = 20 * np.array([1.0, 0.4, 0.22, 0.15])  # n-grams with a(g) = 1, 2, 3, 4, beside those of a text
LEAST = 0.05  # a discount stays away from 0 and from what it is subtracted from by this


def longest_order(V: int) -> int:
    """How long n-grams over V ids can be: in 64 bits, with one id more that stands for no character at all."""
    return min(MOST_ORDER, 64 // _bits(V))


@dataclass(frozen=True)
class Counts:
    """How often each n-gram of a text comes: all that an NGram is made of."""

    vocabulary: int  # V
    order: int
    grams: Keys  # (G,), ascending; the id V stands before the text's beginning
    counts: Whole  # (G,), all at least 1

    @classmethod
    def of(cls, ids: Ids, V: int, order: int) -> Counts:
        """Count the n-grams of ids (N,), N at least 1, each below V: N of them, at the beginning with what is before.

        Only the last MOST_COUNTED ids are counted; and a lower order where there are more than MOST_GRAMS n-grams, or
        the text is shorter than one.
        """
        ids = ids[-MOST_COUNTED:]
        order = min(order, len(ids))
        keys = _packed(np.concatenate([np.full(order - 1, V), ids]), order, V)
        keys.sort()
        first = _first_of_each(keys)
        counts = cls(V, order, keys[first], np.diff(first, append=len(keys)))
        del keys
        shifts = [np.uint64(_bits(V) * (order - k)) for k in range(1, order + 1)]
        different = np.cumsum([len(_first_of_each(counts.grams >> shift)) for shift in shifts])
        for _ in range(max(1, int(np.count_nonzero(different <= MOST_GRAMS))), order):
            counts = counts.shorter()
        return counts

    def check(self) -> None:
        """Raise ValueError where these can be no text's counts: for what came from a file."""
        grams, digits = self.grams, np.uint64(_bits(self.vocabulary))
        if not len(grams) or (grams[1:] <= grams[:-1]).any() or self.counts.min() < 1:
            raise ValueError("its n-grams do not ascend, or come less than once")
        if self.counts.sum() > MOST_COUNTED or (grams & ~_mask(self.order, self.vocabulary)).any():
            raise ValueError("its n-grams are too many or too long")
        begun = np.zeros(len(grams), bool)  # going back in the text, its beginning was passed
        for place in reversed(range(self.order)):
            ids = (grams >> (np.uint64(place) * digits)) & _mask(1, self.vocabulary)
            most = self.vocabulary if place < self.order - 1 else self.vocabulary - 1
            if (ids > most).any() or (begun & (ids != self.vocabulary)).any():
                raise ValueError("its n-grams hold ids that there are not")
            begun |= ids == self.vocabulary

    def shorter(self) -> Counts:
        """The same text's n-grams of one character less."""
        grams = self.grams >> np.uint64(_bits(self.vocabulary))
        first = _first_of_each(grams)
        return Counts(self.vocabulary, self.order - 1, grams[first], np.add.reduceat(self.counts, first))

    def predecessors(self) -> Whole:
        """For every n-gram of one character less how many different characters come before it, the beginning too."""
        grams = self.grams >> np.uint64(_bits(self.vocabulary))
        return np.diff(_first_of_each(grams), append=len(grams))


@dataclass(frozen=True)
class _Level:
    """One order k: its n-grams' own shares, and how much of a context's mass goes to the order below.

    Both arrays have one value more at their end, for n-grams and contexts that were never met: place -1.
    """

    keys: Keys  # (G,), ascending
    shares: Floats  # (G + 1,)
    backoffs: Floats  # (C + 1,): of the contexts, which are the n-grams of order k - 1
    contexts: NDArray[np.int32]  # (G,): the place of each n-gram's context


class NGram:
    """The probabilities that counts come to."""

    def __init__(self, counts: Counts, levels: tuple[_Level, ...]) -> None:
        self.counts = counts
        self.vocabulary, self.order = counts.vocabulary, counts.order
        self._levels = levels

    @classmethod
    def of(cls, counts: Counts) -> NGram:
        """The n-gram of the counts' order. Raises ValueError for counts that no text has."""
        levels: list[_Level] = []
        for shorter, adjusted in _lower_orders(counts):
            levels.append(_level(shorter, adjusted, levels))
        return cls(counts, (*levels, _level(counts, counts.counts, levels)))

    def nats(self, ids: Ids, before: ArrayLike = ()) -> Floats:
        """What each of ids (N,) costs after all before it, (N,), float64: -ln of its probability.

        before: the ids that precede the first, as many as there are; only the last order - 1 matter.
        """
        context = self.context(before)
        result = np.empty(len(ids))
        for at in range(0, len(ids), BLOCK):
            block = ids[at : at + BLOCK]
            result[at : at + BLOCK] = self._nats(np.concatenate([context, block]))
            context = self.context(np.concatenate([context, block]))
        return result

    def context(self, before: ArrayLike) -> Ids:
        """The last order - 1 of some ids, (order - 1,); the id V where there are not so many."""
        last = np.asarray(before, np.int64)
        last = last[max(0, len(last) - self.order + 1) :]
        return np.concatenate([np.full(self.order - 1 - len(last), self.vocabulary), last])

    def probabilities(self, contexts: Ids) -> Floats:
        """The probabilities (B, V), float64, of every id after each of contexts (B, order - 1), see `context`."""
        B, V, bits = len(contexts), self.vocabulary, _bits(self.vocabulary)
        p = np.full((B, V), 1 / V)
        keys = _packed_rows(contexts, V)
        lower = np.zeros(1, np.uint64)
        for k, (level, (starts, ids, shares)) in enumerate(zip(self._levels, self._followers, strict=True), 1):
            place = _places(lower, keys >> np.uint64(bits * (self.order - k)))  # of the last k - 1 ids
            if place.max() < 0:  # nor were longer ones met
                break
            p *= level.backoffs[place, None]
            first, count = starts[place], np.where(place < 0, 0, starts[place + 1] - starts[place])
            rows = np.repeat(np.arange(B), count)
            each = np.arange(len(rows)) + np.repeat(first - np.cumsum(count) + count, count)
            p[rows, ids[each]] += shares[each]
            lower = level.keys
        return p

    def _nats(self, ids: Ids) -> Floats:
        """The nats of all ids (order - 1 + N,) after the context that comes first, (N,)."""
        n, bits = self.order, _bits(self.vocabulary)
        # One n-gram more, ending before the first id: the context of an n-gram is the one that ends a place earlier.
        keys = _packed(np.concatenate([[self.vocabulary], ids]), n, self.vocabulary)
        by_key = np.argsort(keys)
        keys = keys[by_key]  # so that look-ups go from one neighbour to the next
        p = np.full(len(keys) - 1, 1 / self.vocabulary)
        contexts, place = np.zeros(len(keys), np.intp), np.empty(len(keys), np.intp)
        for k, level in enumerate(self._levels, 1):
            place[by_key] = _places(level.keys, keys >> np.uint64(bits * (n - k)))
            p *= level.backoffs[contexts[:-1]]
            p += level.shares[place[1:]]
            contexts, place = place, contexts
        result: Floats = -np.log(p)
        return result

    @cached_property
    def _followers(self) -> list[tuple[Whole, Whole, Floats]]:
        """Per order: where each context's n-grams start in the following two, (C + 1,); their last ids, and shares."""
        found: list[tuple[Whole, Whole, Floats]] = []
        for k, level in enumerate(self._levels, 1):
            by_context = np.argsort(level.contexts, kind="stable")
            count = np.bincount(level.contexts, minlength=len(level.backoffs) - 1)
            starts = np.concatenate([[0], np.cumsum(count)])
            ids = (level.keys >> np.uint64(_bits(self.vocabulary) * (k - 1))).astype(np.int64)
            found.append((starts, ids[by_context], level.shares[by_context]))
        return found


def best_ngram(training_ids: Ids, V: int, validation_ids: Ids, before: ArrayLike = ()) -> tuple[NGram, Floats]:
    """The n-gram of the order that predicts validation ids best, and their nats (N,).

    Orders are tried from 1 up, until two in a row were no better. before: what precedes the validation ids, see
    `NGram.nats`.
    """
    counts = Counts.of(training_ids, V, longest_order(V))
    best: tuple[NGram, Floats] | None = None
    for ngram in _of_every_order(counts):
        nats = ngram.nats(validation_ids, before)
        if best is None or nats.sum() < best[1].sum():
            best = ngram, nats
        elif ngram.order >= best[0].order + 2:
            break
    assert best is not None
    return best


def _of_every_order(counts: Counts) -> Iterator[NGram]:
    """The n-grams of order 1, 2, ... up to that of the counts; they share their lower orders."""
    levels: list[_Level] = []
    for shorter, adjusted in _lower_orders(counts):
        yield NGram(shorter, (*levels, _level(shorter, shorter.counts, levels)))
        levels.append(_level(shorter, adjusted, levels))
    yield NGram(counts, (*levels, _level(counts, counts.counts, levels)))


def _lower_orders(counts: Counts) -> list[tuple[Counts, Whole]]:
    """The orders below that of the counts, from 1 up, each with its adjusted counts a(g)."""
    found: list[tuple[Counts, Whole]] = []
    while counts.order > 1:
        found.append((counts.shorter(), counts.predecessors()))
        counts = found[-1][0]
    return found[::-1]


def _level(counts: Counts, adjusted: Whole, lower: list[_Level]) -> _Level:
    """One order from its n-grams and their a(g), and the orders below. Raises ValueError where a context is missing."""
    bits = np.uint64(_bits(counts.vocabulary))
    begun = (counts.grams & (np.uint64(1) << bits) - np.uint64(1)) != counts.vocabulary  # the others begin before
    keys, a = counts.grams[begun], adjusted[begun]
    below = lower[-1].keys if lower else np.zeros(1, np.uint64)
    contexts = _places(below, keys & _mask(counts.order - 1, counts.vocabulary))
    if contexts.size and contexts.min() < 0:
        raise ValueError("an n-gram whose beginning was never met")
    discounts = _discounts(adjusted)[np.minimum(a, 3)]
    mass = np.bincount(contexts, a, len(below))
    met = mass > 0
    backoffs = np.ones(len(below) + 1, np.float32)
    backoffs[:-1][met] = np.bincount(contexts, discounts, len(below))[met] / mass[met]
    shares = np.zeros(len(keys) + 1, np.float32)
    shares[:-1] = (a - discounts) / mass[contexts]
    return _Level(keys, shares, backoffs, contexts.astype(np.int32))


def _discounts(adjusted: Whole) -> Floats:
    """D of 0, 1, 2, and 3 or more, (4,), from how many n-grams have a(g) = 1, 2, 3, 4."""
    met = np.bincount(np.minimum(adjusted, 5), minlength=6)[1:5] + PRIOR
    Y = met[0] / (met[0] + 2 * met[1])
    each = np.arange(1, 4)
    return np.concatenate([[0], np.clip(each - (each + 1) * Y * met[1:] / met[:-1], LEAST, each - LEAST)])


def _bits(V: int) -> int:
    """How many bits an id takes; V itself is no id, and stands before a text's beginning."""
    return int(V).bit_length()


def _mask(digits: int, V: int) -> np.uint64:
    return np.uint64((1 << _bits(V) * digits) - 1)


def _packed(ids: Ids, order: int, V: int) -> Keys:
    """All n-grams (N,) in ids (order - 1 + N,), the newest character of each in the highest bits."""
    count, bits = len(ids) - order + 1, _bits(V)
    wide = ids.astype(np.uint64)
    keys = np.zeros(count, np.uint64)
    for place in range(order):
        keys |= wide[place : place + count] << np.uint64(bits * place)
    return keys


def _packed_rows(ids: Ids, V: int) -> Keys:
    """Each row of ids (B, k) as one n-gram, (B,)."""
    keys = np.zeros(len(ids), np.uint64)
    for place in range(ids.shape[1]):
        keys |= ids[:, place].astype(np.uint64) << np.uint64(_bits(V) * place)
    return keys


def _first_of_each(keys: Keys) -> Whole:
    """Where in ascending keys each new one comes first."""
    return np.concatenate([[0], np.flatnonzero(keys[1:] != keys[:-1]) + 1])


def _places(keys: Keys, wanted: Keys) -> NDArray[np.intp]:
    """The places of wanted keys (N,) among ascending keys (G,), G at least 1; -1 for those that are not there."""
    place = np.searchsorted(keys, wanted)
    np.minimum(place, len(keys) - 1, out=place)
    place[keys[place] != wanted] = -1
    return place
