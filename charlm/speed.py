"""How fast this machine trains: what a character costs in a network, and a test of half a second."""

from __future__ import annotations

import math
import time

import numpy as np

from charlm.nn.arrays import NamedArrays
from charlm.nn.loss import cross_entropy
from charlm.nn.model import CharLM, ModelSpec
from charlm.optim.muon import ITERATIONS
from charlm.parallel.blas import blas_threads

TRIAL = ModelSpec(vocabulary=64, hidden=192)
TRIAL_BATCH, TRIAL_WINDOW = 32, 20
TRIAL_SECONDS = 0.4
ELEMENTWISE = 600.0  # what the arithmetic on one unit's gates takes, in multiplications of a matrix product
SOFTMAX = 100.0  # and what it takes on the score of one character
STEP = 640e3  # what a layer's time step takes in them beside its arithmetic, however many streams there are


def operations(spec: ModelSpec, batch: int, window: int) -> float:
    """Floating-point operations of one update, about: two per parameter forward, four back."""
    return 6.0 * spec.parameters * batch * window


def cost(spec: ModelSpec, streams: float) -> float:
    """What one character of training costs, in matrix elements that are multiplied; its share of an update apart.

    streams: that one worker reads side by side. The matrices, but for the one that is only looked up in, so much per
    unit and character of the alphabet, and so much per time step; fitted to the training speeds in docs/performance.md,
    which it gives back within 5 %.
    """
    looked_up = "layer0.W" if not spec.embedding else "" if spec.tied else "embedding.E"  # a tied one is both
    matrices = sum(math.prod(shape) for name, shape in spec.shapes.items() if len(shape) == 2 and name != looked_up)
    units = ELEMENTWISE * spec.hidden * spec.layers + SOFTMAX * spec.vocabulary
    return matrices + units + STEP * spec.layers / streams


def update_cost(spec: ModelSpec, optimizer: str) -> float:
    """What an update costs beside its characters, counted as `cost` does, where elements are multiplied three times.

    Only Muon's counts: there a matrix takes part in two products, and its square in four per iteration but three.
    """
    if optimizer != "muon":
        return 0.0
    matrices = [sorted(shape) for shape in spec.shapes.values() if len(shape) == 2]
    return sum(2 * small**2 * large + (4 * ITERATIONS - 3) * small**3 for small, large in matrices) / 3


def work_per_second() -> float:
    """The work, as `cost` counts it, that one thread of this machine does per second, from about half a second's trial.

    The fastest update of all counts: whatever else the machine does can only slow it.
    """
    model = CharLM(TRIAL)
    params, grads = model.initial_params(np.random.default_rng(0)), NamedArrays(TRIAL.shapes)
    ids = np.random.default_rng(0).integers(TRIAL.vocabulary, size=(TRIAL_WINDOW + 1, TRIAL_BATCH), dtype=np.uint8)
    state, fastest = model.zero_state(TRIAL_BATCH), np.inf
    start = time.perf_counter()
    with blas_threads(1):
        while (before := time.perf_counter()) < start + TRIAL_SECONDS:
            logits, _, tape = model.forward(params, ids[:-1], state)
            _, slope = cross_entropy(logits, ids[1:])
            model.backward(params, tape, slope, grads)
            fastest = min(fastest, time.perf_counter() - before)
    return cost(TRIAL, TRIAL_BATCH) * TRIAL_WINDOW * TRIAL_BATCH / fastest
