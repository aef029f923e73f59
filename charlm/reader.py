"""Read windows of many streams forward, on all processors: what scoring is made of."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from types import TracebackType

import numpy as np

from charlm.nn.arrays import Floats, Ids, NamedArrays
from charlm.nn.loss import target_nats
from charlm.nn.model import CharLM
from charlm.nn.stack import STREAMS, State
from charlm.parallel.blas import blas_thread_count, blas_threads

LEAST_STREAMS = 4  # per thread


class Reader:
    """Reads windows of K streams inside its `with` block, with as many threads as matrix products have outside.

    In arrays of this size nearly all time is spent outside of the interpreter's lock, and two threads that each see
    to their own streams are faster than one whose matrix products alone are shared out.
    """

    def __init__(self, model: CharLM, params: NamedArrays) -> None:
        model.require_causal()
        threads = blas_thread_count()
        self._models = [model, *(CharLM(model.spec, model.dtype) for _ in range(1, threads))]
        self._params, self._weights = params, model.prepare(params)
        self._pool = ThreadPoolExecutor(threads)
        self._around = ExitStack()

    def __enter__(self) -> Reader:
        self._around.enter_context(self._pool)
        self._around.enter_context(blas_threads(1))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._around.close()

    def __call__(self, inputs: Ids, targets: Ids, state: State) -> tuple[Floats, State]:
        """Nats (T, K) of targets (T, K) after inputs (T, K), from a state of K streams; and the state after them."""
        K, threads = inputs.shape[1], len(self._models)
        if threads == 1 or LEAST_STREAMS * threads > K:
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
        after = tuple(np.concatenate(layers, axis=STREAMS) for layers in zip(*states, strict=True))
        return np.concatenate(nats, axis=1), after

    def _part(self, model: CharLM, inputs: Ids, targets: Ids, state: State) -> tuple[Floats, State]:
        # Parameters that overflow give nats that are no number: training sees that, and needs no warning of it.
        with np.errstate(over="ignore", invalid="ignore"):
            logits, state, _ = model.forward(self._params, inputs, state, weights=self._weights)
            return target_nats(logits, targets), state
