"""Workers that are processes of this machine: gradients meet in shared memory, orders go through pipes."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

import numpy as np

from charlm.errors import SpecError, WorkerError
from charlm.parallel.blas import limit_blas
from charlm.parallel.workers import Flat, Workers

Follow = Callable[[Workers], None]


PAGE = 1024  # scalars: rows of the shared memory lie apart by whole pages, so that no two workers write to one


class LocalWorkers(Workers):
    """What all processes have in common. Each pipe is also a lifeline: when a process ends, however it ends, the other
    end reads so. No worker outlives the first one, and the first one learns at the next meeting that one is gone.
    """

    def __init__(self, rank: int, count: int, pipes: Sequence[Connection], memory: int) -> None:
        self.rank = rank
        self.count = count
        self._pipes = tuple(pipes)  # of the first worker: to every other one; of another: to the first
        self._memory = memory  # file descriptor
        self._slots: Flat = np.zeros((count, 0), np.float32)  # (count, size): row k is worker k's gradient
        self._nats = np.zeros(count)

    def memory(self, size: int) -> Flat:
        """This worker's row of the shared memory."""
        edge = -(-size // PAGE) * PAGE
        nbytes = self.count * (edge * 4 + 8)
        os.ftruncate(self._memory, nbytes)
        shared = mmap.mmap(self._memory, nbytes)
        self._nats = np.frombuffer(shared, np.float64, self.count, offset=self.count * edge * 4)
        self._slots = np.frombuffer(shared, np.float32, self.count * edge).reshape(self.count, edge)[:, :size]
        own: Flat = self._slots[self.rank]
        own[...] = 0
        return own

    def tell(self, orders: Sequence[Any]) -> None:
        """Through the pipes."""
        for pipe, order in zip(self._pipes, orders, strict=True):
            with self._told(pipe):
                pipe.send(order)

    def orders(self) -> Iterator[Any]:
        """Out of the pipe; its end is the last order."""
        with suppress(EOFError, ConnectionError):
            while True:
                yield self._pipes[0].recv()

    def average(self, grads: Flat, nats: float, share: float) -> float:
        """Each worker sums one piece over all rows, and writes the sum to all rows."""
        slots, size = self._slots, grads.size
        piece = slice(size * self.rank // self.count, size * (self.rank + 1) // self.count)
        grads *= np.float32(share)
        self._nats[self.rank] = nats * share
        self._meet()
        total = slots[0, piece]
        for other in slots[1:, piece]:
            total += other
        slots[1:, piece] = total
        mean = float(self._nats.sum())
        self._meet()
        return mean

    def gather(self, part: Any) -> list[Any]:
        """Through the pipes."""
        if self.rank:
            self._pipes[0].send(part)
            return []
        parts = [part]
        for pipe in self._pipes:
            with self._told(pipe):
                parts.append(pipe.recv())
        return parts

    def close(self) -> None:
        """The others read the end of their pipes, and leave."""
        for pipe in self._pipes:
            pipe.close()

    def _meet(self) -> None:
        """Nobody goes on before everybody has come."""
        if self.rank:
            self._pipes[0].send_bytes(b".")
            self._pipes[0].recv_bytes()
            return
        for pipe in self._pipes:
            with self._told(pipe):
                pipe.recv_bytes()
        for pipe in self._pipes:
            with self._told(pipe):
                pipe.send_bytes(b".")

    @contextmanager
    def _told(self, pipe: Connection) -> Iterator[None]:
        """Say which worker is gone, where one is."""
        try:
            yield
        except (EOFError, ConnectionError):
            raise WorkerError(self._obituary(self._pipes.index(pipe))) from None

    def _obituary(self, index: int) -> str:
        return f"worker {index + 1} is gone"


class StartedWorkers(LocalWorkers):
    """The first worker's side: it starts the other processes, and waits for their end when it closes."""

    def __init__(self, count: int, threads: int, follow: Follow) -> None:
        memory = _shared_file()
        self._logs: list[IO[bytes]] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        ours = []
        for rank in range(1, count):
            our_end, their_end = Pipe()
            log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the worker
            arguments = [str(number) for number in (rank, count, their_end.fileno(), memory, threads)]
            self._processes.append(
                subprocess.Popen(
                    [sys.executable, "-c", _following(follow), *arguments],
                    pass_fds=(their_end.fileno(), memory),
                    stdin=subprocess.DEVNULL,
                    stderr=log,
                    env=_environment(),
                    process_group=0,  # a terminal's Ctrl-C is for the first worker alone
                )
            )
            their_end.close()
            ours.append(our_end)
            self._logs.append(log)
        super().__init__(0, count, ours, memory)

    def close(self) -> None:
        """Close the pipes and see the others off."""
        super().close()
        for process in self._processes:
            process.wait()
        for log in self._logs:
            log.close()
        with suppress(OSError):
            os.close(self._memory)

    def _obituary(self, index: int) -> str:
        status = self._processes[index].wait()
        self._logs[index].seek(0)
        last_words = self._logs[index].read().decode("utf-8", "replace").strip().rsplit("\n", 1)[-1]
        how = f"was ended by signal {-status}" if status < 0 else f"ended: {last_words or f'status {status}'}"
        return f"worker process {index + 2} of {self.count} {how}; the last checkpoint is good: go on with --resume"


def start(count: int, threads: int, follow: Follow) -> Workers:
    """`count` workers of this machine, of which this process is the first; the others call `follow`.

    threads: of each worker's matrix arithmetic. follow: a function at the top of a module. Raises SpecError where
    there cannot be so many.
    """
    if count < 1:
        raise SpecError(f"workers must be a whole number of at least 1, not {count}")
    if count == 1:
        return Workers()
    if os.name != "posix":
        raise SpecError(f"{count} workers need a POSIX system, which this is not: use --workers 1")
    return StartedWorkers(count, threads, follow)


def join() -> LocalWorkers:
    """In a process that `start` began: its place among the workers."""
    rank, count, pipe, memory, threads = map(int, sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the first worker decides when to stop
    limit_blas(threads)
    return LocalWorkers(rank, count, [Connection(pipe)], memory)


def _following(follow: Follow) -> str:
    return f"from {follow.__module__} import {follow.__name__} as follow; from {__name__} import join; follow(join())"


def _shared_file() -> int:
    """A file in memory, where the system has them, without a name: nothing is left of it when all have gone."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("charlm")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _environment() -> dict[str, str]:
    """This environment, in which a new process finds the charlm that runs here."""
    here = str(Path(__file__).resolve().parent.parent.parent)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])}
