"""A run directory is never overwritten, and damage in it is refused in one line."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from runs import CONFIG, TINY_OPTIONS, charlm_command, environment

from charlm.errors import RunError, StorageError
from charlm.files.lock import LOCK
from charlm.runs.config import is_run
from charlm.runs.find import checkpoint_path, newest_run, take_free_path
from charlm.runs.run import Run

pytestmark = pytest.mark.usefixtures("quick_disk")


def refusal(path: str | Path) -> str:
    with pytest.raises(RunError) as raised:
        Run.open(path)
    assert len(str(raised.value).splitlines()) == 1
    return str(raised.value)


def test_config_comes_back(tmp_path: Path) -> None:
    """Law: a configuration is read back equal, characters of any script included."""
    config = CONFIG | {"corpus": CONFIG["corpus"] | {"name": "φανάρια", "sources": ["/a b/ж.txt"], "x": [1, 2.5, None]}}
    assert Run.create(tmp_path / "a" / "b" / "run", config).config == config
    assert Run.open(tmp_path / "a" / "b" / "run").config == config
    assert is_run(tmp_path / "a" / "b" / "run") and not is_run(tmp_path / "a")


def test_a_taken_directory_is_never_overwritten(tmp_path: Path) -> None:
    """Law: a directory with anything in it, a file, or a link to either stays as it is."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("x")
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "full")
    for name in ("full", "file", "link"):
        with pytest.raises(RunError, match="--out"):
            Run.create(tmp_path / name, CONFIG)
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["precious"]
    assert (tmp_path / "file").read_text() == "x"
    (tmp_path / "empty").mkdir()
    assert Run.create(tmp_path / "empty", CONFIG).config == CONFIG
    with pytest.raises(StorageError):
        Run.create(tmp_path / "file" / "below", CONFIG)


@pytest.mark.parametrize("leftovers", [[".config.json.99999.tmp"], [LOCK], [LOCK, ".config.json.1.tmp"]])
def test_a_creation_that_was_killed_can_be_repeated(leftovers: list[str], tmp_path: Path) -> None:
    """Law: a directory with only the files of a killed creation counts as empty, and they are removed."""
    (tmp_path / "run").mkdir()
    for name in leftovers:
        (tmp_path / "run" / name).write_bytes(b"half")
    assert Run.create(tmp_path / "run", CONFIG).config == CONFIG
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == [LOCK, "config.json"]


@pytest.mark.parametrize(
    "name", [".last.safetensors.1.tmp", "best.safetensors", ".notes.tmp", "config.json.tmp", ".config.json"]
)
def test_other_files_are_not_removed(name: str, tmp_path: Path) -> None:
    """Law: files that no creation leaves stay, and no run is made among them."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).write_bytes(b"precious")
    with pytest.raises(RunError, match="--out"):
        Run.create(tmp_path / "run", CONFIG)
    assert {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()} == {name: b"precious"}


@pytest.mark.parametrize("original", [Run.held, Run.save_config])
def test_two_creations_at_once(original: Callable[[Run], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: of two that make the same directory, one gets it, whole; the other is refused in one line."""
    mine, theirs = CONFIG | {"who": "mine"}, CONFIG | {"who": "theirs"}
    begun: list[Run] = []

    def meanwhile(run: Run) -> Any:
        monkeypatch.undo()
        with suppress(RunError):
            begun.append(Run.create(tmp_path / "run", theirs))
        return original(run)

    monkeypatch.setattr(Run, original.__name__, meanwhile)
    try:
        begun.append(Run.create(tmp_path / "run", mine))
    except RunError as error:
        assert len(str(error).splitlines()) == 1
    (winner,) = begun
    assert Run.open(tmp_path / "run").config == winner.config


def test_a_free_path(tmp_path: Path) -> None:
    """Law: the first free one of NAME, NAME-2, NAME-3, ..., which is taken from then on; a run can be made there."""
    names = [take_free_path("tea", tmp_path).name for _ in range(3)]
    assert names == ["tea", "tea-2", "tea-3"]
    (tmp_path / "tea-2").rmdir()
    (tmp_path / "tea-4").symlink_to(tmp_path / "missing")
    assert take_free_path("tea", tmp_path).name == "tea-2"
    assert Run.create(take_free_path("tea", tmp_path), CONFIG).path.name == "tea-5"
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError):
        take_free_path("tea", tmp_path / "file")


def test_many_that_look_for_a_name_at_once(tmp_path: Path) -> None:
    """Law: each gets a folder of its own, without a gap in the numbers."""
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: Run.create(take_free_path("tea", tmp_path / "runs"), CONFIG).path, range(40)))
    assert {path.name for path in paths} == {"tea", *(f"tea-{number}" for number in range(2, 41))}


@pytest.mark.slow
def test_trainings_that_start_at_once(tmp_path: Path) -> None:
    """Law: processes started together in one folder all train, each in its own run."""
    (tmp_path / "tea.txt").write_text("Tea is ready.\n" * 20)
    command = charlm_command("train", "tea.txt", *TINY_OPTIONS, "--steps", 2, "--quiet")
    for round_ in range(1, 3):
        streams: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        started = [subprocess.Popen(command, cwd=tmp_path, env=environment(), **streams) for _ in range(4)]
        ends = [(process.communicate(timeout=120)[1], process.returncode) for process in started]
        assert [code for _, code in ends] == [0] * 4, ends
        runs = [path for path in (tmp_path / "checkpoints").iterdir() if (path / "best.safetensors").exists()]
        assert len(runs) == 4 * round_


@pytest.mark.parametrize("name", ["a/b", "../..", ".", "..", "", "-", " ", "a b\nc", "/etc", "φανάρια", "\udce9"])
def test_any_name_gives_one_folder(name: str, tmp_path: Path) -> None:
    """Law: whatever the name of a corpus, its run is one visible folder directly under the given one."""
    path = take_free_path(name, tmp_path)
    assert path.parent == tmp_path and path.name and not path.name.startswith((".", "-"))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_newest_run(tmp_path: Path) -> None:
    """Law: the run that was written last; folders that are not runs do not count."""
    with pytest.raises(RunError, match="charlm train"):
        newest_run(tmp_path)
    now = time.time()
    for age, name in ((30, "old"), (20, "new"), (10, "none")):
        (tmp_path / name).mkdir()
        file = tmp_path / name / ("notes.txt" if name == "none" else "config.json")
        file.write_text("{}")
        os.utime(file, (now - age, now - age))
    assert newest_run(tmp_path).name == "new"
    (tmp_path / "old" / "last.safetensors").write_bytes(b"")
    assert newest_run(tmp_path).name == "old"


def test_checkpoint_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: a file is itself; a run is its best checkpoint, or its last, or an error that says how to go on."""
    run = Run.create(tmp_path / "checkpoints" / "run", CONFIG)
    with pytest.raises(RunError, match="--resume"):
        checkpoint_path(run.path)
    run.last_path.write_bytes(b"x")
    assert checkpoint_path(run.path) == run.last_path
    run.best_path.write_bytes(b"x")
    assert checkpoint_path(str(run.path)) == run.best_path
    assert checkpoint_path(run.last_path) == run.last_path
    monkeypatch.chdir(tmp_path)
    assert checkpoint_path().resolve() == run.best_path
    for wrong in (tmp_path, tmp_path / "missing", tmp_path / "missing.safetensors"):
        with pytest.raises(RunError):
            checkpoint_path(wrong)


def record(step: int, nats: float) -> dict[str, object]:
    """A line of metrics.jsonl, with the fields that are required."""
    return {"step": step, "characters": 40 * step, "seconds": 0.5 * step, "split": "train", "nats": nats}


@pytest.mark.parametrize("cut", ["", "{", '{"step": 3', '{"step": 3, "nats": 1.0}', "\0\0\0"])
def test_a_cut_last_line_is_skipped(cut: str, tmp_path: Path) -> None:
    """Law: a line without its end was being written when the machine failed: it is not read, nor continued."""
    run = Run.create(tmp_path / "run", CONFIG)
    assert run.metrics() == []
    run.log([record(1, 0.1 + 0.2), record(2, 1e-300)])
    whole = run.metrics()
    assert whole == [record(1, 0.1 + 0.2), record(2, 1e-300)]
    with run.metrics_path.open("a") as file:
        file.write(cut)
    assert run.metrics() == whole
    run.forget_metrics_after(2)
    run.log([record(3, 1.0)])
    assert [entry["step"] for entry in run.metrics()] == [1, 2, 3]


@pytest.mark.parametrize(
    "line", [b"{", b"[]", b"3", b'{"nats": 1}', b'{"step": "x"}', b"\xff\xfe", b"", b"[" * 100_000]
)
def test_a_damaged_line_in_between_is_refused(line: bytes, tmp_path: Path) -> None:
    """Law: with its number, in one line."""
    run = Run.create(tmp_path / "run", CONFIG)
    first, third = (json.dumps(record(step, 1.0)).encode() for step in (1, 3))
    run.metrics_path.write_bytes(first + b"\n" + line + b"\n" + third + b"\n")
    with pytest.raises(RunError, match="line 2") as raised:
        run.metrics()
    assert len(str(raised.value).splitlines()) == 1


def test_forget_metrics_after(tmp_path: Path) -> None:
    """Law: exactly the records up to that step stay, byte for byte."""
    run = Run.create(tmp_path / "run", CONFIG)
    run.log([record(step, step / 3) for step in (2, 4, 4, 6)])
    lines = run.metrics_path.read_bytes().splitlines(keepends=True)
    run.forget_metrics_after(5)
    assert run.metrics_path.read_bytes() == b"".join(lines[:3])
    run.forget_metrics_after(0)
    assert run.metrics_path.read_bytes() == b""


@pytest.mark.parametrize(
    "config",
    [b"", b"{", b"[]", b"null", b"{}", b"\xff", b'{"model": 1, "training": 2}', b'{"model": {}}', b"[" * 100_000],
)
def test_a_damaged_configuration(config: bytes, tmp_path: Path) -> None:
    """Law: refused in one line that names the file or the directory."""
    assert "no run directory" in refusal(tmp_path / "run")
    (tmp_path / "run").mkdir()
    assert "config.json" in refusal(tmp_path / "run")
    (tmp_path / "run" / "config.json").write_bytes(config)
    assert str(tmp_path / "run") in refusal(tmp_path / "run")


def test_a_file_is_not_a_run(tmp_path: Path) -> None:
    """Law: refused in one line."""
    (tmp_path / "file").write_bytes(b"")
    refusal(tmp_path / "file")
