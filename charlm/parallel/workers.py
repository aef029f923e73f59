"""What one worker and many have in common: who reads which streams, and how their gradients become one.

The first worker (rank 0) holds the loop: it alone reads the text, evaluates, saves and tells the others what to do.
What it tells them is an order, any picklable object; `average` is the one place where all workers meet at every
update.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from charlm.errors import SpecError

Flat: TypeAlias = NDArray[np.float32]

LEAST_WORK = 2e8  # floating-point operations of an update; below, meeting costs more than a second worker gives
LEAST_STREAMS = 8  # per worker; below, a step's matrices are too thin to keep a processor busy


class Workers:
    """One worker alone; the other kinds keep its promises.

    rank: which of `count` workers this is, 0 the first.
    """

    rank = 0
    count = 1

    def shares(self, batch: int) -> list[slice]:
        """The streams of every worker, in the order of ranks, as even as can be. Raises SpecError for too few."""
        if batch < self.count:
            raise SpecError(f"{self.count} workers need a stream each, but --batch is {batch}: use fewer workers")
        edges = [batch * rank // self.count for rank in range(self.count + 1)]
        return [slice(start, end) for start, end in pairwise(edges)]

    def memory(self, size: int) -> Flat:
        """Where this worker leaves its gradient, (size,): `average` is fastest from there. All ask for the same."""
        return np.zeros(size, np.float32)

    def tell(self, orders: Sequence[Any]) -> None:
        """The first worker gives each other one its order, in the order of ranks from 1 on."""

    def orders(self) -> Iterator[Any]:
        """What the first worker tells this one, until it has nothing more to tell."""
        return iter(())

    def average(self, grads: Flat, nats: float, share: float) -> float:
        """Replace `grads`, in place, by the sum over all workers of share * grads; the same sum of `nats` comes back.

        grads: of `memory`. share: of the batch; all shares together are 1. The order of summation is fixed, so all
        workers have the same bits, and the same ones in every run.
        """
        return nats

    def gather(self, part: Any) -> list[Any]:
        """The parts of all workers, in the order of ranks, for the first; the others get an empty list."""
        return [part]

    def close(self) -> None:
        """Let the other workers go. Only the first may."""

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def usual_count(batch: int, operations: float) -> int:
    """How many workers suit an update of `operations` floating-point operations over a batch on this machine."""
    if os.name != "posix" or operations < LEAST_WORK:
        return 1
    return max(1, min(processors(), batch // LEAST_STREAMS))


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
