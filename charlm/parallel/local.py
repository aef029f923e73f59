"""Workers that are processes of this machine: gradients in shared memory, everything else through pipes."""

from __future__ import annotations

import mmap
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import DTypeLike

from charlm.arrays import Floats
from charlm.errors import SpecError, UnsuitableError, WorkerError
from charlm.parallel.blas import limit_blas
from charlm.parallel.workers import ReleasedError, Value, Workers

PAGE = 1024  # scalars: rows of the shared memory begin on pages of their own, so no two workers write to one page


class LocalWorkers(Workers):
    """What all ranks have in common.

    Each pipe also shows whether the other side is alive: when a process ends, in whatever way, its pipe ends. So no
    worker outlives rank 0, and rank 0 notices at the next synchronisation that a worker is gone.
    """

    def __init__(self, rank: int, count: int, pipes: Sequence[Connection], memory: int) -> None:
        self.rank = rank
        self.count = count
        self._pipes = list(pipes)  # of rank 0: to every other rank; of another rank: to rank 0
        self._memory = memory  # file descriptor
        self._rows: Floats = np.zeros((count, 0), np.float32)  # (count, size): row k is the gradient of rank k
        self._nats = np.zeros(count)

    def memory(self, size: int, dtype: DTypeLike = np.float32) -> Floats:
        """This rank's row of the shared memory."""
        edge = -(-size // PAGE) * PAGE
        row_bytes = edge * np.dtype(dtype).itemsize
        nbytes = self.count * (row_bytes + 8)
        os.ftruncate(self._memory, nbytes)
        shared = mmap.mmap(self._memory, nbytes)
        self._nats = np.frombuffer(shared, np.float64, self.count, offset=self.count * row_bytes)
        self._rows = np.frombuffer(shared, dtype, self.count * edge).reshape(self.count, edge)[:, :size]
        own: Floats = self._rows[self.rank]
        own[...] = 0
        return own

    def broadcast(self, value: Value | None) -> Value:
        """Through the pipes, pickled once."""
        if self.rank:
            return cast(Value, self._received())
        assert value is not None
        data = pickle.dumps(value)
        for pipe in self._pipes:
            with self._watched(pipe):
                pipe.send_bytes(data)
        return value

    def scatter(self, parts: Sequence[Value] | None) -> Value:
        """Through the pipes."""
        if self.rank:
            return cast(Value, self._received())
        assert parts is not None
        for pipe, part in zip(self._pipes, parts[1:], strict=True):
            with self._watched(pipe):
                pipe.send_bytes(pickle.dumps(part))
        return parts[0]

    def gather(self, part: Value) -> list[Value]:
        """Through the pipes."""
        if self.rank:
            with _released_at_the_end():
                self._pipes[0].send_bytes(pickle.dumps(part))
            return []
        parts = [part]
        for pipe in self._pipes:
            with self._watched(pipe):
                parts.append(pickle.loads(pipe.recv_bytes()))
        return parts

    def average(self, grads: Floats, nats: float, weight: float) -> float:
        """Each rank sums one piece over all rows, and writes the sum to all rows."""
        rows, size = self._rows, grads.size
        piece = slice(size * self.rank // self.count, size * (self.rank + 1) // self.count)
        grads *= grads.dtype.type(weight)
        self._nats[self.rank] = nats * weight
        self._synchronise()
        total = rows[0, piece]
        for other in rows[1:, piece]:
            total += other
        rows[1:, piece] = total
        mean = float(self._nats.sum())
        self._synchronise()
        return mean

    def close(self) -> None:
        """Close the pipes: the other ranks see their end, and leave."""
        for pipe in self._pipes:
            pipe.close()

    def _received(self) -> Any:
        with _released_at_the_end():
            return pickle.loads(self._pipes[0].recv_bytes())

    def _synchronise(self) -> None:
        """A barrier: returns when all ranks have called it."""
        if self.rank:
            with _released_at_the_end():
                self._pipes[0].send_bytes(b".")
                self._pipes[0].recv_bytes()
            return
        for pipe in self._pipes:
            with self._watched(pipe):
                pipe.recv_bytes()
        for pipe in self._pipes:
            with self._watched(pipe):
                pipe.send_bytes(b".")

    @contextmanager
    def _watched(self, pipe: Connection) -> Iterator[None]:
        """Raise WorkerError, which says which worker is gone, if the other end of a pipe is closed."""
        try:
            yield
        except (EOFError, OSError):  # OSError: in the middle of a message
            raise WorkerError(self._reason_of_loss(self._pipes.index(pipe))) from None

    def _reason_of_loss(self, index: int) -> str:
        return f"worker {index + 1} is gone"


class StartedWorkers(LocalWorkers):
    """Rank 0: it starts the other processes, and waits for their end when it closes.

    Each of them is a plain `python -m MODULE`. The start methods of multiprocessing do not suit a library: spawn and
    forkserver run the caller's main module again, so a script without a `__main__` guard would train once more in
    every worker; fork copies a process whose BLAS or notebook threads may hold locks at that moment.
    """

    def __init__(self, count: int, threads: int, module: str) -> None:
        self._logs: list[IO[bytes]] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            memory = _shared_file()
        except OSError as error:
            raise WorkerError(_refusal("memory for the workers", error)) from None
        super().__init__(0, count, [], memory)
        for rank in range(1, count):
            try:
                self._start(rank, threads, module)
            except OSError as error:
                self.close()
                raise WorkerError(_refusal(f"worker {rank + 1} of {count}", error)) from None

    def _start(self, rank: int, threads: int, module: str) -> None:
        """Start one process, and keep our end of its pipe."""
        our_end, their_end = Pipe()
        self._pipes.append(our_end)
        with their_end:
            self._logs.append(tempfile.TemporaryFile())  # noqa: SIM115 - open as long as the worker
            arguments = [str(number) for number in (rank, self.count, their_end.fileno(), self._memory, threads)]
            self._processes.append(
                subprocess.Popen(
                    # -P: a select.py in the working directory must not take the place of Python's own
                    [sys.executable, "-P", "-m", module, *arguments],
                    pass_fds=(their_end.fileno(), self._memory),
                    stdin=subprocess.DEVNULL,
                    stderr=self._logs[-1],
                    env=_environment(),
                    process_group=0,  # Ctrl-C in a terminal reaches rank 0 only
                )
            )

    def memory(self, size: int, dtype: DTypeLike = np.float32) -> Floats:
        """This rank's row of the shared memory. Raises WorkerError if the system does not give as much."""
        try:
            return super().memory(size, dtype)
        except OSError as error:
            raise WorkerError(_refusal("memory for the workers", error)) from None

    def close(self) -> None:
        """Close the pipes and wait for the other processes."""
        super().close()
        for process in self._processes:
            process.wait()
        for log in self._logs:
            log.close()
        with suppress(OSError):
            os.close(self._memory)

    def _reason_of_loss(self, index: int) -> str:
        status = self._processes[index].wait()
        self._logs[index].seek(0)
        last_line = self._logs[index].read().decode("utf-8", "replace").strip().rsplit("\n", 1)[-1]
        how = f"was ended by signal {-status}" if status < 0 else f"ended: {last_line or f'status {status}'}"
        return f"worker process {index + 2} of {self.count} {how}; the last checkpoint is good: go on with --resume"


def start(count: int, threads: int, module: str) -> Workers:
    """`count` workers of this machine; this process is rank 0, and the others run `module` as a program.

    threads: of each worker's matrix arithmetic. module: it calls `join`. Raises SpecError for an impossible count.
    """
    if count < 1:
        raise SpecError(f"workers must be a whole number of at least 1, not {count}")
    if count == 1:
        return Workers()
    if os.name != "posix":
        raise UnsuitableError(f"{count} workers need a POSIX system, which this is not: use --workers 1")
    return StartedWorkers(count, threads, module)


def join() -> Workers:
    """In a process that `start` began: this process as one of the workers."""
    rank, count, pipe, memory, threads = map(int, sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # rank 0 decides when to stop
    limit_blas(threads)
    return LocalWorkers(rank, count, [Connection(pipe)], memory)


def _refusal(what: str, error: OSError) -> str:
    return f"the system refuses {what} ({error.strerror or error}): use fewer --workers"


@contextmanager
def _released_at_the_end() -> Iterator[None]:
    """Raise ReleasedError if rank 0 has closed its end of the pipe."""
    try:
        yield
    except (EOFError, OSError):  # OSError: in the middle of a message
        raise ReleasedError from None


def _shared_file() -> int:
    """A file without a name, in memory if the system can: nothing is left of it when all processes have ended."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("charlm")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _environment() -> dict[str, str]:
    """This environment, extended so that a new process imports the charlm that runs here."""
    here = str(Path(__file__).resolve().parent.parent.parent)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])}
