"""Predictions are the documented equations, however a text is cut; the likeliest are the likeliest, in order."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from runs import LANTERNS, few_examples, plain_log_probabilities, random_model, trained_run

from charlm.predict import next_char as predicting
from charlm.predict.next_char import activations, likeliest, predictions
from charlm.text.vocabulary import Vocabulary
from charlm.trained_model import TrainedModel, load

TEXT = LANTERNS.read_text(encoding="utf-8")[:700] + "\nGrüße, 語 🏮\n"
ABC = Vocabulary("\nabcde")


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    return load(trained_run())


def rows(model: TrainedModel, text: str | list[str], **choices: bool) -> np.ndarray:
    return np.concatenate([*model.predictions(text, **choices), np.empty((0, len(model.vocabulary) + 1))])


@few_examples
@given(
    text=st.text("\nabcdeX", max_size=60),
    window=st.integers(1, 70),
    cell=st.sampled_from([("gru", "before"), ("gru", "after"), ("lstm", "before"), ("rnn", "before")]),
)
def test_predictions_are_the_equations(text: str, window: int, cell: tuple[str, str]) -> None:
    """Law: one row a character, before it is read, whatever the window: those of one plain pass."""
    network, params = random_model(1, vocabulary=7, layers=2, cell=cell[0], reset=cell[1])
    inputs = [ABC.start, *ABC.encode(text, unknown=True)[:-1]] if text else []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predicting, "WINDOW", window)
        found = list(predictions(network, params, ABC, [text]))
    assert all(0 < len(row) <= window for row in found)
    expected = np.array(list(plain_log_probabilities(network.spec, params, inputs))).reshape(-1, 7)
    np.testing.assert_allclose(np.concatenate([*found, np.empty((0, 7))]), expected, atol=1e-9)


def test_probabilities_sum_to_one_and_cost_what_is_scored(model: TrainedModel) -> None:
    """Law: each row is a distribution; the character that came has the surprisal of `surprisal`, unknown ones, too."""
    log_p, ids = rows(model, TEXT), model.vocabulary.encode(TEXT, unknown=True)
    np.testing.assert_allclose(np.exp(log_p).sum(axis=1), 1, atol=1e-12)
    nats = -log_p[np.arange(len(ids)), ids]
    nats[ids == model.vocabulary.unknown] += math.log(model.vocabulary.others)
    assert np.count_nonzero(ids == model.vocabulary.unknown) == 4
    np.testing.assert_allclose(nats, model.surprisal(TEXT), atol=1e-4)
    np.testing.assert_allclose(np.exp(log_p[0]), model.next_probs(), atol=1e-6)


def test_pieces_and_reset(model: TrainedModel) -> None:
    """Law: pieces are one text; with reset each is one of its own; an empty one changes nothing."""
    pieces = [TEXT[:3], "", TEXT[3:400], TEXT[400:]]
    np.testing.assert_allclose(rows(model, pieces), rows(model, TEXT), atol=1e-5)
    apart = np.concatenate([rows(model, piece) for piece in pieces])
    np.testing.assert_allclose(rows(model, pieces, reset=True), apart, atol=1e-12)
    assert np.abs(apart - rows(model, TEXT)).max() > 1e-3
    assert rows(model, "").shape == (0, len(model.vocabulary) + 1)


def test_a_large_alphabet_is_read_in_small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: rows that are held at a time are bounded by their number of scalars, too."""
    monkeypatch.setattr(predicting, "MOST_LOGITS", 50)
    network, params = random_model(0, vocabulary=7)
    assert [len(part) for part in predictions(network, params, ABC, ["abcde" * 3])] == [7, 7, 1]


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 9)), elements=st.integers(-20, 0)),
    st.integers(1, 12),
)
def test_the_likeliest(log_p: np.ndarray, count: int) -> None:
    """Law: k of them, none twice, in falling order, and none that was left out is likelier; ties by their ids."""
    ids, p = likeliest(log_p, count)
    k = min(count, log_p.shape[1])
    assert ids.shape == p.shape == (len(log_p), k)
    for row, chosen, shares in zip(log_p, ids.tolist(), p, strict=True):
        np.testing.assert_array_equal(shares, np.exp(row[chosen]))
        assert chosen == sorted(range(len(row)), key=lambda one: (-row[one], one))[:k]


def test_activations_are_those_of_reading(model: TrainedModel) -> None:
    """Law: after each character the state in which `read` is after it; gates between 0 and 1; free to be kept."""
    layers = [windows[0] for windows in model.activations(TEXT)]
    h = np.concatenate([layer["h"] for layer in layers])
    assert h.shape == (len(TEXT), 8)
    for count in (1, 2, 255, 256, 257, len(TEXT)):
        np.testing.assert_allclose(h[count - 1], model.read(TEXT[:count]).layers[0][0], atol=1e-6)
    assert all(0 <= layer[gate].min() <= layer[gate].max() <= 1 for layer in layers for gate in "zr")
    assert list(model.activations("")) == []


def test_activations_of_several_layers() -> None:
    """Law: one mapping a layer, and of an LSTM all its names."""
    network, params = random_model(0, layers=2, cell="lstm")
    (layers,) = activations(network, params, ABC, "abcabc")
    assert [list(layer) for layer in layers] == [["h", "c", "tanh_c", "i", "f", "o", "g"]] * 2
