"""The n-gram: its probabilities are those of the textbook's equations, written here the slow way, and their laws."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import lanterns

from charlm.arrays import Floats, Ids
from charlm.predict import ngram as module
from charlm.predict import ngram_counts
from charlm.predict.ngram import NGram, best_ngram
from charlm.predict.ngram_counts import Counts, longest_order

texts = st.integers(2, 6).flatmap(
    lambda V: st.tuples(st.just(V), st.lists(st.integers(0, V - 2), min_size=1, max_size=60), st.integers(1, 5))
)


class Textbook:
    """Interpolated, modified Kneser-Ney smoothing, from dictionaries: Chen and Goodman 1998, section 3.

    A text's beginning is one more thing that can precede an n-gram. Counts of counts have the documented prior.
    """

    def __init__(self, text: Sequence[int], V: int, order: int) -> None:
        self.V, self.order = V, order
        begun = [None] * order + [int(one) for one in text]
        every = {
            k: Counter(tuple(begun[end - k : end]) for end in range(order + 1, len(begun) + 1))
            for k in range(1, order + 1)
        }
        self.a: dict[int, dict[tuple[int | None, ...], int]] = {order: every[order]}
        for k in range(1, order):
            before = defaultdict(set)
            for gram in every[k + 1]:
                before[gram[1:]].add(gram[0])
            self.a[k] = {gram: len(found) for gram, found in before.items()}

    def D(self, k: int, a: int) -> float:
        n = [sum(value == i for value in self.a[k].values()) + 20 * w for i, w in enumerate((1, 0.4, 0.22, 0.15), 1)]
        i = min(a, 3)
        if i == 0:
            return 0.0
        return min(max(i - (i + 1) * n[0] / (n[0] + 2 * n[1]) * n[i] / n[i - 1], 0.05), i - 0.05)

    @cache  # noqa: B019 - lives as long as one test
    def p(self, history: tuple[int, ...], w: int) -> float:
        """P of w after a history, by the order that its length allows."""
        k = len(history) + 1
        lower = self.p(history[1:], w) if k > 1 else 1 / self.V
        after = [self.a[k].get((*history, v), 0) for v in range(self.V)]
        if not sum(after):
            return lower
        own = self.a[k].get((*history, w), 0)
        rest = sum(self.D(k, a) for a in after)
        return (own - self.D(k, own) + rest * lower) / sum(after)

    def nats(self, ids: Sequence[int], before: Sequence[int]) -> list[float]:
        """What each of some ids costs after those before."""
        known = [*before, *ids]
        first = len(before)
        histories = [tuple(known[max(0, at - self.order + 1) : at]) for at in range(first, len(known))]
        return [-math.log(self.p(history, w)) for history, w in zip(histories, ids, strict=True)]


def context(ngram: NGram, before: Sequence[int] | Ids) -> Ids:
    """The last ids before, (order - 1,), filled with the id that stands before a text's beginning."""
    filled = [ngram.V] * ngram.order + [int(one) for one in before]
    return np.array(filled[len(filled) - ngram.order + 1 :], np.intp)


def nats_of(ngram: NGram, *pieces: Sequence[int] | Ids) -> Floats:
    """The nats of all ids of some pieces."""
    return np.concatenate(list(ngram.nats(np.array(piece, np.intp) for piece in pieces)))


@given(texts, st.data())
def test_it_is_the_textbook(text: tuple[int, list[int], int], data: st.DataObject) -> None:
    """Law: the nats of any ids, the unknown character's too, are those of the equations."""
    V, ids, order = text
    start, *others = data.draw(st.lists(st.integers(0, V - 1), min_size=1, max_size=26))
    ngram = NGram.of(Counts.of(np.array(ids, np.uint8), V, order), start)
    expected = Textbook(ids, V, ngram.order).nats(others, [start])
    np.testing.assert_allclose(nats_of(ngram, others), expected, rtol=1e-5, atol=1e-6)


@given(texts, st.data())
def test_probabilities_sum_to_1(text: tuple[int, list[int], int], data: st.DataObject) -> None:
    """Law: after every context V probabilities, all above 0, sum to 1; and each is what `nats` says."""
    V, ids, order = text
    befores = data.draw(st.lists(st.lists(st.integers(0, V - 1), min_size=1, max_size=6), min_size=1, max_size=3))
    ngram = NGram.of(Counts.of(np.array(ids, np.uint8), V, order), 0)
    p = ngram.probabilities(np.stack([context(ngram, before) for before in befores]))
    assert p.shape == (len(befores), V) and (p > 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    for row, (start, *before) in zip(p, befores, strict=True):
        each = [nats_of(NGram.of(ngram.counts, start), before, [w])[-1] for w in range(V)]
        np.testing.assert_allclose(-np.log(row), each, rtol=1e-6, atol=1e-9)


def test_contexts_side_by_side() -> None:
    """Law: each row is what its context gives alone, those that never occurred beside those that did."""
    ids = lanterns().ids
    ngram = NGram.of(Counts.of(ids, len(lanterns().vocabulary) + 1, 6), 0)
    contexts = np.stack([context(ngram, before) for before in (ids[:50], [3, 3, 3, 3, 3], [], ids[7:9], [5, 60])])
    alone = np.concatenate([ngram.probabilities(one[None]) for one in contexts])
    np.testing.assert_allclose(ngram.probabilities(contexts), alone, rtol=1e-12)


def test_order_1_is_the_unigram() -> None:
    """Law: a discounted count, and what was discounted in equal parts, by hand."""
    ngram = NGram.of(Counts.of(np.array([0, 0, 0, 0, 1, 1, 2]), 4, 1), 0)
    n = 20 * np.array([1, 0.4, 0.22, 0.15]) + [1, 1, 0, 1]
    Y = n[0] / (n[0] + 2 * n[1])
    D = np.array([3 - 4 * Y * n[3] / n[2], 2 - 3 * Y * n[2] / n[1], 1 - 2 * Y * n[1] / n[0], 0])
    expected = (np.array([4, 2, 1, 0]) - D + D.sum() / 4) / 7
    np.testing.assert_allclose(ngram.probabilities(context(ngram, [])[None])[0], expected, rtol=1e-6)


def test_a_text_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: the same to the bit, wherever it is cut, and whatever the size of the blocks inside."""
    ids = lanterns().ids[:24_000]
    ngram, text = NGram.of(Counts.of(ids[:20_000], 66, 5), 3), ids[20_000:]
    whole = nats_of(ngram, text)
    monkeypatch.setattr(module, "BLOCK", 700)
    np.testing.assert_array_equal(nats_of(ngram, text), whole)
    np.testing.assert_array_equal(nats_of(ngram, *np.split(text, [1, 2, 9, 2000, 2000])), whole)


def test_the_order_is_the_best() -> None:
    """Law: on a real text, no other order predicts the validation ids better."""
    ids, V = lanterns().ids[-13_000:], len(lanterns().vocabulary) + 1
    training, validation = ids[:-3000], ids[-3000:]
    best = best_ngram(training, V, validation, 0)
    orders = range(1, longest_order(V) + 1)
    every = [nats_of(NGram.of(Counts.of(training, V, order), 0), validation).sum() for order in orders]
    assert 3 <= best.order == int(np.argmin(every)) + 1
    assert min(every) == pytest.approx(nats_of(best, validation).sum(), rel=1e-9)
    assert min(every) < 0.85 * every[0]


@pytest.mark.parametrize("ids", [[0], [0, 1], [0] * 50, [0, 1] * 50, list(range(50)), [1, 1, 0, 0] * 9])
def test_the_smallest_and_the_oddest_texts(ids: list[int]) -> None:
    """Law: one character, one letter, all different: there is an n-gram, and its probabilities sum to 1."""
    V = max(ids) + 2
    best = best_ngram(np.array(ids), V, np.array([0]), 0)
    p = best.probabilities(np.stack([context(best, ids), context(best, [V - 1])]))
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    assert (p > 0).all()


@pytest.mark.parametrize(("V", "order"), [(2, 12), (66, 9), (128, 8), (3000, 5), (500_001, 3)])
def test_the_vocabulary_bounds_the_order(V: int, order: int) -> None:
    """Law: every n-gram fits in 64 bits, its ids distinct: high ids are predicted like low ones."""
    assert longest_order(V) == order
    low = np.array([0, 1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 1])
    high = np.where(low == 0, V - 1, V - 2)
    one, other = (nats_of(NGram.of(Counts.of(ids, V, order), int(ids[0])), ids) for ids in (low, high))
    np.testing.assert_array_equal(one, other)


def test_what_is_counted_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: of a long text only the last characters count; one that never repeats itself gets a low order."""
    ids = np.random.default_rng(0).integers(0, 9, 3000)
    monkeypatch.setattr(ngram_counts, "MOST_COUNTED", 1000)
    few = Counts.of(ids, 10, 5)
    assert few.counts.sum() == 1000
    np.testing.assert_array_equal(few.grams, Counts.of(ids[2000:], 10, 5).grams)
    monkeypatch.setattr(ngram_counts, "MOST_GRAMS", 1500)
    fewer = Counts.of(ids, 10, 12)
    assert fewer.order == 3 and fewer.counts.sum() == 1000
    np.testing.assert_array_equal(fewer.counts, Counts.of(ids, 10, 3).counts)


def test_counts_that_no_text_has() -> None:
    """Law: an n-gram whose context never occurs is refused."""
    counts = Counts.of(np.array([0, 1, 0, 1, 1]), 3, 3)
    grams, occurrences = np.append(counts.grams, counts.grams[-1] + np.uint64(2)), np.append(counts.counts, 1)
    with pytest.raises(ValueError, match="never occurred"):
        NGram.of(Counts(3, 3, grams, occurrences), 0)


def test_shorter_n_grams_are_those_of_the_text() -> None:
    """Law: what is derived from long n-grams is what counting the short ones gives."""
    ids = np.random.default_rng(1).integers(0, 4, 500)
    shorter = Counts.of(ids, 5, 6).shorter().shorter()
    again = Counts.of(ids, 5, 4)
    assert shorter.order == 4
    np.testing.assert_array_equal(shorter.grams, again.grams)
    np.testing.assert_array_equal(shorter.counts, again.counts)
    assert shorter.counts.sum() == 500
