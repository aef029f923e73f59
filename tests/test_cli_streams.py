"""The commands' standard streams: readers that leave early, full disks, names in other locales."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from runs import LANTERNS, TINY_OPTIONS, charlm_command, charlm_process, environment, trained_run

from charlm.cli import COMMANDS
from charlm.runs.checkpoint import load_checkpoint

TRAIN = ("train", "short.txt", *TINY_OPTIONS, "--out", "run")
CALLS: dict[str, list[object]] = {
    "--help": ["--help"],
    "train": [*TRAIN, "--quiet"],
    "sample": ["sample", trained_run(), "--rng-seed", 1],
    "sample --count": ["sample", trained_run(), "--rng-seed", 1, "--novelty", "--count", 2, "--json"],
    "score": ["score", trained_run(), "short.txt"],
    "score --per": ["score", trained_run(), "short.txt", "--per", "line", "--json"],
    "inspect": ["inspect", trained_run(), "short.txt"],
    "plot": ["plot", trained_run(), "--terminal"],
    "info": ["info", trained_run()],
}
GREEK = "Τα φανάρια ανάβουν ένα ένα στο λιμάνι.\nΟ ψαράς μετράει τα δίχτυα του.\n" * 20
in_c_locale = partial(charlm_process, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test in a folder of its own, with a short text in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.txt").write_bytes(LANTERNS.read_bytes()[:2000])
    return tmp_path


@contextmanager
def pipe_without_reader() -> Iterator[int]:
    """The writing end of a pipe whose reading end is closed."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        yield writing
    finally:
        os.close(writing)


def run(*arguments: object, out: int, err: int = subprocess.PIPE) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(charlm_command(*arguments), stdout=out, stderr=err, env=environment(), timeout=60)


def test_every_command_is_called() -> None:
    """Law: the calls of this file cover all commands."""
    assert {name.split()[0] for name in CALLS} >= set(COMMANDS)


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_a_reader_that_has_left(call: str) -> None:
    """Law: silence, exit code 0, and the work is done, as for `| head`."""
    with pipe_without_reader() as pipe:
        done = run(*CALLS[call], out=pipe)
    assert (done.returncode, done.stderr) == (0, b"")
    if call == "train":
        assert load_checkpoint(Path("run/last.safetensors")).step == 24


@pytest.mark.parametrize(("command", "code"), [("train --nonsense", 2), ("train missing.txt", 1)])
def test_an_error_without_a_reader(command: str, code: int) -> None:
    """Law: the exit code is right."""
    with pipe_without_reader() as pipe:
        assert run(*command.split(), out=pipe, err=pipe).returncode == code
    if Path("/dev/full").exists():
        with open("/dev/full", "wb") as full:
            assert run(*command.split(), out=full.fileno(), err=full.fileno()).returncode == code


@pytest.mark.slow
def test_progress_without_a_reader() -> None:
    """Law: training goes on to its end, as with `2>&1 | head`."""
    with pipe_without_reader() as pipe:
        assert run(*TRAIN, out=subprocess.DEVNULL, err=pipe).returncode == 0
    assert load_checkpoint(Path("run/last.safetensors")).step == 24


def test_ctrl_c_for_a_whole_pipeline() -> None:
    """Law: `charlm sample | head` that is stopped prints one word, though a part of the sample is unread."""
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
@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_a_full_output(call: str) -> None:
    """Law: one clear line, exit code 1."""
    with open("/dev/full", "wb") as full:
        done = run(*CALLS[call], out=full.fileno())
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("charlm: cannot write to standard output: No space left on device; ")


@needs_full
@pytest.mark.slow
def test_a_full_log() -> None:
    """Law: training goes on to its end."""
    with open("/dev/full", "wb") as full:
        assert run(*TRAIN, out=subprocess.DEVNULL, err=full.fileno()).returncode == 0


@pytest.mark.slow
def test_a_text_in_greek_in_the_c_locale(here: Path) -> None:
    """Law: names and text are UTF-8 in every locale: in files, on the command line, in what is printed."""
    (here / "φως.txt").write_text(GREEK, encoding="utf-8")
    trained = in_c_locale("train", "φως.txt", *TINY_OPTIONS, "--quiet", cwd=here)
    assert trained.code == 0 and "lines that are trained on, too" in trained.err and trained.err.count("\n") == 1
    assert "  run      checkpoints/φως\n" in trained.out and (here / "checkpoints" / "φως").is_dir()
    (line,) = [line for line in trained.out.splitlines() if line.startswith("Next: charlm ")]
    for arguments in (
        [*shlex.split(line)[2:], "--length", "40", "--rng-seed", "1"],
        ["info", "checkpoints/φως"],
        ["train", "--resume", "checkpoints/φως", "--json"],
    ):
        here_and_there = [call(*arguments, cwd=here) for call in (in_c_locale, charlm_process)]
        assert here_and_there[0] == here_and_there[1] and here_and_there[0].code == 0
        assert "φως" in here_and_there[0].out or len(here_and_there[0].out) == 41, arguments
    scored = in_c_locale("score", "checkpoints/φως", cwd=here, text=GREEK.encode())
    assert scored.out.split()[:2] == [f"{len(GREEK):,}", "characters"]
    unknown = in_c_locale("sample", "checkpoints/φως", "--seed", "я", "--rng-seed", "1", cwd=here)
    assert unknown.code == 0 and unknown.out.startswith("я") and "'я' (U+044F)" in unknown.err


@pytest.mark.slow
def test_a_name_that_is_not_utf8(here: Path) -> None:
    """Law: its bytes are shown as they are, and the run can be resumed."""
    name = os.fsdecode(b"caf\xe9.txt")
    done = run("train", name, out=subprocess.PIPE)
    assert (done.returncode, done.stderr.split(b";")[0]) == (1, b"charlm: no such file: caf\xe9.txt")
    (here / "short.txt").rename(here / name)
    path = os.fsdecode(b"\xe9")
    trained = run("train", name, *TINY_OPTIONS, "--quiet", "--json", "--out", path, out=subprocess.PIPE)
    assert json.loads(trained.stdout.decode("utf-8", "surrogateescape"))["run"] == path
    done = run("train", "--resume", path, "--steps", 25, "--quiet", out=subprocess.PIPE)
    assert done.returncode == 0 and b"  run      \xe9\n" in done.stdout, done.stderr


def test_lone_surrogates() -> None:
    """Law: a lone surrogate, which a model may have in its vocabulary, is escaped."""
    program = "import sys; from charlm.cli.streams import prepare_streams; prepare_streams(); "
    program += "print('\\ud800a\\udc7f\\udce9'); print('\\ud800', file=sys.stderr)"
    done = subprocess.run([charlm_command()[0], "-c", program], capture_output=True, timeout=30, env=environment())
    assert (done.returncode, done.stdout, done.stderr) == (0, b"\\ud800a\\udc7f\xe9\n", b"\\ud800\n")
