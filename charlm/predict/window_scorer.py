"""Score windows of many parallel sequences on all processors: what fast scoring is made of."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from types import TracebackType
from typing import Any

import numpy as np

from charlm.arrays import Floats, Ids, NamedArrays
from charlm.nn.model import CharLM
from charlm.nn.softmax import target_nats
from charlm.nn.stack import BATCH_AXIS, State
from charlm.parallel.blas import blas_thread_count, blas_threads

LEAST_SEQUENCES = 4  # per thread


class WindowScorer:
    """Scores windows of K sequences inside `with` blocks, with as many threads as matrix products use outside.

    In arrays of this size nearly all time is spent outside of the interpreter's lock. Two threads with sequences of
    their own are faster than one whose matrix products alone run on two threads. Inside a block matrix products run on
    one thread, so a generator must not yield there: its caller would run with one thread, too.
    """

    def __init__(self, model: CharLM, params: NamedArrays, weights: tuple[Any, ...]) -> None:
        self._models = [model]  # one per thread
        self._params, self._weights = params, weights
        self._exit = ExitStack()

    def __enter__(self) -> WindowScorer:
        threads, first = blas_thread_count(), self._models[0]
        self._models += [CharLM(first.spec, first.dtype) for _ in range(len(self._models), threads)]
        del self._models[threads:]
        self._pool = self._exit.enter_context(ThreadPoolExecutor(threads))
        self._exit.enter_context(blas_threads(1))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def zero_state(self, batch: int) -> State:
        """The state at the start of a text."""
        return self._models[0].zero_state(batch)

    def __call__(self, inputs: Ids, targets: Ids, state: State) -> tuple[Floats, State]:
        """Nats (T, K) of targets (T, K) after inputs (T, K), from a state of K sequences; and the state after them."""
        K, threads = inputs.shape[1], len(self._models)
        if threads == 1 or LEAST_SEQUENCES * threads > K:
            return self._part(self._models[0], inputs, targets, state)
        edges = [K * thread // threads for thread in range(threads + 1)]
        shares = [slice(start, end) for start, end in pairwise(edges)]
        parts = self._pool.map(
            self._part,
            self._models,
            [inputs[:, share] for share in shares],
            [targets[:, share] for share in shares],
            [tuple(layer[..., share, :] for layer in state) for share in shares],
        )
        nats, states = zip(*parts, strict=True)
        after = tuple(np.concatenate(layers, axis=BATCH_AXIS) for layers in zip(*states, strict=True))
        return np.concatenate(nats, axis=1), after

    def _part(self, model: CharLM, inputs: Ids, targets: Ids, state: State) -> tuple[Floats, State]:
        # Parameters that overflow give nats that are not finite. The caller finds that, and needs no warning.
        with np.errstate(over="ignore", invalid="ignore"):
            logits, state, _ = model.forward(self._params, inputs, state, weights=self._weights)
            return target_nats(logits, targets), state
