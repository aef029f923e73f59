"""How fast this machine trains: what a character costs in a network, and a measurement of half a second."""

from __future__ import annotations

import math
import time

import numpy as np

from charlm.arrays import NamedArrays
from charlm.nn.loss import cross_entropy
from charlm.nn.model import CharLM, ModelSpec
from charlm.optim.muon import ITERATIONS
from charlm.parallel.blas import blas_threads

TRIAL = ModelSpec(vocabulary=64, hidden=192)
TRIAL_BATCH, TRIAL_WINDOW = 32, 20
TRIAL_SECONDS = 0.4
ELEMENTWISE = 600.0  # the arithmetic on one unit's gates, in multiplications of a matrix product
SOFTMAX = 100.0  # the same for the logit of one character
STEP = 640e3  # the same for a layer's time step beside its arithmetic, whatever the batch


def operations(spec: ModelSpec, batch: int, window: int) -> float:
    """Floating-point operations of one update, about: two per parameter forward, four backward."""
    return 6.0 * spec.parameters * batch * window


def cost(spec: ModelSpec, batch: float) -> float:
    """What one character of training costs, in multiplications, without its share of the update.

    batch: of one worker. The elements of all matrices, except one that is only looked up in, and an amount per unit,
    per character of the vocabulary and per time step. The constants are fitted to the training speeds in
    docs/performance.md, from which the model deviates by 5 % at most.
    """
    # A tied embedding is also multiplied, in the read-out.
    looked_up = "layer0.W" if not spec.embedding else "" if spec.tied else "embedding.E"
    matrices = sum(math.prod(shape) for name, shape in spec.shapes.items() if len(shape) == 2 and name != looked_up)
    units = ELEMENTWISE * spec.hidden * spec.layers + SOFTMAX * spec.vocabulary
    return matrices + units + STEP * spec.layers / batch


def update_cost(spec: ModelSpec, optimizer: str) -> float:
    """What an update costs beside its characters, in the units of `cost`: a third of its multiplications.

    Only Muon's is counted: there a matrix takes part in two products, and its square in four per iteration but three.
    """
    if optimizer != "muon":
        return 0.0
    matrices = [sorted(shape) for shape in spec.shapes.values() if len(shape) == 2]
    return sum(2 * small**2 * large + (4 * ITERATIONS - 3) * small**3 for small, large in matrices) / 3


def work_per_second() -> float:
    """The work, in the units of `cost`, that one thread of this machine does per second, measured in half a second.

    The fastest update counts: other programs can only slow it down.
    """
    model = CharLM(TRIAL)
    params, grads = model.initial_params(np.random.default_rng(0)), NamedArrays(TRIAL.shapes)
    ids = np.random.default_rng(0).integers(TRIAL.vocabulary, size=(TRIAL_WINDOW + 1, TRIAL_BATCH), dtype=np.uint8)
    state, fastest = model.zero_state(TRIAL_BATCH), np.inf
    start = time.perf_counter()
    with blas_threads(1):
        while (before := time.perf_counter()) < start + TRIAL_SECONDS:
            logits, _, tape = model.forward(params, ids[:-1], state)
            _, dlogits = cross_entropy(logits, ids[1:])
            model.backward(params, tape, dlogits, grads)
            fastest = min(fastest, time.perf_counter() - before)
    return cost(TRIAL, TRIAL_BATCH) * TRIAL_WINDOW * TRIAL_BATCH / fastest
