"""A full disk, or a limit on the size of files: one line says so, and nothing that was saved is lost."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from runs import (
    TINY_OPTIONS,
    Faults,
    Outcome,
    bits_of_run,
    charlm,
    charlm_process,
    environment,
    short_corpus,
)

from charlm.cli import progress
from charlm.files.atomic import write_atomic
from charlm.plotting.loss import plot
from charlm.predict.ngram_file import load_ngram
from charlm.runs.checkpoint import load_checkpoint
from charlm.runs.config import is_run
from charlm.runs.run import Run

pytestmark = pytest.mark.slow

OPTIONS = (*TINY_OPTIONS, "--rng-seed", 3, "--quiet")
LIMITED = """
import os, resource, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
os.execv(sys.executable, [sys.executable, "-m", "charlm", *sys.argv[2:]])
"""


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The bits of a run with enough space."""
    folder = tmp_path_factory.mktemp("room")
    short_corpus(folder)
    assert charlm_process("train", "short.txt", *OPTIONS, "--out", "run", cwd=folder).code == 0
    return bits_of_run(folder / "run")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    short_corpus(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def all_is_whole(path: Path) -> bool:
    """Whether all files of a run directory can be read, and none is unfinished."""
    run = Run.open(path) if is_run(path) else Run(path, {})
    run.metrics()
    if run.ngram_path.exists():
        load_ngram(run.ngram_path, run.config["model"]["vocabulary"], start=0)
    return all(load_checkpoint(file) for file in path.glob("*.safetensors")) and not list(path.glob(".*.tmp"))


def continued(path: Path, capsys: pytest.CaptureFixture[str]) -> Outcome:
    """Continue training when there is space again: with --resume, or from the start if there is no run yet."""
    command = ("--resume", path, "--quiet") if is_run(path) else ("short.txt", *OPTIONS, "--out", path)
    return charlm(capsys, "train", *command)


@pytest.mark.parametrize(
    ("limit", "file"),
    [(500, "config.json"), (2500, "ngram.counts"), (4000, "best.safetensors"), (17000, "loss.png"), (10**6, "")],
)
def test_a_limit_on_the_size_of_files(
    limit: int, file: str, here: Path, expected: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    """Law: exit code 1 and one line with file and reason; without the limit training continues to the same bits."""
    pytest.importorskip("resource")
    command = [sys.executable, "-c", LIMITED, limit, "train", "short.txt", *OPTIONS, "--out", "run"]
    done = subprocess.run(
        list(map(str, command)), cwd=here, env=environment(), capture_output=True, text=True, timeout=60
    )
    if file:
        assert Outcome(done.returncode, done.stdout, done.stderr).is_clear_error(1), done
        assert file in done.stderr and "too large" in done.stderr
    else:
        assert done.returncode == 0, done
    assert all_is_whole(here / "run")
    assert continued(Path("run"), capsys).code == 0
    assert bits_of_run(here / "run") == expected


def test_the_old_checkpoint_stays_when_a_new_one_cannot_be_written(
    here: Path, expected: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    """Law: every byte of it, however often it is tried."""
    charlm(capsys, "train", "short.txt", *OPTIONS, "--out", "run", "--steps", 12)
    before = {path.name: path.read_bytes() for path in (here / "run").glob("*.safetensors")}
    assert set(before) == {"best.safetensors", "last.safetensors"}
    command = [sys.executable, "-c", LIMITED, 10_000, "train", "--resume", "run", "--steps", 24, "--quiet"]
    for _ in range(2):
        done = subprocess.run(list(map(str, command)), cwd=here, env=environment(), capture_output=True, timeout=60)
        assert done.returncode == 1
        assert {path.name: path.read_bytes() for path in (here / "run").glob("*.safetensors")} == before
        assert all_is_whole(here / "run")


def test_every_call_of_the_command_fails_in_turn(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: exit code 1, one line that names the file, and only whole files; the same command, or --resume, then
    completes the run.
    """
    monkeypatch.setattr(progress, plot.__name__, lambda runs, output: write_atomic(output, b"picture"))
    options = ("short.txt", "--hidden", 8, "--batch", 4, "--window", 10, "--steps", 1, "--quiet")
    files = set()
    for nth in itertools.count(1):
        run = Path(str(nth))
        with pytest.MonkeyPatch.context() as patch:
            faults = Faults(patch, nth)
            done = charlm(capsys, "train", *options, "--out", run)
        if not faults.happened:
            break
        assert done.is_clear_error(1) and str(run) in done.err and "No space left" in done.err, done
        files |= {word.rstrip(":").split("/")[-1] for word in done.err.split() if "/" in word}
        assert all_is_whole(run)
        again = ("--resume", run, "--quiet") if is_run(run) else (*options, "--out", run)
        assert charlm(capsys, "train", *again).code == 0
        assert load_checkpoint(run / "last.safetensors").step == 1
    assert done.code == 0
    made = {"config.json", "ngram.counts", "baselines.json", "mix.json", "metrics.jsonl", "loss.png"}
    made |= {"best.safetensors", "last.safetensors"}
    assert files == made


Disk = Callable[[str], None]


@pytest.fixture
def disk(here: Path) -> Iterator[Disk]:
    """A function that mounts a file system of a given size on the folder `disk`, or changes its size."""
    folder = here / "disk"
    folder.mkdir()
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")

    def mounted(size: str) -> None:
        options = f"size={size},mode=700" + (",remount" if folder.is_mount() else "")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")

    try:
        yield mounted
    finally:
        if folder.is_mount():
            subprocess.run(["umount", folder], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("size", "files"),
    [
        ("4k", set()),
        ("8k", set()),
        ("20k", set()),
        ("32k", {"best"}),
        ("48k", {"best", "last"}),
        ("120k", {"best", "last"}),
    ],
)
def test_a_disk_that_is_full(
    size: str,
    files: set[str],
    here: Path,
    disk: Disk,
    expected: dict[str, object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Law: one line; saved files are whole; with space again training continues to the bits of an undisturbed run.

    The disks range from one without space for the metrics to one that the second picture fills.
    """
    disk(size)
    run = Path("disk/run")
    done = charlm(capsys, "train", "short.txt", *OPTIONS, "--out", run)
    assert done.is_clear_error(1) and "No space left" in done.err, done
    assert all_is_whole(run)
    assert {path.stem for path in run.glob("*.safetensors")} == files
    again = charlm(capsys, "train", "--resume", run, "--quiet")
    assert again.is_clear_error(1) and "No space left" in again.err, again
    assert all_is_whole(run)
    disk("8m")
    assert continued(run, capsys).code == 0
    assert bits_of_run(run) == expected
