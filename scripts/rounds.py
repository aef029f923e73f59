"""Compare the speed of several programs on a machine that also does other work: interleaved rounds of processes.

Every measurement is a process of its own, so no library's threads disturb another's. Rounds go a, b, c, then c, b, a,
so a machine that slows down slows all of them; a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SECONDS = 2.0  # of measurement per process, after warm-up
WARM_UPS = 3
KERNEL = "OPENBLAS_CORETYPE"


@dataclass(frozen=True)
class Rounds:
    """The results of one comparison: rates per second, by name, one per round."""

    rates: dict[str, list[float]]

    def median(self, name: str) -> float:
        """The median rate."""
        return statistics.median(self.rates[name])

    def ratio(self, name: str, to: str) -> float:
        """The median over the rounds of the ratio of two rates."""
        return statistics.median(a / b for a, b in zip(self.rates[name], self.rates[to], strict=True))


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """A parser with the option that every benchmark has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep-kernel", action="store_true", help=f"use {KERNEL} if it is set")
    return parser


def free_the_kernel(keep: bool) -> None:
    """Restart this program without the variable that fixes the kernel of OpenBLAS, which the peers do not use."""
    if keep or KERNEL not in os.environ:
        return
    print(f"{KERNEL}={os.environ.pop(KERNEL)} is ignored; --keep-kernel uses it", file=sys.stderr, flush=True)
    os.execv(sys.executable, [sys.executable, *sys.argv])


def rate_of(step: Callable[[], object], amount: float) -> float:
    """`amount` per second of a step in this process: the median over its calls, after warm-up."""
    for _ in range(WARM_UPS):
        step()
    durations: list[float] = []
    while sum(durations) < SECONDS or len(durations) < 5:
        start = time.perf_counter()
        step()
        durations.append(time.perf_counter() - start)
    return amount / statistics.median(durations)


def compare(script: str, candidates: Sequence[str], arguments: Sequence[object], repeats: int) -> Rounds:
    """Run `script --measure CANDIDATE ARGUMENTS...`, which prints a rate, for every candidate in every round."""
    rates: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(repeats):
        for name in candidates if number % 2 == 0 else reversed(candidates):
            command = [sys.executable, script, "--keep-kernel", "--measure", name, *map(str, arguments)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{name}: {done.stderr.strip().rsplit(chr(10), 1)[-1]}")
            rates[name].append(float(done.stdout))
    return Rounds(rates)


def machine() -> dict[str, Any]:
    """What the results depend on: processors, BLAS and its kernel, versions."""
    import numpy as np

    from charlm.parallel.blas import blas_name, blas_thread_count

    size = 2048
    a = np.ones((size, size), np.float32)
    peak = rate_of(lambda: a @ a, 2 * size**3)
    return {
        "processors": len(os.sched_getaffinity(0)),
        "blas": blas_name(),
        "blas_threads": blas_thread_count(),
        "sgemm_peak_gflops": round(peak / 1e9),
        "numpy": np.__version__,
        "python": sys.version.split()[0],
    }


def write_json(path: Path | None, results: dict[str, Any]) -> None:
    """Write all results to a file."""
    if path is not None:
        path.write_text(json.dumps(results, indent=1, default=asdict) + "\n")
