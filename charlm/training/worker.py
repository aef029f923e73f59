"""A worker of rank 1 or above: `python -m charlm.training.worker`, as charlm.parallel.local starts it."""

from __future__ import annotations

from contextlib import suppress

from charlm.parallel.local import join
from charlm.parallel.workers import ReleasedError, Workers
from charlm.training.loop import training_loop


def take_part(workers: Workers) -> None:
    """Take part in the training that rank 0 has called, until that ends: what every rank but 0 calls."""
    with suppress(ReleasedError):
        for _ in training_loop(workers, None):
            pass


if __name__ == "__main__":
    take_part(join())
