"""Large texts are trained on and scored in bounded memory, with a progress bar while they are read."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from runs import LANTERNS, charlm_command, charlm_process, environment, trained_run

from charlm.cli import reading_bar as reading_bar_module
from charlm.cli.reading_bar import reading_bar
from charlm.predict import network
from charlm.runs.run import Run
from charlm.trained_model import load

pytestmark = pytest.mark.slow

MIB = 2**20
TRAIN = ("train", "x.txt", "--out", "run", "--hidden", "4", "--batch", "4", "--window", "10", "--val-limit", "1000")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a cache and a home of its own."""
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / "cache"))
    return tmp_path


def text_of_mib(path: Path, size: int) -> None:
    """A text of that many MiB with CRLF and Greek letters, so that all of it is cleaned and decoded."""
    unit = LANTERNS.read_bytes().replace(b"\n", b"\r\n") + "Φανάρια.\n".encode()
    with path.open("wb") as file:
        for _ in range(size * MIB // len(unit) + 1):
            file.write(unit)


PEAK = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def peak_of(arguments: list[str], cwd: Path) -> int:
    """The peak memory of a successful process in bytes, mapped files included.

    It is started by a small process, because a forked process counts the memory that it had before exec.
    """
    command = [sys.executable, "-c", PEAK, *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment(), check=True, stdout=subprocess.PIPE, timeout=60)
    return int(done.stdout) * (1 if sys.platform == "darwin" else 1024)


def test_training_takes_bounded_memory(here: Path) -> None:
    """Law: 60 MiB more of text take far less memory than that; the second run encodes nothing."""
    train = charlm_command(*TRAIN, "--steps", "2", "--quiet")
    text_of_mib(here / "x.txt", 4)  # large enough for the same validation part as a larger text
    usual = peak_of(train, here)
    assert not (here / "cache").exists()
    text_of_mib(here / "x.txt", 64)
    made = set()
    for _ in range(2):
        shutil.rmtree(here / "run")
        assert peak_of(train, here) < usual + 32 * MIB
        (entry,) = (here / "cache").glob("*.ids")
        assert entry.stat().st_size > 60 * MIB
        made.add(entry.stat().st_ino)
    assert len(made) == 1
    assert not list((here / "home").rglob("charlm*"))


def test_scoring_takes_bounded_memory(here: Path) -> None:
    """Law: 7 MiB more of text take far less than the 56 MiB of their nats; most of it is free memory of malloc."""
    peaks = []
    unit = LANTERNS.read_bytes()
    for size in (2, 9):
        (here / "x.txt").write_bytes(unit * (size * MIB // len(unit)))
        peaks.append(peak_of(charlm_command("score", trained_run(), "x.txt", "--json"), here))
    assert peaks[1] < peaks[0] + 16 * MIB
    assert not (here / "cache").exists()


def test_scoring_reads_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: the next block of a text is read when the one before it has been scored."""
    monkeypatch.setattr(network, "BLOCK", 40)
    given = 0

    def pieces() -> Iterator[str]:
        nonlocal given
        for _ in range(30):
            given += 1
            yield "The lantern burns.\n"

    for number, nats in enumerate(load(trained_run()).surprisals(pieces())):
        assert len(nats) == 19 and given <= number + 2


def test_a_full_disk(here: Path) -> None:
    """Law: one line that says what to do, exit code 1, and neither an unfinished file nor a run is left."""
    text_of_mib(here / "x.txt", 18)
    command = ["sh", "-c", 'ulimit -f 20000; exec "$@"', "sh", *charlm_command(*TRAIN, "--steps", "2")]
    done = subprocess.run(command, cwd=here, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert "CHARLM_CACHE" in done.stderr and str(here / "cache") in done.stderr
    assert [file.name for file in (here / "cache").iterdir()] == [".lock"]
    assert not (here / "run").exists()


def test_resuming_with_stored_ids(here: Path) -> None:
    """Law: the text is recognised by the sha256 of the clean text, with stored ids and without."""
    text_of_mib(here / "x.txt", 18)
    assert charlm_process(*TRAIN, "--steps", "2", "--quiet", cwd=here).code == 0
    done = charlm_process("train", "--resume", "run", "--steps", "3", "--quiet", "--json", cwd=here)
    assert done.code == 0 and done.json["steps"] == 3
    (entry,) = (here / "cache").glob("*.ids")
    entry.unlink()
    assert charlm_process("train", "--resume", "run", "--steps", "4", "--quiet", cwd=here).code == 0
    text = (here / "x.txt").read_bytes().decode().replace("\r\n", "\n")
    assert Run.open(here / "run").config["corpus"]["characters"] == len(text)


# --------------------------------------------------------------------------------------------------- the progress bar


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, quiet: bool = False) -> str:
    """The output of the bar while half of a text is read slowly."""
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(reading_bar_module, "DELAY", 0.05)
    with reading_bar(quiet) as show:
        for read in range(6):
            show(read * 10**6, 10**7)
            time.sleep(0.1)
    return stream.getvalue()


def test_a_bar_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: it shows the bytes read and all bytes, and is erased at the end."""
    written = shown(monkeypatch, Terminal())
    assert "Reading the text:  50%" in written and "5.00M/10.0M" in written
    assert written.endswith("\r")


def test_no_bar_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: no output to a pipe, nor with quiet."""
    assert shown(monkeypatch, io.StringIO()) == ""
    assert shown(monkeypatch, Terminal(), quiet=True) == ""


def test_no_bar_for_a_short_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: a text that is read at once gives no output."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with reading_bar(quiet=False) as show:
        for read in range(100):
            show(read, 100)
    assert stream.getvalue() == ""


@pytest.mark.parametrize("wait", [0.0, 1.5])
def test_a_text_that_comes_slowly(wait: float, here: Path) -> None:
    """Law: in a terminal the bar appears after half a second, not before, and then training starts."""
    os.mkfifo(here / "x.txt")

    def write() -> None:
        with (here / "x.txt").open("wb") as pipe:
            for _ in range(4):
                pipe.write(LANTERNS.read_bytes()[:10_000] * 30)
                pipe.flush()
                time.sleep(wait / 4)

    writer = threading.Thread(target=write)
    writer.start()
    child = pexpect.spawn(
        charlm_command()[0],
        charlm_command(*TRAIN, "--steps", "2")[1:],
        cwd=str(here),
        env=environment(TERM="xterm"),
        dimensions=(24, 80),
        encoding="utf-8",
        timeout=60,
    )
    child.expect(pexpect.EOF)
    child.close()
    writer.join()
    assert child.exitstatus == 0
    assert ("Reading the text" in child.before) == bool(wait)
    assert "Validation loss" in child.before
