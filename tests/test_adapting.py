"""To adapt is to score first and learn after, in weights of one's own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import LANTERNS, random_model, trained_run

from charlm.predict import dynamic_evaluation as adapting
from charlm.predict.dynamic_evaluation import adapted_surprisal
from charlm.errors import DivergenceError, SpecError
from charlm.nn.loss import cross_entropy
from charlm.scoring.score import surprisal
from charlm.text.vocabulary import Vocabulary
from charlm.trained_model import load

VOCABULARY = Vocabulary("\nabcdef")
NETWORKS: list[dict[str, Any]] = [
    {},
    {"reset": "after", "layers": 2},
    {"cell": "lstm"},
    {"cell": "rnn", "activation": "relu"},
    {"embedding": 3},
    {"embedding": 5, "tied": True},
]


def adapted(network: dict[str, Any], pieces: list[str], rate: float) -> np.ndarray[Any, Any]:
    model, params = random_model(3, vocabulary=8, scale=0.3, **network)
    before = params.flat.copy()
    found = [*adapted_surprisal(model, params, VOCABULARY, iter(pieces), rate)]
    np.testing.assert_array_equal(params.flat, before)  # the weights stay
    assert [len(nats) for nats in found] == [len(piece) for piece in pieces]
    return np.concatenate([np.empty(0), *found])


@pytest.mark.parametrize("network", NETWORKS, ids=str)
@given(st.lists(st.text("\nabcdef€", max_size=50), max_size=5))
def test_at_rate_0(network: dict[str, Any], pieces: list[str]) -> None:
    """Law: who learns nothing scores as one who does not learn, in any pieces, with unknown characters, too."""
    model, params = random_model(3, vocabulary=8, scale=0.3, **network)
    static = np.concatenate([np.empty(0), *surprisal(model, params, VOCABULARY, pieces)])
    np.testing.assert_allclose(adapted(network, pieces, 0.0), static, atol=1e-9)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_each_window_is_learned_from_after_it_was_scored(network: dict[str, Any]) -> None:
    """Law: the equation, window by window: p <- p - rate * g + decay * (p0 - p), with g no longer than MOST_NORM."""
    text, rate, T = "abcabcdefabcaaaaaafedc\nbbabcabcdeff" * 3, 0.7, adapting.WINDOW
    model, params = random_model(3, vocabulary=8, scale=0.3, **network)
    _, grads = random_model(0, vocabulary=8, **network)
    trained, state, expected = params.flat.copy(), model.zero_state(1), []
    ids = VOCABULARY.encode("\n" + text)
    for at in range(0, len(text), T):
        inputs, targets = ids[:-1][at : at + T, None], ids[1:][at : at + T, None]
        logits, state, tape = model.forward(params, inputs, state)
        p = np.exp(logits[:, 0]) / np.exp(logits[:, 0]).sum(axis=-1, keepdims=True)
        expected += [-math.log(p[t, target]) for t, target in enumerate(targets[:, 0])]
        model.backward(params, tape, cross_entropy(logits, targets)[1], grads)
        g = grads.flat * min(1.0, adapting.MOST_NORM / math.sqrt(float(grads.flat @ grads.flat)))
        params.flat[...] = params.flat - rate * g + adapting.DECAY * (trained - params.flat)
    np.testing.assert_allclose(adapted(network, [text], rate), expected, atol=1e-9)


@given(st.lists(st.text("\nabcdef€", max_size=50), max_size=8))
def test_pieces_do_not_matter(pieces: list[str]) -> None:
    """Law: cut anywhere, a text costs what it costs in one piece, to the bit."""
    np.testing.assert_array_equal(adapted({}, pieces, 0.5), adapted({}, ["".join(pieces)], 0.5))


def test_what_was_read_makes_it_cheaper() -> None:
    """Law: a text that repeats gets cheaper from time to time, and in all than for a model that does not learn."""
    model = load(trained_run())
    verse = "The zebra quizzed, vexed; jinxed kudzu.\n"  # characters that are known, in unlikely words
    costs = [nats.sum() for nats in model.surprisals([verse] * 40, adapt=0.5)]
    static = [nats.sum() for nats in model.surprisals([verse] * 40)]
    assert costs[0] <= static[0] + 1 and sum(costs[:10]) > sum(costs[10:20]) > sum(costs[30:])
    assert costs[-1] < 0.7 * static[-1]


def test_a_text_that_moves_on() -> None:
    """Law: far from what it was trained on, learning pays, and not before anything was read."""
    model = load(trained_run())
    text = LANTERNS.read_text(encoding="utf-8").translate(str.maketrans("etaoin", "nioate"))[:6000]
    (static,), (learned,) = model.surprisals([text]), model.surprisals([text], adapt=0.1)
    assert learned[:20] == pytest.approx(static[:20], abs=1e-4)
    assert learned[1000:].mean() < static[1000:].mean() - 0.1


@pytest.mark.parametrize("rate", [10.0, 100.0, 101.0, 1e38, 1e300])
@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_absurd_rates(network: dict[str, Any], rate: float) -> None:
    """Law: no character costs infinitely much, or no number; a rate at which one would is refused or told in one line,
    without a warning, and the model is not hurt.
    """
    model, params = random_model(3, vocabulary=8, dtype=np.float32, **network)
    before = params.flat.copy()
    try:
        (nats,) = adapted_surprisal(model, params, VOCABULARY, ["abcabcdefé\n" * 200], rate)
        assert np.isfinite(nats).all() and (nats >= -1e-6).all() and rate <= 100
    except DivergenceError as error:
        assert rate <= 100 and len(str(error).splitlines()) == 1
    except SpecError:
        assert rate > 100
    np.testing.assert_array_equal(params.flat, before)


def test_an_explosion_is_told() -> None:
    """Law: weights that explode end the score with one line that says what to do."""
    model, params = random_model(3, vocabulary=8, dtype=np.float32, cell="rnn", activation="relu")
    params["layer0.U"][...] *= 1e30
    with pytest.raises(DivergenceError, match="lower rate"):
        list(adapted_surprisal(model, params, VOCABULARY, ["abcabcdefé\n" * 20], 1.0))


@pytest.mark.parametrize("rate", [-1.0, -1e-9, math.inf, math.nan])
def test_rates_that_make_no_sense(rate: float) -> None:
    with pytest.raises(SpecError, match="usual"):
        adapted({}, ["abc"], rate)
