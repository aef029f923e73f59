"""A disk that is full, or a system that takes no larger files: told in one line, and nothing that was saved is lost."""

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

from charlm.store.atomic import write_atomic
from charlm.store.checkpoint import load_checkpoint
from charlm.store.counts import load_ngram
from charlm.store.run import Run, is_run

OPTIONS = (*TINY_OPTIONS, "--rng-seed", 3, "--quiet")
LIMITED = """
import os, resource, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
os.execv(sys.executable, [sys.executable, "-m", "charlm", *sys.argv[2:]])
"""


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The bits of a run for which there was room."""
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
    """Whether what lies in a run directory can be used, and there is nothing half written beside it."""
    run = Run.open(path) if is_run(path) else Run(path, {})
    run.metrics()
    if run.ngram_path.exists():
        load_ngram(run.ngram_path, run.config["model"]["vocabulary"])
    return all(load_checkpoint(file) for file in path.glob("*.safetensors")) and not list(path.glob(".*.tmp"))


def gone_on_with(path: Path, capsys: pytest.CaptureFixture[str]) -> Outcome:
    """The training as it goes on when there is room again: with --resume, or from the start where nothing was made."""
    command = ("--resume", path, "--quiet") if is_run(path) else ("short.txt", *OPTIONS, "--out", path)
    return charlm(capsys, "train", *command)


@pytest.mark.parametrize(
    ("limit", "file"),
    [(500, "config.json"), (1500, "ngram.counts"), (4000, "best.safetensors"), (17000, "loss.png"), (10**6, "")],
)
def test_files_that_may_not_grow(
    limit: int, file: str, here: Path, expected: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    """Law: exit code 1 and one line that names the file and the reason; with more room all goes on to the same bits."""
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
    assert gone_on_with(Path("run"), capsys).code == 0
    assert bits_of_run(here / "run") == expected


def test_the_old_checkpoint_stays_where_a_new_one_may_not_be_written(
    here: Path, expected: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    """Law: to the byte, however often it is tried."""
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
    """Law: from making the run to the last picture, whatever call to the system is refused: exit code 1, one line that
    names the file, only whole files; and the same command, or --resume, then does the rest.
    """
    monkeypatch.setattr("charlm.cli.watching.plot", lambda runs, output: write_atomic(output, b"picture"))
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
    """Makes the folder `disk` a file system of its own, of a size, or gives it another size."""
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
        ("44k", {"best", "last"}),
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
    """Law: one line; what was saved before is whole; with room again all goes on to the bits of a run that had it.

    From a disk on which the metrics find no room to one that the second picture fills.
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
    assert gone_on_with(run, capsys).code == 0
    assert bits_of_run(run) == expected
