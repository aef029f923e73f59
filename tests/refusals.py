"""How broken and hostile files must be refused: by one of charlm's exceptions, soon, and with little memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import strategies as st
from runs import lanterns

from charlm import change_budget, load, resume_notes, summary, train
from charlm.errors import CharlmError
from charlm.runs.run import Run

SECONDS, MEGABYTES = 2.0, 100  # to open a file; memory is counted beyond the file's size
DEEP = 100_000
SEEDS = st.integers(0, 2**32)


@contextmanager
def no_waiting_for_the_disk() -> Iterator[None]:
    """Files written inside need not outlive a crash of the machine. (To rename over a file waits for the disk, too.)"""
    with pytest.MonkeyPatch.context() as patch:

        def replace(source: Path, target: Path, rename: Callable[[Path, Path], None] = os.replace) -> None:
            target.unlink(missing_ok=True)
            rename(source, target)

        def fsync(handle: int) -> None:
            pass

        patch.setattr(os, fsync.__name__, fsync)
        patch.setattr(os, replace.__name__, replace)
        yield


def put(path: Path, data: bytes | bytearray) -> None:
    """Write a file, as a new one: to truncate and rewrite one waits for the disk on many systems."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


@contextmanager
def soon() -> Iterator[None]:
    """At most SECONDS of processor time, because the machine may be busy; a call that waits for ever is interrupted."""

    def wake(number: int, frame: FrameType | None) -> None:
        raise AssertionError("it waits for ever")

    before = signal.signal(signal.SIGALRM, wake)
    signal.setitimer(signal.ITIMER_REAL, 10 * SECONDS)
    start = time.process_time()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.process_time() - start < SECONDS


def is_short_line(message: str) -> bool:
    """Whether a message is one line of readable length, without control characters."""
    return message.isprintable() and 20 < len(message) < 1000


def refusal(kind: type[CharlmError], call: Callable[..., object], *arguments: Any) -> str:
    """The message with which a call is refused."""
    with soon(), pytest.raises(kind) as raised:
        call(*arguments)
    assert is_short_line(str(raised.value)), str(raised.value)[:1500]
    return str(raised.value)


def refused_or(call: Callable[..., object], *arguments: Any) -> bool:
    """Whether a call succeeds; otherwise it must be refused by a CharlmError of one line."""
    try:
        with soon():
            call(*arguments)
    except CharlmError as error:
        assert is_short_line(str(error)), str(error)[:1500]
        return False
    return True


def use(path: Path) -> None:
    """Use a checkpoint in every way."""
    model = load(path)
    list(model.sample(length=3, rng_seed=0))
    model.score(model.vocabulary.characters[:5])


def use_run(path: Path) -> None:
    """Use a run in every way, except for its plot."""
    run = Run.open(path)
    summary(run)
    assert all(map(is_short_line, resume_notes(run)))
    assert all(isinstance(source, str) for source in run.sources)
    training = train(run, lanterns())
    next(training, None)
    training.close()
    change_budget(run, steps=10**6)
    list(load(path).sample(length=3, rng_seed=0))


def metrics_of(path: Path) -> list[dict[str, Any]]:
    return Run.open(path).metrics()


def summary_of(path: Path) -> dict[str, Any]:
    return summary(Run.open(path))


def peak_megabytes(call: Callable[..., object], *arguments: Any) -> float:
    """Python's peak memory in a call, in MB."""
    tracemalloc.start()
    try:
        call(*arguments)
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


LIMITED = """
import os, resource, sys, time
from pathlib import Path
import safetensors  # loaded before memory is short, like the rest
from charlm.errors import CharlmError
from charlm.runs.checkpoint import load_checkpoint
from charlm.runs.run import Run

def open_it(path):
    return load_checkpoint(path) if path.suffix == ".safetensors" else Run.open(path).metrics()

for path in map(Path, sys.argv[1:]):
    if os.fork():
        _, status = os.wait()
        print(path.name, os.waitstatus_to_exitcode(status), flush=True)
        continue
    size = path.stat().st_size if path.is_file() else max(file.stat().st_size for file in path.iterdir())
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + size + 100 * 10**6
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    start = time.process_time()
    try:
        open_it(path)
    except CharlmError as error:
        if time.process_time() - start < 2 and str(error).isprintable() and len(str(error)) < 1000:
            os._exit(7)
        print(path.name, time.process_time() - start, "s", str(error)[:1000])
    except BaseException as error:
        print(path.name, type(error).__name__, error)
    os._exit(1)
"""


def at_little_memory(paths: Sequence[Path]) -> None:
    """Open checkpoints and runs in processes limited to the file's size and 100 MB; all must be refused."""
    done = subprocess.run([sys.executable, "-c", LIMITED, *paths], capture_output=True, text=True, timeout=120)
    assert done.stdout.split("\n") == [*(f"{path.name} 7" for path in paths), ""], done.stdout + done.stderr
