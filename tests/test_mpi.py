"""The ranks of an MPI job as workers: the run of one worker, written by one rank, and ended when any of them fails."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import TINY_OPTIONS, charlm, environment, lanterns, wait_until

from charlm import summary
from charlm.runs.checkpoint import load_checkpoint
from charlm.runs.run import Run

MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
SIZE = TINY_OPTIONS[:-1]  # without the number of steps
SECONDS = 30
STARTED: list[subprocess.Popen[str]] = []

pytestmark = [pytest.mark.slow, pytest.mark.skipif(MPIEXEC is None, reason="MPI is not installed")]


def job(ranks: int, *arguments: object, program: tuple[str, ...] = ("-m", "charlm")) -> subprocess.Popen[str]:
    """`charlm train` by some ranks."""
    command = [MPIEXEC, "-n", ranks, sys.executable, "-m", "mpi4py", *program, "train", "--workers", "mpi"]
    process = subprocess.Popen(
        [*map(str, command), *map(str, arguments)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    STARTED.append(process)
    return process


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Ends the jobs of a test that failed: ranks that wait for each other keep processors busy."""
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            process.terminate()  # the launcher ends its ranks
            process.communicate(timeout=SECONDS)


def children(pid: int) -> list[int]:
    """All processes below one, in the order of their starting."""
    below = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*below, *(grandchild for child in below for grandchild in children(child))]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a text, in which commands run."""
    (tmp_path / "text.txt").write_bytes(Path(lanterns().sources[0]).read_bytes()[:4000])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def long_job(here: Path) -> subprocess.Popen[str]:
    """Two ranks that train for long, and have written their first losses."""
    process = job(2, "text.txt", *SIZE, 10**5, "--out", "run", "--quiet")
    run = here / "run"
    wait_until(
        lambda: process.poll() is not None or ((run / "metrics.jsonl").exists() and Run.open(run).metrics() != [])
    )
    assert process.poll() is None
    return process


def test_a_run_by_changing_ranks(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Law: begun by 2 ranks and resumed by 3, it comes where one worker comes; only one of them prints."""
    process = job(2, "text.txt", *SIZE, 12, "--out", "run", "--quiet", "--dropout", 0.2)
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    assert out.count("Validation loss") == 1 and err == ""
    assert Run.open("run").spec.workers == 2

    process = job(3, "--resume", "run", "--steps", 24, "--quiet")
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    assert out.count("Validation loss") == 1 and "workers were 2 until now and are 3" in err

    for part in ((*SIZE, 12, "--out", "alone", "text.txt", "--dropout", 0.2), ("--resume", "alone", "--steps", 24)):
        assert charlm(capsys, "train", *part, "--quiet", "--workers", 1).code == 0
    ours, alone = (summary(Run.open(name)) for name in ("run", "alone"))
    assert ours["steps"] == alone["steps"] == 24
    assert ours["validation_nats"] == pytest.approx(alone["validation_nats"], abs=1e-4)


def test_an_error_before_the_beginning(here: Path) -> None:
    """Law: an error of rank 0, before there is a run, ends all ranks with its message and exit code."""
    process = job(2, "nothing.txt")
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode != 0 and err.count("no such file: nothing.txt") == 1 and "Traceback" not in err
    process = job(3, "text.txt", *SIZE, 5, "--batch", 2)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode != 0 and "workers must be at most the batch, 2" in err and "Traceback" not in err


FAILING = """
from charlm.cli import main
from charlm.errors import StorageError
from charlm.training.coordinator import Coordinator

def after_update(coordinator, nats, norm, usual=Coordinator.after_update):
    decision = usual(coordinator, nats, norm)
    if coordinator.progress().step == 5:
        raise {error}
    return decision

Coordinator.after_update = after_update
main()
"""


LIBRARY = """
import charlm
with charlm.mpi_workers() as workers:
    if workers.rank:
        charlm.take_part(workers)
    else:
        corpus = charlm.read_corpus(["text.txt"])
        spec = charlm.TrainSpec(steps=6, batch=4, window=10, workers=workers.count)
        run = charlm.new_run(corpus, "run", spec, hidden=8)
        assert [progress.step for progress in charlm.train(run, corpus, workers)] == [1, 2, 3, 4, 5, 6]
"""


def test_the_library(here: Path) -> None:
    """Law: a script of its own trains by ranks: rank 0 calls train, the others take_part; then all end."""
    (here / "script.py").write_text(LIBRARY)
    process = job(2, program=("script.py",))
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    assert load_checkpoint(here / "run" / "last.safetensors").step == 6


@pytest.mark.parametrize(("error", "is_planned"), [('StorageError("the disk is full")', True), ("KeyError(5)", False)])
def test_rank_0_fails(error: str, is_planned: bool, here: Path) -> None:
    """Law: the job ends at once, with the message, or the traceback of an unexpected error, of rank 0 alone."""
    (here / "failing.py").write_text(FAILING.format(error=error))
    process = job(2, "text.txt", *SIZE, 10**5, "--out", "run", "--quiet", program=("failing.py",))
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode != 0
    assert err.count("the disk is full" if is_planned else "KeyError: 5") == 1, err
    assert err.count("Traceback") == (0 if is_planned else 1)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_ends_the_job(rank: int, here: Path) -> None:
    """Law: in seconds, whichever it is; what was saved is good."""
    process = long_job(here)
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children(process.pid)}
    ranks = [pid for pid, command in commands.items() if command.startswith(os.fsencode(sys.executable))]
    assert len(ranks) == 2 and all(b"charlm" in commands[pid] for pid in ranks)
    os.kill(ranks[rank], signal.SIGKILL)
    process.communicate(timeout=10)
    assert process.returncode != 0
    for checkpoint in (here / "run").glob("*.safetensors"):
        load_checkpoint(checkpoint)


def test_ctrl_c(here: Path) -> None:
    """Law: a signal to the launcher reaches rank 0, which saves and says how to go on; then all ranks end."""
    process = long_job(here)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=SECONDS)
    assert "Stopped and saved" in err and "--resume run" in err and "Traceback" not in err
    assert load_checkpoint(here / "run" / "last.safetensors").step > 0


def test_without_mpi(here: Path) -> None:
    """Law: one line that says what to install."""
    (here / "mpi4py.py").write_text("raise ImportError('no library')")
    done = subprocess.run(
        [sys.executable, "-m", "charlm", "train", "text.txt", "--workers", "mpi"],
        env=environment(PYTHONPATH=str(here)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "pip install mpi4py mpich" in done.stderr and len(done.stderr.splitlines()) == 1
