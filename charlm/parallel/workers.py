"""The interface of workers: processes that hold the same parameters and share the sequences of a batch.

Every worker runs the same training loop. Rank 0 alone reads the text, evaluates, saves and decides; the others learn
from it by `broadcast` and `scatter`. `average` is where all workers synchronise at every update.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from types import TracebackType
from typing import TypeVar

import numpy as np
from numpy.typing import DTypeLike

from charlm.arrays import Floats
from charlm.errors import SpecError

Value = TypeVar("Value")

LEAST_WORK = 2e8  # floating-point operations of an update; below, synchronisation costs more than a worker adds
LEAST_STEP = 1e8  # floating-point operations of a time step, forward and backward; below, a worker has one thread
LEAST_SEQUENCES = 8  # per worker; below, the matrices of a step are too small to keep a processor busy


class ReleasedError(Exception):
    """Rank 0 has finished: raised in the other workers instead of a value."""


class Workers:
    """One worker alone, and the interface of the others. rank: which of `count` workers this is, from 0."""

    rank = 0
    count = 1

    def shares(self, batch: int) -> list[slice]:
        """The sequences of each rank, as even as possible. Raises SpecError if there are too few."""
        if batch < self.count:
            raise SpecError(f"{self.count} workers need a sequence each, but --batch is {batch}: use fewer workers")
        edges = [batch * rank // self.count for rank in range(self.count + 1)]
        return [slice(start, end) for start, end in pairwise(edges)]

    def memory(self, size: int, dtype: DTypeLike = np.float32) -> Floats:
        """The array (size,) for this worker's gradient: `average` is fastest on it.

        Every rank calls it once, with the same arguments.
        """
        return np.zeros(size, dtype)

    def broadcast(self, value: Value | None) -> Value:
        """The value that rank 0 passes, on every rank; the others pass None. It can be pickled."""
        assert value is not None
        return value

    def scatter(self, parts: Sequence[Value] | None) -> Value:
        """parts[rank] of the list that rank 0 passes, on every rank; the others pass None. Parts can be pickled."""
        assert parts is not None
        return parts[self.rank]

    def gather(self, part: Value) -> list[Value]:
        """The parts of all ranks, in order, on rank 0; an empty list on the others."""
        return [part]

    def average(self, grads: Floats, nats: float, weight: float) -> float:
        """Replace `grads`, in place, by the sum of weight * grads over all ranks; returns the same sum of `nats`.

        grads: the array of `memory`. weight: this rank's share of the batch; all weights sum to 1. The order of the
        summation is fixed, so all ranks get the same bits, and get them again in every run.
        """
        return nats

    def close(self) -> None:
        """Release the other workers. Only rank 0 calls it."""

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def suitable_count(batch: int, operations: float) -> int:
    """How many workers suit an update of `operations` floating-point operations over a batch on this machine."""
    if os.name != "posix" or operations < LEAST_WORK:
        return 1
    return max(1, min(processors(), batch // LEAST_SEQUENCES))


def suitable_threads(available: int, operations: float) -> int:
    """How many threads suit a worker whose time steps take so many floating-point operations.

    The threads of a product wait for each other. Beside other programs that makes small products up to ten times
    slower, and alone they gain little.
    """
    return max(1, available) if operations >= LEAST_STEP else 1


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
