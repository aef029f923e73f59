"""PPM against a plain one, character by character, with dictionaries."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import few_examples, lanterns

from charlm.predict import ppm
from charlm.predict.ngram import best_ngram
from charlm.predict.ppm import ppm_nats

V = 4
SMALL_TEXTS = st.lists(st.integers(0, V - 1), min_size=1, max_size=60)


class PlainPPM:
    """The definition: contexts as tuples, all characters read one by one, learned ones too."""

    def __init__(self, V: int, order: int) -> None:
        self.V, self.order = V, order
        self.counts: dict[tuple[int, ...], Counter[int]] = {}
        self.discounts: list[list[float]] = []

    def begin(self, start: int) -> None:
        """A new text: V stands before its beginning."""
        self.before = [self.V] * max(0, self.order - 1) + [start]

    def contexts(self) -> list[tuple[int, ...]]:
        """Those of 0, 1, ... characters."""
        return [tuple(self.before[len(self.before) - k :]) for k in range(self.order + 1)]

    def count(self, one: int) -> None:
        """Longest context first; a shorter one only if the one before did not have the character yet."""
        for context in reversed(self.contexts()):
            counter = self.counts.setdefault(context, Counter())
            counter[one] += 1
            if counter[one] > 1:
                break
        self.before.append(one)

    def estimate_discounts(self) -> None:
        """Chen and Goodman's estimates for every order, with charlm's 20 pseudo-counts."""
        for k in range(self.order + 1):
            counts = [c for context, counter in self.counts.items() if len(context) == k for c in counter.values()]
            met = [counts.count(i) + 20 * prior for i, prior in zip((1, 2, 3, 4), (1.0, 0.4, 0.22, 0.15), strict=True)]
            Y = met[0] / (met[0] + 2 * met[1])
            D = [i - (i + 1) * Y * met[i] / met[i - 1] for i in (1, 2, 3)]
            self.discounts.append([0.0, *(min(max(d, 0.05), i - 0.05) for i, d in enumerate(D, 1))])

    def probability(self, one: int) -> float:
        """From the shortest context to the longest."""
        p = 1 / self.V
        for D, context in zip(self.discounts, self.contexts(), strict=True):
            if counter := self.counts.get(context):
                n = sum(counter.values())
                escape = sum(D[min(c, 3)] for c in counter.values()) / n
                p = max(counter[one] - D[min(counter[one], 3)], 0.0) / n + escape * p
        return p


def plain_nats(learned: list[int], ids: list[int], V: int, start: int, order: int) -> list[float]:
    """The nats of ids after a learned text."""
    plain = PlainPPM(V, order)
    plain.begin(start)
    for one in learned:
        plain.count(one)
    plain.estimate_discounts()
    plain.begin(start)
    nats = []
    for one in ids:
        nats.append(-math.log(plain.probability(one)))
        plain.count(one)
    return nats


@few_examples
@given(learned=SMALL_TEXTS, ids=SMALL_TEXTS, order=st.integers(0, 6), start=st.integers(0, V - 1))
def test_it_is_the_plain_one(learned: list[int], ids: list[int], order: int, start: int) -> None:
    """Law: sorting all counts at once, and leaving out contexts that come once, changes nothing."""
    found = ppm_nats(np.array(learned, np.uint8), np.array(ids, np.uint8), V, start, order)
    np.testing.assert_allclose(found, plain_nats(learned, ids, V, start, order), rtol=1e-9)


def test_it_is_the_plain_one_on_a_text() -> None:
    """Law: on a real text, too, with a large alphabet for its length."""
    corpus = lanterns()
    ids, V, start = corpus.ids, len(corpus.vocabulary) + 1, corpus.vocabulary.start
    found = ppm_nats(ids[:3000], ids[3000:4000], V, start)
    expected = plain_nats(ids[:3000].tolist(), ids[3000:4000].tolist(), V, start, ppm.ORDER)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@few_examples
@given(learned=SMALL_TEXTS, ids=SMALL_TEXTS.map(lambda ids: ids[:20]))
def test_every_distribution_sums_to_one(learned: list[int], ids: list[int]) -> None:
    """Law: after any text, over all ids, those that never occurred included; each has a probability above 0."""
    sizes = V + 2  # two ids that occur nowhere
    endings = [np.array([*ids, one]) for one in range(sizes)]
    p = np.exp([-ppm_nats(np.array(learned), ending, sizes, 0)[-1] for ending in endings])
    assert p.sum() == pytest.approx(1, rel=1e-9) and p.min() > 0


def test_it_learns_while_it_predicts() -> None:
    """Law: what comes again costs little the second time, though nothing like it was learned first."""
    rng = np.random.default_rng(1)
    news = rng.integers(1, 50, size=300)
    nats = ppm_nats(np.zeros(100, np.uint8), np.concatenate((news, news)), 50, 0)
    assert nats[:300].mean() > 0.8 * math.log(50) and nats[310:].mean() < 0.3 * math.log(50)


def test_it_is_better_than_an_n_gram_that_does_not_adapt() -> None:
    """Law: on a text that goes on about the same things."""
    corpus = lanterns()
    V, start = len(corpus.vocabulary) + 1, corpus.vocabulary.start
    half = len(corpus.ids) // 2
    ngram = best_ngram(corpus.ids[:half], V, corpus.ids[half:], start)
    counted = np.concatenate(list(ngram.nats([corpus.ids[half:]])))
    assert ppm_nats(corpus.ids[:half], corpus.ids[half:], V, start).mean() < counted.mean()


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: of a long text the last characters are learned, and the first ones of the other are predicted."""
    ids = lanterns().ids
    expected = ppm_nats(ids[500:1500], ids[2000:2400], 80, 0)
    monkeypatch.setattr(ppm, "MOST_LEARNED", 1000)
    monkeypatch.setattr(ppm, "MOST_PREDICTED", 400)
    np.testing.assert_array_equal(ppm_nats(ids[:1500], ids[2000:], 80, 0), expected)
