"""Units are found by what they follow: planted ones first, and by the correlation that numpy knows, too."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import LANTERNS, few_examples, lanterns, random_model, trained_run

from charlm import inspecting
from charlm.errors import CorpusError, SpecError
from charlm.inspecting import BINS, Correlation, Gate, Inspection, Unit, inspect, most_telling, telling_place
from charlm.nn.arrays import NamedArrays
from charlm.nn.model import CharLM, ModelSpec
from charlm.text.features import FEATURES
from charlm.text.vocabulary import Vocabulary
from charlm.trained import load

TEXT = LANTERNS.read_text(encoding="utf-8")
VOCABULARY: Vocabulary = lanterns().vocabulary


def counting_network(hidden: int = 6) -> tuple[CharLM, NamedArrays]:
    """A relu network made by hand: unit 3 counts the characters of a line, unit 1 tells capitals, the rest is noise."""
    model = CharLM(ModelSpec(len(VOCABULARY) + 1, hidden, cell="rnn", activation="relu"))
    params = model.initial_params(np.random.default_rng(0))
    W, U = params["layer0.W"], params["layer0.U"]
    for unit in (1, 3):
        W[:, unit] = U[:, unit] = U[unit] = 0
    W[:, 3], U[3, 3] = 1, 1
    W[VOCABULARY.start, 3] = -1000
    W[[VOCABULARY.characters.index(one) for one in VOCABULARY.characters if one.isupper()], 1] = 1
    return model, params


def unit(values: list[float], followed: list[float], correlation: float = 1.0) -> Unit:
    return Unit(0, 0, "x", correlation, np.array(values, np.float32), np.array(followed), ())


@few_examples
@given(seed=st.integers(0, 999), cuts=st.lists(st.integers(0, 300), max_size=5))
def test_correlation_is_numpys(seed: int, cuts: list[int]) -> None:
    """Law: whatever the pieces, Pearson's r of every pair; also far from zero, and on scales far apart."""
    rng = np.random.default_rng(seed)
    features = np.vstack([rng.standard_normal((2, 300)), rng.random(300) < 0.1, 1e4 + np.arange(300)])
    units = rng.standard_normal((300, 5)) * [1, 1e-3, 1e3, 1, 1] + [0, 0, 0, 100, 0]
    units[:, 4] += 3 * features[0]
    correlation = Correlation(features)
    for start, end in pairwise([0, *sorted(cuts), 300]):
        correlation.add(units[start:end])
    expected = np.corrcoef(features, units.T)[:4, 4:]
    np.testing.assert_allclose(correlation.result(), expected, atol=1e-8)


def test_what_does_not_vary_follows_nothing() -> None:
    """Law: 0, and no warning, for a constant feature or unit; 1 and -1 for perfect ones."""
    steps = np.arange(50.0)
    correlation = Correlation(np.array([steps, np.full(50, 0.1)]))
    correlation.add(np.stack([steps, -steps, np.full(50, 0.3), np.zeros(50)], axis=1).astype(np.float32))
    np.testing.assert_allclose(correlation.result(), [[1, -1, 0, 0], [0, 0, 0, 0]], atol=1e-12)


def test_planted_units_come_first() -> None:
    """Law: the unit that is the position in a line comes first, with r = 1; that of capitals next, by its name."""
    model, params = counting_network()
    found = inspect(model, params, VOCABULARY, [TEXT])
    first, second = found.units[:2]
    assert (first.layer, first.number, first.feature) == (0, 3, "position in line")
    assert (second.number, second.feature) == (1, "capital letter")
    assert first.correlation == pytest.approx(1) and second.correlation == pytest.approx(1)
    np.testing.assert_allclose(first.values, first.followed, atol=1e-4)
    assert first.name == "layer0[3]" and "position in line" not in [feature for feature, _ in first.also]


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_an_inspection_is_that_of_all_activations(cell: str) -> None:
    """Law: names, correlations, values and gates are those of the whole arrays, taken at once; layers in order."""
    model, params = random_model(3, vocabulary=len(VOCABULARY) + 1, hidden=7, layers=2, cell=cell, scale=0.5)
    found = inspect(model, params, VOCABULARY, [TEXT[:1000], TEXT[1000:3000]], units=8)
    assert (found.text, found.characters, found.is_cut) == (TEXT[:3000], 3000, False)
    read = inspecting.activations(model, params, VOCABULARY, TEXT[:3000])
    parts = list(zip(*read, strict=True))
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
        assert [feature for feature, _ in one.also] == [list(FEATURES)[k] for k in order[1:3]]
        np.testing.assert_array_equal(one.followed, features[order[0]])
    strongest = max(abs(one.correlation) for one in found.units)
    assert abs(found.units[0].correlation) == strongest
    names = {"gru": "zr", "lstm": "ifo", "rnn": ""}[cell]
    assert [(gate.layer, gate.name) for gate in found.gates] == [(layer, name) for layer in (0, 1) for name in names]
    for gate in found.gates:
        values = layers[gate.layer][gate.name]
        np.testing.assert_array_equal(gate.counts, np.histogram(values, BINS, (0, 1))[0])
        assert gate.shut == pytest.approx(np.mean(values < 0.1)) and gate.open == pytest.approx(np.mean(values >= 0.9))


def test_a_gate_that_is_quite_open() -> None:
    """Law: 1 itself is counted in the last bin, 0 in the first."""
    counts = np.zeros(BINS)
    counts[0], counts[-1], counts[BINS // 2] = 1, 2, 1
    assert (Gate(0, "z", counts).shut, Gate(0, "z", counts).open) == (0.25, 0.5)
    model, params = random_model(0, vocabulary=len(VOCABULARY) + 1, scale=0, dtype=np.float32)
    params["layer0.b"][:5], params["layer0.b"][5:10] = 100, -100
    update, reset = inspect(model, params, VOCABULARY, [TEXT[:200]]).gates
    assert (update.open, update.shut, reset.open, reset.shut) == (1, 0, 0, 1)


def test_a_network_that_does_nothing() -> None:
    """Law: units that never change follow nothing, and are not shown."""
    model, params = random_model(0, vocabulary=len(VOCABULARY) + 1, scale=0)
    assert inspect(model, params, VOCABULARY, [TEXT[:200]]).units == ()


def test_no_feature_is_shown_again_and_again() -> None:
    """Law: the strongest first; then one is taken again only where it is so much stronger; none twice."""
    r = np.array([[0.9, 0.8, -0.7, 0.1, 0.0], [0.1, 0.2, 0.3, -0.5, 0.0]])
    assert most_telling(r, 12) == [0, 3, 1, 2]
    assert most_telling(r, 2) == [0, 3]
    r[1, 3] = 0.39  # 0.8 / 2 is more
    assert most_telling(r, 3) == [0, 1, 3]


@given(st.lists(st.lists(st.integers(-9, 9), min_size=4, max_size=4), min_size=1, max_size=30), st.integers(1, 20))
def test_the_order_of_units(columns: list[list[int]], count: int) -> None:
    """Law: as many as wanted or as there are, none twice, none without a correlation; the first is the strongest."""
    r = np.array(columns).T / 10
    chosen = most_telling(r, count)
    followers = np.flatnonzero(np.abs(r).max(axis=0))
    assert len(chosen) == len(set(chosen)) == min(count, len(followers))
    assert set(chosen) <= set(followers.tolist())
    if chosen:
        assert np.abs(r[:, chosen[0]]).max() == np.abs(r).max()


@pytest.mark.parametrize("sign", [1, -1])
def test_the_telling_place(sign: int) -> None:
    """Law: the passage in which unit and feature move together most, or against each other where r is negative."""
    followed = [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]
    values = [sign * number for number in [0.0, 0.0, 0.1, 0.0, 0.9, 1.0, 0.0, 0.0, -1.0]]
    place = telling_place(unit(values, followed, sign), np.array([0, 3, 6]), np.array([3, 6, 9]))
    assert place == 1


def test_how_much_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: no more than the limits, which are told; the rest is not even asked for."""
    monkeypatch.setattr(inspecting, "MOST_CHARACTERS", 900)
    monkeypatch.setattr(inspecting, "SHOWN_CHARACTERS", 300)
    asked = []

    def pieces():  # type: ignore[no-untyped-def]
        for at in range(0, 3000, 200):
            asked.append(at)
            yield TEXT[at : at + 200]

    model, params = counting_network()
    found = inspect(model, params, VOCABULARY, pieces())
    assert (found.characters, found.is_cut, found.text) == (900, True, TEXT[:300])
    assert asked[-1] == 800
    assert {len(one.values) for one in found.units} == {len(one.followed) for one in found.units} == {300}
    assert not inspect(model, params, VOCABULARY, [TEXT[:900]]).is_cut


def test_short_texts() -> None:
    """Law: too short is refused in one line; short is told of; the number of units must make sense."""
    model, params = counting_network()
    for text in ("", "a", TEXT[:99]):
        with pytest.raises(CorpusError, match=f"at least 100 characters, not {len(text)}"):
            inspect(model, params, VOCABULARY, [text])
    assert "chance" in inspect(model, params, VOCABULARY, [TEXT[:1999]]).warning
    assert inspect(model, params, VOCABULARY, [TEXT[:2000]]).warning == ""
    for units in (0, -1, 65):
        with pytest.raises(SpecError, match="64"):
            inspect(model, params, VOCABULARY, [TEXT], units)


def test_a_trained_model_inspects_itself() -> None:
    """Law: a string or its pieces; the same every time; unknown characters are read."""
    model = load(trained_run())
    found = model.inspect(TEXT[:500] + "語 😀", units=3)
    again = model.inspect([TEXT[:100], TEXT[100:500], "語 😀"], units=3)
    assert isinstance(found, Inspection)
    assert [one.name for one in found.units] == [one.name for one in again.units]
    assert len(found.units) == 3
