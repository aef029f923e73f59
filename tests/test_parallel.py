"""Several workers: the gradient of one, the same bits every time, and nobody left behind or waiting."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import (
    TINY,
    TINY_OPTIONS,
    bits_of_run,
    charlm_command,
    environment,
    run_to_end,
    short_corpus,
    stop_at,
    tiny_run,
)

from charlm import change_workers, summary
from charlm.errors import SpecError, WorkerError
from charlm.training.learner import Rule, Team, follow
from charlm.nn.model import ModelSpec
from charlm.parallel import local, workers
from charlm.parallel.local import start
from charlm.parallel.workers import Workers, suitable_count
from charlm.runs.checkpoint import load_checkpoint
from charlm.corpus.corpus import Corpus
from charlm.runs.run import Run
from charlm.training.loop import train_steps

T, B, V, H = 6, 5, 7, 4
RULE = Rule("sgd", 0.9, 0.0, clip_norm=None, clip_value=None)

needs_posix = pytest.mark.skipif(os.name != "posix", reason="workers are processes of a POSIX system")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return short_corpus(tmp_path_factory.mktemp("corpus"))


def updates(count: int, steps: int = 3, batch: int = B, **network: Any) -> Iterator[tuple[float, float, np.ndarray]]:
    """Loss, norm and gradient of some updates by `count` workers."""
    rng = np.random.default_rng(0)
    spec = ModelSpec(V, H, **network)
    with start(count, 1, follow) as team_workers:
        team = Team(spec, RULE, batch, team_workers)
        team.params.copy_from(team.model.initial_params(rng))
        team.begin(team.model.zero_state(batch))
        for step in range(steps):
            inputs, targets = rng.integers(0, V, (2, T, batch))
            masks = team.model.dropout_masks(rng, 0.3, batch)
            nats, norm = team.learn(inputs, targets, masks, step == 0, 0.5)
            yield nats, norm, np.concatenate([team._own.grads.flat, *(layer.ravel() for layer in team.state)])


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
    """Law: every stream has one worker, in order, and no worker has two more than another."""
    team = Workers()
    team.count = count
    if count > batch:
        with pytest.raises(SpecError, match="workers need a stream each"):
            team.shares(batch)
        return
    shares = team.shares(batch)
    assert [stream for share in shares for stream in range(batch)[share]] == list(range(batch))
    sizes = {share.stop - share.start for share in shares}
    assert max(sizes) - min(sizes) <= 1 and len(shares) == count


@needs_posix
@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
@pytest.mark.parametrize("count", [2, 3])
def test_many_workers_are_one(count: int, cell: str) -> None:
    """Law: loss, norm, gradient and state are those of one worker, up to rounding, with shares that differ in size."""
    for alone, together in zip(updates(1, cell=cell, layers=2), updates(count, cell=cell, layers=2), strict=True):
        for one, many in zip(alone, together, strict=True):
            np.testing.assert_allclose(many, one, rtol=1e-5, atol=1e-6)


@needs_posix
def test_the_same_bits_every_time() -> None:
    """Law: the order of summation is fixed."""
    first, second = ([*updates(3, steps=5)] for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert one[:2] == other[:2] and np.array_equal(one[2], other[2])


@needs_posix
def test_a_run_by_two_workers(corpus: Corpus, tmp_path: Path) -> None:
    """Law: N + resume + N steps by two workers are 2N, to the bit; and up to rounding what one worker does."""
    spec = replace(TINY, workers=2, dropout=0.2)
    whole = run_to_end(tiny_run(tmp_path / "whole", corpus, spec), corpus)
    parts = tiny_run(tmp_path / "parts", corpus, spec)
    for step in (7, 13):
        stop_at(parts, corpus, step)
    run_to_end(Run.open(parts.path), corpus)
    assert bits_of_run(parts.path) == bits_of_run(whole.path)
    alone = run_to_end(tiny_run(tmp_path / "alone", corpus, replace(spec, workers=1)), corpus)
    assert summary(whole)["validation_nats"] == pytest.approx(summary(alone)["validation_nats"], abs=1e-4)


@needs_posix
def test_a_run_changes_its_number_of_workers(corpus: Corpus, tmp_path: Path) -> None:
    """Law: it goes on from the same place, says so once, and too many are refused before anything changes."""
    run = tiny_run(tmp_path / "run", corpus, replace(TINY, workers=2))
    stop_at(run, corpus, 10)
    with pytest.raises(SpecError, match="number of streams"):
        change_workers(run, TINY.batch + 1)
    (note,) = change_workers(run, 3)
    assert "2" in note and "3" in note
    assert change_workers(Run.open(run.path), 3) == []
    reference = run_to_end(tiny_run(tmp_path / "reference", corpus, replace(TINY, workers=1)), corpus)
    run_to_end(Run.open(run.path), corpus)
    assert summary(run)["validation_nats"] == pytest.approx(summary(reference)["validation_nats"], abs=1e-4)


def test_a_run_of_many_processors_on_few(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: without a wish, a run goes on with what it had, or with what this machine has if that is less."""
    run = tiny_run(tmp_path / "run", corpus, replace(TINY, workers=4))
    monkeypatch.setattr("charlm.training.new_run.processors", lambda: 4)
    assert change_workers(run, None) == []
    monkeypatch.setattr("charlm.training.new_run.processors", lambda: 2)
    (note,) = change_workers(run, None)
    assert "were 4" in note and "are 1" in note  # so small a network is one worker's


@pytest.mark.parametrize(
    ("batch", "operations", "processors", "count"),
    [(64, 1e9, 2, 2), (64, 1e9, 4, 4), (16, 1e9, 4, 2), (1, 1e9, 4, 1), (64, 1e7, 4, 1), (64, 1e9, 1, 1)],
)
def test_the_usual_count(
    batch: int, operations: float, processors: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One per processor, with at least eight streams each; small updates are not worth meeting for."""
    monkeypatch.setattr(workers, "processors", lambda: processors)
    assert suitable_count(batch, operations) == count
    monkeypatch.setattr(workers.os, "name", "nt")
    assert suitable_count(batch, operations) == 1


def test_no_workers_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: what cannot be had is refused in one line, one worker never is."""
    monkeypatch.setattr(local.os, "name", "nt")
    assert start(1, 1, follow).count == 1
    with pytest.raises(SpecError, match="POSIX"):
        start(2, 1, follow)
    with pytest.raises(SpecError, match="at least 1"):
        start(0, 1, follow)


@needs_posix
def test_a_killed_worker(corpus: Corpus, tmp_path: Path) -> None:
    """Law: the first worker says which one is gone and how; the last checkpoint is good, and resumes to the bit."""
    spec = replace(TINY, workers=3)
    whole = run_to_end(tiny_run(tmp_path / "whole", corpus, spec), corpus)
    run = tiny_run(tmp_path / "run", corpus, spec)
    with pytest.raises(WorkerError, match=r"worker process 2 of 3 was ended by signal 9.*--resume") as told:
        for progress in train_steps(run, corpus):
            if progress.step == 9:
                os.kill(processes(PARENT, os.getpid())[0], signal.SIGKILL)
    assert len(str(told.value).splitlines()) == 1
    assert processes(PARENT, os.getpid()) == []
    run_to_end(Run.open(run.path), corpus)
    assert bits_of_run(run.path) == bits_of_run(whole.path)


@needs_posix
def test_a_worker_that_fails_says_why() -> None:
    """Law: its last words come with the error."""
    with start(2, 1, follow) as team, pytest.raises(WorkerError, match="worker process 2 of 2 ended: AttributeError"):
        team.tell([("learn", "before there is a network")])
        team.average(np.zeros(3, np.float32), 1.0, 0.5)


def train_by(*arguments: object) -> subprocess.Popen[str]:
    """`charlm train`, here, in a session of its own, so that everything it starts can be found."""
    return subprocess.Popen(
        charlm_command("train", *arguments, "--quiet", "--out", "run"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came so far"
        time.sleep(0.01)


@pytest.fixture
def here(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the short text, in which commands run."""
    shutil.copy(corpus.sources[0], tmp_path / "short.txt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


LONG = (*TINY_OPTIONS[:-1], "100000")


@needs_posix
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_signals_leave_nobody_behind(number: signal.Signals, code: int, here: Path) -> None:
    """Law: whatever ends the first worker ends all, also when the whole group gets the signal; the run is good."""
    process = train_by("short.txt", *LONG, "--workers", 3)
    metrics = here / "run" / "metrics.jsonl"
    wait_until(lambda: metrics.exists() and metrics.stat().st_size > 0)
    assert len(processes(SESSION, process.pid)) == 3
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code and "Traceback" not in err
    wait_until(lambda: processes(SESSION, process.pid) == [])
    run = Run.open(here / "run")
    assert run.spec.workers == 3
    if number != signal.SIGKILL:
        step = load_checkpoint(run.last_path).progress["step"]
        assert 0 < step < 100_000 and "--resume" in err
