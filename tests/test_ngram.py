"""The n-gram: probabilities that are those of the textbook's equations, written here the slow way, and their laws."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import lanterns

from charlm.predict import ngram as module
from charlm.predict.ngram import Counts, NGram, best_ngram, longest_order
from charlm.scoring.score import Score

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

    def nats(self, ids: Sequence[int], before: Sequence[int] = ()) -> list[float]:
        """What each of some ids costs."""
        known = [*before, *ids]
        first = len(before)
        histories = [tuple(known[max(0, at - self.order + 1) : at]) for at in range(first, len(known))]
        return [-math.log(self.p(history, w)) for history, w in zip(histories, ids, strict=True)]


@given(texts, st.data())
def test_it_is_the_textbook(text: tuple[int, list[int], int], data: st.DataObject) -> None:
    """Law: the nats of any ids are those of the equations, and above 0 and finite, the escape's too."""
    V, ids, order = text
    ngram = NGram.of(Counts.of(np.array(ids, np.uint8), V, order))
    others = data.draw(st.lists(st.integers(0, V - 1), max_size=20))
    before = data.draw(st.lists(st.integers(0, V - 1), max_size=6))
    expected = Textbook(ids, V, ngram.order).nats(others, before)
    np.testing.assert_allclose(ngram.nats(np.array(others, np.intp), before), expected, rtol=1e-5, atol=1e-6)


@given(texts, st.data())
def test_probabilities_sum_to_1(text: tuple[int, list[int], int], data: st.DataObject) -> None:
    """Law: after every context V probabilities, all above 0, sum to 1; and each is what `nats` says."""
    V, ids, order = text
    ngram = NGram.of(Counts.of(np.array(ids, np.uint8), V, order))
    befores = data.draw(st.lists(st.lists(st.integers(0, V - 1), max_size=6), min_size=1, max_size=4))
    p = ngram.probabilities(np.stack([ngram.context(before) for before in befores]))
    assert p.shape == (len(befores), V) and (p > 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    for row, before in zip(p, befores, strict=True):
        each = [ngram.nats(np.array([w]), before)[0] for w in range(V)]
        np.testing.assert_allclose(-np.log(row), each, rtol=1e-6, atol=1e-9)


def test_contexts_side_by_side() -> None:
    """Law: each row is what its context gives alone, those that were never met beside those that were."""
    ids = lanterns().ids
    ngram = NGram.of(Counts.of(ids, len(lanterns().vocabulary) + 1, 6))
    contexts = np.stack([ngram.context(before) for before in (ids[:50], [3, 3, 3, 3, 3], [], ids[7:9], [5, 60])])
    alone = np.concatenate([ngram.probabilities(context[None]) for context in contexts])
    np.testing.assert_allclose(ngram.probabilities(contexts), alone, rtol=1e-12)


def test_order_1_is_the_unigram() -> None:
    """Law: a discounted count, and what was discounted in equal parts, by hand."""
    ngram = NGram.of(Counts.of(np.array([0, 0, 0, 0, 1, 1, 2]), 4, 1))
    n = 20 * np.array([1, 0.4, 0.22, 0.15]) + [1, 1, 0, 1]
    Y = n[0] / (n[0] + 2 * n[1])
    D = np.array([3 - 4 * Y * n[3] / n[2], 2 - 3 * Y * n[2] / n[1], 1 - 2 * Y * n[1] / n[0], 0])
    expected = (np.array([4, 2, 1, 0]) - D + D.sum() / 4) / 7
    np.testing.assert_allclose(ngram.probabilities(ngram.context([])[None])[0], expected, rtol=1e-6)


def test_a_text_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: it costs the same as in one, wherever it is cut, and whatever the size of the blocks inside."""
    ids = lanterns().ids
    ngram = NGram.of(Counts.of(ids[:20_000], 66, 5))
    whole = ngram.nats(ids[20_000:24_000], [3])
    monkeypatch.setattr(module, "BLOCK", 700)
    np.testing.assert_array_equal(ngram.nats(ids[20_000:24_000], [3]), whole)
    parts, before = [], np.array([3])
    for part in np.split(ids[20_000:24_000], [1, 2, 9, 2000, 2000]):
        parts.append(ngram.nats(part, before))
        before = np.concatenate([before, part])
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_the_order_is_the_best() -> None:
    """Law: on a real text, no other order predicts the validation ids better, and the nats are those of the model."""
    ids, V = lanterns().ids, len(lanterns().vocabulary) + 1
    training, validation = ids[:-3000], ids[-3000:]
    best, nats = best_ngram(training, V, validation, [0])
    np.testing.assert_array_equal(nats, best.nats(validation, [0]))
    orders = range(1, longest_order(V) + 1)
    every = [NGram.of(Counts.of(training, V, order)).nats(validation, [0]).sum() for order in orders]
    assert min(every) == pytest.approx(nats.sum(), rel=1e-9)
    assert 3 <= best.order == int(np.argmin(every)) + 1
    assert Score(len(nats), float(nats.sum())).nats_per_char < 0.8 * every[0] / 3000


@pytest.mark.parametrize("ids", [[0], [0, 1], [0] * 50, [0, 1] * 50, list(range(50)), [1, 1, 0, 0] * 9])
def test_the_smallest_and_the_oddest_texts(ids: list[int]) -> None:
    """Law: one character, one letter, all different: there is an n-gram, and its probabilities sum to 1."""
    V = max(ids) + 2
    best, nats = best_ngram(np.array(ids), V, np.array([0]))
    assert np.isfinite(nats).all()
    p = best.probabilities(np.stack([best.context(ids), best.context([V - 1])]))
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    assert (p > 0).all()


@pytest.mark.parametrize(("V", "order"), [(2, 12), (66, 9), (128, 8), (3000, 5), (500_001, 3)])
def test_the_alphabet_bounds_the_order(V: int, order: int) -> None:
    """Law: every n-gram fits in 64 bits, its ids told apart: high ids are predicted like low ones."""
    assert longest_order(V) == order
    low = np.array([0, 1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 1])
    high = np.where(low == 0, V - 1, V - 2)
    nats = [NGram.of(Counts.of(ids, V, order)).nats(ids) for ids in (low, high)]
    np.testing.assert_array_equal(*nats)


def test_what_is_counted_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: of a long text the last characters, of one that never repeats itself a low order."""
    ids = np.random.default_rng(0).integers(0, 9, 3000)
    monkeypatch.setattr(module, "MOST_COUNTED", 1000)
    few = Counts.of(ids, 10, 5)
    assert few.counts.sum() == 1000
    np.testing.assert_array_equal(few.grams, Counts.of(ids[2000:], 10, 5).grams)
    monkeypatch.setattr(module, "MOST_GRAMS", 1500)
    fewer = Counts.of(ids, 10, 12)
    assert fewer.order == 3 and fewer.counts.sum() == 1000
    np.testing.assert_array_equal(fewer.counts, Counts.of(ids, 10, 3).counts)


def test_counts_that_no_text_has() -> None:
    """Law: an n-gram whose beginning comes nowhere is refused."""
    counts = Counts.of(np.array([0, 1, 0, 1, 1]), 3, 3)
    with pytest.raises(ValueError, match="never met"):
        NGram.of(Counts(3, 3, np.append(counts.grams, counts.grams[-1] + np.uint64(2)), np.append(counts.counts, 1)))


def test_shorter_n_grams_are_those_of_the_text() -> None:
    """Law: what is derived from long n-grams is what counting the short ones gives."""
    ids = np.random.default_rng(1).integers(0, 4, 500)
    shorter = Counts.of(ids, 5, 6).shorter().shorter()
    again = Counts.of(ids, 5, 4)
    assert shorter.order == 4
    np.testing.assert_array_equal(shorter.grams, again.grams)
    np.testing.assert_array_equal(shorter.counts, again.counts)
    assert Fraction(int(shorter.counts.sum()), 500) == 1
