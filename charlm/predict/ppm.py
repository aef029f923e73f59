"""PPM, prediction by partial matching: an adaptive model of characters, which learns a text while it predicts it.

Contexts of 0 to ORDER characters are blended. In a context h of k characters, after which w was counted c(h w) times,

    P_k(w | h) = max(c(h w) - D_k(c(h w)), 0) / n(h)  +  e(h) P_k-1(w | h without its oldest character)
    n(h) = sum of c(h w) over w       e(h) = sum of D_k(c(h w)) over w, / n(h)       P_-1(w) = 1 / V

e(h) is the probability of an escape to the shorter context; it is 1 for a context that never occurred. After it was
predicted, a character is counted in the longest context, and in each shorter one until it has been counted there
before (update exclusion).

Cleary and Witten 1984, "Data compression using adaptive coding and partial string matching"; Moffat 1990,
"Implementing the PPM data compression scheme" (update exclusion); Bunton 1997, "Semantically motivated improvements for
PPM variants" (blending). The discounts D are those of modified Kneser-Ney smoothing, see charlm.predict.ngram; they are
estimated from the text that is learned first. docs/ngram.md compares them with PPMC and PPMD.

With update exclusion, c(h w) of a text is the number of distinct characters before h w, for all k but the longest. So
the counts of the text that is learned first are made by sorting it, all at once; only the text that is predicted is
read character by character.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from charlm.arrays import Floats, Ids
from charlm.predict.ngram import discounts
from charlm.text.joined import IdsLike, Records

ORDER = 6  # characters of the longest context
MOST_LEARNED = 2**20  # characters, the last ones before those that are predicted: 2 seconds
MOST_PREDICTED = 2**18  # characters, the first ones: 2 seconds
BLOCK = 2**14  # characters whose contexts are held as Python's own lists


@dataclass(frozen=True)
class _Order:
    """The contexts of one length that are met in the text to predict, and what was counted in them so far."""

    places: Ids  # (M,): which context each character to predict has; -1 for one that occurs only there
    discounts: list[float]  # D of a count of 0, 1, 2, and 3 or more
    counts: list[dict[int, int]]  # per context: how often each id was counted
    totals: list[int]  # per context: n
    escapes: list[float]  # per context: n * e


def ppm_nats(learned: IdsLike, ids: IdsLike, V: int, start: int, order: int = ORDER) -> Floats:
    """The nats (M,), float64, that ids cost after a text (N,) that was learned; each is learned when it was predicted.

    Only the last MOST_LEARNED ids of the text are learned, and only the first MOST_PREDICTED ids are predicted. Both
    are read from their beginning, after `start`, records in a random order, in which no line tells the next. Each
    of the V ids has a probability above 0, and their sum is 1.
    """
    learned, ids = (
        text.shuffled(np.random.default_rng(0)) if isinstance(text, Records) else text for text in (learned, ids)
    )
    learned, ids = learned[max(0, len(learned) - MOST_LEARNED) :], ids[:MOST_PREDICTED]
    orders = list(_orders(learned, ids, V, start, order))
    nats = np.empty(len(ids))
    for at in range(0, len(ids), BLOCK):
        paths = np.stack([each.places[at : at + BLOCK] for each in orders], axis=1).tolist()
        for place, (one, path) in enumerate(zip(ids[at : at + BLOCK].tolist(), paths, strict=True), at):
            nats[place] = -math.log(_probability(orders, path, one, V))
            _count(orders, path, one)
    return nats


def _probability(orders: list[_Order], path: list[int], one: int, V: int) -> float:
    """P of an id whose contexts of 0, 1, ... characters have the places of `path`."""
    p = 1 / V
    for order, place in zip(orders, path, strict=True):
        if place < 0 or not (total := order.totals[place]):
            break  # longer contexts never occurred either
        p *= order.escapes[place] / total
        if count := order.counts[place].get(one, 0):
            p += (count - order.discounts[min(count, 3)]) / total
    return p


def _count(orders: list[_Order], path: list[int], one: int) -> None:
    """Count an id after its contexts, from the longest to the first in which it was counted before."""
    for order, place in zip(reversed(orders), reversed(path), strict=True):
        if place < 0:
            continue
        counts, D = order.counts[place], order.discounts
        count = counts.get(one, 0)
        counts[one] = count + 1
        order.totals[place] += 1
        order.escapes[place] += D[min(count + 1, 3)] - D[min(count, 3)]
        if count:
            return


def _orders(learned: Ids, ids: Ids, V: int, start: int, longest: int) -> Iterator[_Order]:
    """What a text leaves in the contexts of 0 to `longest` characters that are met in ids, shortest first."""
    before = np.append(np.full(max(0, longest - 1), V), start)  # V stands before the beginning
    joined = np.concatenate((before, learned, before, ids)).astype(np.int64)
    events = np.arange(len(before), len(before) + len(learned))  # where something is learned
    context = np.zeros(len(joined), np.int64)  # the number of the k characters before each place
    grams, gram = np.unique(joined, return_inverse=True)  # the same with the character at the place
    for _ in range(longest):
        next_context = np.append(0, gram[:-1])
        next_grams, next_gram = np.unique(next_context * (V + 1) + joined, return_inverse=True)
        counts = np.bincount(gram[_one_of_each(next_gram, events, len(next_grams))], minlength=len(grams))
        yield _order(context, len(joined) - len(ids), grams, counts, V)
        context, grams, gram = next_context, next_grams, next_gram
    counts = np.bincount(gram[events], minlength=len(grams))
    yield _order(context, len(joined) - len(ids), grams, counts, V)


def _one_of_each(gram: Ids, events: Ids, distinct: int) -> Ids:
    """One of the events for each distinct n-gram that ends there."""
    one = np.full(distinct, -1)
    one[gram[events]] = events
    return one[one >= 0]


def _order(context: Ids, first: int, grams: Ids, counts: Ids, V: int) -> _Order:
    """The order of contexts (N,), of which those from `first` on are to predict.

    grams: (G,), ascending: V + 1 times the number of a context, and the id after it. counts: (G,).
    """
    occurrences = np.bincount(context)
    met = np.unique(context[first:])
    met = met[occurrences[met] > 1]  # what is learned in a context that does not come again is never used
    number = np.full(len(occurrences), -1)
    number[met] = np.arange(len(met))
    D = discounts(counts[counts > 0])
    of = number[grams // (V + 1)]
    used = (of >= 0) & (counts > 0)
    of, followers, c = of[used], (grams[used] % (V + 1)).tolist(), counts[used]
    ends = np.cumsum(np.bincount(of, minlength=len(met))).tolist()
    each = c.tolist()
    return _Order(
        places=number[context[first:]],
        discounts=D.tolist(),
        counts=[
            dict(zip(followers[begin:end], each[begin:end], strict=True))
            for begin, end in zip([0, *ends], ends, strict=False)
        ],
        totals=np.bincount(of, c, len(met)).astype(np.int64).tolist(),
        escapes=np.bincount(of, D[np.minimum(c, 3)], len(met)).tolist(),
    )
