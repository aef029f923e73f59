"""Workers that are the ranks of an MPI job, on one machine or on several."""

from __future__ import annotations

import atexit
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, cast

from charlm.arrays import Floats
from charlm.errors import CharlmError, UnsuitableError
from charlm.parallel.workers import ReleasedError, Value, Workers

FLUSH_SECONDS = 0.5  # in which the launcher passes an error message on; an aborted job's output may be lost


class MPIWorkers(Workers):
    """The ranks of an MPI job: one Allreduce of the gradient per update."""

    def __init__(self) -> None:
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:
            raise UnsuitableError(
                f"--workers mpi needs mpi4py and an MPI library ({error}): pip install mpi4py mpich"
            ) from None
        self._in_place = MPI.IN_PLACE
        self._all = MPI.COMM_WORLD
        self.rank = self._all.Get_rank()
        self.count = self._all.Get_size()
        self._is_closed = False

    def broadcast(self, value: Value | None) -> Value:
        """A scatter of equal parts: so every rank waits in the same collective operation, whatever comes next."""
        if self.rank:
            return cast(Value, self._received())
        assert value is not None
        return self.scatter([value] * self.count)

    def scatter(self, parts: Sequence[Value] | None) -> Value:
        """One scatter."""
        if self.rank:
            return cast(Value, self._received())
        assert parts is not None
        self._all.scatter([(part,) for part in parts])
        return parts[0]

    def gather(self, part: Value) -> list[Value]:
        """One gather."""
        return self._all.gather(part) or []

    def average(self, grads: Floats, nats: float, weight: float) -> float:
        """One Allreduce of the gradient, and one of a number."""
        grads *= grads.dtype.type(weight)
        self._all.Allreduce(self._in_place, grads)
        return float(self._all.allreduce(nats * weight))

    def close(self) -> None:
        """Release all ranks."""
        if not self._is_closed:
            self._is_closed = True
            self._all.scatter([None] * self.count)

    def _received(self) -> Any:
        message = self._all.scatter(None)
        if message is None:
            raise ReleasedError
        return message[0]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # CharlmErrors are raised between two updates. After any other error the ranks may wait in the middle of an
        # update, where no message reaches them: the job is aborted at its end.
        if kind is None or issubclass(kind, (GeneratorExit, CharlmError)):
            self.close()

    def abort(self, status: int) -> None:
        """End all ranks that were not released."""
        if not self._is_closed:
            time.sleep(FLUSH_SECONDS)
            self._all.Abort(status)


@contextmanager
def mpi_workers() -> Iterator[MPIWorkers]:
    """The ranks of this job. If one of them fails, all end: the others would wait for it for ever.

    Raises UnsuitableError without MPI.
    """
    workers = MPIWorkers()
    if workers.rank:
        for number in (signal.SIGINT, signal.SIGTERM):  # the launcher passes them to all ranks; rank 0 decides
            signal.signal(number, signal.SIG_IGN)
    try:
        yield workers
    except BaseException as error:
        status = getattr(error, "exit_code", 1)
        atexit.register(workers.abort, status)  # at the very end, when the message has been printed
        raise
