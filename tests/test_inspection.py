"""Inspection finds planted units, and agrees with correlations and histograms of whole arrays."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import LANTERNS, few_examples, lanterns, random_model, trained_run

from charlm.analysis.correlation import Correlation
from charlm.analysis.features import FEATURES
from charlm.analysis.inspection import (
    BINS,
    MOST_CHARACTERS,
    SHOWN_CHARACTERS,
    Gate,
    Inspection,
    Unit,
    best_passage,
    choose_units,
    inspect,
)
from charlm.errors import CorpusError, SpecError
from charlm.nn.model import CharLM, ModelSpec
from charlm.predict.network import Network
from charlm.text.vocabulary import Vocabulary
from charlm.trained_model import load

TEXT = LANTERNS.read_text(encoding="utf-8")
VOCABULARY: Vocabulary = lanterns().vocabulary


def counting_network(hidden: int = 6) -> Network:
    """A hand-made relu network: unit 3 counts the characters of a line, unit 1 detects capitals, the rest is random."""
    model = CharLM(ModelSpec(len(VOCABULARY) + 1, hidden, cell="rnn", activation="relu"))
    params = model.initial_params(np.random.default_rng(0))
    W, U = params["layer0.W"], params["layer0.U"]
    for unit in (1, 3):
        W[:, unit] = U[:, unit] = U[unit] = 0
    W[:, 3], U[3, 3] = 1, 1
    W[VOCABULARY.start, 3] = -1000
    W[[VOCABULARY.characters.index(one) for one in VOCABULARY.characters if one.isupper()], 1] = 1
    return Network(model, params, VOCABULARY.start)


def random_network(seed: int, **choices: Any) -> Network:
    """A random network for VOCABULARY; choices: of `random_model`."""
    return Network(*random_model(seed, vocabulary=len(VOCABULARY) + 1, **choices), VOCABULARY.start)


@few_examples
@given(seed=st.integers(0, 999), cuts=st.lists(st.integers(0, 300), max_size=5))
def test_correlation_agrees_with_numpy(seed: int, cuts: list[int]) -> None:
    """Law: for any pieces, Pearson's r of every pair, even far from zero and on very different scales."""
    rng = np.random.default_rng(seed)
    features = np.vstack([rng.standard_normal((2, 300)), rng.random(300) < 0.1, 1e4 + np.arange(300)])
    units = rng.standard_normal((300, 5)) * [1, 1e-3, 1e3, 1, 1] + [0, 0, 0, 100, 0]
    units[:, 4] += 3 * features[0]
    correlation = Correlation(features)
    for start, end in pairwise([0, *sorted(cuts), 300]):
        correlation.add(units[start:end])
    expected = np.corrcoef(features, units.T)[:4, 4:]
    np.testing.assert_allclose(correlation.result(), expected, atol=1e-8)


def test_constants_have_no_correlation() -> None:
    """Law: r is 0, without a warning, for a constant feature or unit; 1 and -1 for perfect ones."""
    steps = np.arange(50.0)
    correlation = Correlation(np.array([steps, np.full(50, 0.1)]))
    correlation.add(np.stack([steps, -steps, np.full(50, 0.3), np.zeros(50)], axis=1).astype(np.float32))
    np.testing.assert_allclose(correlation.result(), [[1, -1, 0, 0], [0, 0, 0, 0]], atol=1e-12)


def test_planted_units_come_first() -> None:
    """Law: the unit that counts the position in the line comes first, the one that detects capitals second; r is 1."""
    found = inspect(counting_network(), VOCABULARY, [TEXT])
    first, second = found.units[:2]
    assert (first.layer, first.number, first.feature) == (0, 3, "position in line")
    assert (second.number, second.feature) == (1, "capital letter")
    assert first.correlation == pytest.approx(1) and second.correlation == pytest.approx(1)
    np.testing.assert_allclose(first.values, first.feature_values, atol=1e-4)
    assert first.name == "layer0[3]" and "position in line" not in [feature for feature, _ in first.next_best]


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_an_inspection_agrees_with_whole_arrays(cell: str) -> None:
    """Law: names, correlations, values and gates are those computed from the activations of the whole text at once."""
    network = random_network(3, hidden=7, layers=2, cell=cell, scale=0.5)
    found = inspect(network, VOCABULARY, [TEXT[:1000], TEXT[1000:3000]], units=8)
    assert (found.text, found.characters, found.is_truncated) == (TEXT[:3000], 3000, False)
    parts = list(zip(*network.activations(VOCABULARY.encode(TEXT[:3000])), strict=True))
    layers = [{name: np.concatenate([part[name] for part in layer]) for name in layer[0]} for layer in parts]
    features = np.array([feature(TEXT[:3000]) for feature in FEATURES.values()])
    assert len(found.units) == 8 and len({unit.name for unit in found.units}) == 8
    for one in found.units:
        values = layers[one.layer]["tanh_c" if cell == "lstm" else "h"][:, one.number]
        np.testing.assert_allclose(one.values, values, atol=1e-6)
        varying = features.std(axis=1) > 0
        r = np.zeros(len(features))
        r[varying] = np.corrcoef(features[varying], values)[-1, :-1]
        order = np.argsort(-np.abs(r))
        assert one.feature == list(FEATURES)[order[0]]
        assert one.correlation == pytest.approx(r[order[0]], abs=1e-9)
        assert [feature for feature, _ in one.next_best] == [list(FEATURES)[k] for k in order[1:3]]
        np.testing.assert_array_equal(one.feature_values, features[order[0]])
    strongest = max(abs(one.correlation) for one in found.units)
    assert abs(found.units[0].correlation) == strongest
    names = {"gru": "zr", "lstm": "ifo", "rnn": ""}[cell]
    assert [(gate.layer, gate.name) for gate in found.gates] == [(layer, name) for layer in (0, 1) for name in names]
    for gate in found.gates:
        values = layers[gate.layer][gate.name]
        np.testing.assert_array_equal(gate.counts, np.histogram(values, BINS, (0, 1))[0])
        assert gate.shut == pytest.approx(np.mean(values < 0.1)) and gate.open == pytest.approx(np.mean(values >= 0.9))


def test_saturated_gates() -> None:
    """Law: a value of exactly 1 is counted in the last bin, 0 in the first."""
    counts = np.zeros(BINS)
    counts[0], counts[-1], counts[BINS // 2] = 1, 2, 1
    assert (Gate(0, "z", counts).shut, Gate(0, "z", counts).open) == (0.25, 0.5)
    model, params = random_model(0, vocabulary=len(VOCABULARY) + 1, scale=0, dtype=np.float32)
    params["layer0.b"][:5], params["layer0.b"][5:10] = 100, -100
    update, reset = inspect(Network(model, params, VOCABULARY.start), VOCABULARY, [TEXT[:200]]).gates
    assert (update.open, update.shut, reset.open, reset.shut) == (1, 0, 0, 1)


def test_constant_units() -> None:
    """Law: units that never change follow nothing, and are not shown."""
    assert inspect(random_network(0, scale=0), VOCABULARY, [TEXT[:200]]).units == ()


def test_units_of_different_features_are_preferred() -> None:
    """Law: the strongest first; the second unit for a feature only if twice as strong as the first for another."""
    r = np.array([[0.9, 0.8, -0.7, 0.1, 0.0], [0.1, 0.2, 0.3, -0.5, 0.0]])
    assert choose_units(r, 12) == [0, 3, 1, 2]
    assert choose_units(r, 2) == [0, 3]
    r[1, 3] = 0.39  # 0.8 / 2 is more
    assert choose_units(r, 3) == [0, 1, 3]


@given(st.lists(st.lists(st.integers(-9, 9), min_size=4, max_size=4), min_size=1, max_size=30), st.integers(1, 20))
def test_the_order_of_units(columns: list[list[int]], count: int) -> None:
    """Law: as many as asked for or as there are, none twice, none without correlation, the strongest first."""
    r = np.array(columns).T / 10
    chosen = choose_units(r, count)
    correlated = np.flatnonzero(np.abs(r).max(axis=0))
    assert len(chosen) == len(set(chosen)) == min(count, len(correlated))
    assert set(chosen) <= set(correlated.tolist())
    if chosen:
        assert np.abs(r[:, chosen[0]]).max() == np.abs(r).max()


@pytest.mark.parametrize("sign", [1, -1])
def test_the_best_passage(sign: int) -> None:
    """Law: the passage where unit and feature vary together most; in opposite directions if r is negative."""
    feature = np.array([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0])
    values = sign * np.array([0.0, 0.0, 0.1, 0.0, 0.9, 1.0, 0.0, 0.0, -1.0], np.float32)
    unit = Unit(0, 0, "x", sign, values, feature, ())
    assert best_passage(unit, np.array([0, 3, 6]), np.array([3, 6, 9])) == 1


def test_how_much_is_read() -> None:
    """Law: correlations are over at most MOST_CHARACTERS, SHOWN_CHARACTERS are kept, and no later piece is read."""
    network = counting_network()
    piece = (TEXT * 3)[:30_000]
    read = []

    def pieces() -> Iterator[str]:
        while True:
            read.append(piece)
            yield piece

    found = inspect(network, VOCABULARY, pieces())
    assert (found.characters, found.is_truncated, found.text) == (MOST_CHARACTERS, True, piece[:SHOWN_CHARACTERS])
    assert len(read) == MOST_CHARACTERS // len(piece) + 1
    for unit in found.units:
        assert len(unit.values) == len(unit.feature_values) == SHOWN_CHARACTERS
    whole = "".join(read)[:MOST_CHARACTERS]
    assert not inspect(network, VOCABULARY, [whole]).is_truncated


def test_short_texts() -> None:
    """Law: a text that is too short is refused, a short one is warned of, and the number of units is checked."""
    network = counting_network()
    for text in ("", "a", TEXT[:99]):
        with pytest.raises(CorpusError, match=f"at least 100 characters, not {len(text)}"):
            inspect(network, VOCABULARY, [text])
    assert "chance" in inspect(network, VOCABULARY, [TEXT[:1999]]).warning
    assert inspect(network, VOCABULARY, [TEXT[:2000]]).warning == ""
    for units in (0, -1, 65):
        with pytest.raises(SpecError, match="64"):
            inspect(network, VOCABULARY, [TEXT], units)


def test_a_trained_model_inspects_itself() -> None:
    """Law: a string and its pieces give the same units; unknown characters are read."""
    model = load(trained_run())
    found = model.inspect(TEXT[:500] + "語 😀", units=3)
    again = model.inspect([TEXT[:100], TEXT[100:500], "語 😀"], units=3)
    assert isinstance(found, Inspection)
    assert [one.name for one in found.units] == [one.name for one in again.units]
    assert len(found.units) == 3
