"""How fast this machine trains: the cost of a character in a network, and a measurement of half a second."""

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
ELEMENTWISE = 600.0  # cost of the gates of one unit, in multiplications of a matrix product
SOFTMAX = 100.0  # cost of the logit of one character
STEP = 640e3  # cost of the calls of a layer's time step; independent of the batch


def operations(spec: ModelSpec, batch: int, window: int) -> float:
    """The floating-point operations of one update, about: two per parameter forward, four backward."""
    return 6.0 * spec.parameters * batch * window


def cost(spec: ModelSpec, batch: float) -> float:
    """The cost of one character of training, in multiplications, without its share of the optimizer's step.

    batch: of one worker. The cost is the number of elements of all matrices, except one that is only looked up, and
    an amount per unit, per character of the vocabulary and per time step. The constants are fitted to the training
    speeds in docs/performance.md; the model deviates from them by 5 % at most.
    """
    # A tied embedding is not only looked up: the read-out multiplies it.
    looked_up = "layer0.W" if not spec.embedding else "" if spec.tied else "embedding.E"
    matrices = sum(math.prod(shape) for name, shape in spec.shapes.items() if len(shape) == 2 and name != looked_up)
    units = ELEMENTWISE * spec.hidden * spec.layers + SOFTMAX * spec.vocabulary
    return matrices + units + STEP * spec.layers / batch


def update_cost(spec: ModelSpec, optimizer: str) -> float:
    """The cost of an optimizer's step, in the units of `cost`: a third of its multiplications.

    Only Muon's step is counted. In it a matrix takes part in two products, and its square in four per iteration, less
    three.
    """
    if optimizer != "muon":
        return 0.0
    matrices = [sorted(shape) for shape in spec.shapes.values() if len(shape) == 2]
    return sum(2 * small**2 * large + (4 * ITERATIONS - 3) * small**3 for small, large in matrices) / 3


def work_per_second() -> float:
    """The work that one thread of this machine does per second, in the units of `cost`, measured for half a second.

    The fastest update counts, because other programs can only slow it down.
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
