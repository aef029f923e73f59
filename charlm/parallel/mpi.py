"""Workers that are the ranks of an MPI job, on one machine or on several."""

from __future__ import annotations

import atexit
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import numpy as np

from charlm.errors import CharlmError, SpecError
from charlm.parallel.workers import Flat, Workers

LAST_WORDS = 0.5  # seconds in which the launcher passes on what was said; an aborted job's output may be lost


class MPIWorkers(Workers):
    """The ranks of an MPI job: one Allreduce of the gradient per update."""

    def __init__(self) -> None:
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:
            raise SpecError(
                f"--workers mpi needs mpi4py and an MPI library ({error}): pip install 'charlm[mpi]'"
            ) from None
        self._in_place = MPI.IN_PLACE
        self._all = MPI.COMM_WORLD
        self.rank = self._all.Get_rank()
        self.count = self._all.Get_size()
        self._closed = False

    def tell(self, orders: Sequence[Any]) -> None:
        """One scatter."""
        self._all.scatter([None, *orders])

    def orders(self) -> Iterator[Any]:
        """None is the last."""
        while (order := self._all.scatter(None)) is not None:
            yield order

    def average(self, grads: Flat, nats: float, share: float) -> float:
        """One Allreduce of the gradient, and one of a number."""
        grads *= np.float32(share)
        self._all.Allreduce(self._in_place, grads)
        return float(self._all.allreduce(nats * share))

    def gather(self, part: Any) -> list[Any]:
        """One gather."""
        return self._all.gather(part) or []

    def close(self) -> None:
        """Tell all to leave."""
        if not self._closed:
            self._closed = True
            self.tell([None] * (self.count - 1))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Errors of ours happen between two updates. After any other one the ranks may wait in the middle of one,
        # where they cannot be told to leave: the job is aborted at its end.
        if kind is None or issubclass(kind, (GeneratorExit, CharlmError)):
            self.close()

    def abort(self, status: int) -> None:
        """End all ranks, but for those that were let go already."""
        if not self._closed:
            time.sleep(LAST_WORDS)
            self._all.Abort(status)


@contextmanager
def mpi_workers() -> Iterator[MPIWorkers]:
    """The ranks of this job. Where one of them fails, all end: the others would wait for it for ever.

    Raises SpecError where there is no MPI.
    """
    workers = MPIWorkers()
    if workers.rank:
        for number in (signal.SIGINT, signal.SIGTERM):  # the job's launcher passes them to all; the first decides
            signal.signal(number, signal.SIG_IGN)
    try:
        yield workers
    except BaseException as error:
        status = getattr(error, "exit_code", 1)
        atexit.register(workers.abort, status)  # at the very end, when the error has been told
        raise
