"""A worker of rank 1 or above: `python -m charlm.training.worker`, as charlm.parallel.local starts it."""

from __future__ import annotations

from contextlib import suppress

from charlm.parallel.local import join
from charlm.parallel.workers import ReleasedError, Workers
from charlm.training.loop import training_loop


def follow(workers: Workers) -> None:
    """Take part in training until rank 0 has finished. For the ranks of an MPI job, too."""
    with suppress(ReleasedError):
        for _ in training_loop(workers, None):
            pass


if __name__ == "__main__":
    follow(join())
