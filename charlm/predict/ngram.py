"""A character n-gram with interpolated, modified Kneser-Ney smoothing, as arrays.

    P_k(w | h) = max(a(h w) - D(a(h w)), 0) / A(h)  +  b(h) P_k-1(w | h without its oldest character)
    A(h) = sum of a(h w) over w       b(h) = sum of D(a(h w)) over w, / A(h); 1 if h never occurred
    P_0(w) = 1 / V

a(g) of the highest order is how often g occurs, that of a lower order how many distinct characters (or the text's
beginning) come before it. D is 0 for 0, and one number each for 1, 2, and 3 or more: estimated from how many g have
a(g) = 1, 2, 3, 4. Chen and Goodman 1998, "An empirical study of smoothing techniques for language modeling", section
3; the pseudo-counts in D are ours. Every one of the V ids has a probability above 0, the unknown character too, and
their sum is 1. docs/ngram.md compares this smoothing with others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from charlm.arrays import Floats, Ids, Keys
from charlm.predict.ngram_counts import (
    Counts,
    bits_per_id,
    find,
    longest_order,
    mask,
    pack,
    pack_rows,
)
from charlm.predict.predictor import Predictor, Reader, nats_of
from charlm.text.joined import IdsLike
from charlm.text.pieces import grouped

BLOCK = 2**18  # characters whose probabilities are computed at a time
PRIOR = 20 * np.array([1.0, 0.4, 0.22, 0.15])  # pseudo-counts of n-grams with a(g) = 1, 2, 3, 4
LEAST = 0.05  # a discount keeps this distance from 0 and from what it is subtracted from


@dataclass(frozen=True)
class _Level:
    """One order k: the first term of P_k for each n-gram, and b(h) for each context.

    Both arrays have one value more at their end, for n-grams and contexts that never occurred: place -1.
    """

    keys: Keys  # (G,), ascending
    shares: Floats  # (G + 1,)
    backoffs: Floats  # (C + 1,): of the contexts, which are the n-grams of order k - 1
    contexts: Ids  # (G,), int32: the place of each n-gram's context


class NGram(Predictor):
    """The probabilities that counts give. start: the id that is read before the first character of a text."""

    def __init__(self, counts: Counts, levels: tuple[_Level, ...], start: int) -> None:
        self.counts = counts
        self.V, self.order, self.start = counts.vocabulary, counts.order, start
        self._levels = levels

    @classmethod
    def of(cls, counts: Counts, start: int) -> NGram:
        """The n-gram of the counts' order. Raises ValueError for counts that no text has."""
        levels: list[_Level] = []
        for shorter, adjusted in _lower_orders(counts):
            levels.append(_level(shorter, adjusted, levels))
        return cls(counts, (*levels, _level(counts, counts.counts, levels)), start)

    def reader(self, prompt: Ids | None = None) -> NGramReader:
        """A reader: all it has to know is the context."""
        before = [self.start] if prompt is None else np.concatenate(([self.start], prompt))
        return NGramReader(self, self._context(before)[None])

    def nats(self, pieces: Iterable[Ids], *, reset: bool = False) -> Iterator[Floats]:
        """Many characters at a time; small pieces are joined."""
        before = beginning = self._context([self.start])
        between = beginning if reset else beginning[:0]  # its own nats are left out
        for group in grouped(pieces, BLOCK):
            ids = np.concatenate([part for piece in group for part in (between, piece)])
            nats, before = self._nats_after(before, ids)
            ends = np.cumsum([len(between) + len(piece) for piece in group])
            yield from (nats[end - len(piece) : end] for end, piece in zip(ends, group, strict=True))

    def distributions(self, pieces: Iterable[Ids], *, reset: bool = False) -> Iterator[Floats]:
        """Many characters at a time."""
        before = beginning = self._context([self.start])
        for piece in pieces:
            before = beginning if reset else before
            for window in self.windows(piece):
                known = np.concatenate([before, window])
                places = np.arange(len(window))[:, None] + np.arange(self.order - 1)
                yield np.log(self.probabilities(known[places]))
                before = self._context(known)

    def probabilities(self, contexts: Ids) -> Floats:
        """The probabilities (B, V), float64, of every id after each of contexts (B, order - 1).

        A context is the ids before, the newest last; the id V stands before the beginning of a text.
        """
        B, V, bits = len(contexts), self.V, bits_per_id(self.V)
        p = np.full((B, V), 1 / V)
        keys = pack_rows(contexts, V)
        lower = np.zeros(1, np.uint64)
        for k, (level, (starts, ids, shares)) in enumerate(zip(self._levels, self._followers, strict=True), 1):
            place = find(lower, keys >> np.uint64(bits * (self.order - k)))  # of the last k - 1 ids
            if place.max() < 0:  # then longer contexts never occurred either
                break
            p *= level.backoffs[place, None]
            first, count = starts[place], np.where(place < 0, 0, starts[place + 1] - starts[place])
            rows = np.repeat(np.arange(B), count)
            each = np.arange(len(rows)) + np.repeat(first - np.cumsum(count) + count, count)
            p[rows, ids[each]] += shares[each]
            lower = level.keys
        return p

    def _context(self, before: Ids | list[int]) -> Ids:
        """The last order - 1 of some ids, (order - 1,), int64, filled with the id V at the beginning."""
        last = np.asarray(before, np.int64)
        last = last[max(0, len(last) - self.order + 1) :]
        return np.concatenate([np.full(self.order - 1 - len(last), self.V), last])

    def _nats_after(self, context: Ids, ids: Ids) -> tuple[Floats, Ids]:
        """The nats (N,) of ids (N,) after a context; and the context after them."""
        result = np.empty(len(ids))
        for at in range(0, len(ids), BLOCK):
            known = np.concatenate([context, ids[at : at + BLOCK]])
            result[at : at + BLOCK] = self._nats(known)
            context = self._context(known)
        return result, context

    def _nats(self, ids: Ids) -> Floats:
        """The nats (N,) of ids (order - 1 + N,), of which the first order - 1 are the context."""
        n, bits = self.order, bits_per_id(self.V)
        # One n-gram more, ending before the first id: the context of an n-gram is the one that ends a place earlier.
        keys = pack(np.concatenate([[self.V], ids]), n, self.V)
        by_key = np.argsort(keys)
        keys = keys[by_key]  # sorted, so that one look-up is close to the next in memory
        p = np.full(len(keys) - 1, 1 / self.V)
        contexts, place = np.zeros(len(keys), np.intp), np.empty(len(keys), np.intp)
        for k, level in enumerate(self._levels, 1):
            place[by_key] = find(level.keys, keys >> np.uint64(bits * (n - k)))
            p *= level.backoffs[contexts[:-1]]
            p += level.shares[place[1:]]
            contexts, place = place, contexts
        result: Floats = -np.log(p)
        return result

    @cached_property
    def _followers(self) -> list[tuple[Ids, Ids, Floats]]:
        """Per order: where each context's n-grams start in the next two arrays, (C + 1,); their last ids; shares."""
        found: list[tuple[Ids, Ids, Floats]] = []
        for k, level in enumerate(self._levels, 1):
            by_context = np.argsort(level.contexts, kind="stable")
            count = np.bincount(level.contexts, minlength=len(level.backoffs) - 1)
            starts = np.concatenate([[0], np.cumsum(count)])
            ids = (level.keys >> np.uint64(bits_per_id(self.V) * (k - 1))).astype(np.int64)
            found.append((starts, ids[by_context], level.shares[by_context]))
        return found


class NGramReader(Reader):
    """Reads with an n-gram. contexts: (B, order - 1), see `NGram.probabilities`."""

    def __init__(self, ngram: NGram, contexts: Ids) -> None:
        self._ngram, self._contexts = ngram, contexts

    def logits(self) -> Floats:
        """The log-probabilities (B, V), float64."""
        return np.log(self._ngram.probabilities(self._contexts))

    def read(self, ids: Ids) -> None:
        """Shift the contexts by one."""
        if self._contexts.shape[1]:
            self._contexts = np.concatenate([self._contexts[:, 1:], ids[:, None]], axis=1)

    def read_window(self, ids: Ids) -> None:
        """Shift the contexts by all."""
        known = np.concatenate([self._contexts, ids.T], axis=1)
        self._contexts = known[:, known.shape[1] - self._contexts.shape[1] :]

    def rows(self, places: Ids) -> NGramReader:
        """The contexts of these places."""
        return NGramReader(self._ngram, self._contexts[places])


def best_ngram(training_ids: IdsLike, V: int, validation_ids: IdsLike, start: int) -> NGram:
    """The n-gram of the order that predicts validation ids best, read after `start`.

    Orders are tried from 1 up, until two in a row are no better.
    """
    counts = Counts.of(training_ids, V, longest_order(V))
    best: tuple[float, NGram] | None = None
    for ngram in _of_every_order(counts, start):
        nats = sum(float(part.sum()) for part in nats_of(ngram, validation_ids))
        if best is None or nats < best[0]:
            best = nats, ngram
        elif ngram.order >= best[1].order + 2:
            break
    assert best is not None
    return best[1]


def _of_every_order(counts: Counts, start: int) -> Iterator[NGram]:
    """The n-grams of order 1, 2, ... up to that of the counts; they share their lower orders."""
    levels: list[_Level] = []
    for shorter, adjusted in _lower_orders(counts):
        yield NGram(shorter, (*levels, _level(shorter, shorter.counts, levels)), start)
        levels.append(_level(shorter, adjusted, levels))
    yield NGram(counts, (*levels, _level(counts, counts.counts, levels)), start)


def _lower_orders(counts: Counts) -> list[tuple[Counts, Ids]]:
    """The orders below that of the counts, from 1 up, each with its adjusted counts a(g)."""
    found: list[tuple[Counts, Ids]] = []
    while counts.order > 1:
        found.append((counts.shorter(), counts.predecessors()))
        counts = found[-1][0]
    return found[::-1]


def _level(counts: Counts, adjusted: Ids, lower: list[_Level]) -> _Level:
    """One order from its n-grams, their a(g), and the orders below. Raises ValueError if a context is missing."""
    bits = np.uint64(bits_per_id(counts.vocabulary))
    begun = (counts.grams & (np.uint64(1) << bits) - np.uint64(1)) != counts.vocabulary  # the others begin earlier
    keys, a = counts.grams[begun], adjusted[begun]
    below = lower[-1].keys if lower else np.zeros(1, np.uint64)
    contexts = find(below, keys & mask(counts.order - 1, counts.vocabulary))
    if contexts.size and contexts.min() < 0:
        raise ValueError("an n-gram whose context never occurred")
    discount = discounts(adjusted)[np.minimum(a, 3)]
    mass = np.bincount(contexts, a, len(below))
    met = mass > 0
    backoffs = np.ones(len(below) + 1, np.float32)
    backoffs[:-1][met] = np.bincount(contexts, discount, len(below))[met] / mass[met]
    shares = np.zeros(len(keys) + 1, np.float32)
    shares[:-1] = (a - discount) / mass[contexts]
    return _Level(keys, shares, backoffs, contexts.astype(np.int32))


def discounts(adjusted: Ids) -> Floats:
    """D of 0, 1, 2, and 3 or more, (4,), from how many n-grams have a(g) = 1, 2, 3, 4."""
    met = np.bincount(np.minimum(adjusted, 5), minlength=6)[1:5] + PRIOR
    Y = met[0] / (met[0] + 2 * met[1])
    each = np.arange(1, 4)
    return np.concatenate([[0], np.clip(each - (each + 1) * Y * met[1:] / met[:-1], LEAST, each - LEAST)])
