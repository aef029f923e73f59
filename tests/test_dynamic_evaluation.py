"""Dynamic evaluation predicts first and learns after, in parameters of its own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import LANTERNS, random_model, trained_run

from charlm.arrays import Floats
from charlm.errors import DivergenceError, SpecError
from charlm.nn.loss import cross_entropy
from charlm.predict import dynamic_evaluation as module
from charlm.predict.dynamic_evaluation import MOST_RATE, DynamicEvaluation
from charlm.predict.network import Network
from charlm.scoring.score import surprisals
from charlm.text.vocabulary import Vocabulary
from charlm.trained_model import load

VOCABULARY = Vocabulary("\nabcdef")
NETWORKS: list[dict[str, Any]] = [
    {},
    {"reset": "after", "layers": 2},
    {"cell": "lstm"},
    {"cell": "rnn", "activation": "relu"},
    {"embedding": 5, "tied": True},
]


def adapted(network: dict[str, Any], pieces: list[str], rate: float) -> Floats:
    model, params = random_model(3, vocabulary=8, scale=0.3, **network)
    before = params.flat.copy()
    found = [*surprisals(DynamicEvaluation(model, params, VOCABULARY.start, rate), VOCABULARY, iter(pieces))]
    np.testing.assert_array_equal(params.flat, before)  # the trained ones stay
    assert [len(nats) for nats in found] == [len(piece) for piece in pieces]
    return np.concatenate([np.empty(0), *found])


@pytest.mark.parametrize("network", NETWORKS, ids=str)
@settings(max_examples=8)
@given(st.lists(st.text("\nabcdef€", max_size=50), max_size=5))
def test_at_rate_0(network: dict[str, Any], pieces: list[str]) -> None:
    """Law: at rate 0 it is the network, in any pieces, with unknown characters, too."""
    static = Network(*random_model(3, vocabulary=8, scale=0.3, **network), VOCABULARY.start)
    expected = np.concatenate([np.empty(0), *surprisals(static, VOCABULARY, pieces)])
    np.testing.assert_allclose(adapted(network, pieces, 0.0), expected, atol=1e-9)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_each_window_is_learned_from_after_it_was_scored(network: dict[str, Any]) -> None:
    """Law: the equation, window by window: p <- p - rate * g + decay * (p0 - p), with g no longer than MOST_NORM."""
    text, rate, T = "abcabcdefabcaaaaaafedc\nbbabcabcdeff" * 3, 0.7, module.WINDOW
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
        g = grads.flat * min(1.0, module.MOST_NORM / math.sqrt(float(grads.flat @ grads.flat)))
        params.flat[...] = params.flat - rate * g + module.DECAY * (trained - params.flat)
    np.testing.assert_allclose(adapted(network, [text], rate), expected, atol=1e-9)


@given(st.lists(st.text("\nabcdef€", max_size=50), max_size=8))
def test_pieces_do_not_matter(pieces: list[str]) -> None:
    """Law: cut anywhere, a text costs what it costs in one piece, to the bit."""
    np.testing.assert_array_equal(adapted({}, pieces, 0.5), adapted({}, ["".join(pieces)], 0.5))


def test_what_was_read_becomes_cheaper() -> None:
    """Law: a text that repeats itself costs less and less, and in all less than without learning."""
    model = load(trained_run())
    verse = "The zebra quizzed, vexed; jinxed kudzu.\n"  # known characters in unlikely words
    costs = [nats.sum() for nats in model.surprisals([verse] * 30, adapt=0.5)]
    static = [nats.sum() for nats in model.surprisals([verse] * 30)]
    assert costs[0] <= static[0] + 1 and sum(costs[:10]) > sum(costs[10:20]) > sum(costs[20:])
    assert costs[-1] < 0.7 * static[-1]


def test_a_text_unlike_the_training_text() -> None:
    """Law: learning pays there, and not before anything was read."""
    model = load(trained_run())
    text = LANTERNS.read_text(encoding="utf-8").translate(str.maketrans("etaoin", "nioate"))[:3000]
    (static,), (learned,) = model.surprisals([text]), model.surprisals([text], adapt=0.1)
    assert learned[:20] == pytest.approx(static[:20], abs=1e-4)
    assert learned[1000:].mean() < static[1000:].mean() - 0.1


@pytest.mark.parametrize("rate", [1.0, MOST_RATE])
@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_extreme_rates(network: dict[str, Any], rate: float) -> None:
    """Law: every cost is finite, or a divergence is an error of one line, without a warning; trained params stay."""
    model, params = random_model(3, vocabulary=8, dtype=np.float32, **network)
    before = params.flat.copy()
    adapting = DynamicEvaluation(model, params, VOCABULARY.start, rate)
    try:
        (nats,) = surprisals(adapting, VOCABULARY, ["abcabcdefé\n" * 100])
        assert np.isfinite(nats).all() and (nats >= -1e-6).all()
    except DivergenceError as error:
        assert len(str(error).splitlines()) == 1
    np.testing.assert_array_equal(params.flat, before)


def test_a_divergence_is_an_error() -> None:
    """Law: it ends the score with one line that says what to do."""
    model, params = random_model(3, vocabulary=8, dtype=np.float32, cell="rnn", activation="relu")
    params["layer0.U"][...] *= 1e30
    with pytest.raises(DivergenceError, match="lower rate"):
        list(surprisals(DynamicEvaluation(model, params, 0, 1.0), VOCABULARY, ["abcabcdefé\n" * 20]))


@pytest.mark.parametrize("rate", [-1.0, -1e-9, 2.01, 5.0, 101.0, 1e300, math.inf, math.nan])
def test_impossible_rates(rate: float) -> None:
    """Law: refused, with a rate that is usual."""
    with pytest.raises(SpecError, match="usual"):
        adapted({}, ["abc"], rate)
