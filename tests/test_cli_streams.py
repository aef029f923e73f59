"""Readers that leave early, disks that are full, names in other locales: the commands' standard streams."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from runs import LANTERNS, TINY_OPTIONS, charlm_command, charlm_process, environment, trained_run

from charlm.cli import COMMANDS
from charlm.runs.checkpoint import load_checkpoint

TRAIN = ("train", "short.txt", *TINY_OPTIONS, "--out", "run")
CALLS = {
    "--help": ["--help"],
    "--version": ["--version"],
    "train --help": ["train", "--help"],
    "train": [*TRAIN, "--quiet"],
    "train --json": [*TRAIN, "--quiet", "--json"],
    "sample": ["sample", trained_run(), "--rng-seed", 1],
    "sample --novelty": ["sample", trained_run(), "--rng-seed", 1, "--novelty", "--count", 2, "--json"],
    "sample --json": ["sample", trained_run(), "--rng-seed", 1, "--count", 3, "--json"],
    "score": ["score", trained_run(), "short.txt"],
    "score --json": ["score", trained_run(), "short.txt", "--json"],
    "inspect": ["inspect", trained_run(), "short.txt"],
    "inspect --json": ["inspect", trained_run(), "short.txt", "--json"],
    "plot": ["plot", trained_run()],
    "plot --terminal": ["plot", trained_run(), "--terminal"],
    "info": ["info", trained_run()],
    "info --json": ["info", trained_run(), "--json"],
}
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test in a folder of its own, with a short text in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.txt").write_bytes(LANTERNS.read_bytes()[:2000])
    return tmp_path


@contextmanager
def nobody_reads() -> Iterator[int]:
    """The writing end of a pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        yield writing
    finally:
        os.close(writing)


def run(*arguments: object, out: int, err: int = subprocess.PIPE) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(charlm_command(*arguments), stdout=out, stderr=err, env=environment(), timeout=60)


def test_every_command_is_called() -> None:
    assert {name.split()[0] for name in CALLS} >= set(COMMANDS)


@pytest.mark.parametrize("call", CALLS)
def test_a_reader_that_has_left(call: str) -> None:
    """Law: `| head` that has seen enough is silent, no error, and the work is done."""
    with nobody_reads() as pipe:
        done = run(*CALLS[call], out=pipe)
    assert (done.returncode, done.stderr) == (0, b"")
    if call.startswith("train") and "help" not in call:
        assert load_checkpoint(Path("run/last.safetensors")).step == 24


@pytest.mark.parametrize(("command", "code"), [("train --nonsense", 2), ("train missing.txt", 1), ("nonsense", 2)])
def test_an_error_that_nobody_reads(command: str, code: int) -> None:
    """Law: the exit code tells it."""
    with nobody_reads() as pipe:
        assert run(*command.split(), out=pipe, err=pipe).returncode == code
    if Path("/dev/full").exists():
        with open("/dev/full", "wb") as full:
            assert run(*command.split(), out=full.fileno(), err=full.fileno()).returncode == code


def test_progress_that_nobody_reads() -> None:
    """Law: training goes on to its end, whoever looked on: `2>&1 | head`, or a log on a full disk."""
    with nobody_reads() as pipe:
        assert run(*TRAIN, out=subprocess.DEVNULL, err=pipe).returncode == 0
    assert load_checkpoint(Path("run/last.safetensors")).step == 24


def test_ctrl_c_for_a_whole_pipeline() -> None:
    """Law: `charlm sample | head` that is stopped says so and no more, though a part of the sample is left unread."""
    command = charlm_command("sample", trained_run(), "-n", 10**6, "--rng-seed", 1)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    with process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.read(100)
        time.sleep(0.01)  # so that characters wait to be written
        process.stdout.close()
        process.send_signal(signal.SIGINT)
        err = process.stderr.read()
    assert (process.returncode, err) in [(130, b"Stopped.\n"), (0, b"")]  # 0: it met the closed pipe before the signal


@needs_full
@pytest.mark.parametrize("call", CALLS)
def test_an_output_that_is_full(call: str) -> None:
    """Law: one clear line, exit code 1."""
    with open("/dev/full", "wb") as full:
        done = run(*CALLS[call], out=full.fileno())
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("charlm: cannot write to standard output: No space left on device; ")


@needs_full
def test_a_log_that_is_full() -> None:
    """Law: what cannot be told is no reason to fail."""
    with open("/dev/full", "wb") as full:
        assert run(*TRAIN, out=subprocess.DEVNULL, err=full.fileno()).returncode == 0


def test_names_in_the_c_locale(here: Path) -> None:
    """Law: a text in Greek gives a run in Greek; what is shown of it is UTF-8, and a printed command can be typed."""
    (here / "short.txt").rename(here / "φως.txt")
    trained = charlm_process("train", "φως.txt", *TINY_OPTIONS, "--quiet", cwd=here, **C_LOCALE)
    assert (trained.code, trained.err) == (0, "")
    assert "  run      checkpoints/φως\n" in trained.out and (here / "checkpoints" / "φως").is_dir()
    (command,) = [line for line in trained.out.splitlines() if line.startswith("Next: charlm ")]
    assert charlm_process(*shlex.split(command)[2:], cwd=here, **C_LOCALE).code == 0
    for arguments in (
        ["info", "checkpoints/φως"],
        ["info", "checkpoints/φως", "--json"],
        ["train", "--resume", "checkpoints/φως", "--json"],
    ):
        here_and_there = [charlm_process(*arguments, cwd=here, **locale) for locale in (C_LOCALE, {})]
        assert here_and_there[0] == here_and_there[1]
        assert "φως" in here_and_there[0].out, arguments


def test_a_name_that_is_not_utf8(here: Path) -> None:
    """Law: its bytes are shown as they are."""
    done = run("train", os.fsdecode(b"caf\xe9.txt"), out=subprocess.PIPE)
    assert (done.returncode, done.stderr.split(b";")[0]) == (1, b"charlm: no such file: caf\xe9.txt")
    trained = run("train", "short.txt", *TINY_OPTIONS, "--quiet", "--json", "--out", os.fsdecode(b"\xe9"), out=-1)
    assert json.loads(trained.stdout.decode("utf-8", "surrogateescape"))["run"] == os.fsdecode(b"\xe9")


def test_what_is_no_character_at_all() -> None:
    """Law: a lone surrogate of a stranger's model is escaped, not a traceback."""
    program = "import sys; from charlm.cli.streams import prepare_streams; prepare_streams(); "
    program += "print('\\ud800a\\udc7f\\udce9'); print('\\ud800', file=sys.stderr)"
    done = subprocess.run([charlm_command()[0], "-c", program], capture_output=True, timeout=30, env=environment())
    assert (done.returncode, done.stdout, done.stderr) == (0, b"\\ud800a\\udc7f\xe9\n", b"\\ud800\n")
