"""What gates are for: keeping one thing while many others pass by, and replacing it when a new one comes.

A sequence of random distractors holds a key now and then. At every step the network is asked for the newest key; its
error is measured where that key is DELAY or more steps old.
"""

from __future__ import annotations

import numpy as np
import pytest

from charlm.arrays import Ids, NamedArrays
from charlm.nn.loss import cross_entropy
from charlm.nn.model import CharLM, ModelSpec
from charlm.optim.clip import clip_by_global_norm
from charlm.optim.optimizers import Adam

pytestmark = pytest.mark.slow

KEYS, DISTRACTORS = 8, 8
DELAY, STEPS, BATCH, HIDDEN, UPDATES = 60, 150, 32, 32, 250


def sequences(rng: np.random.Generator) -> tuple[Ids, Ids, Ids]:
    """Characters (T, B), the newest key at each, and how old it is. The first character is a key."""
    characters = rng.integers(KEYS, KEYS + DISTRACTORS, (STEPS, BATCH))
    is_key = rng.random((STEPS, BATCH)) < 1 / DELAY
    is_key[0] = True
    characters[is_key] = rng.integers(0, KEYS, is_key.sum())
    steps = np.arange(STEPS)[:, None]
    since = np.maximum.accumulate(np.where(is_key, steps, 0), axis=0)
    return characters, np.take_along_axis(characters, since, axis=0), steps - since


def late_error(cell: str, learning_rate: float) -> float:
    """Share of wrong answers on old keys, over the last tenth of training on ever new sequences."""
    rng = np.random.default_rng(0)
    model = CharLM(ModelSpec(KEYS + DISTRACTORS, HIDDEN, cell=cell))
    params = model.initial_params(rng)
    grads, optimizer = NamedArrays.like(params), Adam(params)
    wrong, asked = 0, 0
    for update in range(UPDATES):
        characters, newest, age = sequences(rng)
        logits, _, tape = model.forward(params, characters, model.zero_state(BATCH))
        if update >= 0.9 * UPDATES:
            old = age >= DELAY
            wrong += int((logits.argmax(axis=-1) != newest)[old].sum())
            asked += int(old.sum())
        _, dlogits = cross_entropy(logits, newest)
        model.backward(params, tape, dlogits, grads)
        clip_by_global_norm(grads, 1.0)
        optimizer.update(params, grads, learning_rate)
    return wrong / asked


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_gated_cells_recall(cell: str) -> None:
    """At equal size, a GRU and an LSTM recall the newest key, however old."""
    assert late_error(cell, 0.02) < 0.05


def test_plain_network_does_not_recall() -> None:
    """A plain tanh network errs often, at every learning rate tried (chance is 7 of 8)."""
    assert min(late_error("rnn", rate) for rate in (0.01, 0.02, 0.04)) > 0.3
