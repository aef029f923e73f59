"""scripts/fuzz_files.py: its files are what they should be, and it finds what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import fuzz_files
import pytest
from fuzz_files import TARGETS, Judge, seeds
from hostile_files import checkpoint_parts, forged, packed, unpacked
from hypothesis import given
from hypothesis import strategies as st
from runs import bits_of, environment, some_checkpoint

from charlm.errors import RunError
from charlm.runs.checkpoint import load_checkpoint, save_checkpoint

pytestmark = pytest.mark.usefixtures("quick_disk")

SCRIPT = Path(fuzz_files.__file__)


def run_script(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=120)


def test_forged_is_as_saved(tmp_path: Path) -> None:
    """Law: a checkpoint that was taken apart and put together is the same, with a right checksum."""
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, some_checkpoint())
    saved = bits_of(load_checkpoint(path))
    path.write_bytes(forged(*checkpoint_parts(path.read_bytes())))
    assert bits_of(load_checkpoint(path)) == saved


@given(st.lists(st.binary(max_size=9), max_size=4), st.binary(max_size=30))
def test_files_in_one(parts: list[bytes], noise: bytes) -> None:
    """Law: unpacked gives what was packed, and from any other bytes as many parts as asked for."""
    assert unpacked(packed(*parts), len(parts)) == parts
    assert len(unpacked(noise, 3)) == 3


@pytest.mark.parametrize("target", TARGETS)
def test_no_target_finds_anything_at_once(target: str, tmp_path: Path) -> None:
    """Law: good files are accepted, some of the first changes are refused, and none is a finding."""
    whole = seeds(target, tmp_path)
    judge, change = Judge(target, tmp_path, tmp_path), TARGETS[target][1]
    for data in whole:
        judge(data)
    assert (judge.tally.executions, judge.tally.accepted, judge.tally.findings) == (4, 4, [])
    for number in range(20):
        judge(change(whole[number % 4], Random(number)))
    judge.write(tmp_path / "tally")
    tally = json.loads((tmp_path / "tally").read_text())
    assert tally["executions"] == 24 and 4 <= tally["accepted"] < 24 and tally["refusals"]
    assert tally["findings"] == []


def divide(folder: Path, data: bytes) -> None:
    raise ZeroDivisionError("x")


def raise_two_lines(folder: Path, data: bytes) -> None:
    raise RunError("one line\nand another")


def warn(folder: Path, data: bytes) -> None:
    warnings.warn("look out", RuntimeWarning, stacklevel=1)


def sleep(folder: Path, data: bytes) -> None:
    time.sleep(0.2)


@pytest.mark.parametrize("fault", [divide, raise_two_lines, warn, sleep])
def test_what_is_a_finding(
    fault: Callable[[Path, bytes], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: another exception, a second line, a warning, too much time: kept, once per kind."""
    monkeypatch.setitem(TARGETS, "config", (fault, TARGETS["config"][1]))
    monkeypatch.setattr(fuzz_files, "SECONDS", 0.1)
    judge = Judge("config", tmp_path, tmp_path)
    for data in (b"abc", b"abc"):
        judge(data)
    assert len(judge.tally.findings) == 1
    (kept,) = (path for path in tmp_path.glob("config-*") if path.suffix != ".txt")
    assert kept.read_bytes() == b"abc" and kept.with_name(f"{kept.name}.txt").stat().st_size > 20


def patched(peaks: Iterator[int]) -> Callable[[], int]:
    def peak_megabytes() -> int:
        return next(peaks)

    return peak_megabytes


def test_memory_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: more than 100 MB beyond the file's size, and not less."""
    for megabytes, count in ((99, 0), (101, 1)):
        peaks = iter((1000, 1000 + megabytes))
        monkeypatch.setattr(fuzz_files, fuzz_files.peak_megabytes.__name__, patched(peaks))
        judge = Judge("config", tmp_path, tmp_path)
        judge(b"{")
        assert (len(judge.tally.findings), judge.tally.megabytes) == (count, megabytes)


@pytest.mark.slow
def test_help_and_replay(tmp_path: Path) -> None:
    """Law: the help names every target; one file can be opened again, with its traceback."""
    done = run_script("--help", cwd=tmp_path)
    assert done.returncode == 0 and all(target in done.stdout for target in [*TARGETS, "--seconds", "--findings"])
    (tmp_path / "x").write_bytes(b"{")
    done = run_script("--target", "config", "--replay", "x", cwd=tmp_path)
    assert done.returncode == 1 and "RunError" in done.stderr and "peak" in done.stdout
    done = run_script("--replay", "x", cwd=tmp_path)
    assert done.returncode == 2 and "--target" in done.stderr


@pytest.mark.slow
def test_fuzzing_for_a_moment(tmp_path: Path) -> None:
    """Law: it prints how many files it tried, of which kind, and exits with 0 if there are no findings."""
    pytest.importorskip("atheris")
    done = run_script("--seconds", 1, "--target", "config", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    name, executions, *_ = done.stdout.splitlines()[1].split()
    assert name == "config" and int(executions.replace(",", "")) > 20 and "0 findings" in done.stdout
