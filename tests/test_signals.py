"""Ctrl-C and SIGTERM: the run is saved, the exit code names the signal, and the printed command goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runs import (
    TINY,
    TINY_OPTIONS,
    bits_of_run,
    charlm_command,
    environment,
    holds_something,
    run_to_end,
    the_command,
    wait_until,
)

from charlm.corpus.corpus import read_corpus
from charlm.runs.checkpoint import load_checkpoint
from charlm.runs.config import is_run
from charlm.runs.resume import last_checkpoint
from charlm.runs.run import Run
from charlm.training.new_run import new_run

TEXT = "Down by the harbour the lanterns come on,\none after the other.\n" * 40
STEPS = 400
OPTIONS = TINY_OPTIONS[:-2]  # without the number of steps

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_disk")]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run of STEPS updates, never stopped."""
    here = tmp_path_factory.mktemp("straight")
    (here / "text.txt").write_text(TEXT)
    corpus = read_corpus(here / "text.txt")
    spec = replace(TINY, steps=STEPS, evaluations=None, reports=200)
    return run_to_end(new_run(corpus, here / "run", spec, hidden=8), corpus)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path


def start(here: Path, *options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        charlm_command("train", "text.txt", *OPTIONS, *options),
        cwd=here,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process: subprocess.Popen[Any], condition: Callable[[], bool]) -> None:
    """Wait until a process has done something, or has ended too early: then its exit code is not the expected one."""
    wait_until(lambda: process.poll() is not None or condition())


@pytest.mark.parametrize(("number", "code", "out"), [(signal.SIGTERM, 143, "run"), (signal.SIGINT, 130, "it's 1")])
def test_stopped_and_resumed(number: signal.Signals, code: int, out: str, here: Path, straight: Run) -> None:
    """Law: it is saved; the printed command, typed as it is, ends with the bits of a run that never stopped."""
    process = start(here, "--steps", STEPS, "--out", out)
    wait_for(process, holds_something(here / out / "metrics.jsonl"))
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in stderr and stdout == ""
    step = load_checkpoint(here / out / "last.safetensors").progress["step"]
    assert 0 < step < STEPS

    done = subprocess.run(the_command(stderr), cwd=here, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not [file.name for file in (here / out).iterdir() if file.name.endswith(".tmp")]
    assert bits_of_run(here / out) == bits_of_run(straight)


def test_stopped_before_the_first_report(here: Path) -> None:
    """Law: the same in the first second, when there is no loss to show yet."""
    process = start(here, "--minutes", 600, "--out", "run")
    wait_for(process, (here / "run" / "metrics.jsonl").exists)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=30)
    assert "Traceback" not in stderr
    assert process.returncode == 143, stderr
    assert load_checkpoint(here / "run" / "last.safetensors").progress["step"] >= 1
    assert the_command(stderr)[3:] == ["train", "--resume", "run"]


@pytest.mark.parametrize(
    ("number", "code", "seconds"), [(signal.SIGINT, 130, 0.0), (signal.SIGTERM, 143, 0.1), (signal.SIGINT, 130, 0.2)]
)
def test_while_a_large_text_is_read(number: signal.Signals, code: int, seconds: float, here: Path) -> None:
    """Law: while text becomes characters and ids, it ends at once and leaves nothing, or a run to resume."""
    with subprocess.Popen(
        charlm_command("train", "-", "--hidden", 8, "--out", "run", "--quiet"),
        cwd=here,
        env=environment(),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None and process.stderr is not None
        process.stdin.write(TEXT.encode() * 12_000)  # 30 MB; when all is written, only a pipe's content is not read
        process.stdin.close()
        time.sleep(seconds)
        process.send_signal(number)
        stderr = process.stderr.read().decode()
        assert process.wait(30) == code
    assert "Traceback" not in stderr
    if "Go on with" in stderr:
        assert the_command(stderr)[3:] == ["train", "--resume", "run"]
        assert load_checkpoint(here / "run" / "last.safetensors").step >= 1
    else:
        assert stderr == ("Stopped.\n" if number == signal.SIGINT else "")
        assert {path.name for path in here.iterdir()} <= {"text.txt", "run"}
        assert not is_run(here / "run") or last_checkpoint(Run.open(here / "run")) is None


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_second_signal_around_a_rename(moment: str, here: Path) -> None:
    """Law: the process ends at once, and the file is the old one, or the new one, whole."""
    program = f"""
import os, signal
from pathlib import Path
from charlm.cli.interrupts import Interrupts
from charlm.files.atomic import write_atomic

def twice():
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)

def renamed(a, b, rename=os.replace):
    if {moment == "before"}:
        twice()
    rename(a, b)
    twice()

write_atomic(Path("x"), b"old" * 10**6)
os.replace = renamed
with Interrupts():
    write_atomic(Path("x"), b"new" * 10**6)
print("it went on")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=here, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (143, "") and "Traceback" not in done.stderr
    assert (here / "x").read_bytes() == (b"old" if moment == "before" else b"new") * 10**6


def test_twice_is_at_once(here: Path) -> None:
    """Law: a second signal ends it with the code of that signal, and the run can still be resumed."""
    process = start(here, "--minutes", 600, "--out", "run", "--quiet")
    wait_for(process, (here / "run" / "metrics.jsonl").exists)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode in (143, 130) and "Traceback" not in stderr
    last = here / "run" / "last.safetensors"
    steps = load_checkpoint(last).step if last.exists() else 0
    resume = charlm_command("train", "--resume", "run", "--steps", steps + 3, "--quiet")
    done = subprocess.run(resume, cwd=here, env=environment(), capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def test_the_reader_of_its_messages_has_ended(here: Path) -> None:
    """Law: saved all the same, with the same code. In `charlm train 2>&1 | tee log` Ctrl-C ends the reader, too."""
    reading, writing = os.pipe()
    with subprocess.Popen(
        charlm_command("train", "text.txt", *OPTIONS, "--steps", 10**5, "--out", "run"),
        cwd=here,
        env=environment(),
        stdout=writing,
        stderr=writing,
    ) as process:
        os.close(writing)
        wait_for(process, holds_something(here / "run" / "metrics.jsonl"))
        os.close(reading)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert load_checkpoint(here / "run" / "last.safetensors").step > 1


def test_killed(here: Path, straight: Run) -> None:
    """Law: after SIGKILL the run goes on from its last checkpoint, to the same bits."""
    process = start(here, "--steps", STEPS, "--out", "run", "--quiet")
    wait_for(process, holds_something(here / "run" / "last.safetensors"))
    process.kill()
    process.communicate(timeout=30)
    resume = charlm_command("train", "--resume", "run", "--quiet")
    done = subprocess.run(resume, cwd=here, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert bits_of_run(here / "run") == bits_of_run(straight)


def test_sample_stopped(here: Path) -> None:
    """Law: Ctrl-C while sampling is 130 without a traceback."""
    corpus = read_corpus(here / "text.txt")
    run = run_to_end(new_run(corpus, here / "run", TINY, hidden=8), corpus)
    process = subprocess.Popen(
        charlm_command("sample", run.path, "-n", 10**7, "--rng-seed", 1),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in stderr
