"""One training at a time in a run directory, and no lock outlives its process."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import TINY, charlm, charlm_command, charlm_process, environment, short_corpus, stop_at, tiny_run, wait_until

from charlm.corpus.corpus import Corpus
from charlm.errors import RunError, StorageError
from charlm.files.lock import LOCK, exclusive_lock, shared_lock
from charlm.runs.checkpoint import load_checkpoint
from charlm.runs.run import Run
from charlm.trained_model import load
from charlm.training.loop import train_steps


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return short_corpus(tmp_path)


@pytest.fixture
def run(corpus: Corpus, tmp_path: Path) -> Run:
    """A run with a checkpoint."""
    run = tiny_run(tmp_path / "run", corpus)
    stop_at(run, corpus, 7)
    return run


@pytest.fixture
def trainer(run: Run) -> Iterator[subprocess.Popen[bytes]]:
    """A process that trains in the run, for hours unless it is stopped."""
    before = run.metrics_path.stat().st_mtime_ns
    process = subprocess.Popen(
        charlm_command("train", "--resume", run.path, "--steps", 10**7, "--quiet"),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while run.metrics_path.stat().st_mtime_ns == before:  # what training writes first, once it has the lock
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        assert is_held(run)
        yield process
    finally:
        process.kill()
        process.wait(timeout=30)


def is_held(run: Run) -> bool:
    """Whether a process holds the run."""
    try:
        with exclusive_lock(run.path):
            return False
    except RunError:
        return True


def test_a_second_training_is_refused(trainer: subprocess.Popen[bytes], run: Run, corpus: Corpus) -> None:
    """Law: in one line, by library and command; the first continues, and its temporary file stays."""
    half_written = run.path / f".last.safetensors.{trainer.pid}.tmp"
    half_written.write_bytes(b"half")
    with pytest.raises(RunError) as raised:
        next(train_steps(Run.open(run.path), corpus))
    assert str(run.path) in str(raised.value) and len(str(raised.value).splitlines()) == 1
    refused = charlm_process("train", "--resume", run.path, "--steps", 10**7, cwd=run.path.parent)
    assert refused.is_clear_error(1), refused
    assert "another process is training" in refused.err
    assert trainer.poll() is None and half_written.exists()


def test_a_refused_training_changes_nothing(
    trainer: subprocess.Popen[bytes], run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Law: not even the budget or the workers in the configuration, which a later resume uses."""
    before = (run.path / "config.json").read_bytes()
    for change in ("--steps", "--epochs", "--minutes", "--workers"):
        refused = charlm(capsys, "train", "--resume", run.path, change, 2)
        assert refused.is_clear_error(1), refused
        assert (run.path / "config.json").read_bytes() == before
    assert trainer.poll() is None


def test_reading_needs_no_lock(trainer: subprocess.Popen[bytes], run: Run) -> None:
    """Law: sampling from a run that is being trained does not wait."""
    assert len("".join(load(run.path / "last.safetensors").sample("T", length=5, rng_seed=0))) >= 5
    assert is_held(run) and trainer.poll() is None


def test_a_killed_process_releases_the_lock(trainer: subprocess.Popen[bytes], run: Run, corpus: Corpus) -> None:
    """Law: after kill -9 the next training starts, although the lock file is still there."""
    os.kill(trainer.pid, signal.SIGKILL)
    trainer.wait(timeout=30)
    assert (run.path / LOCK).exists() and not is_held(run)
    step = load_checkpoint(run.last_path).step
    assert next(train_steps(Run.open(run.path), corpus)).step == step + 1


def test_two_commands_at_once_and_a_third_after_a_kill(run: Run, corpus: Corpus, tmp_path: Path) -> None:
    """Law: of two, one trains and one is refused; when the first is killed, the next one continues."""
    command = charlm_command("train", "--resume", run.path, "--steps", 10**7, "--quiet")
    both = [subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        wait_until(lambda: any(process.poll() is not None for process in both))
        refused, trainer = sorted(both, key=lambda process: process.poll() is None)
        assert trainer.poll() is None and refused.returncode == 1
        assert refused.stderr is not None
        *_, line = refused.stderr.read().splitlines()  # notes on the budget may come before, if it was faster
        assert "another process is training" in line
    finally:
        for process in both:
            process.kill()
            process.communicate(timeout=30)
    steps = load_checkpoint(run.last_path).step + 5
    assert charlm_process("train", "--resume", run.path, "--steps", steps, "--quiet", cwd=tmp_path).code == 0
    assert load_checkpoint(run.last_path).step == steps


def test_two_trainings_in_one_process(run: Run, corpus: Corpus) -> None:
    """Law: the same within a process; a training that is closed, or has ended, has released the lock."""
    first = train_steps(run, corpus)
    assert next(first).step == 8
    with pytest.raises(RunError):
        next(train_steps(Run.open(run.path), corpus))
    assert next(first).step == 9
    first.close()
    assert not is_held(run)
    assert [progress.step for progress in train_steps(run, corpus)] == list(range(10, 25))
    assert not is_held(run)


def test_a_training_before_its_first_step_holds_no_lock(run: Run, corpus: Corpus) -> None:
    """Law: the lock is taken with the first step."""
    idle = train_steps(run, corpus)
    assert not is_held(run)
    idle.close()


def test_an_error_releases_the_lock(run: Run, corpus: Corpus) -> None:
    """Law: an exception in training releases the lock, too."""
    updates = train_steps(run, corpus)
    next(updates)
    assert is_held(run)
    with pytest.raises(ZeroDivisionError):
        updates.throw(ZeroDivisionError())
    assert not is_held(run)


def test_runs_do_not_hinder_each_other(run: Run, corpus: Corpus, tmp_path: Path) -> None:
    """Law: the lock concerns one directory."""
    other = tiny_run(tmp_path / "other", corpus, TINY)
    updates, others = train_steps(run, corpus), train_steps(other, corpus)
    assert (next(updates).step, next(others).step) == (8, 1)
    updates.close()
    others.close()


def test_a_missing_folder(tmp_path: Path) -> None:
    """Law: StorageError of one line, as for every file that cannot be written."""
    with pytest.raises(StorageError) as raised, exclusive_lock(tmp_path / "gone"):
        pytest.fail("it was locked")
    assert len(str(raised.value).splitlines()) == 1


def test_a_shared_lock(tmp_path: Path) -> None:
    """Law: holders exclude only an exclusive lock; `when_alone` is called only if there is no other holder."""
    alone: list[int] = []
    with shared_lock(tmp_path, lambda: alone.append(1)):
        with shared_lock(tmp_path, lambda: alone.append(2)), shared_lock(tmp_path, lambda: alone.append(3)):
            assert alone == [1]
        with pytest.raises(RunError), exclusive_lock(tmp_path):
            pytest.fail("it was locked")
    with shared_lock(tmp_path, lambda: alone.append(4)):
        assert alone == [1, 4]
    with exclusive_lock(tmp_path):
        pass


def test_an_error_in_when_alone_releases_the_lock(tmp_path: Path) -> None:
    """Law: as for every lock."""

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), shared_lock(tmp_path, fail):
        pytest.fail("it was locked")
    with exclusive_lock(tmp_path):
        pass
