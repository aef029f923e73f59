"""Several workers: the gradient of one, the same bits every time, and no process left behind or waiting."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import (
    CELLS,
    TINY,
    TINY_OPTIONS,
    Explosions,
    bits_of_run,
    charlm_command,
    environment,
    holds_something,
    run_to_end,
    short_corpus,
    stop_at,
    tiny_run,
    wait_until,
)

from charlm import change_workers, summary, train
from charlm.corpus.corpus import Corpus
from charlm.errors import SpecError, StorageError, WorkerError
from charlm.nn.loss import cross_entropy
from charlm.nn.model import ModelSpec
from charlm.parallel import workers
from charlm.parallel.blas import asked_threads, blas_threads
from charlm.parallel.local import LocalWorkers, start
from charlm.parallel.workers import ReleasedError, Workers, processors, suitable_count, suitable_threads
from charlm.runs.checkpoint import load_checkpoint
from charlm.runs.run import Run
from charlm.training import loop, resume
from charlm.training.coordinator import Coordinator
from charlm.training.cost_model import operations
from charlm.training.loop import WORKER, train_steps, training_loop

pytestmark = pytest.mark.usefixtures("quick_disk")
needs_posix = pytest.mark.skipif(os.name != "posix", reason="workers are processes of a POSIX system")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return short_corpus(tmp_path_factory.mktemp("corpus"))


PARENT, SESSION = 1, 3  # fields of a process's status, after its name


def processes(field: int, value: int) -> list[int]:
    """All living processes that have this parent, or are of this session."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = status.read_text().rsplit(")", 1)[1].split()
            if int(fields[field]) == value and fields[0] != "Z":
                found.append(int(status.parent.name))
    return sorted(found)


@given(batch=st.integers(1, 50), count=st.integers(1, 50))
def test_shares(batch: int, count: int) -> None:
    """Law: every sequence has one worker, in order, and no worker has two more than another."""
    team = Workers()
    team.count = count
    if count > batch:
        with pytest.raises(SpecError, match="workers need a sequence each"):
            team.shares(batch)
        return
    shares = team.shares(batch)
    assert [sequence for share in shares for sequence in range(batch)[share]] == list(range(batch))
    sizes = {share.stop - share.start for share in shares}
    assert max(sizes) - min(sizes) <= 1 and len(shares) == count


@needs_posix
@pytest.mark.parametrize(("count", "cell"), [(2, "gru"), (3, "lstm"), (3, "tanh")])
def test_many_workers_are_one(count: int, cell: str, corpus: Corpus, tmp_path: Path) -> None:
    """Law: loss, norm, parameters, sum of gradients and state are those of one worker, up to rounding.

    The shares of the batch differ in size, and the updates pass the edge of an epoch.
    """
    spec = replace(TINY, batch=5, optimizer="sgd", momentum=0.9, clip_norm=None, dropout=0.3, steps=8)
    found = []
    for number in (1, count):
        run = tiny_run(tmp_path / str(number), corpus, replace(spec, workers=number), layers=2, **CELLS[cell])
        values = [np.array([[p.nats, p.gradient_norm] for p in train_steps(run, corpus)])]
        last = load_checkpoint(run.last_path)
        found.append([*values, *last.params.values(), *last.memory.values(), *last.state])
    for one, many in zip(*found, strict=True):
        np.testing.assert_allclose(many, one, rtol=1e-4, atol=1e-5)


@needs_posix
def test_many_workers_are_one_in_double_precision(corpus: Corpus, tmp_path: Path) -> None:
    """Law: the same for the gradient of the summed loss, up to the rounding of float64."""
    spec = replace(TINY, batch=5, optimizer="sgd", momentum=0.0, learning_rate=0.01, steps=8)
    spec = replace(spec, loss_reduction="sum", precision="float64", clip_norm=None, clip_value=5.0)
    found = []
    for count in (1, 2):
        run = run_to_end(tiny_run(tmp_path / str(count), corpus, replace(spec, workers=count)), corpus)
        found.append(load_checkpoint(run.last_path).params)
    for name, array in found[0].items():
        assert array.dtype == np.float64
        np.testing.assert_allclose(found[1][name], array, rtol=1e-9, atol=1e-12)


@needs_posix
def test_a_worker_that_cannot_be_started(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Law: one error that says what to do; the workers that were started are released, and no file stays open."""
    popen = subprocess.Popen
    started: list[subprocess.Popen[bytes]] = []

    def refuse_the_second(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        if started:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        started.append(popen(*arguments, **options))
        return started[-1]

    run = tiny_run(tmp_path / "run", corpus, replace(TINY, batch=5, workers=3))
    before = sorted(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else []
    monkeypatch.setattr(subprocess, popen.__name__, refuse_the_second)
    with pytest.raises(WorkerError, match=r"refuses worker 3 of 3 \(.*\): use fewer --workers"):
        run_to_end(run, corpus)
    assert started[0].returncode is not None
    assert (sorted(os.listdir("/proc/self/fd")) if before else []) == before


@needs_posix
def test_modules_in_the_working_directory(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: a worker imports Python's select, not a file of that name in the folder where training was called."""
    (tmp_path / "select.py").write_text("raise SystemExit('the wrong select')\n")
    monkeypatch.chdir(tmp_path)
    run_to_end(tiny_run(tmp_path / "run", corpus, replace(TINY, workers=2, steps=2)), corpus)


def test_only_rank_0_trains(corpus: Corpus, tmp_path: Path) -> None:
    """Law: a call on another rank is refused at once with the call to make there; a run of its own would begin."""
    other = Workers()
    other.rank, other.count = 1, 2
    with pytest.raises(SpecError, match=r"rank 1 of 2.*take_part"):
        train(tiny_run(tmp_path / "run", corpus), corpus, other)


@needs_posix
def test_exact_resume(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: N + resume + N updates are 2N, to the bit: stopped, and killed after training diverged and went back."""
    spec = replace(TINY, workers=2, dropout=0.2, keep=1)
    Explosions(monkeypatch, {14})
    whole = bits_of_run(run_to_end(tiny_run(tmp_path / "whole", corpus, spec), corpus))
    assert whole["last"]["progress"]["rollbacks"] == 1
    run = tiny_run(tmp_path / "run", corpus, spec)
    Explosions(monkeypatch, {14})
    stop_at(run, corpus, 7)
    for progress in train_steps(run, corpus):
        if progress.rollbacks and progress.step == 15:
            run = Run.open(shutil.copytree(run.path, tmp_path / "killed"))
            break
    run_to_end(run, corpus)
    assert bits_of_run(run) == whole
    assert processes(PARENT, os.getpid()) == []


@pytest.mark.slow
@needs_posix
def test_a_run_changes_its_number_of_workers(corpus: Corpus, tmp_path: Path) -> None:
    """Law: it goes on from the same place, with one note; too many are refused before anything changes."""
    run = tiny_run(tmp_path / "run", corpus, replace(TINY, workers=2))
    stop_at(run, corpus, 10)
    with pytest.raises(SpecError, match="at most the batch, 4"):
        change_workers(run, TINY.batch + 1)
    (note,) = change_workers(run, 3)
    assert "2" in note and "3" in note
    assert change_workers(Run.open(run.path), 3) == []
    reference = run_to_end(tiny_run(tmp_path / "reference", corpus, replace(TINY, workers=1)), corpus)
    run_to_end(Run.open(run.path), corpus)
    assert summary(run)["validation_nats"] == pytest.approx(summary(reference)["validation_nats"], abs=1e-4)


def test_a_run_of_many_processors_on_few(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: unless told otherwise, a run keeps its workers, or gets what suits this machine if that has fewer."""
    run = tiny_run(tmp_path / "run", corpus, replace(TINY, workers=4))
    monkeypatch.setattr(resume, processors.__name__, lambda: 4)
    assert change_workers(run, None) == []
    monkeypatch.setattr(resume, processors.__name__, lambda: 2)
    (note,) = change_workers(run, None)
    assert "were 4" in note and "are 1" in note  # the network is too small for two


@pytest.mark.parametrize(
    ("batch", "operations", "available", "count"),
    [(64, 1e9, 2, 2), (64, 1e9, 4, 4), (16, 1e9, 4, 2), (1, 1e9, 4, 1), (64, 1e7, 4, 1), (64, 1e9, 1, 1)],
)
def test_a_suitable_count(
    batch: int, operations: float, available: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: one per processor, with at least eight sequences each, and one alone for small updates."""
    monkeypatch.setattr(workers, processors.__name__, lambda: available)
    assert suitable_count(batch, operations) == count
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", "nt")
        assert suitable_count(batch, operations) == 1


def test_impossible_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: refused in one line; one worker never is."""
    with pytest.raises(SpecError, match="at least 1"):
        start(0, 1, WORKER)
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", "nt")
        assert start(1, 1, WORKER).count == 1
        with pytest.raises(SpecError, match="POSIX"):
            start(2, 1, WORKER)


@pytest.mark.slow
@needs_posix
def test_a_killed_worker(corpus: Corpus, tmp_path: Path) -> None:
    """Law: rank 0 says which one is gone and how; the last checkpoint is good, and resumes to the bit."""
    spec = replace(TINY, workers=3)
    whole = run_to_end(tiny_run(tmp_path / "whole", corpus, spec), corpus)
    run = tiny_run(tmp_path / "run", corpus, spec)
    stop_at(run, corpus, 5)
    with pytest.raises(WorkerError, match=r"worker process 2 of 3 was ended by signal 9.*--resume") as raised:
        for progress in train_steps(run, corpus):
            if progress.step == 9:
                os.kill(processes(PARENT, os.getpid())[0], signal.SIGKILL)
    assert len(str(raised.value).splitlines()) == 1
    assert processes(PARENT, os.getpid()) == []
    run_to_end(Run.open(run.path), corpus)
    assert bits_of_run(run.path) == bits_of_run(whole.path)


FAILING = """
from charlm.parallel.local import join

workers = join()
assert workers.broadcast(None) == "begin"
raise MemoryError("no room")
"""


@needs_posix
def test_a_failing_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: the last line that it wrote comes with the error."""
    (tmp_path / "failing.py").write_text(FAILING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    expected = "worker process 2 of 2 ended: MemoryError: no room; the last checkpoint is good"
    with start(2, 1, "failing") as both, pytest.raises(WorkerError, match=expected):
        assert both.broadcast("begin") == "begin"
        both.gather(0)


class PlannedError(Exception):
    """Raised on rank 0 in the middle of training."""


def failing(function: Callable[..., Any], at: int) -> Callable[..., Any]:
    """A function whose call number `at` raises PlannedError."""
    calls = 0

    def call(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            raise PlannedError
        return function(*arguments, **named)

    return call


MOMENTS: dict[str, tuple[Any, Callable[..., Any], int]] = {  # whose function, which one, and the call that fails
    "before the first update": (Coordinator, Coordinator.restore, 1),
    "before an update": (Coordinator, Coordinator.next_windows, 3),
    "in an update, while the other waits": (loop, cross_entropy, 3),
    "after an update": (Coordinator, Coordinator.after_update, 3),
    "in a save": (Coordinator, Coordinator.save, 2),
    "in the caller's hands": (Coordinator, Coordinator.progress, 3),
}


@pytest.mark.slow
@needs_posix
def test_rank_0_fails(corpus: Corpus, tmp_path: Path) -> None:
    """Law: wherever rank 0 raises, the worker beside it leaves, with exit code 0 and without a message."""
    beside = [worker_beside() for _ in MOMENTS]
    for (both, _), (owner, function, at) in zip(beside, MOMENTS.values(), strict=True):
        run = tiny_run(tmp_path / f"run{len(list(tmp_path.iterdir()))}", corpus, replace(TINY, workers=2))
        with pytest.MonkeyPatch.context() as patch, both, pytest.raises(PlannedError):
            patch.setattr(owner, function.__name__, failing(function, at))
            for _ in training_loop(both, Coordinator(run, corpus, run.spec, both, 1)):
                pass
    left = [(worker.communicate(timeout=30)[1], worker.returncode) for _, worker in beside]
    assert dict(zip(MOMENTS, left, strict=True)) == dict.fromkeys(MOMENTS, ("", 0))


def worker_beside() -> tuple[LocalWorkers, subprocess.Popen[str]]:
    """This process as rank 0 of two, and the worker process beside it, as `start` would have it, but open to see."""
    ours, theirs = Pipe()
    with tempfile.TemporaryFile() as file:
        memory = os.dup(file.fileno())
    worker = subprocess.Popen(
        [sys.executable, "-m", WORKER, *map(str, (1, 2, theirs.fileno(), memory, 1))],
        pass_fds=(theirs.fileno(), memory),
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    theirs.close()
    return LocalWorkers(0, 2, [ours], memory), worker


@needs_posix
def test_a_full_disk(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: an error of rank 0 reaches the caller as it is, no process is left, and the run goes on."""

    def full(*_: object) -> NoReturn:
        raise StorageError("the disk is full")

    run = tiny_run(tmp_path / "run", corpus, replace(TINY, workers=2))
    updates = train_steps(run, corpus)
    assert [next(updates).step for _ in range(7)][-1] == 7
    with monkeypatch.context() as patch, pytest.raises(StorageError, match="the disk is full"):
        patch.setattr(Coordinator, Coordinator.save.__name__, full)
        list(updates)
    assert processes(PARENT, os.getpid()) == []
    assert [progress.step for progress in train_steps(Run.open(run.path), corpus)] == list(range(7, 25))


@pytest.mark.parametrize("sent", [b"", b"\0\0", b"\0\0\0\x64half of a message"])
def test_a_pipe_that_ends(sent: bytes) -> None:
    """Law: a process may end before, or in the middle of, a message: rank 0 says so, and the other ranks leave."""
    for rank, error in ((0, WorkerError), (1, ReleasedError)):
        ours, theirs = Pipe()
        os.write(theirs.fileno(), sent)
        theirs.close()
        with LocalWorkers(rank, 2, [ours], -1) as both:
            for receive in (lambda: both.gather(0), lambda: both.average(np.zeros(2, np.float32), 0.0, 0.5)):
                with pytest.raises(error):
                    receive() if rank == 0 else both.scatter(None)


@pytest.fixture
def here(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the short text, in which commands run."""
    shutil.copy(corpus.sources[0], tmp_path / "short.txt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@needs_posix
@pytest.mark.parametrize(
    ("number", "to_all", "code"),
    [(signal.SIGINT, False, 130), (signal.SIGTERM, True, 143), (signal.SIGKILL, False, -signal.SIGKILL)],
)
def test_signals_leave_nobody_behind(number: signal.Signals, to_all: bool, code: int, here: Path) -> None:
    """Law: whatever ends rank 0 ends all, and the run is good: Ctrl-C, SIGTERM to every process, and a kill."""
    with subprocess.Popen(
        charlm_command("train", "short.txt", *TINY_OPTIONS[:-1], 10**4, "--workers", 3, "--quiet", "--out", "run"),
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that everything it starts can be found
    ) as process:
        has_begun = holds_something(here / "run" / "metrics.jsonl")
        wait_until(lambda: has_begun() or process.poll() is not None)
        found = processes(SESSION, process.pid)
        for pid in found if to_all else [process.pid]:
            os.kill(pid, number)
        _, err = process.communicate(timeout=30)
    assert len(found) == 3, err
    assert process.returncode == code and "Traceback" not in err
    wait_until(lambda: processes(SESSION, process.pid) == [])
    run = Run.open(here / "run")
    assert run.spec.workers == 3
    if number != signal.SIGKILL:
        step = load_checkpoint(run.last_path).step
        assert 0 < step < 10**4 and "--resume" in err


def test_small_products_take_one_thread() -> None:
    """Law: threads that would mostly wait for each other are not used, however many there are; large products use all
    that there are; --threads, a block of blas_threads, is asked for.
    """
    for available in (1, 2, 16):
        assert suitable_threads(available, operations(ModelSpec(65, 128), 32, 1)) == 1
        assert suitable_threads(available, operations(ModelSpec(65, 2048), 64, 1)) == available
    assert suitable_threads(0, 1e12) == 1
    assert asked_threads() is None
    with blas_threads(2), blas_threads(1):
        assert asked_threads() == 1
    assert asked_threads() is None
